"""From files and objects to rows: reading, guessing columns, sampling, splitting. `data` is the door."""
