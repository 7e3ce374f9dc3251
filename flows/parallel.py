"""What the monitors' pieces run on: threads here, or a Dask cluster through Prefect's task runner."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from configs.alerts import MonitoringPlace
from configs.errors import ConfigError

Parallel = Callable[[Callable[..., Any], Iterable[Any]], Iterable[Any]]
"""Like `map`: the results in the order of the items; the first error is raised."""


@contextmanager
def parallel_map(place: MonitoringPlace) -> Iterator[Parallel]:
    """A `map` that runs where the place says. Raises ConfigError if the place asks for Dask and it is not installed."""
    if place.runner == "threads":
        with ThreadPoolExecutor(place.workers) as pool:
            yield pool.map
    else:
        with _dask(place) as parallel:
            yield parallel


@contextmanager
def _dask(place: MonitoringPlace) -> Iterator[Parallel]:
    try:
        from prefect_dask.task_runners import DaskTaskRunner  # noqa: PLC0415 - an extra that not every place installs
    except ImportError as error:
        raise ConfigError(
            f"`monitoring.runner: dask` needs the extra `dask`, which is not installed here ({error}): "
            "`uv sync --extra dask`, or use threads."
        ) from error
    here = {"n_workers": place.workers, "threads_per_worker": 1, "dashboard_address": None}
    cluster = {"address": place.address} if place.address else {"cluster_kwargs": here}
    with DaskTaskRunner(**cluster) as runner:

        def on_cluster(call: Callable[..., Any], items: Iterable[Any]) -> Iterable[Any]:
            # Not `pure`: Dask would give the result of an equal call before, and the log grows meanwhile.
            results: list[Any] = runner.client.gather(runner.client.map(call, list(items), pure=False))
            return results

        yield on_cluster
