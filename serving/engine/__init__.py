"""engine: a registered pipeline that scores rows: as a compiled plan proven equal, or itself in micro-batches."""
