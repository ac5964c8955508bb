"""Programs of DSPy: tuned as they are, and made of winners. Doors of DSPy."""
