"""Predictions joined with late, duplicated and corrected labels, beside DuckDB's plain inner join; and one day more.

    python -m benchmarks.monitoring.ground_truth [--rows 10000000] [--folder /somewhere] [--quick]

Predictions of 90 days lie as Parquet by day; of their labels 5 % never come, 2 % are corrected, 3 % come twice, 1 % are
about nobody, and all are shuffled, with delays of 10 days in the mean. Each contestant is a process of its own on two
threads; figures are seconds of wall and CPU without imports, and peak memory of the whole process.

- plain: DuckDB's `COPY (SELECT ... FROM predictions JOIN labels USING (entity, event_time)) TO` one Parquet file, every
  label as it is: it writes some rows twice, and none that has no label;
- plain by day: the same, to files by day of the answer, as outcomes are kept;
- join: what `gather` does once labels are in its log: the label that counts of each key, the counts, outcomes by day;
- gather: all of it, from the files of the label source;
- day: `gather` a day later: a day's predictions, and a day's labels (late ones for some fifty days).
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import yaml

from configs.labels import LabelKey
from configs.project import Project

START = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = 90
WHO = ("plain", "plain by day", "join", "gather", "day")
CASE = {
    "question": "Is it paid back?",
    "problem": "binary",
    "label_delay_hours": 24,
    "batch_every": "day",
    "contract": {
        "version": 1,
        "columns": {
            "loan": {"type": "string", "role": "entity"},
            "asked_at": {"type": "timestamp", "role": "event_time"},
            "income": {"type": "number", "role": "feature"},
            "region": {"type": "string", "role": "feature"},
            "paid": {"type": "boolean", "role": "target"},
        },
    },
}


def main() -> None:
    options = _options()
    if options.who:
        print(json.dumps(_run(options.who, options.folder)))
        return
    folder = options.folder or Path(tempfile.mkdtemp())
    rows = 1_000_000 if options.quick else options.rows
    try:
        _say(f"writing {rows:,} predictions and their labels to {folder}")
        make(folder, rows)
        found = {who: _measured(who, folder) for who in WHO}
    finally:
        if options.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    _table(rows, found)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="where the files go, and stay")
    parser.add_argument("--quick", action="store_true", help="1,000,000 rows")
    parser.add_argument("--who", choices=WHO, help=argparse.SUPPRESS)
    return parser.parse_args()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def make(folder: Path, rows: int) -> None:
    """Predictions and labels of DAYS days, and of one day more."""
    case = {
        **CASE,
        "source": {"kind": "file", "url": str(folder / "nothing"), "format": "parquet"},
        "labels": {
            "source": {"kind": "file", "url": str(folder / "labels"), "format": "parquet"},
            **dict(zip(*[("entity", "event_time", "label", "labelled_at")] * 2, strict=True)),
        },
    }
    here = Path(__file__).parents[2]
    (folder / "configs" / "places").mkdir(parents=True, exist_ok=True)
    (folder / "labels").mkdir(exist_ok=True)
    (folder / "configs/places/local.yaml").write_text((here / "configs/places/local.yaml").read_text())
    (folder / "configs/loans.yaml").write_text(yaml.safe_dump(case))
    (folder / "params.yaml").write_text("{}")
    db = duckdb.connect()
    db.execute("SET threads = 2; SET memory_limit = '4GB'; SET preserve_insertion_order = false; SET TimeZone = 'UTC'")
    db.execute("SELECT setseed(0.4)")
    every = f"{DAYS} * 86400000000 // {rows}"
    more = rows // DAYS
    db.execute(
        f"CREATE TABLE p AS SELECT 'r' || lpad(i::VARCHAR, 9, '0') AS request_id, 0::BIGINT AS row, "
        f"'e' || (hash(i) % 1000000007)::VARCHAR AS entity, "
        f"make_timestamptz({int(START.timestamp() * 1e6)} + i * ({every})) AS event_time, "
        f"event_time AS answered_at, random() AS income, ['north','south','east','west'][1 + i % 4] AS region, "
        f"(random() > .5)::BIGINT AS prediction, random() AS probability, '1' AS model_version, 'champion' AS role, "
        f"NULL::VARCHAR AS fallback, 1::BIGINT AS contract_version FROM range({rows + more}) t(i)"
    )
    db.execute(
        f"COPY (SELECT *, answered_at::DATE AS date FROM p) TO '{folder}/predictions' "
        f"(FORMAT parquet, COMPRESSION zstd, PARTITION_BY (date), OVERWRITE_OR_IGNORE)"
    )
    delay = "(-ln(1 - random()) * 10 * 86400000000)::BIGINT"
    db.execute(
        f"CREATE TABLE l AS SELECT entity, event_time, (random() > .5)::INT AS label, "
        f"make_timestamptz(epoch_us(event_time) + {delay}) AS labelled_at FROM p WHERE random() > .05"
    )
    db.execute(
        f"INSERT INTO l SELECT entity, event_time, 1 - label, make_timestamptz(epoch_us(labelled_at) + {delay}) FROM l "
        f"USING SAMPLE 2 PERCENT (bernoulli)"
    )
    db.execute("INSERT INTO l SELECT * FROM l USING SAMPLE 3 PERCENT (bernoulli)")
    db.execute(
        "INSERT INTO l SELECT 'x' || entity, event_time, label, labelled_at FROM l USING SAMPLE 1 PERCENT (bernoulli)"
    )
    end = int((START + timedelta(days=DAYS)).timestamp() * 1e6)
    # All labels but those of the last day, as if they had been taken at once: also those that are late by then.
    db.execute(
        f"COPY (SELECT * FROM l WHERE event_time < make_timestamptz({end}) ORDER BY random()) "
        f"TO '{folder}/every.parquet' (FORMAT parquet, COMPRESSION zstd)"
    )
    db.execute(
        f"COPY (SELECT * FROM l WHERE labelled_at <= make_timestamptz({end}) ORDER BY random()) "
        f"TO '{folder}/labels/before.parquet' (FORMAT parquet, COMPRESSION zstd)"
    )
    day = end + 86_400_000_000
    db.execute(
        f"COPY (FROM l WHERE labelled_at > make_timestamptz({end}) AND labelled_at <= make_timestamptz({day})) "
        f"TO '{folder}/day.parquet' (FORMAT parquet, COMPRESSION zstd)"
    )


class Log:
    """The prediction log as Parquet by day."""

    case = "loans"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def rows_by_day(self, first: date, last: date) -> Mapping[date, int]:
        days = {date.fromisoformat(day.name.removeprefix("date=")): day for day in self._folder.iterdir()}
        return {day: ds.dataset(path).count_rows() for day, path in days.items() if first <= day <= last}

    def batches(self, start: datetime, end: datetime, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        for day in sorted(self._folder.iterdir()):
            moment = datetime.fromisoformat(day.name.removeprefix("date=")).replace(tzinfo=UTC)
            if start - timedelta(days=1) < moment < end:
                within = (ds.field("answered_at") >= start) & (ds.field("answered_at") < end)
                yield from ds.dataset(day).to_batches(columns=columns and list(columns), filter=within)


def _measured(who: str, folder: Path) -> dict[str, Any]:
    _say(who)
    command = [sys.executable, "-m", "benchmarks.monitoring.ground_truth", "--who", who, "--folder", str(folder)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    _say(json.dumps(found))
    return found


def _run(who: str, folder: Path) -> dict[str, Any]:
    work = {"plain": _plain, "plain by day": _plain_by_day, "join": _join, "gather": _gather, "day": _day}[who]
    prepared = _prepared(who, folder)
    began, cpu = time.perf_counter(), time.process_time()
    found = work(folder, prepared)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    # Not getrusage: a process inherits the peak of the one that started it.
    (peak,) = (
        int(line.split()[1]) / 1e6 for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line
    )
    return {"seconds": round(seconds, 2), "cpu": round(cpu, 2), "gb": round(peak, 2), **found}


def _prepared(who: str, folder: Path) -> Any:
    """What is imported, and laid out, before the clock starts."""
    if who.startswith("plain"):
        return None
    from tasks.outcomes import gather, increment, intake  # noqa: PLC0415

    if who != "day":
        shutil.rmtree(folder / "data", ignore_errors=True)
    else:
        shutil.copy(folder / "day.parquet", folder / "labels" / "day.parquet")
        (folder / "labels" / "before.parquet").unlink(missing_ok=True)  # a source that hands over what is new
    return gather, increment, intake


def _plain(folder: Path, _: Any, options: str = "") -> dict[str, Any]:
    db = duckdb.connect()
    db.execute("SET threads = 2; SET preserve_insertion_order = false; SET TimeZone = 'UTC'")
    db.execute(
        f"COPY (SELECT p.*, l.label, l.labelled_at FROM (SELECT *, answered_at::DATE AS day FROM "
        f"read_parquet({_files(folder)})) p JOIN read_parquet('{folder}/every.parquet') l USING (entity, event_time)) "
        f"TO '{folder}/plain{'-by-day' if options else '.parquet'}' (FORMAT parquet, COMPRESSION zstd{options})"
    )
    return {}


def _plain_by_day(folder: Path, _: Any) -> dict[str, Any]:
    return _plain(folder, _, ", PARTITION_BY (day), OVERWRITE_OR_IGNORE")


def _files(folder: Path) -> list[str]:
    last = (START + timedelta(days=DAYS)).date().isoformat()
    return [
        str(path) for path in sorted((folder / "predictions").rglob("*.parquet")) if path.parent.name < f"date={last}"
    ]


def _join(folder: Path, rooms: Any) -> dict[str, Any]:
    _, increment, intake = rooms
    from tasks.outcomes.join import engine  # noqa: PLC0415
    from tasks.outcomes.shelf import Shelf  # noqa: PLC0415

    project = Project(folder)
    shelf = Shelf(project, "loans")
    end = START + timedelta(days=DAYS)
    with engine(shelf.scratch) as db:
        as_if_taken = f"SELECT *, NULL::BIGINT AS version, labelled_at AS known_at FROM '{folder}/every.parquet'"
        db.execute(f"CREATE VIEW logged_labels AS {as_if_taken}")
        db.execute("CREATE TEMP TABLE old_labels AS SELECT * FROM logged_labels LIMIT 0")
        counts = intake.settle(db, "logged_labels", LabelKey.event)
        taken = intake.Taken(LabelKey.event, end, datetime(1900, 1, 1, tzinfo=UTC), 1, None, counts)
        joined = increment.Increment(db, shelf, None, project.case("loans"), taken).run(Log(folder / "predictions"))
    return {**counts, **joined.counts}


def _gather(folder: Path, rooms: Any) -> dict[str, Any]:
    end = START + timedelta(days=DAYS)
    return dict(rooms[0].gather(Project(folder), "loans", end, Log(folder / "predictions")).model_dump(mode="json"))


def _day(folder: Path, rooms: Any) -> dict[str, Any]:
    end = START + timedelta(days=DAYS + 1)
    return dict(rooms[0].gather(Project(folder), "loans", end, Log(folder / "predictions")).model_dump(mode="json"))


def _table(rows: int, found: dict[str, dict[str, Any]]) -> None:
    plain = found["plain"]
    print(f"\n{rows:,} predictions of {DAYS} days\n")
    print("| | seconds | CPU seconds | times plain (wall, CPU) | peak GB | predictions | labels joined |")
    print("|---|---|---|---|---|---|---|")
    for who, one in found.items():
        ratio = f"{one['seconds'] / plain['seconds']:.2f}, {one['cpu'] / plain['cpu']:.2f}"
        counted = f"{one.get('predictions', rows):,} | {one.get('joined', 0):,}"
        print(f"| {who} | {one['seconds']} | {one['cpu']} | {ratio} | {one['gb']} | {counted} |")


if __name__ == "__main__":
    main()
