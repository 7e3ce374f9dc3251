"""Counts of what was refused: the log holds answers only, and a feed that breaks its contract wholly leaves none.

A process keeps its counts in one small file beside the segments, which the compactor brings to where the log lies.
"""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import orjson

from configs.case import Contract
from serving.records import RowProblem
from tasks.files import write_whole

FOLDER = "refused"
_HOUR = 3600
_MOST_HOURS = 48
"""In one file; then another is begun."""
_KEPT_SECONDS = 86_400
"""A file that has not changed for so long is removed. Should its writer still count, it is there again, whole."""

Counted = tuple[str, int, int]
"""Case, contract version, and hour since 1970."""
Reason = tuple[str | None, str]
"""A field of the contract, or None, and what was wrong with it."""
Put = Callable[[str, date, str, bytes], None]
"""Writes a file of a case and day, by its name."""


def reasons_of(problems: Iterable[RowProblem], contract: Contract) -> list[Reason]:
    """What was wrong, column by column. A name that a client made up is nobody's: there would be no end of them."""
    return [(each.field if each.field in contract.columns else None, each.reason) for each in problems]


class Refusals:
    """What one process refused. Its file holds all of it, so that whoever reads it twice counts nothing twice."""

    def __init__(self, folder: Path, writer: str) -> None:
        self._folder = folder / FOLDER
        self._writer = writer
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._path = self._folder / f"{self._writer}-{time.time_ns()}.json"
        self._rows: Counter[Counted] = Counter()
        self._reasons: defaultdict[Counted, Counter[Reason]] = defaultdict(Counter)
        self._changed = False

    def add(self, case: str, contract: int, at: float, rows: int, reasons: Iterable[Reason]) -> None:
        """Count `rows` that were refused at `at` (seconds since 1970), and each of the `reasons` once."""
        counted = case, contract, int(at // _HOUR)
        with self._lock:
            self._rows[counted] += rows
            self._reasons[counted].update(reasons)
            self._changed = True

    def write(self) -> None:
        """Bring what was counted since the last time to disk; from any thread. Raises DiskFull."""
        with self._lock:
            if not self._changed:
                return
            content, self._changed = orjson.dumps(self._by_day()), False
        try:
            write_whole(self._path, lambda part: part.write_bytes(content))
        except BaseException:
            self._changed = True
            raise
        with self._lock:
            if len(self._rows) > _MOST_HOURS and not self._changed:
                self._begin()

    def _by_day(self) -> dict[str, dict[str, list[dict[str, Any]]]]:
        """By case and day (UTC), as `tasks.adapters.refusals` reads it."""
        found: defaultdict[str, dict[str, list[dict[str, Any]]]] = defaultdict(dict)
        for (case, contract, number), rows in self._rows.items():
            hour = datetime.fromtimestamp(number * _HOUR, UTC)
            reasons = [
                {"field": field, "reason": reason, "rows": times}
                for (field, reason), times in self._reasons[case, contract, number].items()
            ]
            told = {"hour": hour, "contract_version": contract, "rows": rows, "reasons": reasons}
            found[case].setdefault(hour.date().isoformat(), []).append(told)
        return dict(found)


class Shipping:
    """Brings the counts of all processes of this machine to where the log lies."""

    def __init__(self, folder: Path, put: Put) -> None:
        self._folder = folder / FOLDER
        self._put = put
        self._brought: dict[Path, int] = {}
        """When a file was last modified (ns) of those that were brought."""

    def turn(self, ledger: str, now: float) -> None:
        """Bring what has changed; remove what changes no more. Raises what `put` raises."""
        for path in sorted(self._folder.glob("*.json")):
            modified = path.stat().st_mtime_ns
            if self._brought.get(path) != modified:
                for case, days in orjson.loads(path.read_bytes()).items():
                    for day, hours in days.items():
                        self._put(case, date.fromisoformat(day), f"{ledger}-{path.name}", orjson.dumps(hours))
                self._brought[path] = modified
            elif now - modified / 1e9 > _KEPT_SECONDS:
                path.unlink()
                del self._brought[path]
