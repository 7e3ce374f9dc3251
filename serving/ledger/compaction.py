"""From a sealed segment to Parquet: every entry exactly once, wherever the process is killed.

The files a segment becomes are named after it, and each appears whole; the segment goes when all of them are there. So
whoever is killed in between is done again from the segment, and writes the same files once more.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa

from serving.ledger.columns import schema_of
from serving.ledger.errors import SegmentAltered
from serving.ledger.header import LoggedCase
from serving.ledger.parquet import ParquetFile
from serving.ledger.parts import sort_entries
from serving.ledger.segment import Segment
from serving.ledger.store import Store

log = logging.getLogger(__name__)

CORRUPT = "corrupt"
"""Where damaged segments are kept for a person to look at."""


@dataclass(frozen=True, slots=True)
class Compacted:
    """What a segment became."""

    rows: int
    days: frozenset[tuple[str, date]]
    """Cases and days that have a part of it."""


def part_name(ledger: str, segment: str) -> str:
    """The file a segment becomes on each day of each case."""
    return f"part-{ledger}-{segment}.parquet"


def compact(path: Path, store: Store, key: Callable[[], bytes]) -> Compacted:
    """Turn the sealed segment at `path` into Parquet, and remove it. Raises StoreUnreachable, KeyUnusable."""
    try:
        segment = Segment(path)
    except SegmentAltered:
        log.exception("%s", path.name)
        _keep_aside(path)
        return Compacted(0, frozenset())
    files: dict[tuple[str, date], ParquetFile] = {}

    def begin(case: str, day: date, logged: LoggedCase) -> Callable[[pa.Table], None]:
        files[case, day] = ParquetFile(schema_of(logged))
        return files[case, day].add

    unreadable = sort_entries(segment, key, begin)
    files = {where: file for where, file in files.items() if file.rows}
    name = part_name(segment.header.ledger, segment.name)
    for (case, day), file in files.items():
        store.put(case, day, name, file.end())
    if segment.damaged or unreadable:
        log.error("%s was damaged: its whole entries were saved, and it is kept in corrupt/", path.name)
        _keep_aside(path)
    else:
        path.unlink()
    return Compacted(sum(file.rows for file in files.values()), frozenset(files))


def _keep_aside(path: Path) -> None:
    aside = path.parent / CORRUPT
    aside.mkdir(mode=0o700, exist_ok=True)
    path.rename(aside / path.name)
