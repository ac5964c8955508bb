"""Scoring answers: metrics of rows and of whole sets, a judge, calibration. `scoring` is the door."""
