-- results.db, version 1. Optuna's own tables (studies, trials, …) stand in the same file; none of ours uses their names.
-- Scores lie in [0, 1], costs are US dollars, durations are seconds, times are UTC in ISO 8601.
BEGIN IMMEDIATE;

CREATE TABLE runs (                      -- one search
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,                    -- the task's name
  config TEXT NOT NULL,                  -- digest of all that decides the course of the run
  task TEXT NOT NULL,                    -- the task file as JSON
  model TEXT NOT NULL,
  metric TEXT NOT NULL,
  data TEXT NOT NULL,                    -- digest of the rows and their splits: examples.data
  status TEXT NOT NULL CHECK (status IN ('running', 'interrupted', 'failed', 'finished')),
  started TEXT NOT NULL,
  finished TEXT,
  winner INTEGER,                        -- prompt_trials.number
  owner TEXT NOT NULL DEFAULT '',        -- the process at work on it: host, number and start
  reason TEXT NOT NULL DEFAULT '',       -- why it stopped
  bought INTEGER NOT NULL DEFAULT 0,     -- completions paid for
  reused INTEGER NOT NULL DEFAULT 0,     -- completions found in the ledger
  cost REAL                              -- NULL where the price is not known
);

CREATE TABLE wordings (                  -- the texts behind the ids in prompt_trials.params
  run INTEGER NOT NULL REFERENCES runs (id),
  dimension TEXT NOT NULL,
  id TEXT NOT NULL,
  text TEXT,                             -- NULL: kept for a wording that may come during the search
  origin TEXT NOT NULL CHECK (origin IN ('space', 'user', 'model')),
  parent TEXT,                           -- id of the wording that it was made from
  arrived TEXT,                          -- when; NULL for those that the run began with
  step INTEGER,                          -- the search's decision at which it entered; NULL until then
  PRIMARY KEY (run, dimension, id)
);

CREATE TABLE examples (                  -- the rows of the data
  data TEXT NOT NULL,
  id TEXT NOT NULL,
  split TEXT NOT NULL,                   -- train, dev or test
  position INTEGER NOT NULL,
  inputs TEXT NOT NULL,                  -- JSON object
  targets TEXT NOT NULL,                 -- JSON list of accepted answers
  slices TEXT NOT NULL DEFAULT '{}',     -- JSON object: column -> value
  PRIMARY KEY (data, split, id)
);

CREATE TABLE prompts (
  digest TEXT PRIMARY KEY,
  json TEXT NOT NULL,                    -- the whole prompt; a nearest-demo pool is stored once, in pools
  text TEXT NOT NULL                     -- as a person reads it
);

CREATE TABLE pools (                     -- rows that a prompt draws its demos from for each input
  digest TEXT PRIMARY KEY,
  json TEXT NOT NULL
);

CREATE TABLE prompt_trials (             -- one prompt tried in a run; number 0 is the seed prompt
  run INTEGER NOT NULL REFERENCES runs (id),
  number INTEGER NOT NULL,
  prompt TEXT NOT NULL REFERENCES prompts (digest),
  params TEXT NOT NULL,                  -- JSON object: dimension -> value
  state TEXT NOT NULL CHECK (state IN ('running', 'complete', 'pruned', 'failed')),
  score REAL,                            -- the metric over the n dev rows seen
  low REAL,                              -- 95 % interval of the score
  high REAL,
  n INTEGER NOT NULL,
  steps TEXT NOT NULL,                   -- JSON object: rows seen -> running score
  estimate REAL,                         -- score over all dev rows as the pooled model has it, corrected for the choice
  estimate_low REAL,                     -- its 95 % interval
  estimate_high REAL,
  reason TEXT NOT NULL,                  -- why it was stopped
  seconds REAL NOT NULL,
  PRIMARY KEY (run, number)
);

CREATE TABLE outcomes (                  -- one prompt on one dev row
  run INTEGER NOT NULL,
  trial INTEGER NOT NULL,
  example TEXT NOT NULL,                 -- examples.id
  kind TEXT NOT NULL CHECK (kind IN ('right', 'wrong', 'unparsed', 'error')),
  score REAL,                            -- NULL for an error: it says nothing about the prompt
  answer TEXT,                           -- as read; NULL if none could be read
  completion TEXT NOT NULL,              -- completions.key
  step INTEGER NOT NULL,                 -- the search's decision that asked for it
  error TEXT NOT NULL,                   -- what the provider said of a failed call, without keys
  PRIMARY KEY (run, trial, example),
  FOREIGN KEY (run, trial) REFERENCES prompt_trials (run, number)
);

CREATE TABLE completions (               -- the ledger: a completion is bought once
  key TEXT PRIMARY KEY,                  -- digest of model, address, messages, settings and sample index
  model TEXT NOT NULL,
  text TEXT NOT NULL,
  finish_reason TEXT NOT NULL,
  logprobs TEXT,                         -- JSON list of [beginning of the answer, log-probability]; NULL without
  prompt_tokens INTEGER NOT NULL,
  completion_tokens INTEGER NOT NULL,
  cost REAL NOT NULL,
  seconds REAL NOT NULL,
  run INTEGER NOT NULL,                  -- the run that bought it
  bought TEXT NOT NULL                   -- when
);
CREATE INDEX completions_by_run ON completions (run);

CREATE TABLE failures (                  -- calls that gave no answer; they count against the caps like others
  id INTEGER PRIMARY KEY,
  run INTEGER NOT NULL,
  key TEXT NOT NULL,                     -- as completions.key
  model TEXT NOT NULL,
  error TEXT NOT NULL,                   -- what the provider said, without keys
  cost REAL NOT NULL,                    -- of those that were charged all the same
  seconds REAL NOT NULL,
  made TEXT NOT NULL                     -- when
);
CREATE INDEX failures_by_run ON failures (run);

CREATE TABLE openings (                  -- when the sealed test split was opened, and for whom
  data TEXT NOT NULL,
  run INTEGER NOT NULL REFERENCES runs (id),
  opened TEXT NOT NULL,
  PRIMARY KEY (data, run)
);

CREATE TABLE baselines (                 -- the trained rival of a run
  run INTEGER PRIMARY KEY REFERENCES runs (id),
  detail TEXT NOT NULL,
  params TEXT NOT NULL,                  -- JSON object: hyperparameter -> value
  curve TEXT NOT NULL,                   -- JSON list: dev score after each epoch
  dev_score REAL NOT NULL,
  model BLOB                             -- skops file
);

CREATE TABLE contenders (                -- who was compared on the test rows
  run INTEGER NOT NULL REFERENCES runs (id),
  name TEXT NOT NULL,
  position INTEGER NOT NULL,
  score REAL NOT NULL,
  low REAL NOT NULL,
  high REAL NOT NULL,
  n INTEGER NOT NULL,
  cost_per_1000 REAL,                    -- NULL where the price is not known
  ms_per_1000 REAL NOT NULL,
  train_rows INTEGER NOT NULL,
  detail TEXT NOT NULL,
  PRIMARY KEY (run, name)
);

CREATE TABLE contender_outcomes (        -- a contender on one test row
  run INTEGER NOT NULL,
  name TEXT NOT NULL,
  example TEXT NOT NULL,
  kind TEXT NOT NULL,
  score REAL,
  answer TEXT,
  completion TEXT NOT NULL,
  PRIMARY KEY (run, name, example),
  FOREIGN KEY (run, name) REFERENCES contenders (run, name)
);

CREATE TABLE comparisons (               -- contender a minus contender b on the same test rows
  run INTEGER NOT NULL REFERENCES runs (id),
  a TEXT NOT NULL,
  b TEXT NOT NULL,
  difference REAL NOT NULL,
  low REAL NOT NULL,
  high REAL NOT NULL,
  p_value REAL NOT NULL,
  test TEXT NOT NULL,
  PRIMARY KEY (run, a, b)
);

CREATE TABLE verdicts (
  run INTEGER PRIMARY KEY REFERENCES runs (id),
  metric TEXT NOT NULL,
  sentence TEXT NOT NULL,
  opened INTEGER NOT NULL                -- how many runs had opened this test split by then
);

CREATE TABLE importances (               -- which ingredient paid, by the pooled model; nothing from a control
  run INTEGER NOT NULL REFERENCES runs (id),
  dimension TEXT NOT NULL,
  share REAL NOT NULL,                   -- of the variance between prompts, explained by the dimension alone
  low REAL NOT NULL,                     -- its 95 % interval
  high REAL NOT NULL,
  best NOT NULL,                         -- the best level, as it stands in prompt_trials.params
  gain REAL NOT NULL,                    -- mean row score of that level less that of the seed prompt's level
  gain_low REAL NOT NULL,
  gain_high REAL NOT NULL,
  total REAL NOT NULL,                   -- share that the dimension explains alone and together with others
  PRIMARY KEY (run, dimension)
);

CREATE TABLE ablations (                 -- the winner less the winner with one dimension set back, on the same dev rows
  run INTEGER NOT NULL REFERENCES runs (id),
  dimension TEXT NOT NULL,
  winner_value NOT NULL,
  seed_value NOT NULL,                   -- what it was set back to
  difference REAL NOT NULL,
  low REAL NOT NULL,
  high REAL NOT NULL,
  p_value REAL NOT NULL,
  PRIMARY KEY (run, dimension)
);

-- What people ask. Each view is one question.

CREATE VIEW best_trials AS               -- which prompts are best? (fully scored ones first, by score; then by estimate)
SELECT t.run, r.name, t.number AS trial, t.score, t.low, t.high, t.n, t.estimate, t.state,
       t.number = r.winner AS winner, t.params, p.text AS prompt
FROM prompt_trials t JOIN runs r ON r.id = t.run JOIN prompts p ON p.digest = t.prompt
WHERE t.score IS NOT NULL
ORDER BY t.run DESC, t.state = 'complete' DESC, t.state <> 'complete' AND t.estimate IS NULL,
         CASE t.state WHEN 'complete' THEN t.score ELSE coalesce(t.estimate, t.score) END DESC, t.number;

CREATE VIEW cost_per_trial AS            -- what did each prompt cost?
SELECT o.run, o.trial, COUNT(*) AS calls, SUM(c.cost) AS cost, SUM(c.prompt_tokens) AS prompt_tokens,
       SUM(c.completion_tokens) AS completion_tokens, AVG(c.seconds) AS seconds_per_call,
       SUM(c.cost) / COUNT(*) * 1000 AS cost_per_1000
FROM outcomes o JOIN completions c ON c.key = o.completion
GROUP BY o.run, o.trial;

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
JOIN outcomes s ON s.run = r.id AND s.trial = 0
JOIN outcomes w ON w.run = r.id AND w.trial = r.winner AND w.example = s.example
JOIN examples e ON e.data = r.data AND e.split = 'dev' AND e.id = s.example
WHERE s.score > w.score
UNION ALL
SELECT r.id, 'test', s.example, e.inputs, e.targets, s.answer, w.answer
FROM runs r
JOIN contender_outcomes s ON s.run = r.id AND s.name = 'seed prompt'
JOIN contender_outcomes w ON w.run = r.id AND w.name = 'best prompt' AND w.example = s.example
JOIN examples e ON e.data = r.data AND e.split = 'test' AND e.id = s.example
WHERE s.score > w.score;

PRAGMA application_id = 1885892212;      -- "phnt"
PRAGMA user_version = 1;
COMMIT;
