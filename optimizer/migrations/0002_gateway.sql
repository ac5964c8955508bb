-- results.db, version 2: what a provider tells of an answer, calls in flight, and what may have been paid for nothing.
BEGIN IMMEDIATE;

ALTER TABLE completions ADD COLUMN cached_tokens INTEGER NOT NULL DEFAULT 0;    -- of the prompt, from the provider's cache
ALTER TABLE completions ADD COLUMN reasoning_tokens INTEGER NOT NULL DEFAULT 0; -- of the answer, not in its text
ALTER TABLE completions ADD COLUMN version TEXT NOT NULL DEFAULT '';            -- of the model, as the provider calls it
ALTER TABLE completions ADD COLUMN fingerprint TEXT NOT NULL DEFAULT '';        -- of the machine that answered

ALTER TABLE failures ADD COLUMN tokens INTEGER NOT NULL DEFAULT 0;              -- at most, where it may have been charged
ALTER TABLE failures ADD COLUMN possibly_paid INTEGER NOT NULL DEFAULT 0;       -- 1: nobody knows; cost is the most it can be

CREATE TABLE calls_in_flight (           -- sent, and not answered yet
  key TEXT PRIMARY KEY,                  -- as completions.key
  run INTEGER NOT NULL,
  model TEXT NOT NULL,
  owner TEXT NOT NULL,                   -- the process that sent it: host, number and start
  cost REAL NOT NULL,                    -- at most
  tokens INTEGER NOT NULL,               -- at most
  sent TEXT NOT NULL                     -- when
);

PRAGMA user_version = 2;
COMMIT;
