-- results.db, version 7: how far groups of rows are apart, and how often a swapped term turns an answer.
BEGIN IMMEDIATE;

CREATE TABLE group_scores (              -- a contender on the test rows of one group
  run INTEGER NOT NULL,
  name TEXT NOT NULL,
  "column" TEXT NOT NULL,                -- one of the slices
  value TEXT NOT NULL,                   -- the group
  n INTEGER NOT NULL,                    -- rows that have a score
  score REAL NOT NULL,
  low REAL NOT NULL,                     -- its 95 % interval
  high REAL NOT NULL,
  PRIMARY KEY (run, name, "column", value),
  FOREIGN KEY (run, name) REFERENCES contenders (run, name)
);

CREATE TABLE group_gaps (                -- the two groups of a column that are farthest apart, in mean row scores
  run INTEGER NOT NULL,
  name TEXT NOT NULL,
  "column" TEXT NOT NULL,
  best TEXT NOT NULL,                    -- group
  worst TEXT NOT NULL,                   -- group
  groups INTEGER NOT NULL,               -- that were compared
  difference REAL NOT NULL,
  low REAL NOT NULL,                     -- its interval, 95 % for all pairs of groups together
  high REAL NOT NULL,
  p_value REAL NOT NULL,                 -- corrected for the number of groups and columns
  PRIMARY KEY (run, name, "column"),
  FOREIGN KEY (run, name) REFERENCES contenders (run, name)
);

CREATE TABLE flips (                     -- a contender on test rows in which the listed terms were swapped
  run INTEGER NOT NULL,
  name TEXT NOT NULL,
  n INTEGER NOT NULL,                    -- rows with such a term that were answered both ways
  flips INTEGER NOT NULL,                -- of which so many got another answer
  low REAL NOT NULL,                     -- 95 % interval of their share
  high REAL NOT NULL,
  difference REAL NOT NULL,              -- the score on swapped rows less that on the same rows as they are
  difference_low REAL NOT NULL,
  difference_high REAL NOT NULL,
  PRIMARY KEY (run, name),
  FOREIGN KEY (run, name) REFERENCES contenders (run, name)
);

PRAGMA user_version = 7;
COMMIT;
