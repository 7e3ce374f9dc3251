"""A prediction log of three cases, with a clock that is set by hand."""

import resource
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from configs.case import ColumnType, Problem
from serving.ledger.compactor import Compactor
from serving.ledger.entry import encode_entry
from serving.ledger.header import Header, LoggedCase
from serving.ledger.places import ledger_id
from serving.ledger.read import read_predictions
from serving.ledger.segment import SegmentWriter
from serving.ledger.store import Store
from serving.records import Part, Role, Rows

BIRDS = LoggedCase(
    contract=2,
    features={
        "species": ColumnType.string,
        "eggs": ColumnType.integer,
        "weight": ColumnType.number,
        "ringed": ColumnType.boolean,
        "seen": ColumnType.timestamp,
    },
    problem=Problem.binary,
)
SONGS = LoggedCase(contract=1, features={"pitch": ColumnType.number}, problem=Problem.multiclass)
TIDES = LoggedCase(contract=1, features={"moon": ColumnType.number}, problem=Problem.regression)
CASES = {"birds": BIRDS, "songs": SONGS, "tides": TIDES}

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
A_BIRD = ("robin", 4.0, 18.5, True, datetime.fromisoformat("2026-03-01T07:30:00"))


def birds(count: int = 1, **changes: Any) -> Rows:
    values = dict(zip(BIRDS.features, A_BIRD, strict=True)) | changes
    return Rows(
        count=count,
        columns=[[value] * count for value in values.values()],
        entities=[f"nest-{number}" for number in range(count)],
        event_times=["2026-03-01T06:00:00+00:00"] * count,
    )


def champion(score: float = 0.75, count: int = 1) -> Part:
    return Part(None, "3", Role.champion, [score] * count, (False, True))


def bird(
    request_id: str, at: datetime = NOON, rows: Rows | None = None, parts: Iterable[Part] = (), trace: str | None = None
) -> bytes:
    """The entry of an answer about birds."""
    rows = rows or birds()
    parts = list(parts) or [champion(count=rows.count)]
    seconds = at.timestamp()
    return encode_entry("birds", 2, request_id, seconds - 0.002, seconds, rows, parts, trace)


def tide(request_id: str, at: datetime = NOON, level: float = 1.5) -> bytes:
    rows = Rows(1, [[0.25]], [None], [None])
    parts = [Part(None, "1", Role.champion, [level], ())]
    return encode_entry("tides", 1, request_id, at.timestamp(), at.timestamp(), rows, parts, None)


@dataclass
class Log:
    """Segments, and the Parquet files they become."""

    folder: Path
    url: str
    cases: dict[str, LoggedCase] = field(default_factory=lambda: dict(CASES))
    retention_days: dict[str, int] = field(default_factory=dict)
    now: datetime = NOON + timedelta(minutes=1)

    def begin(self, name: str) -> SegmentWriter:
        self.folder.mkdir(parents=True, exist_ok=True)
        return SegmentWriter(self.folder, name, Header(ledger=ledger_id(self.folder), cases=self.cases))

    def write(self, name: str, *payloads: bytes) -> Path:
        """A sealed segment with these entries."""
        writer = self.begin(name)
        for payload in payloads:
            writer.append(payload)
        writer.seal()
        return writer.path.with_suffix(".sealed")

    @property
    def store(self) -> Store:
        return Store(self.url)

    @property
    def compactor(self) -> Compactor:
        return Compactor(self.folder, self.store, self.retention_days, lambda: self.now)

    def compact(self) -> float:
        return self.compactor.turn()

    def read(self, case: str = "birds", **asked: Any) -> list[dict[str, Any]]:
        """All rows there are, in the order of their requests."""
        start, end = NOON - timedelta(days=4000), NOON + timedelta(days=4000)
        table = read_predictions(self.url, case, start, end, **asked)
        return sorted(table.to_pylist(), key=lambda row: (row.get("request_id"), row.get("role"), row.get("row")))

    def ids(self, case: str = "birds", *, fresh: bool = False) -> list[str]:
        return [row["request_id"] for row in self.read(case, fresh=self.folder if fresh else None)]

    def files(self) -> list[str]:
        """The Parquet files, of a log in a local folder."""
        root = Path(self.url)
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    def segments(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir() if path.suffix in {".open", ".sealed", ".begun"})


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "ledger", str(tmp_path / "predictions"))


@contextmanager
def most_bytes(limit: int) -> Iterator[None]:
    """No file of this process may grow beyond `limit`: a write answers EFBIG as a full disk answers ENOSPC."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
