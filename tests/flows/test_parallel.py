"""Threads here and Dask elsewhere give the same results, in the same order."""

import importlib.util
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from configs.alerts import MonitoringPlace
from flows.parallel import Parallel, parallel_map
from tasks.monitoring.grid import Grid
from tasks.monitoring.hours import count_hours
from tests.outcomes.lent import Frame, loans
from tests.outcomes.loans import DAY, START, project

DASK = pytest.param(
    MonitoringPlace(runner="dask", workers=2),
    marks=[
        pytest.mark.slow,
        pytest.mark.xdist_group("dask"),
        pytest.mark.skipif(
            importlib.util.find_spec("prefect_dask") is None, reason="the extra `dask` is not installed"
        ),
        # Dask's own sockets and loops are closed by its processes, not before pytest looks.
        pytest.mark.filterwarnings("default"),
    ],
    id="dask",
)
PLACES = [pytest.param(MonitoringPlace(workers=3), id="threads"), DASK]


@pytest.fixture(scope="module", params=PLACES)
def parallel(request: pytest.FixtureRequest) -> Iterator[Parallel]:
    with parallel_map(request.param) as opened:
        yield opened


def squared_late(number: int) -> int:
    """The first items take longest, so that results arrive in another order than they were asked for."""
    time.sleep(0.02 * (5 - number))
    return number**2


def refuses(number: int) -> int:
    raise ValueError(f"not {number}")


def test_results_come_in_the_order_of_the_items_wherever_they_are_computed(parallel: Parallel) -> None:
    assert list(parallel(squared_late, range(5))) == list(map(squared_late, range(5)))
    assert list(parallel(squared_late, range(5))) == [0, 1, 4, 9, 16], "again, with nothing kept from before"
    with pytest.raises(ValueError, match="not 1"):
        list(parallel(refuses, [1]))


def test_a_log_is_counted_the_same_wherever_it_is_counted(parallel: Parallel, tmp_path: Path) -> None:
    case = project(tmp_path).case("loans")
    rows = loans(np.random.default_rng(2), 3000).rename(columns={"score": "probability"})
    when = pd.Timestamp(START) + pd.to_timedelta(np.arange(3000) * 86.4, unit="s")
    log = Frame(
        rows.assign(
            request_id=[f"q{n}" for n in range(3000)], row=0, answered_at=when, model_version="1", role="champion",
            contract_version=1,
        )
    )  # fmt: skip
    batch = pa.RecordBatch.from_pandas(rows.rename(columns={"probability": "score"}), preserve_index=False)
    grid = Grid.fit(case.contract, case.problem, [batch], 1)
    count = partial(count_hours, log, grid, case.problem, 200)
    days = [(START + n * DAY, START + (n + 1) * DAY) for n in range(3)]
    elsewhere = [hour.to_bytes() for hours in parallel(count, days) for hour in hours]
    assert elsewhere == [hour.to_bytes() for hours in map(count, days) for hour in hours]
    assert len(elsewhere) == 72
