"""How many rows were answered since a moment, from windows that may overlap."""

from collections.abc import Sequence
from datetime import datetime

from tasks.verdicts import Figure


def rows_since(figures: Sequence[Figure], moment: datetime) -> int:
    """Rows of windows that lie after `moment` and do not overlap, the newest first: never more than there were."""
    rows, until = 0, None
    for figure in sorted(figures, key=lambda each: (each.end, each.start), reverse=True):
        if figure.start >= moment and (until is None or figure.end <= until):
            rows, until = rows + figure.rows, figure.start
    return rows
