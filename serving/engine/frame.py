"""Checked rows as the table a pipeline is given, with the values that offline scoring reads; and back."""

from collections.abc import Collection

import numpy as np
import pandas as pd

from configs.case import ColumnType, Contract
from serving.records import Rows, Value


def frame_of(rows: Rows, contract: Contract, features: Collection[str] | None = None) -> pd.DataFrame:
    """One column for each feature of the contract, or for these of them, in the contract's order."""
    columns = zip(contract.features, rows.columns, strict=True)
    wanted = contract.features if features is None else features
    return pd.DataFrame(
        {name: _column(contract.columns[name].type, values) for name, values in columns if name in wanted}
    )


def rows_of(frame: pd.DataFrame, contract: Contract) -> Rows:
    """The rows of a delivered table; a feature it lacks is missing in each, and so are entities and event times."""
    columns: list[list[Value]] = [
        _values(contract.columns[name].type, frame[name]) if name in frame else [None] * len(frame)
        for name in contract.features
    ]
    return Rows(len(frame), columns, [None] * len(frame), [None] * len(frame))


def _column(kind: ColumnType, values: list[Value]) -> np.ndarray | pd.Series:
    if kind is ColumnType.string:
        # As objects: pandas' own kind of text takes longer to make than a model takes to answer a row.
        return pd.Series(values, dtype=object)
    return np.array(values, dtype="datetime64[us]" if kind is ColumnType.timestamp else np.float64)


def _values(kind: ColumnType, column: pd.Series) -> list[Value]:
    known = column.notna().to_numpy()
    if kind is ColumnType.timestamp:
        column = pd.to_datetime(column, format=None if column.dtype.kind == "M" else "ISO8601")
        return [time.to_pydatetime(warn=False) if one else None for time, one in zip(column, known, strict=True)]
    if kind is ColumnType.string:
        return [str(text) if one else None for text, one in zip(column, known, strict=True)]
    numbers = zip(column.astype("float64").tolist(), known.tolist(), strict=True)
    if kind is ColumnType.boolean:
        return [bool(number) if one else None for number, one in numbers]
    return [number if one else None for number, one in numbers]
