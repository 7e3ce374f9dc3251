"""The prediction log: written down before the answer leaves, turned into Parquet afterwards."""
