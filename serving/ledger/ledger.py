"""The ledger of a worker: no answer leaves before its entry is in the prediction log."""

import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from configs.serving import GatewayLog
from serving.errors import Unavailable
from serving.ledger.errors import LogUnwritable
from serving.ledger.group import GroupCommit
from serving.ledger.header import LoggedCase
from serving.ledger.refusals import Refusals
from serving.ledger.segments import Segments
from tasks.errors import DiskFull

log = logging.getLogger(__name__)

_LOOK_EVERY = 0.25
"""Seconds within which a segment that became too large or too old is noticed."""
_COUNTS_EVERY = 1.0
"""Seconds of refusals that a killed process loses from its counts, at most."""
_TELL_EVERY = 10.0
"""Seconds between two lines of the process log about the same trouble."""


class Ledger:
    """Writes entries down and has the disk confirm them; refuses, or raises the alarm, when it cannot."""

    def __init__(self, folder: Path, worker: str, cases: Mapping[str, LoggedCase], settings: GatewayLog) -> None:
        """Begin a segment in `folder`; if that fails the ledger is `failing`, and goes on trying."""
        self.waits_for_disk = settings.durability == "answer"
        """Whether an answer is to use `commit` rather than `record`."""
        self.appended = 0
        """Entries written."""
        self.bytes = 0
        self.unlogged = 0
        """Answers given although they are not safely in the log (`when_full: answer`)."""
        self.failing: str | None = None
        """Why the log cannot be written; None while it can."""
        self.refusals = Refusals(folder, worker)
        """What is not in the log, because it got no answer."""
        self._is_to_refuse = settings.when_full == "refuse"
        self._sync_every = settings.sync_ms / 1000
        self._told_at = -_TELL_EVERY
        self._segments = Segments(folder, worker, cases, settings)
        self._group = GroupCommit(self._segments.sync)
        self._go_on()
        self._stop = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="ledger", daemon=True)
        self._keeper.start()

    @property
    def sync_errors(self) -> int:
        """How often the disk did not confirm what it was given: a power cut may lose some of it."""
        return self._segments.sync_errors

    @property
    def sync_lag(self) -> float:
        """Seconds since the oldest entry was written that the disk has not confirmed; 0 if it has confirmed all."""
        return self._segments.sync_lag

    @property
    def refuses(self) -> bool:
        """Whether nobody is answered now, because it could not be written down."""
        return self._is_to_refuse and self.failing is not None

    def record(self, *payloads: bytes) -> bool:
        """Write entries at once, which the disk confirms within `sync_ms`; tells whether they are in the log.

        Raises Unavailable if they cannot be written and the place is to refuse then.
        """
        try:
            self._segments.append(*payloads)
        except LogUnwritable as error:
            self._alarm(error)
            self._leave_unlogged(len(payloads))
            return False
        self.appended += len(payloads)
        self.bytes += sum(map(len, payloads))
        if self.failing is not None:
            self._recover()
        return True

    async def commit(self, *payloads: bytes) -> bool:
        """Write entries and wait until the disk has confirmed them; tells and raises as `record` does."""
        errors = self._segments.sync_errors
        if not self.record(*payloads):
            return False
        await self._group.wait()
        if self._segments.sync_errors != errors:
            self._leave_unlogged(len(payloads))
            return False
        return True

    def _leave_unlogged(self, entries: int) -> None:
        if self._is_to_refuse:
            raise Unavailable("The prediction log cannot be written, and no answer is given without it.")
        self.unlogged += entries

    def _alarm(self, error: LogUnwritable) -> None:
        self.failing = error.cause
        self._tell(str(error))

    def _tell(self, trouble: str) -> None:
        if time.monotonic() - self._told_at >= _TELL_EVERY:
            self._told_at = time.monotonic()
            log.error("%s", trouble)

    def _recover(self) -> None:
        log.warning("the prediction log is written again; so far %d answers are not in it", self.unlogged)
        self.failing = None
        self._told_at = -_TELL_EVERY

    def _keep(self) -> None:
        """Sync, and begin another segment when it is time, until the ledger is closed."""
        pause = min(self._sync_every, _LOOK_EVERY)
        counts_due = time.monotonic() + _COUNTS_EVERY
        while not self._stop.wait(pause):
            self._go_on()
            # What would be too late at the next look is synced at this one.
            if self._segments.left or self._segments.sync_lag + pause >= self._sync_every:
                self._segments.sync()
            if time.monotonic() >= counts_due:
                self._write_refusals()
                counts_due = time.monotonic() + _COUNTS_EVERY

    def _write_refusals(self) -> None:
        try:
            self.refusals.write()
        except (DiskFull, OSError) as error:
            self._tell(f"What was refused is not counted on disk, and is tried again: {error}")

    def _go_on(self) -> None:
        """Without requests, a disk that has room again is noticed too: a gateway that is not ready gets none."""
        failed = self.failing is not None
        try:
            self._segments.go_on(at_once=failed)
        except LogUnwritable as error:
            self._alarm(error)
            return
        if failed and self.failing is not None:
            self._recover()

    def close(self) -> None:
        """Have the disk confirm everything, and seal. For the event loop's thread, when no request is left."""
        self._stop.set()
        self._keeper.join()
        self._segments.close()
        self._group.close()
        self._write_refusals()
