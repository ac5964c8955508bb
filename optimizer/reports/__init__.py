"""Turning records into tables, text, JSON, CSV and Markdown. `report` is the door."""
