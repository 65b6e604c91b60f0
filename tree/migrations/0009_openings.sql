-- Each time that a job was let at the sealed test: for whom, when and why.

CREATE TABLE openings (
    id      INTEGER PRIMARY KEY,
    node    INTEGER NOT NULL,
    trial   INTEGER NOT NULL,             -- of kind test
    attempt INTEGER NOT NULL,             -- further ones of a trial follow a job that was lost
    again   INTEGER NOT NULL DEFAULT 0,   -- a person asked for it (resume --open-test-again)
    why     TEXT NOT NULL,
    user    TEXT NOT NULL DEFAULT '',
    host    TEXT NOT NULL DEFAULT '',
    time    TEXT NOT NULL
);

-- Jobs at the sealed test are looked for by status: a few among thousands.
CREATE INDEX attempts_test ON attempts (node, trial, attempt) WHERE kind = 'test';
