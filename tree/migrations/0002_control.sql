-- Who asked for a job, what it may cost in CPU time, and whether a retry has begun to count its trial's attempts anew.

ALTER TABLE attempts ADD COLUMN cpus INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN user TEXT NOT NULL DEFAULT '';
ALTER TABLE attempts ADD COLUMN account TEXT NOT NULL DEFAULT '';
ALTER TABLE attempts ADD COLUMN superseded INTEGER NOT NULL DEFAULT 0; -- by the trial's being opened again
