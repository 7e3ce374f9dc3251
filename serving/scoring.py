"""Batch scoring: a file, a folder or a query, by the champion, through the gateway's own core and into its log."""

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sql

from configs.case import Case, ColumnType, Problem
from configs.errors import ConfigError
from configs.project import Project
from serving.engine.load import load_engine
from serving.errors import ContractBroken
from serving.inference import Desk
from serving.ledger.entry import encode_entry
from serving.ledger.header import logged_cases
from serving.ledger.ledger import Ledger
from serving.ledger.places import segments_folder
from serving.ledger.refusals import reasons_of
from serving.protocols.answers import prediction
from serving.records import Asked, Part, RowProblem, Rows
from serving.routes.engines import make_engine
from serving.routes.local import LocalCopy
from serving.routes.prepare import Preparation
from serving.served import Arm, Arms
from tasks.adapters.registry import Registry
from tasks.errors import NothingServes, SourceUnreadable
from tasks.files import write_whole
from tasks.records import Record

log = logging.getLogger(__name__)

_ROWS_AT_ONCE = 10_000


@dataclass(frozen=True)
class Query:
    """Rows of a database."""

    url: str
    text: str


class Scored(Record):
    """What batch scoring did."""

    case: str
    version: str
    rows: int
    refused: int
    """Rows that break the contract; each is named in the output with why."""
    output: str
    seconds: float


def score(project: Project, case_name: str, source: str | Query, output: Path, run_id: str) -> Scored:
    """Score every row of `source` and write `output` (Parquet): entity, event time, prediction, probability, version.

    Rows are read, scored and logged in pieces, so memory does not grow with the source. Raises SourceUnreadable,
    ConfigError, and what loading the champion raises. A row that breaks the contract is kept, with why.
    """
    began = time.perf_counter()
    case = project.case(case_name)
    desk = Desk(case)
    arm = _champion(project, case)
    desk.served.arms = Arms(champion=arm)
    ledger = Ledger(segments_folder(project), "score", logged_cases([case]), project.place.gateway.log)
    writer = _Writer(desk, ledger, run_id)
    try:
        write_whole(output, lambda part: asyncio.run(writer.write(_pieces(case, source), part)))
    finally:
        ledger.close()
        arm.engine.close()
    log.info("score %s: version %s scored %d rows, %d refused", case_name, arm.version, writer.rows, writer.refused)
    return Scored(
        case=case_name,
        version=arm.version,
        rows=writer.rows,
        refused=writer.refused,
        output=str(output),
        seconds=time.perf_counter() - began,
    )


def _champion(project: Project, case: Case) -> Arm:
    """The champion, fetched and proven as the gateway's keeper does it, and loaded. Raises NothingServes."""
    registry, copy = Registry(project), LocalCopy.of(project)
    version = registry.holder(case.name, "champion")
    if version is None:
        raise NothingServes(case.name)
    entry = Preparation(project, copy, make_engine).ready(registry, version)
    engine = load_engine(copy.version(case.name, entry.version), entry, case.contract)
    return Arm(entry.version, engine)


class _Writer:
    """Scores pieces one after another, logs each, and writes what was answered."""

    def __init__(self, desk: Desk, ledger: Ledger, run_id: str) -> None:
        self._desk = desk
        self._ledger = ledger
        self._run_id = run_id
        self._schema = _schema(desk.case)
        self.rows = 0
        self.refused = 0

    async def write(self, pieces: Iterator[pd.DataFrame], path: Path) -> None:
        with pq.ParquetWriter(path, self._schema, compression="zstd") as file:
            for number, piece in enumerate(pieces):
                file.write_table(await self._piece(piece, number))

    async def _piece(self, piece: pd.DataFrame, number: int) -> pa.Table:
        case, received = self._desk.case, time.time()
        first = self.rows + self.refused
        asked = Asked(columns=_as_sent(case, piece), count=len(piece), partial=True)
        try:
            rows, positions, problems = self._desk.checker.check(asked)
        except ContractBroken as error:  # not one row keeps the contract
            self._count(received, len(piece), error.problems)
            return self._table(_refusals(first, error.problems, len(piece)))
        request_id = f"{self._run_id}-{number}"
        parts = await self._desk.served.answer(rows, request_id)
        payload = encode_entry(case.name, case.contract.version, request_id, received, time.time(), rows, parts, None)
        await self._ledger.commit(payload)
        self.rows += rows.count
        self._count(received, len(piece) - rows.count, problems)
        kept = positions if positions is not None else list(range(rows.count))
        told = [
            {"row": first + kept[row], **_about(rows, row), **answer}
            for part in parts
            for row, answer in zip(part.rows or range(rows.count), _answers(case, part), strict=True)
        ]
        bad = [row for row in range(len(piece)) if row not in set(kept)]
        return self._table(told + _refusals(first, problems, len(piece), bad))

    def _count(self, received: float, rows: int, problems: Sequence[RowProblem]) -> None:
        self.refused += rows
        if rows:
            contract = self._desk.case.contract
            reasons = reasons_of(problems, contract)
            self._ledger.refusals.add(self._desk.case.name, contract.version, received, rows, reasons)

    def _table(self, records: list[dict[str, Any]]) -> pa.Table:
        return pa.Table.from_pylist(sorted(records, key=lambda record: record["row"]), schema=self._schema)


def _pieces(case: Case, source: str | Query) -> Iterator[pd.DataFrame]:
    if isinstance(source, Query):
        yield from _from_query(source)
        return
    filesystem, path = fsspec.url_to_fs(source)
    if not filesystem.exists(path):
        raise SourceUnreadable(source, "there is no such file or folder", "Check the path.")
    files = [path] if filesystem.isfile(path) else sorted(filesystem.find(path))
    wanted = [name for name in files if name.endswith((".parquet", ".csv"))]
    if not wanted:
        raise SourceUnreadable(source, "it holds no .parquet and no .csv file", "Export the rows in one of the two.")
    texts = dict.fromkeys((n for n, c in case.contract.columns.items() if c.type is ColumnType.string), "str")
    for name in wanted:
        with filesystem.open(name, "rb") as file:
            if name.endswith(".csv"):
                yield from pd.read_csv(file, dtype=texts, chunksize=_ROWS_AT_ONCE)
            else:
                yield from (batch.to_pandas() for batch in pq.ParquetFile(file).iter_batches(_ROWS_AT_ONCE))


def _from_query(query: Query) -> Iterator[pd.DataFrame]:
    try:
        engine = sql.create_engine(query.url)
        with engine.connect().execution_options(stream_results=True) as connection:
            yield from pd.read_sql(sql.text(query.text), connection, chunksize=_ROWS_AT_ONCE)
    except sql.exc.SQLAlchemyError as error:
        where = "the database"
        raise SourceUnreadable(where, str(getattr(error, "orig", None) or error), "Check address and query.") from error


def _as_sent(case: Case, piece: pd.DataFrame) -> dict[str, Sequence[Any]]:
    """The columns as a client would have sent them in JSON."""
    known = [name for name in piece if name in case.contract.columns]
    if not known:
        raise ConfigError(
            f"None of the columns {', '.join(map(str, piece.columns[:5]))} is in the contract of `{case.name}`."
        )
    types = {name: case.contract.columns[name].type for name in known}
    return {name: [_as_json(value, types[name]) for value in piece[name].astype("object")] for name in known}


def _as_json(value: Any, wanted: ColumnType) -> Any:
    if value is None or value != value or value is pd.NaT:  # noqa: PLR0124 - only NaN differs from itself
        return None
    if wanted is ColumnType.boolean and type(value) is int and value in (0, 1):
        return bool(value)  # databases without truth values
    return value.isoformat() if isinstance(value, datetime) else value


def _schema(case: Case) -> pa.Schema:
    prediction = {Problem.binary: pa.int64(), Problem.regression: pa.float64(), Problem.multiclass: pa.string()}
    times = pa.timestamp("us", tz="UTC")
    return pa.schema(
        {
            "row": pa.int64(),
            "entity": pa.string(),
            "event_time": times,
            "prediction": prediction[case.problem],
            "probability": pa.float64(),
            "model_version": pa.string(),
            "fallback": pa.string(),
            "refused": pa.string(),
        }
    )


def _about(rows: Rows, row: int) -> dict[str, Any]:
    time = rows.event_times[row]
    return {"entity": rows.entities[row], "event_time": time and datetime.fromisoformat(time)}


def _answers(case: Case, part: Part) -> Iterator[dict[str, Any]]:
    for one in part.scores:
        yield {**_answer(case, part, one), "model_version": part.version, "fallback": part.fallback}


def _answer(case: Case, part: Part, one: Any) -> dict[str, Any]:
    told = prediction(case.problem, one, part.classes)
    if case.problem is Problem.regression:
        return {"prediction": told}
    if case.problem is Problem.binary:
        return {"prediction": told, "probability": one}
    return {"prediction": str(told), "probability": max(one)}


def _refusals(first: int, problems: list[RowProblem], count: int, bad: list[int] | None = None) -> list[dict[str, Any]]:
    said: dict[int, str] = {}
    for problem in problems:
        said.setdefault(problem.row, problem.message)
    rows = range(count) if bad is None else bad
    return [{"row": first + row, "refused": said.get(row, "it breaks the contract")} for row in rows]
