"""The door to the counted hours of a case: each is counted once, and kept as a small file beside the log."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from configs.project import Project
from tasks.errors import StoreUnreachable
from tasks.files import write_whole
from tasks.monitoring.answers import Answers
from tasks.monitoring.grid import Grid
from tasks.monitoring.hours import HOUR, Hour, count_hours

SETTLED = timedelta(hours=1)
"""So long after its end an hour may still get rows: until then it is counted again each time."""
_SUFFIX = ".hour"
_SAMPLE_SHARE = 10
"""An hour keeps so many times fewer rows than a window is sampled with."""

Parallel = Callable[[Callable[..., Any], Iterable[Any]], Iterable[Any]]


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

        Hours that are kept already are not read from the log again. Of the rest each day is read once, by `parallel`.
        A `start` within an hour is moved to the hour's begin. Raises what the log raises, ProfileUnreadable and
        StoreUnreachable.
        """
        kept, counted = self._kept_and_counted(answers, start, end, as_of, parallel)
        found = counted | {begin: Hour.from_bytes(self._read(begin), self._path(begin)) for begin in kept}
        return dict(sorted(found.items()))

    def rows(
        self, answers: Answers, start: datetime, end: datetime, as_of: datetime, parallel: Parallel = map
    ) -> dict[datetime, int]:
        """How many rows each of these hours has; as `hours`, and cheaper."""
        kept, counted = self._kept_and_counted(answers, start, end, as_of, parallel)
        found = {begin: hour.rows for begin, hour in counted.items()}
        return found | {begin: Hour.rows_of(self._read(begin), self._path(begin)) for begin in kept}

    def _kept_and_counted(
        self, answers: Answers, start: datetime, end: datetime, as_of: datetime, parallel: Parallel
    ) -> tuple[set[datetime], dict[datetime, Hour]]:
        first = _hour(start)
        kept = self._kept(first, end)
        missing = [hour for hour in _hours(first, end) if hour not in kept]
        count = partial(count_hours, answers, self._grid, self._problem, self._sample_rows)
        counted = {hour.start: hour for found in parallel(count, _spans(missing, end)) for hour in found}
        counted = {begin: counted[begin] for begin in missing if begin in counted}
        for begin, hour in counted.items():
            if begin + HOUR <= min(end, as_of - SETTLED):
                self._write(hour)
        return kept, counted

    def forget(self, start: datetime, end: datetime) -> None:
        """Count the hours of `[start, end)` again when they are asked for next: rows came to them afterwards."""
        with self._reaching():
            for begin in self._kept(_hour(start), end):
                self._files.rm_file(self._path(begin))

    def _kept(self, first: datetime, end: datetime) -> set[datetime]:
        """The hours there is a file of."""
        found = set()
        for day in dict.fromkeys(hour.date() for hour in _hours(first, end)):
            for name in self._list(f"{self._root}/{day.isoformat()}"):
                if name.endswith(_SUFFIX):
                    hour = int(name.removesuffix(_SUFFIX))
                    found.add(datetime(day.year, day.month, day.day, hour, tzinfo=UTC))
        return {begin for begin in found if first <= begin and begin + HOUR <= end}

    def _path(self, begin: datetime) -> str:
        return f"{self._root}/{begin:%Y-%m-%d}/{begin:%H}{_SUFFIX}"

    def _read(self, begin: datetime) -> bytes:
        with self._reaching():
            return bytes(self._files.cat_file(self._path(begin)))

    def _write(self, hour: Hour) -> None:
        path, data = self._path(hour.start), hour.to_bytes()
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
