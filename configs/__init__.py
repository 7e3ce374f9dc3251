"""What a case is, what may change a model, and where it all runs: read once, frozen, unknown keys refused."""
