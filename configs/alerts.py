"""Whom a place tells when something needs a person, and what its monitors run on (`alerts`, `monitoring`)."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from configs.frozen import Frozen

BlockDocument = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+/[a-z0-9-]+$")]


class AlertParams(Frozen):
    """Where alerts go."""

    channels: tuple[BlockDocument, ...] = ()
    """Prefect's notification blocks, as `type/name`: `slack-webhook/ops`, `pager-duty-webhook/night`."""
    runbook: str = "docs/runbook.md"
    """Where people find what to do: a path or a URL; alerts link to its sections."""


class MonitoringPlace(Frozen):
    """What the monitors run on."""

    runner: Literal["threads", "dask"] = "threads"
    """`dask`: on the cluster at `address`, or one of this machine's processes without one."""
    workers: int | None = Field(None, ge=1)
    """Threads, or processes of a cluster on this machine; as many as there are cores if not given."""
    address: str | None = None
    """Of a Dask scheduler that runs already."""
