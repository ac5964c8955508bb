-- results.db, version 5: from how many labelled rows on training overtakes the prompt, and what each costs to find.
BEGIN IMMEDIATE;

ALTER TABLE baselines ADD COLUMN seconds REAL NOT NULL DEFAULT 0; -- to find the hyperparameters and to train; 0: not measured

CREATE TABLE learning_curves (           -- the trained baseline on parts of its training rows, against the prompt
  run INTEGER PRIMARY KEY REFERENCES runs (id),
  prompt TEXT NOT NULL,                  -- which contender it is compared with
  crossover INTEGER,                     -- least number of training rows from which on it scores at least as well; NULL: none known
  low INTEGER,                           -- 95 % interval of the crossover; NULL: above all training rows
  high INTEGER,                          -- NULL: more than can be said
  extrapolated INTEGER NOT NULL          -- 1: lies beyond the rows there are, on a power law through the last points
);

CREATE TABLE learning_points (           -- one number of training rows
  run INTEGER NOT NULL REFERENCES learning_curves (run),
  rows INTEGER NOT NULL,                 -- trained on
  score REAL NOT NULL,                   -- on the test rows, in the mean over the draws of training rows
  low REAL NOT NULL,                     -- its 95 % interval
  high REAL NOT NULL,
  repeats INTEGER NOT NULL,              -- draws
  difference REAL NOT NULL,              -- that score less the prompt's, on the same test rows
  difference_low REAL NOT NULL,
  difference_high REAL NOT NULL,
  PRIMARY KEY (run, rows)
);

CREATE TABLE bills (                     -- what it took to find a contender; what it takes to use it stands in contenders
  run INTEGER NOT NULL,
  name TEXT NOT NULL,
  finding REAL,                          -- US dollars, labels included; NULL where the price is not known
  labels REAL NOT NULL,                  -- US dollars, of the labelled rows
  labelled INTEGER NOT NULL,             -- rows that it learned from or was chosen on
  seconds REAL NOT NULL,                 -- of search or training
  PRIMARY KEY (run, name),
  FOREIGN KEY (run, name) REFERENCES contenders (run, name)
);

PRAGMA user_version = 5;
COMMIT;
