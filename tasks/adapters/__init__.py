"""The doors to MLflow, DVC, git and the history's database; no other room opens them."""
