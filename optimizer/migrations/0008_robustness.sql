-- results.db, version 8: how steady the contenders are under changes that should not matter.
BEGIN IMMEDIATE;

CREATE TABLE changed (                   -- a contender under one change
  run INTEGER NOT NULL,
  name TEXT NOT NULL,
  change TEXT NOT NULL,                  -- noise in the inputs, another order of demos, another wording
  n INTEGER NOT NULL,                    -- test rows that have a score
  score REAL NOT NULL,
  low REAL NOT NULL,                     -- its 95 % interval
  high REAL NOT NULL,
  difference REAL NOT NULL,              -- that score less the one of the same rows without the change
  difference_low REAL NOT NULL,
  difference_high REAL NOT NULL,
  PRIMARY KEY (run, name, change),
  FOREIGN KEY (run, name) REFERENCES contenders (run, name)
);

CREATE TABLE steadiness (                -- a contender under all its changes
  run INTEGER NOT NULL,
  name TEXT NOT NULL,
  changes INTEGER NOT NULL,              -- how many
  mean REAL NOT NULL,                    -- score
  mean_low REAL NOT NULL,                -- 95 % interval over rows and changes
  mean_high REAL NOT NULL,
  difference REAL NOT NULL,              -- that mean less the score without a change
  difference_low REAL NOT NULL,
  difference_high REAL NOT NULL,
  worst TEXT NOT NULL,                   -- change
  worst_score REAL NOT NULL,
  worst_difference REAL NOT NULL,
  worst_low REAL NOT NULL,               -- interval of the worst difference, 95 % for all changes together
  worst_high REAL NOT NULL,
  PRIMARY KEY (run, name),
  FOREIGN KEY (run, name) REFERENCES contenders (run, name)
);

PRAGMA user_version = 8;
COMMIT;
