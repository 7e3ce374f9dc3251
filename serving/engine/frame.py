"""Checked rows as the table a pipeline is given: the same numbers, texts and times that offline scoring reads."""

from typing import Any

import numpy as np
import pandas as pd

from configs.case import ColumnType, Contract
from serving.records import Rows, Value


def frame_of(rows: Rows, contract: Contract) -> pd.DataFrame:
    """One column for each feature of the contract; pipelines pick theirs."""
    columns = zip(contract.features, rows.columns, strict=True)
    return pd.DataFrame({name: _values(contract.columns[name].type, values) for name, values in columns})


def _values(kind: ColumnType, values: list[Value]) -> np.ndarray:
    types: dict[ColumnType, Any] = {ColumnType.string: object, ColumnType.timestamp: "datetime64[us]"}
    return np.array(values, dtype=types.get(kind, np.float64))
