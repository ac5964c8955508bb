"""What a prompt has to beat: models that are trained on the same rows. `baseline` is the door."""
