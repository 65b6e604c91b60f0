-- What the Reviewer found in the raw records behind a score, what was struck for it, and what persons decided.

ALTER TABLE trials ADD COLUMN findings TEXT;                       -- JSON list; NULL: its records were not looked at
ALTER TABLE trials ADD COLUMN faulty INTEGER NOT NULL DEFAULT 0;   -- one of them is reason to strike it
ALTER TABLE trials ADD COLUMN struck INTEGER NOT NULL DEFAULT 0;   -- its score is no evidence
CREATE INDEX trials_unread ON trials (node, trial) WHERE state = 'done' AND findings IS NULL;
CREATE INDEX trials_struck ON trials (node) WHERE struck OR faulty;
CREATE INDEX trials_reused ON trials (reused_node, reused_trial) WHERE reused_node IS NOT NULL;

ALTER TABLE nodes ADD COLUMN verdict TEXT NOT NULL DEFAULT '';     -- a person's last word: struck, restored

CREATE TABLE verdicts (
    id     INTEGER PRIMARY KEY,
    node   INTEGER NOT NULL REFERENCES nodes (id),
    struck INTEGER NOT NULL,      -- 0: restored
    note   TEXT NOT NULL,
    user   TEXT NOT NULL,
    time   TEXT NOT NULL
);
CREATE INDEX verdicts_node ON verdicts (node);
