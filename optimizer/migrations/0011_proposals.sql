-- results.db, version 11: wordings that a model proposes, and the rounds in which it was asked for them.
BEGIN IMMEDIATE;

ALTER TABLE wordings ADD COLUMN reason TEXT;  -- what the model was asked for, and why; NULL for wordings of no model
ALTER TABLE wordings ADD COLUMN cost REAL;    -- US dollars: its share of the reply that it came in

CREATE TABLE proposals (                 -- rounds of proposals from a model, also those that were thought not to pay
  run INTEGER NOT NULL REFERENCES runs (id),
  step INTEGER NOT NULL,                 -- the search's decision before which it was asked
  calls INTEGER NOT NULL,                -- answers on dev rows looked at by then
  level REAL,                            -- what the leading prompt was thought to score then; NULL where nobody says
  kept INTEGER NOT NULL,                 -- wordings that enter
  refused TEXT NOT NULL,                 -- JSON list of [text, why]
  open INTEGER NOT NULL,                 -- whether the model may be asked again
  said TEXT NOT NULL,                    -- what came of it
  PRIMARY KEY (run, step)
);

PRAGMA user_version = 11;
COMMIT;
