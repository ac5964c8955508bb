-- results.db, version 12: which program a run tuned, and what its rows took, each of them in several calls.
BEGIN IMMEDIATE;

ALTER TABLE runs ADD COLUMN program TEXT NOT NULL DEFAULT '';  -- module:name of the DSPy program that it tuned; empty for a prompt
ALTER TABLE outcomes ADD COLUMN calls TEXT;            -- of a program: JSON list of completions.id, as it asked; else NULL
ALTER TABLE contender_outcomes ADD COLUMN calls TEXT;  -- as outcomes.calls
ALTER TABLE prompt_trials ADD COLUMN answered INTEGER NOT NULL DEFAULT 0;  -- rows that these calls were made for
UPDATE prompt_trials SET answered = calls;

DROP VIEW history;
DROP VIEW pareto_front;
DROP VIEW cost_per_trial;

CREATE VIEW cost_per_trial AS            -- what did each prompt cost?
SELECT run, number AS trial, calls, cost, prompt_tokens, completion_tokens, call_seconds / calls AS seconds_per_call,
       cost / answered * 1000 AS cost_per_1000
FROM prompt_trials
WHERE calls > 0
ORDER BY run, number;

CREATE VIEW pareto_front AS              -- which fully scored prompts does no other beat in score, cost and latency?
WITH measured AS (                       -- where nothing was paid, tokens stand for cost
  SELECT t.run, t.number AS trial, t.score, t.low, t.high, c.cost_per_1000,
         1e6 * t.call_seconds / t.answered AS ms_per_1000,
         1000.0 * (c.prompt_tokens + c.completion_tokens) / t.answered AS tokens_per_1000, t.params,
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

CREATE VIEW history AS                   -- what is known of each trial? (what `phrasetune history --where` asks)
SELECT t.run, r.name AS task, r.program, r.model, r.metric, r.status, r.started, t.number AS trial, t.state, t.score,
       t.low, t.high, t.n AS rows, t.estimate, t.estimate_low, t.estimate_high, coalesce(t.number = r.winner, 0) AS winner, t.calls,
       t.cost, t.cost / nullif(t.answered, 0) * 1000 AS cost_per_1000, t.prompt_tokens, t.completion_tokens,
       t.call_seconds / nullif(t.calls, 0) AS seconds_per_call, t.seconds, t.reason, t.params, p.text AS prompt
FROM prompt_trials t JOIN runs r ON r.id = t.run JOIN prompts p ON p.digest = t.prompt
ORDER BY t.run, t.number;

CREATE VIEW program_calls AS             -- what did the steps of a program answer on each dev row, and at what price?
SELECT o.run, o.trial, o.example, j.key AS position, l.text, l.finish_reason, l.prompt_tokens, l.completion_tokens,
       l.cost, l.seconds
FROM outcomes o JOIN json_each(o.calls) j JOIN ledger l ON l.id = j.value;

PRAGMA user_version = 12;
COMMIT;
