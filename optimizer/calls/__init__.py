"""Calls to models: how they are made, how they can fail, and what they cost. `models` and `ledger` are the doors."""
