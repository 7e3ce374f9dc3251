"""Threads here and Dask elsewhere give the same results, in the same order."""

import importlib.util
import time

import pytest

from configs.alerts import MonitoringPlace
from flows.parallel import parallel_map

DASK = pytest.param(
    MonitoringPlace(runner="dask", workers=2),
    marks=[
        pytest.mark.slow,
        pytest.mark.skipif(
            importlib.util.find_spec("prefect_dask") is None, reason="the extra `dask` is not installed"
        ),
        # Dask's own sockets and loops are closed by its processes, not before pytest looks.
        pytest.mark.filterwarnings("default"),
    ],
    id="dask",
)
PLACES = [pytest.param(MonitoringPlace(workers=3), id="threads"), DASK]


def squared_late(number: int) -> int:
    """The first items take longest, so that results arrive in another order than they were asked for."""
    time.sleep(0.02 * (5 - number))
    return number**2


def refuses(number: int) -> int:
    raise ValueError(f"not {number}")


@pytest.mark.parametrize("place", PLACES)
def test_results_come_in_the_order_of_the_items_wherever_they_are_computed(place: MonitoringPlace) -> None:
    with parallel_map(place) as parallel:
        assert list(parallel(squared_late, range(5))) == list(map(squared_late, range(5)))
        assert list(parallel(squared_late, range(5))) == [0, 1, 4, 9, 16], "again, with nothing kept from before"
        with pytest.raises(ValueError, match="not 1"):
            list(parallel(refuses, [1]))
