-- results.db, version 6: prompt and baseline together, the contenders on other rows, and what the rows are good for.
BEGIN IMMEDIATE;

CREATE TABLE cascades (                  -- the baseline answers where it is sure, a prompt elsewhere
  run INTEGER PRIMARY KEY REFERENCES runs (id),
  prompt TEXT NOT NULL,                  -- which contender answers the rest
  baseline TEXT NOT NULL,                -- which contender answers where it is sure
  confidence REAL,                       -- how sure it must be, as it states it; NULL: the prompt answers every row
  surer REAL NOT NULL,                   -- its mean calibrated confidence on the test rows less its score there
  surer_low REAL NOT NULL,               -- 95 % interval
  surer_high REAL NOT NULL
);

CREATE TABLE cascade_points (            -- the cascade at one threshold
  run INTEGER NOT NULL REFERENCES cascades (run),
  position INTEGER NOT NULL,             -- from no row for the prompt to every row
  threshold REAL,                        -- calibrated confidence; NULL: none is enough
  share REAL NOT NULL,                   -- of the test rows that go to the prompt
  dev_score REAL NOT NULL,
  score REAL NOT NULL,                   -- on the test rows
  low REAL NOT NULL,                     -- its 95 % interval
  high REAL NOT NULL,
  cost_per_1000 REAL,                    -- US dollars; NULL where the price is not known
  chosen INTEGER NOT NULL,               -- 1: the threshold that was chosen on the dev rows
  PRIMARY KEY (run, position)
);

CREATE TABLE elsewhere (                 -- a contender on other rows than the test rows
  run INTEGER NOT NULL,
  name TEXT NOT NULL,
  rows TEXT NOT NULL,                    -- train, dev or ood
  n INTEGER NOT NULL,                    -- rows that have a score
  score REAL NOT NULL,
  low REAL NOT NULL,                     -- its 95 % interval
  high REAL NOT NULL,
  difference REAL NOT NULL,              -- that score less the test score
  difference_low REAL NOT NULL,          -- 95 % interval; the rows are different ones
  difference_high REAL NOT NULL,
  PRIMARY KEY (run, name, rows),
  FOREIGN KEY (run, name) REFERENCES contenders (run, name)
);

CREATE TABLE suspects (                  -- rows on which prompt and baseline agree against the label
  run INTEGER NOT NULL REFERENCES runs (id),
  example TEXT NOT NULL,
  split TEXT NOT NULL,                   -- dev or test
  label TEXT NOT NULL,                   -- as it stands in the data
  answer TEXT NOT NULL,                  -- what both say
  confidence REAL NOT NULL,              -- of the baseline, calibrated
  PRIMARY KEY (run, split, example)
);

CREATE TABLE duplicates (                -- rows that are the same, or nearly
  run INTEGER NOT NULL REFERENCES runs (id),
  kind TEXT NOT NULL,                    -- identical, contradicting (identical with different targets) or near
  splits TEXT NOT NULL,                  -- in which they stand
  groups INTEGER NOT NULL,               -- how many groups (near: pairs)
  example TEXT NOT NULL,                 -- ids of one of them
  PRIMARY KEY (run, kind, splits)
);

CREATE TABLE drifts (                    -- how well rows of two splits can be told apart
  run INTEGER NOT NULL REFERENCES runs (id),
  what TEXT NOT NULL,                    -- by their texts or by their labels
  a TEXT NOT NULL,
  b TEXT NOT NULL,
  size REAL NOT NULL,                    -- texts: AUC of a classifier (0.5: not at all); labels: total variation (0: not at all)
  p_value REAL NOT NULL,                 -- corrected for the number of tests of the run
  PRIMARY KEY (run, what, a, b)
);

PRAGMA user_version = 6;
COMMIT;
