"""The compactor: turn after turn, what workers wrote becomes Parquet, days are merged, old days removed."""

import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path

from configs.errors import EvergreenError
from serving.ledger.compaction import CORRUPT, Compacted, compact
from serving.ledger.merging import is_over, merge_day
from serving.ledger.places import ledger_id
from serving.ledger.privacy import hash_key
from serving.ledger.recovery import recover
from serving.ledger.refusals import Shipping
from serving.ledger.segment import SEALED
from serving.ledger.status import STATUS_FILE, Status, backlog
from serving.ledger.store import Store
from tasks.adapters.refusals import REFUSED
from tasks.errors import DiskFull

log = logging.getLogger(__name__)

_PAUSE = 2.0
_MOST_DOUBLINGS = 5
_MERGE_SECONDS = 10.0
"""After which segments come first again."""
_REMOVE_EVERY = timedelta(hours=1)

Days = set[tuple[str, date]]


class Compactor:
    """Works on one folder of segments, and is the only one that does."""

    def __init__(
        self, folder: Path, store: Store, retention_days: Mapping[str, int], now: Callable[[], datetime]
    ) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._store = store
        self._refused = store.beside(REFUSED)
        self._shipping = Shipping(folder, self._refused.put)
        self._retention_days = dict(retention_days)
        self._now = now
        self._unmerged: Days | None = None
        """Days that may have something to merge; None until the store was looked through."""
        self._remove_at = now()
        self._rows = 0
        self._failing: str | None = None
        self._failures = 0

    def turn(self) -> float:
        """Do what there is to do; gives the seconds to wait before the next turn, more after each that failed."""
        self._failing = None
        try:
            self._work()
        except EvergreenError as error:
            self._fail(f"{type(error).__name__}: {error}")
        self._failures = self._failures + 1 if self._failing else 0
        self.tell()
        return _PAUSE * 2.0 ** min(self._failures, _MOST_DOUBLINGS)

    def _work(self) -> None:
        recover(self._folder)
        touched: Days = set()
        for path in sorted(self._folder.glob(f"*{SEALED}")):
            compacted = self._compact(path)
            touched |= compacted.days
            self._rows += compacted.rows
            self.tell()
        self._shipping.turn(ledger_id(self._folder), self._now().timestamp())
        self._merge(touched)
        self._remove_old()

    def _compact(self, path: Path) -> Compacted:
        try:
            return compact(path, self._store, lambda: self._key)
        except OSError as error:  # this segment waits; the others need not
            self._fail(f"{path.name}: {error.strerror or error}")
            return Compacted(0, frozenset())

    @cached_property
    def _key(self) -> bytes:
        return hash_key(self._folder)

    def _merge(self, touched: Days) -> None:
        if self._unmerged is None:
            self._unmerged = {(case, day) for case in self._store.cases() for day in self._store.days(case)}
        self._unmerged |= touched
        ledger, now, began = ledger_id(self._folder), self._now(), time.monotonic()
        for case, day in sorted(self._unmerged):
            over = is_over(day, now)
            if over or (case, day) in touched:
                merged = merge_day(self._store, case, day, ledger, now)
                if over and not merged:
                    self._unmerged.discard((case, day))
            if time.monotonic() - began > _MERGE_SECONDS:
                return

    def _remove_old(self) -> None:
        now = self._now()
        if now < self._remove_at:
            return
        for case, kept in self._retention_days.items():
            first = now.astimezone(UTC).date() - timedelta(days=kept)
            for day in self._store.days(case):
                if day < first:
                    self._store.remove_day(case, day)
                    log.info("%s: the predictions of %s were removed, being older than %d days", case, day, kept)
            for day in self._refused.days(case):
                if day < first:
                    self._refused.remove_day(case, day)
        self._remove_old_damage(now)
        self._remove_at = now + _REMOVE_EVERY

    def _remove_old_damage(self, now: datetime) -> None:
        """Remove damaged segments; whose rows are in one nobody can tell, so the shortest retention holds for all."""
        kept = min(self._retention_days.values(), default=None)
        if kept is None:
            return
        for path in (self._folder / CORRUPT).glob(f"*{SEALED}"):
            written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            if written.date() < now.astimezone(UTC).date() - timedelta(days=kept):
                path.unlink()
                log.warning("%s was removed, being damaged and older than %d days", path.name, kept)

    def _fail(self, why: str) -> None:
        self._failing = why
        log.error("%s", why)

    def tell(self) -> None:
        """Write the status."""
        now = self._now()
        bytes_, segments, oldest = backlog(self._folder, now.timestamp())
        status = Status(
            at=now,
            backlog_bytes=bytes_,
            backlog_segments=segments,
            oldest_segment_seconds=oldest,
            rows=self._rows,
            corrupt_segments=sum(1 for _ in (self._folder / CORRUPT).glob(f"*{SEALED}")),
            failing=self._failing,
        )
        try:
            status.write(self._folder / STATUS_FILE)
        except DiskFull as error:  # what the compactor does next may make room
            log.error("%s", error)  # noqa: TRY400 - nothing else is known
