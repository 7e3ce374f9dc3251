"""Rows that really came, as a client would send them: to ask a challenger, or the public endpoint, once more."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from configs.case import Case, ColumnType
from configs.project import Project
from serving.routes.recorded import delivered_rows
from tasks.monitoring.answers import Answers

Row = dict[str, Any]
_BACK = timedelta(days=1)


def recorded_rows(project: Project, case: Case, answers: Answers, at: datetime, at_most: int) -> list[Row]:
    """Rows that were asked for in the day before `at`; where there are none, or not as they came, delivered ones."""
    return _asked(case, answers, at, at_most) or _delivered(project, case, at_most)


def _asked(case: Case, answers: Answers, at: datetime, at_most: int) -> list[Row]:
    changed = {*case.serving.log.hashed, *case.serving.log.dropped}
    if changed & set(case.contract.features):
        return []  # what was hashed or dropped for privacy cannot be asked again
    columns = [*case.contract.features, "role", "contract_version"]
    rows = (row for batch in answers.batches(at - _BACK, at, columns) for row in batch.to_pylist())
    same = (r for r in rows if r["role"] != "shadow" and r["contract_version"] == case.contract.version)
    return _as_json(case, islice(same, at_most))


def _delivered(project: Project, case: Case, at_most: int) -> list[Row]:
    rows = delivered_rows(project, case, at_most)
    named = zip(*rows.columns, strict=True)
    return _as_json(case, (dict(zip(case.contract.features, values, strict=True)) for values in named))


def _as_json(case: Case, rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    columns = case.contract.columns
    return [{name: _value(columns[name].type, row[name]) for name in case.contract.features} for row in rows]


def _value(kind: ColumnType, value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return int(value) if kind is ColumnType.integer and value is not None else value
