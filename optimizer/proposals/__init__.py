"""Wordings that come from a model, or from a person while a search goes on. `propose` is the door."""
