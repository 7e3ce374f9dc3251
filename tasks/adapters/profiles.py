"""The door to the counted hours of a case: each is counted once, and kept as a small file beside the log.

Rows may come to an hour long after it ended: from a host that was cut off, from history that is asked again. So it is
noted how many rows the log had of a day, and where that has grown since, its hours are compared with what they hold.
"""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from configs.project import Project
from tasks.errors import StoreUnreachable
from tasks.files import write_whole
from tasks.monitoring.answers import Answers
from tasks.monitoring.errors import ProfileUnreadable
from tasks.monitoring.grid import Grid
from tasks.monitoring.hours import HOUR, Hour, count_hours, rows_by_hour

log = logging.getLogger(__name__)

SETTLED = timedelta(hours=1)
"""So long after its end an hour may still get rows: until then it is counted again each time."""
_SUFFIX = ".hour"
_ROWS = "rows"
"""The file that says how many rows the log had of a day."""
_SAMPLE_SHARE = 10
"""An hour keeps so many times fewer rows than a window is sampled with."""

Parallel = Callable[[Callable[..., Any], Iterable[Any]], Iterable[Any]]
Told = TypeVar("Told")


class Profiles:
    """`<where>/<grid>/<YYYY-MM-DD>/<HH>.hour`; another grid has another folder, so its hours are counted anew."""

    def __init__(self, project: Project, case: str, grid: Grid) -> None:
        self._url = _where(project, case)
        self._files, root = fsspec.url_to_fs(self._url)
        self._root = f"{root}/hours/{grid.digest[:16]}"
        self._grid = grid
        self._problem = project.case(case).problem
        self._sample_rows = max(project.params(case).monitoring.inputs.sample_rows // _SAMPLE_SHARE, 100)

    def hours(
        self, answers: Answers, start: datetime, end: datetime, as_of: datetime, parallel: Parallel = map
    ) -> dict[datetime, Hour]:
        """The hours of `[start, end)` that have rows, by their start; an hour that is cut by `end` is not kept.

        Hours that are kept already are not read from the log again, unless rows came to them since, or their file
        cannot be read, which is logged. Of the rest each day is read once, by `parallel`. A `start` within an hour is
        moved to the hour's begin. Raises what the log raises and StoreUnreachable.
        """
        kept, counted = self._kept_and_counted(answers, start, end, as_of, parallel, Hour.from_bytes)
        return dict(sorted((counted | kept).items()))

    def rows(
        self, answers: Answers, start: datetime, end: datetime, as_of: datetime, parallel: Parallel = map
    ) -> dict[datetime, int]:
        """How many rows each of these hours has; as `hours`, and cheaper."""
        kept, counted = self._kept_and_counted(answers, start, end, as_of, parallel, Hour.rows_of)
        return {begin: hour.rows for begin, hour in counted.items()} | kept

    def _kept_and_counted(  # noqa: PLR0913, PLR0917
        self,
        answers: Answers,
        start: datetime,
        end: datetime,
        as_of: datetime,
        parallel: Parallel,
        read: Callable[[bytes, str], Told],
    ) -> tuple[dict[datetime, Told], dict[datetime, Hour]]:
        first = _hour(start)
        # Before anything is read: a row that comes meanwhile is found by the next look.
        in_log = answers.rows_by_day(first.date(), end.astimezone(UTC).date())
        self._forget_outgrown(answers, self._kept(first, end), in_log)
        kept = self._readable(self._kept(first, end), read)
        missing = [hour for hour in _hours(first, end) if hour not in kept]
        count = partial(count_hours, answers, self._grid, self._problem, self._sample_rows)
        counted = {hour.start: hour for found in parallel(count, _spans(missing, end)) for hour in found}
        counted = {begin: counted[begin] for begin in missing if begin in counted}
        for begin, hour in counted.items():
            if begin + HOUR <= min(end, as_of - SETTLED):
                self._write(self._path(begin), hour.to_bytes())
        self._note_rows(in_log)
        return kept, counted

    def _forget_outgrown(self, answers: Answers, kept: set[datetime], in_log: Mapping[date, int]) -> None:
        """Forget the hours to which rows came after they were kept; only days that grew since are looked at."""
        for day in sorted({begin.date() for begin in kept}):
            if in_log.get(day, 0) <= self._rows_noted(day):
                continue
            hours = sorted(begin for begin in kept if begin.date() == day)
            had = self._readable(hours, Hour.rows_of)
            has = rows_by_hour(answers, hours[0], hours[-1] + HOUR)
            for begin, rows in had.items():
                if has.get(begin, 0) > rows:
                    log.warning("%d rows came late to %s: it is counted again", has[begin] - rows, self._path(begin))
                    self._forget(begin)

    def _readable(self, kept: Iterable[datetime], read: Callable[[bytes, str], Told]) -> dict[datetime, Told]:
        """What is in the files of these hours; a file that cannot be read is forgotten, and its hour counted again."""
        found = {}
        for begin in kept:
            try:
                found[begin] = read(self._read(self._path(begin)), self._path(begin))
            except ProfileUnreadable as error:
                log.error("%s That was done.", error)  # noqa: TRY400 - the error says it all
                self._forget(begin)
        return found

    def _rows_noted(self, day: date) -> int:
        """How many rows the log had of a day when it was last looked at; none where that is not known."""
        if _ROWS not in self._list(self._folder(day)):
            return -1
        noted = self._read(f"{self._folder(day)}/{_ROWS}").decode(errors="replace")
        return int(noted) if noted.isdecimal() else -1

    def _note_rows(self, in_log: Mapping[date, int]) -> None:
        for day, rows in in_log.items():
            if rows != self._rows_noted(day):
                self._write(f"{self._folder(day)}/{_ROWS}", str(rows).encode())

    def _forget(self, begin: datetime) -> None:
        with self._reaching(), contextlib.suppress(FileNotFoundError):
            self._files.rm_file(self._path(begin))

    def _kept(self, first: datetime, end: datetime) -> set[datetime]:
        """The hours there is a file of."""
        found = set()
        for day in dict.fromkeys(hour.date() for hour in _hours(first, end)):
            for name in self._list(self._folder(day)):
                if name.endswith(_SUFFIX):
                    hour = int(name.removesuffix(_SUFFIX))
                    found.add(datetime(day.year, day.month, day.day, hour, tzinfo=UTC))
        return {begin for begin in found if first <= begin and begin + HOUR <= end}

    def _path(self, begin: datetime) -> str:
        return f"{self._folder(begin.date())}/{begin:%H}{_SUFFIX}"

    def _folder(self, day: date) -> str:
        return f"{self._root}/{day.isoformat()}"

    def _read(self, path: str) -> bytes:
        with self._reaching():
            return bytes(self._files.cat_file(path))

    def _write(self, path: str, data: bytes) -> None:
        if isinstance(self._files, LocalFileSystem):
            write_whole(Path(path), lambda part: part.write_bytes(data))
            return
        with self._reaching():
            self._files.pipe_file(path, data)

    def _list(self, folder: str) -> list[str]:
        with self._reaching():
            self._files.invalidate_cache()
            try:
                return [name.rstrip("/").rsplit("/", 1)[-1] for name in self._files.ls(folder, detail=False)]
            except FileNotFoundError:
                return []

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # each vendor raises its own
            remedy = "Nothing is lost: hours that are not there are counted again from the log."
            raise StoreUnreachable(
                "The store of the monitors' profiles", self._url, str(error) or type(error).__name__, remedy
            ) from error


def _where(project: Project, case: str) -> str:
    """Beside the log where that lies at a URL, else among the local stores."""
    predictions = project.place.stores.predictions
    if "://" in predictions:
        return f"{predictions.rstrip('/').rsplit('/', 1)[0]}/monitoring/{case}"
    return str(project.stores / "monitoring" / case)


def _hour(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _hours(first: datetime, end: datetime) -> Iterator[datetime]:
    while first < end:
        yield first
        first += HOUR


def _spans(missing: list[datetime], end: datetime) -> list[tuple[datetime, datetime]]:
    """For each day the stretch from its first missing hour to its last: a day of the log is read once."""
    days: dict[Any, list[datetime]] = {}
    for begin in missing:
        days.setdefault(begin.date(), []).append(begin)
    return [(hours[0], min(hours[-1] + HOUR, end)) for hours in days.values()]
