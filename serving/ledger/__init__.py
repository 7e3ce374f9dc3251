"""ledger: the prediction log; segments while it is written, Parquet when it is read."""
