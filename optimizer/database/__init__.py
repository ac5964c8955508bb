"""results.db: its file, its schema, and the reading and writing of its tables. `store` is the door."""
