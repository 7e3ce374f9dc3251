"""Flows that run in this very process, without a server that could lose sight of them."""

from collections.abc import Iterator
from contextlib import contextmanager

from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings


@contextmanager
def embedded() -> Iterator[None]:
    """Without heartbeats: nobody listens to them, and each flow would wait up to a second for its last one."""
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield
