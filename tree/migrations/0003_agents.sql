-- Calls of the agents to a language model: what each used. Their texts stand in llm/ of the search.

CREATE TABLE calls (
    call       TEXT PRIMARY KEY,
    node       INTEGER NOT NULL,  -- may be the number of a round that is still being designed
    role       TEXT NOT NULL,
    model      TEXT NOT NULL,
    tokens_in  INTEGER,           -- NULL: the server did not say
    tokens_out INTEGER,
    money      REAL,
    seconds    REAL NOT NULL DEFAULT 0,
    error      TEXT NOT NULL DEFAULT '',
    time       TEXT NOT NULL
);
CREATE INDEX calls_by_node ON calls (node);

ALTER TABLE search ADD COLUMN tokens INTEGER NOT NULL DEFAULT 0; -- of all calls, in and out, as far as known
ALTER TABLE search ADD COLUMN money REAL NOT NULL DEFAULT 0;
