-- results.db, version 4: a completion has a number that outcomes point at, each text stands once, a trial knows what its
-- answers cost, and damage to an answer is noticed. `packed` and `checksum` are functions of optimizer/database/opening.py.
BEGIN IMMEDIATE;

DROP VIEW rows_the_winner_broke;
DROP VIEW pareto_front;
DROP VIEW cost_per_trial;
DROP INDEX completions_by_run;
ALTER TABLE completions RENAME TO old_completions;
ALTER TABLE outcomes RENAME TO old_outcomes;
ALTER TABLE contender_outcomes RENAME TO old_contender_outcomes;

CREATE TABLE origins (                   -- who answered
  id INTEGER PRIMARY KEY,
  model TEXT NOT NULL,
  version TEXT NOT NULL,                 -- of the model, as the provider calls it
  fingerprint TEXT NOT NULL,             -- of the machine that answered
  UNIQUE (model, version, fingerprint)
);

CREATE TABLE completions (               -- the ledger: a completion is bought once; the view `ledger` is easier to read
  id INTEGER PRIMARY KEY,
  key BLOB NOT NULL UNIQUE,              -- digest of model, address, messages, settings and sample index, 16 bytes
  origin INTEGER NOT NULL REFERENCES origins (id),
  text TEXT NOT NULL,
  finish_reason TEXT NOT NULL,
  logprobs TEXT,                         -- JSON list of [beginning of the answer, log-probability]; NULL without
  prompt_tokens INTEGER NOT NULL,
  completion_tokens INTEGER NOT NULL,
  cached_tokens INTEGER NOT NULL,        -- of the prompt, from the provider's cache
  reasoning_tokens INTEGER NOT NULL,     -- of the answer, not in its text
  cost REAL NOT NULL,
  seconds REAL NOT NULL,
  run INTEGER NOT NULL,                  -- the run that bought it
  bought INTEGER NOT NULL,               -- when, in seconds since 1970
  checksum INTEGER NOT NULL              -- CRC-32 of what the answer says and cost: a damaged one is not taken for another
);
CREATE INDEX completions_by_run ON completions (run);

CREATE TABLE outcomes (                  -- one prompt on one dev row; the view `answers` is easier to read
  run INTEGER NOT NULL,
  trial INTEGER NOT NULL,
  example TEXT NOT NULL,                 -- examples.id
  kind TEXT NOT NULL CHECK (kind IN ('right', 'wrong', 'unparsed', 'error')),
  score REAL,                            -- NULL for an error: it says nothing about the prompt
  answer TEXT,                           -- as read; NULL if it is the completion's text, or none could be read
  completion INTEGER,                    -- completions.id; NULL if the call failed
  step INTEGER NOT NULL,                 -- the search's decision that asked for it
  error TEXT NOT NULL,                   -- what the provider said of a failed call, without keys
  PRIMARY KEY (run, trial, example),
  FOREIGN KEY (run, trial) REFERENCES prompt_trials (run, number)
) WITHOUT ROWID;

CREATE TABLE contender_outcomes (        -- a contender on one test row; the view `test_answers` is easier to read
  run INTEGER NOT NULL,
  name TEXT NOT NULL,
  example TEXT NOT NULL,
  kind TEXT NOT NULL,
  score REAL,
  answer TEXT,                           -- as outcomes.answer
  completion INTEGER,                    -- completions.id; NULL if the call failed, or for a trained model
  PRIMARY KEY (run, name, example),
  FOREIGN KEY (run, name) REFERENCES contenders (run, name)
) WITHOUT ROWID;

INSERT INTO origins (model, version, fingerprint)
SELECT model, version, fingerprint FROM old_completions GROUP BY model, version, fingerprint ORDER BY MIN(rowid);

INSERT INTO completions
SELECT c.rowid, packed(c.key), o.id, c.text, c.finish_reason, c.logprobs, c.prompt_tokens, c.completion_tokens,
       c.cached_tokens, c.reasoning_tokens, c.cost, c.seconds, c.run, CAST(strftime('%s', c.bought) AS INTEGER),
       checksum(c.key, c.text, c.prompt_tokens, c.completion_tokens, c.cost, c.seconds, c.finish_reason,
                c.cached_tokens, c.reasoning_tokens, c.version, c.fingerprint, c.logprobs)
FROM old_completions c
JOIN origins o ON o.model = c.model AND o.version = c.version AND o.fingerprint = c.fingerprint ORDER BY c.rowid;

INSERT INTO outcomes
SELECT o.run, o.trial, o.example, o.kind, o.score,
       CASE WHEN o.kind IN ('right', 'wrong') THEN nullif(o.answer, c.text) ELSE o.answer END, c.rowid, o.step, o.error
FROM old_outcomes o LEFT JOIN old_completions c ON c.key = o.completion ORDER BY o.run, o.trial, o.example;

INSERT INTO contender_outcomes
SELECT o.run, o.name, o.example, o.kind, o.score,
       CASE WHEN o.kind IN ('right', 'wrong') THEN nullif(o.answer, c.text) ELSE o.answer END, c.rowid
FROM old_contender_outcomes o LEFT JOIN old_completions c ON c.key = o.completion ORDER BY o.run, o.name, o.example;

DROP TABLE old_outcomes;
DROP TABLE old_contender_outcomes;
DROP TABLE old_completions;

-- What the answers of a trial took, so that a list of trials need not read them all.
ALTER TABLE prompt_trials ADD COLUMN calls INTEGER NOT NULL DEFAULT 0;
ALTER TABLE prompt_trials ADD COLUMN cost REAL NOT NULL DEFAULT 0;
ALTER TABLE prompt_trials ADD COLUMN prompt_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE prompt_trials ADD COLUMN completion_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE prompt_trials ADD COLUMN call_seconds REAL NOT NULL DEFAULT 0;
UPDATE prompt_trials SET (calls, cost, prompt_tokens, completion_tokens, call_seconds) = (
  SELECT COUNT(*), COALESCE(SUM(c.cost), 0), COALESCE(SUM(c.prompt_tokens), 0), COALESCE(SUM(c.completion_tokens), 0),
         COALESCE(SUM(c.seconds), 0)
  FROM outcomes o JOIN completions c ON c.id = o.completion
  WHERE o.run = prompt_trials.run AND o.trial = prompt_trials.number
);

-- CRC-32 of example, kind, score, answer and completion of all outcomes; NULL where an older phrasetune wrote them.
ALTER TABLE prompt_trials ADD COLUMN checksum INTEGER;
ALTER TABLE contenders ADD COLUMN checksum INTEGER;

CREATE VIEW ledger AS                    -- what was bought, from whom, and when?
SELECT c.id, CASE typeof(c.key) WHEN 'blob' THEN lower(hex(c.key)) ELSE c.key END AS key, o.model, o.version,
       o.fingerprint, c.text, c.finish_reason, c.logprobs, c.prompt_tokens, c.completion_tokens, c.cached_tokens,
       c.reasoning_tokens, c.cost, c.seconds, c.run, strftime('%Y-%m-%dT%H:%M:%S+00:00', c.bought, 'unixepoch') AS bought
FROM completions c JOIN origins o ON o.id = c.origin;

CREATE VIEW answers AS                   -- what did each prompt answer on each dev row, and at what price?
SELECT o.run, o.trial, o.example, o.kind, o.score, o.step, o.error, c.text, c.prompt_tokens, c.completion_tokens, c.cost,
       c.seconds, CASE WHEN o.kind IN ('right', 'wrong') THEN coalesce(o.answer, c.text) ELSE o.answer END AS answer
FROM outcomes o LEFT JOIN completions c ON c.id = o.completion;

CREATE VIEW test_answers AS              -- what did each contender answer on each test row, and at what price?
SELECT o.run, o.name, o.example, o.kind, o.score, c.text, c.prompt_tokens, c.completion_tokens, c.cost,
       c.seconds, CASE WHEN o.kind IN ('right', 'wrong') THEN coalesce(o.answer, c.text) ELSE o.answer END AS answer
FROM contender_outcomes o LEFT JOIN completions c ON c.id = o.completion;

CREATE VIEW cost_per_trial AS            -- what did each prompt cost?
SELECT run, number AS trial, calls, cost, prompt_tokens, completion_tokens, call_seconds / calls AS seconds_per_call,
       cost / calls * 1000 AS cost_per_1000
FROM prompt_trials
WHERE calls > 0
ORDER BY run, number;

CREATE VIEW pareto_front AS              -- which fully scored prompts does no other beat in score, cost and latency?
WITH measured AS (                       -- where nothing was paid, tokens stand for cost
  SELECT t.run, t.number AS trial, t.score, t.low, t.high, c.cost_per_1000, 1e6 * c.seconds_per_call AS ms_per_1000,
         1000.0 * (c.prompt_tokens + c.completion_tokens) / c.calls AS tokens_per_1000, t.params,
         MAX(c.cost) OVER (PARTITION BY t.run) > 0 AS paid
  FROM prompt_trials t JOIN cost_per_trial c ON c.run = t.run AND c.trial = t.number
  WHERE t.state = 'complete' AND t.score IS NOT NULL
), compared AS (                         -- two figures of a latency: the rest is the clock's
  SELECT *, round(score, 6) AS s, CAST(printf('%.2g', ms_per_1000) AS REAL) AS m,
         CAST(printf('%.4g', CASE WHEN paid THEN cost_per_1000 ELSE tokens_per_1000 END) AS REAL) AS c
  FROM measured
)
SELECT run, trial, score, low, high, cost_per_1000, tokens_per_1000, ms_per_1000, params
FROM compared a
WHERE NOT EXISTS (SELECT 1 FROM compared b WHERE b.run = a.run AND b.s >= a.s AND b.c <= a.c AND b.m <= a.m
                  AND (b.s > a.s OR b.c < a.c OR b.m < a.m))
ORDER BY run DESC, score DESC, trial;

CREATE VIEW rows_the_winner_broke AS     -- which rows did the seed prompt have right and the winner wrong?
SELECT r.id AS run, 'dev' AS split, s.example, e.inputs, e.targets, s.answer AS seed_answer, w.answer AS winner_answer
FROM runs r
JOIN answers s ON s.run = r.id AND s.trial = 0
JOIN answers w ON w.run = r.id AND w.trial = r.winner AND w.example = s.example
JOIN examples e ON e.data = r.data AND e.split = 'dev' AND e.id = s.example
WHERE s.score > w.score
UNION ALL
SELECT r.id, 'test', s.example, e.inputs, e.targets, s.answer, w.answer
FROM runs r
JOIN test_answers s ON s.run = r.id AND s.name = 'seed prompt'
JOIN test_answers w ON w.run = r.id AND w.name = 'best prompt' AND w.example = s.example
JOIN examples e ON e.data = r.data AND e.split = 'test' AND e.id = s.example
WHERE s.score > w.score;

PRAGMA user_version = 4;
COMMIT;
