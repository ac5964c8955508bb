-- results.db, version 9: several kinds of trained rivals for a run, with what each cost, and those left out.
BEGIN IMMEDIATE;

ALTER TABLE baselines RENAME TO single_baselines;

CREATE TABLE baselines (                 -- the trained rivals of a run; the best on dev goes into the verdict
  run INTEGER NOT NULL REFERENCES runs (id),
  kind TEXT NOT NULL,                    -- linear, encoder, lora or provider
  left_out TEXT NOT NULL DEFAULT '',     -- why it was not trained; then the rest is NULL
  detail TEXT,
  params TEXT,                           -- JSON object: hyperparameter -> value
  curve TEXT,                            -- JSON list: dev score after each epoch
  dev_score REAL,
  model BLOB,                            -- skops file; of kind lora one of safetensors; NULL where the provider has it
  trials INTEGER,                        -- sets of hyperparameters that were tried; 0: not counted
  seconds REAL,                          -- to find the hyperparameters and to train; 0: not measured
  cost REAL,                             -- US dollars of the same; NULL where the price is not known
  PRIMARY KEY (run, kind)
);

INSERT INTO baselines (run, kind, detail, params, curve, dev_score, model, trials, seconds, cost)
SELECT run, 'linear', detail, params, curve, dev_score, model, 0, seconds, 0 FROM single_baselines ORDER BY run;

DROP TABLE single_baselines;

CREATE TABLE tuning_jobs (               -- fine-tuning jobs at a provider; each is bought once
  key TEXT PRIMARY KEY,                  -- digest of model, address, rows and settings
  run INTEGER NOT NULL REFERENCES runs (id), -- the run that submitted it
  model TEXT NOT NULL,                   -- the model that is tuned
  file TEXT NOT NULL,                    -- the provider's name of the training rows
  dev_file TEXT NOT NULL,                -- and of the dev rows
  job TEXT NOT NULL,                     -- the provider's name of the job; '': nobody knows whether it was submitted
  status TEXT NOT NULL,                  -- as the provider told it last
  tuned TEXT NOT NULL,                   -- the model that came of it; '': none yet
  usd REAL NOT NULL,                     -- the most that it may cost; from its end on what it did cost
  tokens INTEGER NOT NULL,               -- the same, in trained tokens
  seconds REAL NOT NULL                  -- from its submission on
);
CREATE INDEX tuning_jobs_by_run ON tuning_jobs (run);

PRAGMA user_version = 9;
COMMIT;
