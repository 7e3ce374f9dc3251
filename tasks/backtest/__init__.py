"""backtest: what a policy of retraining would have done over a case's recorded history."""
