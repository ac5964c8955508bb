"""The engine of a search: the pooled model, the choice of what to ask next, and the controls. `search` is the door."""
