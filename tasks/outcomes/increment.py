"""What one run adds to the outcomes: rows that were answered since, and labels for rows that were answered before.

It costs what came in: of the log those days are read that have more rows than were read of them, however late these
came; of earlier outcomes only the days that new labels may be about, and of those only the columns that labels are
joined on. Their labels are kept in files of their own, until a day has so many that it is written anew.
"""

# ruff: noqa: S608 - the names in this SQL are ours, and every value goes through `text`

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import duckdb

from configs.case import Case
from configs.labels import LabelKey
from tasks.monitoring.answers import Answers
from tasks.outcomes.intake import FRESH, TRUTH, Taken
from tasks.outcomes.join import (
    DAY,
    FILE,
    LABELLED,
    NEAR,
    ROW,
    best,
    first_of_each,
    late_rows,
    moment,
    one,
    outcome_rows,
    parquet,
    repeated_rows,
    text,
    timeless_rows,
    with_late,
)
from tasks.outcomes.labels import KEYS
from tasks.outcomes.logged import logged
from tasks.outcomes.shelf import Shelf
from tasks.outcomes.state import Day, LabelFile, Part, Span, State, around, span

_USED_AGAIN = timedelta(days=2)
"""So far apart, two rows of one request are told to be the same."""
_MOST_LATE_FILES = 16
_MOST_PARTS = 8
_NO_DAY = date(1970, 1, 1)
"""Where a label without a row lands."""
_MINE = ", ".join(ROW)


@dataclass(frozen=True)
class Joined:
    """What the store holds afterwards, and what was counted."""

    state: State
    counts: dict[str, Any]


class Increment:
    """One run."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, shelf: Shelf, state: State | None, case: Case, taken: Taken
    ) -> None:
        self._db = connection
        self._shelf = shelf
        self._before = state
        self._case = case
        self._taken = taken
        self._unmet: Path | None = None
        self._logged = dict(state.logged) if state else {}
        self._first = taken.as_of.date() - timedelta(days=case.serving.log.retention_days)
        """No day before this is kept: outcomes hold what the log held, and last as long."""
        self._labels = (*(state.labels if state else ()), *((taken.file,) if taken.file else ()))

    def run(self, answers: Answers) -> Joined:
        """Write the new files, and give the state that names them. Nothing counts before that is committed."""
        repeated, files = self._add_rows(answers)
        added = self._describe(files)
        late = self._add_late(added)
        counts = self._count(added, late)
        days = {day.day: day for day in self._before_days}
        days |= {day: _merged(days.get(day), new) for day, new in added.items()}
        days |= {day: days[day].model_copy(update={"late": (*days[day].late, name)}) for day, name in late.items()}
        days = {day: kept for day, kept in days.items() if day >= self._first}
        days |= {day: self._rewritten(days[day]) for day in {*added, *late} & set(days) if _scattered(days[day])}
        state = State(
            serial=self._taken.serial,
            as_of=self._taken.as_of,
            labels=self._labels,
            days=tuple(days[day] for day in sorted(days)),
            logged={day: rows for day, rows in self._logged.items() if day >= self._first},
        )
        predictions = sum(part.rows for new in added.values() for part in new.parts)
        return Joined(state, {"predictions": predictions, "repeated": repeated, **counts})

    def _add_rows(self, answers: Answers) -> tuple[int, dict[date, Path]]:
        """How many rows came twice, and the files of the rows that are new, by day."""
        days = self._grown(answers)
        self._db.register("streamed", logged(self._case, answers, _windows(days, self._taken.as_of)))
        if self._before is None:
            return self._all_rows()
        staged, again = self._shelf.scratch / "staged.parquet", self._shelf.scratch / "again.parquet"
        self._db.execute(f"COPY streamed TO {text(again)} ({FILE})")
        counted = f"SELECT {DAY} AS day, count(*) FROM {parquet([again])} p GROUP BY day"
        self._logged |= dict(self._db.execute(counted).fetchall())
        near = [day for day in self._before.days if any(abs(day.day - read) <= _USED_AGAIN for read in days)]
        known = self._files(near)
        here = f"SELECT * FROM {parquet([again])}"
        new = f"{here} ANTI JOIN {parquet(known)} USING ({_MINE})" if known else here
        self._db.execute(f"COPY ({first_of_each(f'({new})')}) TO {text(staged)} ({FILE})")
        seen = f"SELECT count(*) FROM {parquet([again])} SEMI JOIN {parquet(known)} USING ({_MINE}, answered_at)"
        (came,), (kept,) = (one(self._db, f"SELECT count(*) FROM {parquet([path])}") for path in (again, staged))
        (read_before,) = one(self._db, seen) if known else (0,)
        self._labels_of(staged)
        files = self._copy(outcome_rows(parquet([staged]), "their_labels", self._taken.key), "rows")
        return came - read_before - kept, files

    def _grown(self, answers: Answers) -> list[date]:
        """The days until the as-of of which the log has rows that were not read.

        Counted before anything is read: a row that comes meanwhile is found by the next run.
        """
        in_log = answers.rows_by_day(self._first, (self._taken.as_of - datetime.resolution).date())
        return sorted(day for day, rows in in_log.items() if self._before is None or rows > self._before.rows_read(day))

    def _all_rows(self) -> tuple[int, dict[date, Path]]:
        """The first run: one pass over all there is. Labels that meet no row come out of it as orphans."""
        joined = outcome_rows("streamed", TRUTH, self._taken.key, "FULL")
        files = self._copy(
            f"SELECT * REPLACE (coalesce(answered_on, make_date(0)) AS answered_on) FROM ({joined})", "rows"
        )
        self._unmet = files.pop(_NO_DAY, None)
        every = list(files.values())
        self._logged = {day: one(self._db, f"SELECT count(*) FROM {parquet([path])}")[0] for day, path in files.items()}
        repeated = repeated_rows(self._db, parquet(every)) if every else 0
        if repeated:
            files = self._copy(f"SELECT *, {DAY} AS answered_on FROM ({first_of_each(parquet(every))}) p", "once")
        return repeated, files

    def _labels_of(self, rows: Path) -> None:
        """The view `their_labels`: the labels that count of the rows in a file, whenever they came."""
        spans = "epoch_us(min(event_time)), epoch_us(max(event_time))"
        events = span(*map(moment, one(self._db, f"SELECT {spans} FROM {parquet([rows])}")))
        files = [self._shelf.fetch(file.name) for file in self._labels if self._may_be_about(file, events)]
        columns = ", ".join(KEYS[self._taken.key])
        found = f"SELECT * FROM {parquet(files) if files else FRESH} SEMI JOIN {parquet([rows])} USING ({columns})"
        self._db.execute(f"CREATE OR REPLACE TEMP TABLE labels_of_rows AS {found}")
        best(self._db, "labels_of_rows", self._taken.key, "their_labels")

    def _may_be_about(self, file: LabelFile, events: Span | None) -> bool:
        if self._taken.key is not LabelKey.event:
            return True
        return bool(events and file.events and file.events.meets(events))

    def _describe(self, files: dict[date, Path]) -> dict[date, Day]:
        """What the store is to know of new rows, which are moved to their place."""
        described = {}
        for day, path in files.items():
            name = f"table/date={day}/part-{self._taken.serial:06d}.parquet"
            self._shelf.keep(path, name)
            described[day] = self._described(day, name)
        return described

    def _described(self, day: date, name: str) -> Day:
        facts = "epoch_us(min(event_time)), epoch_us(max(event_time)), count(*) - count(event_time), count(*)"
        first, last, timeless, rows = one(self._db, f"SELECT {facts} FROM {parquet([self._shelf.folder / name])}")
        part = Part(name=name, rows=rows, as_of=self._taken.as_of)
        return Day(day=day, parts=(part,), events=span(moment(first), moment(last)), timeless=timeless)

    def _add_late(self, added: dict[date, Day]) -> dict[date, str]:
        """Labels for rows that were there before, and for new rows that say no event time: their files by day.

        Makes the table `matched`: which rows they are about.
        """
        key = self._taken.key
        found = []
        if self._before and self._taken.file:
            fresh = f"(SELECT * FROM {TRUTH} SEMI JOIN {FRESH} USING ({', '.join(KEYS[key])}))"
            if days := [day for day in self._before.days if self._may_have(day)]:
                found.append(late_rows(parquet(self._files(days)), fresh, key))
        timeless = [day for day in added.values() if day.timeless]
        if timeless and key is LabelKey.event:
            self._labels_around(timeless)
            rows = f"(SELECT *, label IS NOT NULL AS was FROM {parquet(self._files(timeless))})"
            found.append(timeless_rows(rows, "labels_around"))
        if not found:
            return {}
        self._db.execute(f"CREATE TEMP TABLE matched AS {' UNION ALL BY NAME '.join(f'({query})' for query in found)}")
        files = self._copy(f"SELECT {_MINE}, {', '.join(LABELLED)}, answered_on FROM matched", "late")
        names = {}
        for day, path in files.items():
            names[day] = f"table/date={day}/late-{self._taken.serial:06d}.parquet"
            self._shelf.keep(path, names[day])
        return names

    def _may_have(self, day: Day) -> bool:
        """Whether new labels can be about rows of an earlier day."""
        file = self._taken.file
        if self._taken.key is not LabelKey.event or file is None or file.events is None:
            return True
        near = day.timeless and around([day], NEAR).meets(file.events)
        return bool(near or (day.events and day.events.meets(file.events)))

    def _labels_around(self, timeless: list[Day]) -> None:
        """The view `labels_around`: labels of events near the answers of some days, one of each event."""
        near = around(timeless, NEAR)
        files = [self._shelf.fetch(file.name) for file in self._labels if self._may_be_about(file, near)]
        entities = f"(SELECT entity FROM {parquet(self._files(timeless))} WHERE event_time IS NULL)"
        found = f"SELECT * FROM {parquet(files) if files else FRESH} SEMI JOIN {entities} USING (entity)"
        self._db.execute(f"CREATE OR REPLACE TEMP TABLE labels_near AS {found}")
        best(self._db, "labels_near", LabelKey.event, "labels_around")

    def _count(self, added: dict[date, Day], late: dict[date, str]) -> dict[str, Any]:
        """Rows with their first label; labels about rows that nobody knows."""
        joined = 0
        if added:
            (joined,) = one(self._db, f"SELECT count(label) FROM {parquet(self._files(added.values()))}")
        if late:
            earlier = [self._shelf.fetch(name) for day in self._before_days if day.day in late for name in day.late]
            unless = f" ANTI JOIN {parquet(earlier)} USING ({_MINE})" if earlier else ""
            joined += one(self._db, f"SELECT count(*) FROM (SELECT * FROM matched WHERE NOT was){unless}")[0]
        return {"joined": joined, **self._orphans(added, late)}

    def _orphans(self, added: dict[date, Day], late: dict[date, str]) -> dict[str, Any]:
        columns = ", ".join(KEYS[self._taken.key])
        if self._before is None:
            alone = f"SELECT {columns} FROM {parquet([self._unmet])}" if self._unmet else None
        else:
            alone = f"SELECT DISTINCT {columns} FROM {FRESH}"
            if added:
                alone += f" ANTI JOIN {parquet(self._files(added.values()))} USING ({columns})"
        if alone and late:
            alone = f"SELECT * FROM ({alone}) ANTI JOIN matched USING ({columns})"
        return {"orphans": 0, "orphaned": ()} if alone is None else self._told(alone, columns)

    def _told(self, alone: str, columns: str) -> dict[str, Any]:
        (number,) = one(self._db, f"SELECT count(*) FROM ({alone})")
        some = f"SELECT concat_ws(' ', {columns}) AS about FROM ({alone}) ORDER BY about LIMIT 5"
        return {"orphans": number, "orphaned": tuple(row[0] for row in self._db.execute(some).fetchall())}

    def _rewritten(self, day: Day) -> Day:
        """The day in one part, with the labels that came late in it."""
        rows = parquet(self._files([day]))
        if day.late:
            rows = f"({with_late(rows, parquet([self._shelf.fetch(name) for name in day.late]), self._taken.as_of)})"
        whole = self._shelf.scratch / f"{day.day}.parquet"
        self._db.execute(f"COPY (FROM {rows}) TO {text(whole)} ({FILE})")
        name = f"table/date={day.day}/whole-{self._taken.serial:06d}.parquet"
        self._shelf.keep(whole, name)
        return self._described(day.day, name)

    @property
    def _before_days(self) -> tuple[Day, ...]:
        return self._before.days if self._before else ()

    def _files(self, days: Iterable[Day]) -> list[Path]:
        return [self._shelf.fetch(part.name) for day in days for part in day.parts]

    def _copy(self, query: str, into: str) -> dict[date, Path]:
        """The rows of a query as one file a day, by the column `answered_on`.

        By way of one file for all of them, which is read again day by day: PARTITION_BY takes half as long again, and
        the memory of a file for each day and thread.
        """
        folder = self._shelf.scratch / into
        folder.mkdir()
        whole = folder / "whole.parquet"
        self._db.execute(f"COPY ({query}) TO {text(whole)} ({FILE})")
        days = [day for (day,) in self._db.execute(f"SELECT DISTINCT answered_on FROM {parquet([whole])}").fetchall()]
        files = {day: folder / f"{day}.parquet" for day in sorted(days)}
        for day, path in files.items():
            of_day = f"SELECT * EXCLUDE (answered_on) FROM {parquet([whole])} WHERE answered_on = DATE {text(day)}"
            self._db.execute(f"COPY ({of_day}) TO {text(path)} ({FILE})")
        whole.unlink()
        return files


def _windows(days: Sequence[date], as_of: datetime) -> list[tuple[datetime, datetime]]:
    """The time of some days, given in order, until the as-of; days that follow each other are one window."""
    windows: list[tuple[datetime, datetime]] = []
    for day in days:
        start = datetime.combine(day, time(), UTC)
        begin = windows.pop()[0] if windows and windows[-1][1] == start else start
        windows.append((begin, min(start + timedelta(days=1), as_of)))
    return windows


def _scattered(day: Day) -> bool:
    return len(day.late) > _MOST_LATE_FILES or len(day.parts) > _MOST_PARTS


def _merged(one: Day | None, other: Day | None) -> Day:
    """A day with what was added to it."""
    if one is None or other is None:
        both = one or other
        assert both is not None
        return both
    return Day(
        day=one.day,
        parts=(*one.parts, *other.parts),
        late=(*one.late, *other.late),
        events=one.events.with_(other.events) if one.events else other.events,
        timeless=one.timeless + other.timeless,
    )
