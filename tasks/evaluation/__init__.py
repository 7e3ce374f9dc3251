"""evaluate: candidate and champion on the same fresh rows, and the gate's decision."""
