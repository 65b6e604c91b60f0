-- What an insight claims, in figures where it was measured: so that later evidence can be held against it.

ALTER TABLE insights ADD COLUMN direction TEXT NOT NULL DEFAULT '';  -- helps, hurts, depends, neutral, withdrawn; '': not told
ALTER TABLE insights ADD COLUMN effect REAL;                         -- mean gain in points of the score
ALTER TABLE insights ADD COLUMN errors REAL;                         -- the same in standard errors of a difference
ALTER TABLE insights ADD COLUMN pairs INTEGER;                       -- observations behind it
