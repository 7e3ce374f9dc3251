"""What time it is: the one place in the flows that asks the machine, and where a replay says otherwise."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from flows.errors import AsOfAhead

_CLOCKS_DIFFER = timedelta(minutes=5)
"""Runs ask each other for moments, from machines whose clocks differ a little."""
_set: datetime | None = None


def now() -> datetime:
    """The moment at which a flow decides or records, in UTC: the machine's, or the one that a replay has come to."""
    return _set or datetime.now(UTC)


def in_utc(moment: datetime) -> datetime:
    """A moment that somebody entered; where no zone is named, as in a form of the UI, UTC is meant."""
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def not_ahead(as_of: datetime) -> datetime:
    """A moment that somebody asked for, in UTC. Raises AsOfAhead if it has not come: what is half there would stay."""
    moment = in_utc(as_of)
    if moment > now() + _CLOCKS_DIFFER:
        raise AsOfAhead(moment, now())
    return moment


@contextmanager
def at(moment: datetime) -> Iterator[None]:
    """Let it be `moment`, in every thread of this process, until the block ends."""
    global _set  # noqa: PLW0603 - one process has one time, whichever thread or step of Prefect asks
    before, _set = _set, moment.astimezone(UTC)
    try:
        yield
    finally:
        _set = before
