-- results.db, version 10: whether a winner still answers as it did, and all that is known of a trial in one view.
BEGIN IMMEDIATE;

CREATE TABLE rechecks (                  -- a winner asked again: has the provider changed?
  id INTEGER PRIMARY KEY,                -- also the sample index of its calls, which no answer bought before fits
  run INTEGER NOT NULL REFERENCES runs (id),
  trial INTEGER NOT NULL,
  split TEXT NOT NULL,                   -- whose rows were asked: test, or dev where the test rows were not opened
  rows INTEGER NOT NULL,                 -- asked
  started TEXT NOT NULL,
  finished TEXT,                         -- NULL: stopped before its end; then the rest is NULL as well
  n INTEGER,                             -- rows that have an answer of both times
  changed INTEGER,                       -- of which so many got another answer
  low REAL,                              -- 95 % interval of their share
  high REAL,
  score_then REAL,                       -- on these rows; NULL where the metric is a judge's or code of one's own
  score REAL,                            -- now
  difference REAL,                       -- now less then
  difference_low REAL,                   -- its 95 % interval
  difference_high REAL,
  p_value REAL,
  origins_then TEXT,                     -- JSON list of [version, fingerprint], as the provider calls model and machine
  origins TEXT                           -- the same, now
);

CREATE VIEW history AS                   -- what is known of each trial? (what `phrasetune history --where` asks)
SELECT t.run, r.name AS task, r.model, r.metric, r.status, r.started, t.number AS trial, t.state, t.score, t.low, t.high,
       t.n AS rows, t.estimate, t.estimate_low, t.estimate_high, coalesce(t.number = r.winner, 0) AS winner, t.calls,
       t.cost, t.cost / nullif(t.calls, 0) * 1000 AS cost_per_1000, t.prompt_tokens, t.completion_tokens,
       t.call_seconds / nullif(t.calls, 0) AS seconds_per_call, t.seconds, t.reason, t.params, p.text AS prompt
FROM prompt_trials t JOIN runs r ON r.id = t.run JOIN prompts p ON p.digest = t.prompt
ORDER BY t.run, t.number;

-- What earlier versions left unsaid:
-- TABLE prompts: each prompt that was tried, once
-- TABLE verdicts: what a run has come to on the sealed test rows, in one sentence

PRAGMA user_version = 10;
COMMIT;
