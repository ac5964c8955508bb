"""The commands of the command line, grouped by purpose, and what they share. `cli` combines them."""
