-- What the Executor changed of trials and recipes that failed, and what it was answered where it asked its model.

CREATE TABLE repairs (
    node       INTEGER NOT NULL,
    trial      INTEGER NOT NULL,            -- 0: the round's data recipe
    number     INTEGER NOT NULL,            -- 1 and up
    attempt    INTEGER NOT NULL,            -- the job that failed
    by         TEXT NOT NULL,               -- rule, model
    outcome    TEXT NOT NULL,               -- repaired, refused, given up
    failure    TEXT NOT NULL,
    changes    TEXT NOT NULL DEFAULT '',    -- what was changed, in words
    reason     TEXT NOT NULL DEFAULT '',
    superseded INTEGER NOT NULL DEFAULT 0,  -- by the trial's being opened again: it no longer counts against the bound
    time       TEXT NOT NULL,
    PRIMARY KEY (node, trial, number)
);

ALTER TABLE trials ADD COLUMN how TEXT NOT NULL DEFAULT '{}';           -- JSON: what a repair set of how it is computed
ALTER TABLE trials ADD COLUMN repaired_from TEXT NOT NULL DEFAULT '';   -- identity of the planned experiment, where a repair made it another
CREATE INDEX trials_repaired ON trials (repaired_from) WHERE repaired_from != '';
