"""Reading the prediction log: every row once, though it is written, merged and shortened meanwhile."""

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from serving.ledger.columns import COMMON
from serving.ledger.compaction import part_name
from serving.ledger.errors import LogUnreadable
from serving.ledger.merging import MERGED, stands_for
from serving.ledger.parts import sort_entries, utc_day
from serving.ledger.privacy import hash_key
from serving.ledger.segment import OPEN, SEALED, Segment
from serving.ledger.store import Store

_ATTEMPTS = 50
_PAUSE = 0.05
_WHEN = "answered_at"

_ROWS_AT_ONCE = 65_536

T = TypeVar("T")

Fresh = dict[tuple[date, str], pa.Table]
"""Rows of segments, by the day and the name of the Parquet file they will be in."""


def read_predictions(  # noqa: PLR0913
    url: str,
    case: str,
    start: datetime,
    end: datetime,
    columns: Sequence[str] | None = None,
    *,
    fresh: Path | None = None,
) -> pa.Table:
    """The rows of `case` answered in `[start, end)`, in no order; with `fresh`, a folder of segments, its rows too.

    One row for each row of a request and each model that answered it: filter by `role`. Columns that only some of the
    rows have (another contract) are null in the others. Raises LogUnreadable, StoreUnreachable.
    """
    _must_have_an_offset(start, end)
    # Segments first: what becomes Parquet in between is then seen twice rather than never, and told by its name.
    waiting = _fresh(fresh, case) if fresh is not None else {}
    store = Store(url)
    wanted = None if columns is None else {*columns, _WHEN}
    tables: list[pa.Table] = []
    landed: set[tuple[date, str]] = set()
    for day in store.days(case):
        if utc_day(start) <= day <= utc_day(end):
            found, names = _read_day(store, case, day, wanted)
            tables += found
            landed |= {(day, name) for name in names}
    tables += [_only(table, wanted) for where, table in waiting.items() if where not in landed]
    within = (pc.field(_WHEN) >= start) & (pc.field(_WHEN) < end)
    together = _together([table.filter(within) for table in tables])
    return together if columns is None else _select(together, columns, known=bool(tables))


def stream_predictions(  # noqa: PLR0913
    url: str,
    case: str,
    start: datetime,
    end: datetime,
    columns: Sequence[str] | None = None,
    *,
    fresh: Path | None = None,
) -> Iterator[pa.RecordBatch]:
    """The same rows as `read_predictions`, a bounded number at a time.

    Batches may differ in their columns and types, as the files do; with `columns` each has exactly these, and one that
    its rows do not have is of type null. Raises LogUnreadable, StoreUnreachable.
    """
    _must_have_an_offset(start, end)
    waiting = _fresh(fresh, case) if fresh is not None else {}
    store = Store(url)
    landed: set[tuple[date, str]] = set()
    for day in store.days(case):
        if utc_day(start) <= day <= utc_day(end):
            with contextlib.ExitStack() as opened:
                files, names = _open_day(store, case, day, opened)
                landed |= {(day, name) for name in names}
                for name, file in files:
                    yield from _stream_file(file, f"{name} of `{case}` on {day}", (start, end), columns)
    for where, table in waiting.items():
        if where not in landed:
            for batch in table.to_batches(max_chunksize=_ROWS_AT_ONCE):
                yield from _within(batch, (start, end), columns)


def count_predictions(url: str, case: str, first: date, last: date, *, fresh: Path | None = None) -> dict[date, int]:
    """How many rows each day (UTC) from `first` to `last` has, as the files say themselves; days without are left out.

    With `fresh`, a folder of segments, its rows too. Raises LogUnreadable, StoreUnreachable.
    """
    waiting = _fresh(fresh, case) if fresh is not None else {}
    store = Store(url)
    rows: defaultdict[date, int] = defaultdict(int)
    landed: set[tuple[date, str]] = set()
    for day in store.days(case):
        if first <= day <= last:
            found, names = _at_one_moment(store, case, day, partial(_rows_of, store, case, day))
            rows[day] += sum(found)
            landed |= {(day, name) for name in names}
    for (day, name), table in waiting.items():
        if first <= day <= last and (day, name) not in landed:
            rows[day] += table.num_rows
    return dict(rows)


def _rows_of(store: Store, case: str, day: date, name: str) -> int:
    try:
        return store.rows(case, day, name)
    except pa.ArrowException as error:
        raise LogUnreadable(
            f"{name} of `{case}` on {day} is no Parquet file: {error}. Restore it from a backup."
        ) from error


def _open_day(
    store: Store, case: str, day: date, opened: contextlib.ExitStack
) -> tuple[list[tuple[str, Any]], frozenset[str]]:
    """The files of a day, all opened before the first is read: what is merged meanwhile is still there to read."""
    return _at_one_moment(store, case, day, lambda name: (name, opened.enter_context(store.open(case, day, name))))


def _stream_file(
    file: Any, what: str, window: tuple[datetime, datetime], columns: Sequence[str] | None
) -> Iterator[pa.RecordBatch]:
    try:
        parquet = pq.ParquetFile(file, pre_buffer=False)  # else it would keep the whole file in memory
        names = parquet.schema_arrow.names
        groups = [at for at in range(parquet.num_row_groups) if _may_hold(parquet.metadata.row_group(at), window)]
        wanted = None if columns is None else [name for name in names if name in {*columns, _WHEN}]
        for batch in parquet.iter_batches(_ROWS_AT_ONCE, row_groups=groups, columns=wanted, use_threads=False):
            yield from _within(batch, window, columns)
    except pa.ArrowException as error:
        raise LogUnreadable(f"{what} is no Parquet file: {error}. Restore it from a backup.") from error


def _may_hold(group: Any, window: tuple[datetime, datetime]) -> bool:
    """Whether some of a row group can have been answered in the window, as far as its statistics tell."""
    for place in range(group.num_columns):
        column = group.column(place)
        if column.path_in_schema == _WHEN and column.is_stats_set and column.statistics.has_min_max:
            return bool(column.statistics.min < window[1] and column.statistics.max >= window[0])
    return True


def _within(
    batch: pa.RecordBatch, window: tuple[datetime, datetime], columns: Sequence[str] | None
) -> Iterator[pa.RecordBatch]:
    start, end = (pa.scalar(moment, batch.schema.field(_WHEN).type) for moment in window)
    when = batch.column(_WHEN)
    inside = pc.and_(pc.greater_equal(when, start), pc.less(when, end))
    kept = batch if pc.all(inside).as_py() else batch.filter(inside)
    if not kept.num_rows:
        return
    if columns is None:
        yield kept.replace_schema_metadata(None)
        return
    names = set(kept.schema.names)
    arrays = [kept.column(name) if name in names else pa.nulls(kept.num_rows) for name in columns]
    yield pa.RecordBatch.from_arrays(arrays, names=list(columns))


def _must_have_an_offset(start: datetime, end: datetime) -> None:
    if start.tzinfo is None or end.tzinfo is None:
        raise ValueError(f"start and end need an offset from UTC, these are {start} and {end}")


def _read_day(store: Store, case: str, day: date, wanted: set[str] | None) -> tuple[list[pa.Table], frozenset[str]]:
    """The tables of a day, and the names of all files whose rows are in them."""
    return _at_one_moment(store, case, day, lambda name: _read_file(store, case, day, name, wanted))


def _at_one_moment(store: Store, case: str, day: date, take: Callable[[str], T]) -> tuple[list[T], frozenset[str]]:
    """What `take` makes of each file of a day, as if none came or went; and the names of all whose rows are in it."""
    for _ in range(_ATTEMPTS):
        listed = frozenset(store.files(case, day))
        try:
            replaced = frozenset[str]().union(*(stands_for(store, case, day, name) for name in _merged(listed)))
            found = [take(name) for name in sorted(listed - replaced)]
        except FileNotFoundError:
            pass  # it was merged, or became too old, since it was listed
        else:
            # A listing need not be of one moment: it can miss a merged file and the removed files it stands for.
            if _merged(frozenset(store.files(case, day))) == _merged(listed):
                return found, listed | replaced
        time.sleep(_PAUSE)
    raise LogUnreadable(
        f"The predictions of `{case}` on {day} changed {_ATTEMPTS} times while they were read. Try again."
    )


def _merged(names: frozenset[str]) -> frozenset[str]:
    return frozenset(name for name in names if name.startswith(MERGED))


def _read_file(store: Store, case: str, day: date, name: str, wanted: set[str] | None) -> pa.Table:
    data = store.get(case, day, name)
    try:
        return _only(pq.read_table(pa.BufferReader(data)), wanted)
    except pa.ArrowException as error:
        raise LogUnreadable(
            f"{name} of `{case}` on {day} is no Parquet file: {error}. Restore it from a backup."
        ) from error


def _fresh(folder: Path, case: str) -> Fresh:
    # Open ones first: one that is sealed in between is listed twice, not missed.
    names = {path.stem: None for suffix in (OPEN, SEALED) for path in sorted(folder.glob(f"*{suffix}"))}
    fresh: Fresh = {}
    for name in names:
        segment = _segment(folder / name)
        if segment is not None:
            fresh |= _tables(segment, folder, case)
    return fresh


def _segment(path: Path) -> Segment | None:
    """The segment, under whichever of its names; None if it is Parquet by now."""
    for suffix in (OPEN, SEALED):
        try:
            return Segment(path.with_suffix(suffix))
        except FileNotFoundError:
            continue
    return None


def _tables(segment: Segment, folder: Path, case: str) -> Fresh:
    gathered: defaultdict[date, list[pa.Table]] = defaultdict(list)
    sort_entries(segment, lambda: hash_key(folder), lambda _, day, __: gathered[day].append, only=case)
    name = part_name(segment.header.ledger, segment.name)
    return {(day, name): pa.concat_tables(tables) for day, tables in gathered.items() if tables}


def _only(table: pa.Table, wanted: set[str] | None) -> pa.Table:
    kept = table if wanted is None else table.select([name for name in table.column_names if name in wanted])
    return kept.replace_schema_metadata(None)


def _together(tables: list[pa.Table]) -> pa.Table:
    if not tables:
        return COMMON.empty_table()
    try:
        return pa.concat_tables(tables, promote_options="default")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise LogUnreadable(
            f"A column has one type in some of these predictions and another in the rest: {error}. "
            "Read the days of each contract version on their own, or leave the column out with `columns`."
        ) from error


def _select(table: pa.Table, columns: Sequence[str], *, known: bool) -> pa.Table:
    missing = [name for name in columns if name not in table.column_names]
    if missing and known:
        raise LogUnreadable(
            f"These predictions have no column `{missing[0]}`: it is in no contract they were checked against, or "
            "it is dropped for privacy. Read them without `columns` to see what there is."
        )
    for name in missing:
        table = table.append_column(name, pa.nulls(0))
    return table.select(list(columns))
