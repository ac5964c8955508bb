"""DSPy programs: the user's own, tuned whole, and those made of winning prompts. Doors of DSPy."""
