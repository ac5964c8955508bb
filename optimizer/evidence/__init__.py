"""How a verdict is reached, and what it says besides the scores. `verdict` is the door."""
