"""Labels as a case's source has them, brought into one form; nothing is decided here about which of them count."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow as pa

from configs.case import Case, ColumnType, Problem
from configs.labels import LabelKey, LabelSource
from configs.sources import SqlSource
from tasks.evaluation.intervals import in_utc
from tasks.features.labels import labels
from tasks.ingestion.sources import BEGINNING, read_source, rows
from tasks.outcomes.errors import LabelsUnjoinable, LabelsUnreadable

_UTC = pa.timestamp("us", tz="UTC")
_TRUTH = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}


@dataclass(frozen=True)
class Delivered:
    """What the source had."""

    table: pa.Table
    """`label_schema`, without `known_at` and `taken_at`."""
    key: LabelKey
    timed: bool
    """Whether the source says when each label became known; if not, `labelled_at` is when it was due."""
    empty: int
    """Rows that hold no label (yet): a flight that was cancelled, or has not landed."""
    unnamed: int
    """Labels that do not say what they are about, or when they became known."""


def label_schema(problem: Problem) -> pa.Schema:
    """The columns of the label log."""
    return pa.schema(
        {
            "request_id": pa.string(),
            "row": pa.int64(),
            "entity": pa.string(),
            "event_time": _UTC,
            "label": pa.string() if problem is Problem.multiclass else pa.float64(),
            "labelled_at": _UTC,
            "version": pa.int64(),
            "known_at": _UTC,
            "taken_at": _UTC,
        }
    )


def label_key(case: Case) -> LabelKey:
    """How the case's labels name what they are about. Raises LabelsUnjoinable where the log does not keep that."""
    key = case.labels.key if case.labels else LabelKey.event
    kept = case.serving.log
    if key is not LabelKey.request and "entity" in (*kept.hashed, *kept.dropped):
        raise LabelsUnjoinable(case.name, "entity")
    return key


def read_labels(case: Case, since: datetime | None, as_of: datetime) -> Delivered:
    """The labels known by `as_of` that were not by `since`, and those before that a query is asked for again.

    Raises SourceUnreadable, LabelsUnreadable, LabelsUnjoinable.
    """
    key = label_key(case)
    found = _own(case, case.labels, since, as_of) if case.labels else _from_target(case, since, as_of)
    timed = case.labels is not None and case.labels.labelled_at is not None
    if not timed:
        found["labelled_at"] = found["event_time"] + case.label_delay
    return _delivered(case, pd.DataFrame(found), key, timed, as_of)


def _from_target(case: Case, since: datetime | None, as_of: datetime) -> dict[str, pd.Series]:
    contract = case.contract
    until = as_of - case.label_delay + timedelta(microseconds=1)
    frame = rows(case, _back(since, _LOOK_BACK + case.label_delay), until)
    _must_have(case, frame, (contract.entity, case.target))
    return {
        "entity": _texts(frame[contract.entity]),
        "event_time": frame[contract.event_time],
        "label": _labels(case, frame),
    }


def _own(case: Case, source: LabelSource, since: datetime | None, as_of: datetime) -> dict[str, pd.Series]:
    delay = timedelta() if source.labelled_at else case.label_delay
    as_text = [name for name in (source.entity, source.request_id) if name]
    if case.contract.columns[case.target].type is ColumnType.string:
        as_text += [name for name in (source.label, source.target) if name]
    start = _back(since, source.look_back + delay) if isinstance(source.source, SqlSource) else BEGINNING
    # Bounds of a query are whole seconds in some databases; what is after the as-of is left out below.
    frame = read_source(source.source, tuple(as_text), start, as_of - delay + timedelta(seconds=1))
    named = source.model_dump(include={*_NAMES}, exclude_none=True)
    _must_have(case, frame, named.values())
    found = {ours: frame[theirs] for ours, theirs in named.items()}
    read: dict[str, pd.Series] = {name: _texts(found[name]) for name in ("entity", "request_id") if name in found}
    read |= {name: _whole(case, found[name], name) for name in ("row", "version") if name in found}
    read |= {name: _moments(case, found[name], theirs=named[name]) for name in _TIMES if name in found}
    values = frame[source.label or source.target]
    ready = source.label is not None and case.problem is Problem.binary
    read["label"] = _truths(case, values) if ready else _labels(case, pd.DataFrame({case.target: values}))
    return read


_NAMES = ("request_id", "row", "entity", "event_time", "label", "target", "labelled_at", "version")
_TIMES = ("event_time", "labelled_at")
_LOOK_BACK = timedelta(days=28)


def _delivered(case: Case, found: pd.DataFrame, key: LabelKey, timed: bool, as_of: datetime) -> Delivered:
    known = found[found["labelled_at"].isna() | (found["labelled_at"] <= as_of)]
    labelled = known[known["label"].notna()]
    needed = [*KEYS[key], "labelled_at"]
    if key is LabelKey.request and "row" not in labelled:
        labelled = labelled.assign(row=0)
    named = labelled[labelled[needed].notna().all(axis=1)]
    schema = pa.schema([field for field in label_schema(case.problem) if field.name not in ("known_at", "taken_at")])
    columns = [
        pa.Array.from_pandas(named[field.name], type=field.type)
        if field.name in named
        else pa.nulls(len(named), field.type)
        for field in schema
    ]
    return Delivered(
        table=pa.table(columns, schema=schema),
        key=key,
        timed=timed,
        empty=len(known) - len(labelled),
        unnamed=len(labelled) - len(named),
    )


KEYS = {
    LabelKey.request: ("request_id", "row"),
    LabelKey.event: ("entity", "event_time"),
    LabelKey.entity: ("entity",),
}
"""The columns that a label is joined on."""


def _back(since: datetime | None, by: timedelta) -> datetime:
    return BEGINNING if since is None or since - by < BEGINNING else since - by


def _must_have(case: Case, frame: pd.DataFrame, columns: Iterable[str]) -> None:
    missing = [name for name in columns if name not in frame]
    if missing:
        raise LabelsUnreadable(
            case.name,
            f"their source has no column `{missing[0]}`",
            list(frame.columns),
            "Mend the source, or `labels` in the case's YAML.",
        )


def _labels(case: Case, frame: pd.DataFrame) -> pd.Series:
    try:
        return labels(case, frame)
    except (ValueError, TypeError) as error:
        raise LabelsUnreadable(
            case.name, f"`{case.target}` does not hold what the contract says ({error})", (), "Mend the source."
        ) from error


def _truths(case: Case, values: pd.Series) -> pd.Series:
    """True and false, however they are written, as 1.0 and 0.0."""
    read = values.astype("string").str.lower().map(_TRUTH).astype("float64")
    wrong = values[read.isna() & values.notna()]
    if len(wrong):
        raise LabelsUnreadable(
            case.name,
            f"{len(wrong)} are neither true nor false",
            wrong.drop_duplicates().head(5).tolist(),
            "Mend the source; or, if it holds the target and not the label, name its column in `labels.target`.",
        )
    return read


def _texts(values: pd.Series) -> pd.Series:
    """Names as text; whole numbers that a missing one has turned to floats are whole again."""
    if values.dtype.kind == "f":
        values = values.astype("Int64") if (values.dropna() % 1 == 0).all() else values
    return values.astype("string")


def _whole(case: Case, values: pd.Series, name: str) -> pd.Series:
    try:
        return pd.to_numeric(values).astype("Int64")
    except (ValueError, TypeError) as error:
        raise LabelsUnreadable(case.name, f"`{name}` is no whole number ({error})", (), "Mend the source.") from error


def _moments(case: Case, values: pd.Series, theirs: str) -> pd.Series:
    try:
        parsed = in_utc(values) if values.dtype.kind == "M" else pd.to_datetime(values, utc=True, format="ISO8601")
    except (ValueError, TypeError) as error:
        raise LabelsUnreadable(
            case.name,
            f"`{theirs}` holds no time ({str(error).splitlines()[0]})",
            (),
            f"Write times as {datetime(2013, 5, 27, 2, tzinfo=UTC):%Y-%m-%dT%H:%M:%SZ}.",
        ) from error
    return parsed.astype("datetime64[us, UTC]")
