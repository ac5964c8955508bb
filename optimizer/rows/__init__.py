"""Files and objects -> rows: reading, guessing, sampling, splitting. `data` is the door."""
