"""How answers are scored: the metrics, of rows and of sets, a judge, calibration. `scoring` is the door."""
