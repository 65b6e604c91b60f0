-- What waits for a person before a search goes on (launch --approve), and what the person said.

CREATE TABLE gates (
    node       INTEGER NOT NULL,           -- may be the number of a round that is still being designed
    gate       TEXT NOT NULL,              -- requirements, strategy, data
    number     INTEGER NOT NULL,           -- 1 and up: a rejected proposal is followed by another
    parent     INTEGER,
    text       TEXT NOT NULL,              -- what is to be judged
    plan       TEXT,
    identity   TEXT NOT NULL DEFAULT '',   -- of the plan: a rejected one is not proposed again
    asked_at   TEXT NOT NULL,
    asked_seq  INTEGER NOT NULL,
    approved   INTEGER,                    -- NULL: it waits
    note       TEXT NOT NULL DEFAULT '',
    user       TEXT NOT NULL DEFAULT '',
    decided_at TEXT NOT NULL DEFAULT '',
    counts     INTEGER NOT NULL DEFAULT 1, -- a rejection: against its parent, until the search is set going again
    PRIMARY KEY (node, gate, number)
);
CREATE INDEX gates_by_identity ON gates (identity);
