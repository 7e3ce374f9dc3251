"""What time it is: the one place in the flows that asks the machine, and where a replay says otherwise."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

_set: datetime | None = None


def now() -> datetime:
    """The moment at which a flow decides or records, in UTC: the machine's, or the one that a replay has come to."""
    return _set or datetime.now(UTC)


@contextmanager
def at(moment: datetime) -> Iterator[None]:
    """Let it be `moment`, in every thread of this process, until the block ends."""
    global _set  # noqa: PLW0603 - one process has one time, whichever thread or step of Prefect asks
    before, _set = _set, moment.astimezone(UTC)
    try:
        yield
    finally:
        _set = before
