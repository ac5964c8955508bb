"""What a verdict says beside the scores, and how it is come to. `verdict` is the door."""
