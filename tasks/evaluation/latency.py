"""How long one prediction takes."""

import statistics
from collections.abc import Callable
from time import perf_counter

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

_WARM_UP = 3
_CALLS = 30


def median_ms(predict: Callable[[], object], clock: Callable[[], float] = perf_counter) -> float:
    """Median wall time of `predict()` in milliseconds, on one thread, as a served model gets."""
    with threadpool_limits(1):
        for _ in range(_WARM_UP):
            predict()
        return statistics.median(_seconds(predict, clock) for _ in range(_CALLS)) * 1000


def _seconds(predict: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    predict()
    return clock() - start
