"""The segments of one worker, one after another: where entries go, what is on disk, when the next begins."""

import itertools
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from configs.serving import GatewayLog
from serving.ledger.errors import LogUnsynced, LogUnwritable
from serving.ledger.header import Header, LoggedCase
from serving.ledger.places import ledger_id
from serving.ledger.segment import SegmentWriter

log = logging.getLogger(__name__)

_BEGIN_EVERY = 0.1
"""Seconds between attempts to begin a segment while that fails."""


class Segments:
    """Takes entries from any thread of a process; syncing in another thread does not hold them up."""

    def __init__(self, folder: Path, worker: str, cases: Mapping[str, LoggedCase], settings: GatewayLog) -> None:
        self.sync_errors = 0
        """How often the disk did not confirm what it was given."""
        self._folder = folder
        self._cases = dict(cases)
        self._settings = settings
        self._name = f"{worker}-{time.time_ns()}"
        self._numbers = itertools.count(1)
        self._segment: SegmentWriter | None = None
        self._cause = "no segment was begun yet"
        self._begin_again_at = 0.0
        self._left: list[SegmentWriter] = []
        """Segments that take no more entries and are not sealed yet."""
        self._oldest: float | None = None
        """When the oldest entry was appended that no sync has begun for."""
        self._syncing_since: float | None = None
        """The same, for the sync that is under way."""
        self._closed = False
        self._appending = threading.Lock()
        self._syncing = threading.Lock()

    @property
    def sync_lag(self) -> float:
        """Seconds since the oldest entry was appended that the disk has not confirmed; 0 if it has confirmed all."""
        since = self._syncing_since or self._oldest
        return 0.0 if since is None else time.monotonic() - since

    def append(self, *payloads: bytes) -> None:
        """Hand entries to the kernel before returning. Raises LogUnwritable, and then nothing of them is kept."""
        with self._appending:
            segment = self._segment
            if segment is None:
                self._append_to_another(payloads, LogUnwritable(self._cause))
            else:
                try:
                    segment.append(*payloads)
                except LogUnwritable as error:
                    self._append_to_another(payloads, error)
            if self._oldest is None:
                self._oldest = time.monotonic()

    def _append_to_another(self, payloads: Sequence[bytes], error: LogUnwritable) -> None:
        """What one file cannot take, another may: a file can be too large, or lie on a broken block."""
        if self._segment is not None and not self._segment.usable:
            self._leave(self._segment)
        if self._closed or time.monotonic() < self._begin_again_at:
            raise error
        another = self._make()
        try:
            another.append(*payloads)
        except LogUnwritable as failed:
            self._pause(failed.cause)
            self._left.append(another)
            raise
        self._leave(self._segment, another)

    def begin(self) -> None:
        """Begin the first segment, or the next one, if none is open. Raises LogUnwritable."""
        with self._appending:
            if self._segment is None and not self._closed:
                self._segment = self._make()

    def _make(self) -> SegmentWriter:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            header = Header(ledger=ledger_id(self._folder), cases=self._cases)
            return SegmentWriter(self._folder, f"{self._name}-{next(self._numbers):06}", header)
        except OSError as error:
            self._pause(error.strerror or str(error))
            raise LogUnwritable(self._cause) from error
        except LogUnwritable as error:
            self._pause(error.cause)
            raise

    def _pause(self, cause: str) -> None:
        self._cause = cause
        self._begin_again_at = time.monotonic() + _BEGIN_EVERY

    def _leave(self, segment: SegmentWriter | None, another: SegmentWriter | None = None) -> None:
        """Go from `segment` to `another`; whichever of them is not used from now on is to be sealed."""
        unused = segment if segment is self._segment else another
        if unused is not None:
            self._left.append(unused)
        if segment is self._segment:
            self._segment = another

    def sync(self) -> None:
        """Have the disk confirm all that was appended before this call; seal what was left; count failures."""
        with self._syncing:
            with self._appending:
                segment, left, self._left = self._segment, self._left, []
                self._syncing_since, self._oldest = self._oldest, None
            for old in left:
                self._confirmed(old.seal)
            if segment is not None and segment.sync_needed and not self._confirmed(segment.sync):
                with self._appending:
                    self._leave(segment)
            self._syncing_since = None

    def _confirmed(self, ask: Callable[[], None]) -> bool:
        try:
            ask()
        except LogUnsynced:
            # The kernel tells it once: asked again, it says that all is well, and what was lost stays lost.
            self.sync_errors += 1
            log.exception("the prediction log is not safe")
            return False
        return True

    @property
    def left(self) -> bool:
        """Whether segments wait to be sealed by the next sync."""
        return bool(self._left)

    def go_on(self, *, at_once: bool = False) -> None:
        """Begin another segment if this one is too large, too old or gone, or at once. Raises LogUnwritable."""
        with self._appending:
            segment = self._segment
            is_due = segment is not None and (at_once or self._is_due(segment))
        if segment is None:
            self.begin()
        elif is_due:
            another = self._make()  # takes milliseconds, in which entries go to the segment of before
            with self._appending:
                self._leave(segment, another)

    def _is_due(self, segment: SegmentWriter) -> bool:
        if segment.is_gone:
            log.error("%s was removed while it was written to: its entries are lost", segment.path.name)
            return True
        if not segment.has_entries:
            return False
        old = time.monotonic() - segment.begun >= self._settings.segment_seconds
        return old or segment.size >= self._settings.segment_mb * 1e6

    def close(self) -> None:
        """Take no more entries, and seal the last segment."""
        with self._appending:
            self._closed = True
            self._cause = "the ledger was closed"
            self._leave(self._segment)
        self.sync()
