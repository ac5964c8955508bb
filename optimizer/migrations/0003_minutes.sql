-- results.db, version 3: how long a run has been worked on, so that its cap on minutes also counts what came before it was resumed.
BEGIN IMMEDIATE;

ALTER TABLE runs ADD COLUMN worked REAL NOT NULL DEFAULT 0; -- seconds, of all processes that worked on it one after the other

PRAGMA user_version = 3;
COMMIT;
