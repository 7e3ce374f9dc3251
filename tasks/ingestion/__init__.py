"""ingest: rows from a source become batches, immutable, one file each."""
