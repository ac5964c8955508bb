"""Calls to models: how one goes out, what may go wrong with it, what it costs. `models` and `ledger` are the doors."""
