"""The shape of a delivery: which columns came, once each, in the type that was promised, and finite."""

import difflib

import numpy as np
import pandas as pd

from configs.case import Column, ColumnType, Contract, Role
from tasks.records import Finding, Severity
from tasks.validation.wording import examples, rows

_WORDS = {
    ColumnType.string: "text",
    ColumnType.integer: "whole numbers",
    ColumnType.number: "numbers",
    ColumnType.boolean: "true or false",
    ColumnType.timestamp: "times",
}
_KINDS = {
    "string": "text",
    "integer": "whole numbers",
    "floating": "numbers with a decimal point",
    "boolean": "true or false",
    "date": "dates without a time",
    "datetime": "times in several time zones",
    "decimal": "decimals",
    "mixed": "of several types",
    "mixed-integer": "of several types",
}
"""What `pandas.api.types.infer_dtype` answers, in words."""
_UTC = {"UTC", "Etc/UTC", "+00:00"}


def named_once(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with text for column names, of columns that share a name only the first, and its rows counted anew."""
    named = frame.set_axis([str(name) for name in frame.columns], axis="columns").reset_index(drop=True)
    return named.loc[:, ~named.columns.duplicated()]


def shape(contract: Contract, frame: pd.DataFrame) -> list[Finding]:
    """What there is to say about the names, the types and the finiteness of the columns."""
    names, once = [str(name) for name in frame.columns], named_once(frame)
    arrived = {name: column for name, column in contract.columns.items() if name in once.columns}
    floats = [name for name in arrived if pd.api.types.is_float_dtype(once[name].dtype)]
    return [
        *_names(contract, names),
        *(_of_type(name, column, once[name]) for name, column in arrived.items()),
        *_finite(once[floats]),
    ]


def of_wrong_type(column: Column, values: pd.Series) -> pd.Series:
    """The values that are not of the type that was promised; a missing value has every type."""
    present = values.dropna().infer_objects()
    if pd.api.types.is_object_dtype(present.dtype):
        wrong = present[[not _is_a(column.type, value) for value in present]]
        # Times that pandas keeps as objects differ in their time zones: no two of them can be compared.
        return present if column.type is ColumnType.timestamp and wrong.empty else wrong
    return present[~_fits(column, values, present)]


def _fits(column: Column, values: pd.Series, present: pd.Series) -> pd.Series:
    dtype = present.dtype
    match column.type:
        case ColumnType.string if isinstance(dtype, pd.CategoricalDtype):
            fits = pd.api.types.is_string_dtype(dtype.categories.dtype)
        case ColumnType.string:
            fits = pd.api.types.is_string_dtype(dtype)
        case ColumnType.boolean:
            fits = pd.api.types.is_bool_dtype(dtype)
        case ColumnType.timestamp if column.role is Role.event_time:
            fits = isinstance(dtype, pd.DatetimeTZDtype) and str(dtype.tz) in _UTC
        case ColumnType.timestamp:
            fits = pd.api.types.is_datetime64_any_dtype(dtype)
        case ColumnType.number:
            fits = pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype)
        case ColumnType.integer:
            # One missing value is enough for pandas to deliver whole numbers as floats.
            may_be_float = pd.api.types.is_float_dtype(dtype) and (column.may_be_missing > 0 or values.hasnans)
            if may_be_float:
                return (present % 1 == 0).astype(bool)
            fits = pd.api.types.is_integer_dtype(dtype)
    return pd.Series(fits, index=present.index, dtype=bool)


def _is_a(wanted: ColumnType, value: object) -> bool:
    kinds: dict[ColumnType, type | tuple[type, ...]] = {
        ColumnType.string: str,
        ColumnType.integer: (int, np.integer),
        ColumnType.number: (int, float, np.integer, np.floating),
        ColumnType.boolean: (bool, np.bool_),
        ColumnType.timestamp: pd.Timestamp,
    }
    if wanted is not ColumnType.boolean and isinstance(value, bool | np.bool_):
        return False
    return isinstance(value, kinds[wanted])


def _names(contract: Contract, names: list[str]) -> list[Finding]:
    """A finding for each column that is missing, repeated or not promised; or one to say that there is none."""
    missing = [name for name in contract.columns if name not in names]
    strangers = [name for name in dict.fromkeys(names) if name not in contract.columns]
    repeated = [name for name in contract.columns if names.count(name) > 1]
    failed = [
        *(_column(name, "the column is missing" + _hint("was it renamed to", name, strangers)) for name in missing),
        *(_column(name, f"delivered {names.count(name)} times") for name in repeated),
        *(_column(name, "a column nobody promised" + _hint("was it once", name, missing)) for name in strangers),
    ]
    return failed or [_column(None, f"{len(names)} columns", passed=True)]


def _column(name: str | None, found: str, *, passed: bool = False) -> Finding:
    return Finding(
        check="columns_are_those_of_the_contract",
        column=name,
        severity=Severity.critical,
        passed=passed,
        expected="each column of the contract once, and no other",
        found=found,
    )


def _hint(question: str, name: str, others: list[str]) -> str:
    near = difflib.get_close_matches(name, others, 1)
    return f"; {question} `{near[0]}`?" if near else ""


def _of_type(name: str, column: Column, values: pd.Series) -> Finding:
    wrong = of_wrong_type(column, values)
    utc = " in UTC" if column.role is Role.event_time else ""
    return Finding(
        check="values_are_of_type",
        column=name,
        severity=Severity.critical,
        passed=wrong.empty,
        expected=_WORDS[column.type] + utc,
        rows=len(wrong),
        examples=examples(wrong.iloc[:1000]),
        found=f"{values.dtype}" if wrong.empty else rows(len(wrong), len(values), f"are {_kind(wrong)}"),
    )


def _kind(wrong: pd.Series) -> str:
    """What the values are instead, in a word or two."""
    if isinstance(wrong.dtype, pd.DatetimeTZDtype):
        return f"times in {wrong.dtype.tz}"
    if pd.api.types.is_datetime64_dtype(wrong.dtype):
        return "times without a time zone"
    kind = pd.api.types.infer_dtype(wrong)
    return _KINDS.get(kind, kind)


def _finite(floats: pd.DataFrame) -> list[Finding]:
    """A finding for each column with an infinite number; or one to say that there is none."""
    infinite = np.isinf(floats.to_numpy(dtype="float64", na_value=np.nan))
    columns = zip(floats.columns.astype(str), infinite.T, strict=True)
    failed = [_endless(name, floats[name], where) for name, where in columns if where.any()]
    return failed or [_endless(None, pd.Series(), np.zeros(0, dtype=bool))]


def _endless(name: str | None, values: pd.Series, infinite: np.ndarray) -> Finding:
    count = int(infinite.sum())
    return Finding(
        check="numbers_are_finite",
        column=name,
        severity=Severity.critical,
        passed=not count,
        expected="no infinite number",
        found=rows(count, len(values), "infinite") if count else "none",
        rows=count,
        examples=examples(values[infinite]),
    )
