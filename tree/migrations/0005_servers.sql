-- Jobs that serve the agents' language model (launch --llm-serve): what each may use and what it used.

CREATE TABLE servers (
    number      INTEGER PRIMARY KEY,
    token       TEXT NOT NULL UNIQUE,
    state       TEXT NOT NULL DEFAULT 'intent', -- queued: the scheduler has it; ended
    job_id      TEXT,
    gpus        INTEGER NOT NULL DEFAULT 0,
    cpus        INTEGER NOT NULL DEFAULT 0,
    minutes     INTEGER NOT NULL DEFAULT 0,
    seconds     REAL NOT NULL DEFAULT 0,
    cpu_seconds REAL NOT NULL DEFAULT 0,
    message     TEXT NOT NULL DEFAULT '',
    directory   TEXT NOT NULL,
    user        TEXT NOT NULL DEFAULT '',
    account     TEXT NOT NULL DEFAULT '',
    intended_at TEXT NOT NULL,
    ended_at    TEXT
);
