"""The prediction log as outcomes keep it: the columns of the contract of today, each of one type."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import pyarrow as pa

from configs.case import Case, ColumnType, Problem
from tasks.monitoring.answers import Answers

_UTC = pa.timestamp("us", tz="UTC")
_FEATURE = {
    ColumnType.string: pa.string(),
    ColumnType.integer: pa.float64(),
    ColumnType.number: pa.float64(),
    ColumnType.boolean: pa.bool_(),
    ColumnType.timestamp: pa.timestamp("us"),
}
_PREDICTION = {Problem.binary: pa.int64(), Problem.multiclass: pa.string(), Problem.regression: pa.float64()}


def logged_schema(case: Case) -> pa.Schema:
    """The columns of the log that an outcome has."""
    kept = case.serving.log
    features = {
        name: pa.string() if name in kept.hashed else _FEATURE[case.contract.columns[name].type]
        for name in case.contract.features
        if name not in kept.dropped
    }
    many = {"probabilities": pa.list_(pa.float64()), "classes": pa.list_(pa.string())}
    return pa.schema(
        {
            "request_id": pa.string(),
            "row": pa.int64(),
            "entity": pa.string(),
            "event_time": _UTC,
            "answered_at": _UTC,
            **features,
            "prediction": _PREDICTION[case.problem],
            "probability": pa.float64(),
            **(many if case.problem is Problem.multiclass else {}),
            "model_version": pa.string(),
            "role": pa.string(),
            "fallback": pa.string(),
            "contract_version": pa.int64(),
        }
    )


def logged(case: Case, answers: Answers, windows: Sequence[tuple[datetime, datetime]]) -> pa.RecordBatchReader:
    """The rows answered in one of the windows `[start, end)`, which do not overlap, once through."""
    schema = logged_schema(case)
    return pa.RecordBatchReader.from_batches(schema, _batches(schema, answers, windows))


def _batches(
    schema: pa.Schema, answers: Answers, windows: Sequence[tuple[datetime, datetime]]
) -> Iterator[pa.RecordBatch]:
    for start, end in windows:
        for batch in answers.batches(start, end, schema.names):
            yield pa.RecordBatch.from_arrays([_as(batch.column(field.name), field) for field in schema], schema=schema)


def _as(values: pa.Array, field: pa.Field) -> pa.Array:
    """The values in their column's type. A feature that another contract had in another type means something else."""
    if values.type == field.type:
        return values
    try:
        return values.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.nulls(len(values), field.type)
