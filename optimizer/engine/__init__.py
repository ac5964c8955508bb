"""What a search thinks with: the pooled model, what is asked next, and the controls. `search` is the door."""
