"""How rows become batches: sources, periods, deliveries that stay as they are."""
