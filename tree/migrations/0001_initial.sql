-- The tree of one search. Everything here is derived from events.jsonl (hpc_trex/tree/apply.py);
-- `hpc-trex db rebuild` makes it again. Times are UTC text for people; nothing is decided by them.

CREATE TABLE search (
    id               INTEGER PRIMARY KEY CHECK (id = 1),
    config           TEXT NOT NULL,             -- SearchConfig as JSON
    higher_is_better INTEGER NOT NULL,
    task_digest      TEXT NOT NULL,
    base_digest      TEXT NOT NULL,
    state            TEXT NOT NULL DEFAULT 'running',
    message          TEXT NOT NULL DEFAULT '',
    noise_sd         REAL,
    noise_groups     INTEGER,
    chosen           TEXT,                      -- the event as JSON
    test             TEXT,                      -- the event as JSON
    gpu_seconds      REAL NOT NULL DEFAULT 0,
    cpu_seconds      REAL NOT NULL DEFAULT 0,
    created_at       TEXT NOT NULL,
    last_time        TEXT NOT NULL,
    last_seq         INTEGER NOT NULL,          -- the last event that this database holds
    log_bytes        INTEGER NOT NULL           -- where that event ends in events.jsonl
);

-- Sums over the subtree of a node, itself included: scored, score_sum, failures, pending.
-- The reward is affine in the score, so the mean reward of a subtree follows from these and the search's extremes.
CREATE TABLE nodes (
    id            INTEGER PRIMARY KEY,
    parent        INTEGER REFERENCES nodes (id),
    depth         INTEGER NOT NULL,
    state         TEXT NOT NULL DEFAULT 'pending',
    plan          TEXT,                         -- RoundPlan as JSON; null for the baseline
    move          TEXT NOT NULL DEFAULT '',
    recipe_digest TEXT NOT NULL DEFAULT '',
    data_from     INTEGER REFERENCES nodes (id),
    score         REAL,                         -- only of a finished round
    best_trial    INTEGER,
    failure       TEXT,
    charged       INTEGER NOT NULL DEFAULT 0,
    message       TEXT NOT NULL DEFAULT '',
    report        TEXT NOT NULL DEFAULT '',
    scored        INTEGER NOT NULL DEFAULT 0,   -- finished rounds
    score_sum     REAL NOT NULL DEFAULT 0,      -- of their scores
    failures      INTEGER NOT NULL DEFAULT 0,   -- charged failures
    pending       INTEGER NOT NULL DEFAULT 0,   -- rounds under way
    children      INTEGER NOT NULL DEFAULT 0,   -- own children that count: pending, finished or charged
    gpu_seconds   REAL NOT NULL DEFAULT 0,
    cpu_seconds   REAL NOT NULL DEFAULT 0,
    added_at      TEXT NOT NULL,
    ended_at      TEXT,
    ended_seq     INTEGER                       -- the event that ended it: the order of arrival
);
CREATE INDEX nodes_parent ON nodes (parent);
CREATE INDEX nodes_state ON nodes (state);
CREATE INDEX nodes_score ON nodes (score);
CREATE INDEX nodes_recipe ON nodes (recipe_digest);

CREATE TABLE trials (
    node             INTEGER NOT NULL REFERENCES nodes (id),
    trial            INTEGER NOT NULL CHECK (trial > 0),
    kind             TEXT NOT NULL,
    state            TEXT NOT NULL DEFAULT 'planned',
    plan             TEXT,                      -- TrialPlan as JSON
    seed             INTEGER NOT NULL DEFAULT 0,
    identity         TEXT NOT NULL DEFAULT '',
    replicate_of     INTEGER,                   -- trial of the same node
    reused_node      INTEGER,
    reused_trial     INTEGER,
    score            REAL,
    result           TEXT,                      -- JobResult as JSON, without its curve
    failure          TEXT,
    message          TEXT NOT NULL DEFAULT '',
    micro_batch_size INTEGER,
    added_at         TEXT NOT NULL,
    ended_at         TEXT,
    PRIMARY KEY (node, trial)
);
CREATE INDEX trials_identity ON trials (identity);
CREATE INDEX trials_repeats ON trials (node) WHERE replicate_of IS NOT NULL;
CREATE INDEX trials_state ON trials (state);

CREATE TABLE attempts (
    node             INTEGER NOT NULL REFERENCES nodes (id),
    trial            INTEGER NOT NULL,          -- 0: the round's preparation
    attempt          INTEGER NOT NULL,
    kind             TEXT NOT NULL,
    token            TEXT NOT NULL UNIQUE,
    state            TEXT NOT NULL DEFAULT 'intent',
    job_id           TEXT,
    failure          TEXT,
    message          TEXT NOT NULL DEFAULT '',
    host             TEXT NOT NULL DEFAULT '',
    seconds          REAL NOT NULL DEFAULT 0,
    cpu_seconds      REAL NOT NULL DEFAULT 0,
    gpus             INTEGER NOT NULL DEFAULT 0,
    minutes          INTEGER NOT NULL DEFAULT 0,
    micro_batch_size INTEGER,
    progress_step    INTEGER NOT NULL DEFAULT 0,
    directory        TEXT NOT NULL,
    result           TEXT,                      -- of a preparation only; a trial keeps its own
    intended_at      TEXT NOT NULL,
    queued_at        TEXT,
    running_at       TEXT,
    ended_at         TEXT,
    PRIMARY KEY (node, trial, attempt)
);
CREATE INDEX attempts_state ON attempts (state);

CREATE TABLE insights (
    id    INTEGER PRIMARY KEY,
    node  INTEGER NOT NULL REFERENCES nodes (id), -- whose diagnosis said it
    text  TEXT NOT NULL,
    nodes TEXT NOT NULL,                          -- JSON list: the nodes that support it
    kind  TEXT NOT NULL DEFAULT ''
);
CREATE INDEX insights_node ON insights (node);

CREATE TABLE notes (
    id   INTEGER PRIMARY KEY,
    time TEXT NOT NULL,
    text TEXT NOT NULL,
    node INTEGER
);
