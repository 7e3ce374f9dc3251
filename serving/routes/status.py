"""status: what the keeper tells of itself, and what a person should look at."""

import logging
import os
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from pydantic import AwareDatetime, TypeAdapter, ValidationError

from configs.errors import EvergreenError
from tasks.records import Record

log = logging.getLogger(__name__)


class Alarm(Record):
    """Something the keeper could not put right."""

    case: str | None
    """None for what concerns all of them."""
    version: str | None
    what: str
    since: AwareDatetime


class CaseStatus(Record):
    """How far a case's routes are."""

    generation: int
    seconds_since_change: float
    preparing: tuple[str, ...] = ()
    """Versions that have a role in the registry and are not ready yet."""
    audited: int = 0
    """Rows answered by a plan that were scored again with the pipeline, since the keeper started."""


class KeeperStatus(Record):
    """The keeper's sign of life."""

    at: AwareDatetime
    pid: int
    registry_reachable: bool
    alarms: int
    cases: dict[str, CaseStatus]


_ALARMS = TypeAdapter(list[Alarm])


class Alarms:
    """The alarms that are on, kept in a file for whoever looks."""

    def __init__(self, path: Path, now: Callable[[], datetime]) -> None:
        self._path = path
        self._now = now
        self._on: dict[tuple[str, str | None, str | None], Alarm] = {}
        self._since = _earlier(path)
        self._write()

    def __len__(self) -> int:
        return len(self._on)

    def turn_on(
        self,
        topic: str,
        what: str,
        case: str | None = None,
        version: str | None = None,
        *,
        fault: Exception | None = None,
    ) -> None:
        """Say it in the log and in the file; the same again changes nothing. A `fault` nobody foresaw is traced."""
        key = (topic, case, version)
        before = self._on.get(key)
        if before and before.what == what:
            return
        log.error("%s", what, exc_info=None if isinstance(fault, EvergreenError) else fault)
        since = before.since if before else self._since.get((case, version, what), self._now())
        self._on[key] = Alarm(case=case, version=version, what=what, since=since)
        self._write()

    def turn_off(self, topic: str, case: str | None = None, version: str | None = None) -> None:
        """It is well again."""
        if alarm := self._on.pop((topic, case, version), None):
            log.info("well again: %s", alarm.what)
            self._write()

    def listed(self) -> list[Alarm]:
        """Those that are on, the first raised first."""
        return list(self._on.values())

    def topics(self, topic: str) -> list[tuple[str | None, str | None]]:
        """Case and version of every alarm about a topic."""
        return [(case, version) for found, case, version in self._on if found == topic]

    def _write(self) -> None:
        try:
            put(self._path, _ALARMS.dump_json(self.listed(), indent=2).decode() + "\n")
        except OSError:
            log.exception("the alarms cannot be written")


def put(path: Path, text: str) -> None:
    """Replace a file that says how things are now; unlike what must survive, it need not reach the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(part).replace(path)
    except OSError:
        Path(part).unlink(missing_ok=True)
        raise


def _earlier(path: Path) -> dict[tuple[str | None, str | None, str], datetime]:
    """Since when an earlier keeper had told the same."""
    try:
        return {(alarm.case, alarm.version, alarm.what): alarm.since for alarm in read_alarms(path)}
    except (FileNotFoundError, ValidationError):
        return {}


def read_alarms(path: Path) -> list[Alarm]:
    """The alarms that are on. Raises FileNotFoundError, or pydantic's ValidationError."""
    return _ALARMS.validate_json(path.read_bytes())
