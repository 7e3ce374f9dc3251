"""train: one scikit-learn pipeline from the training window."""
