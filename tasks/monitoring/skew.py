"""Skew: whether what was answered, and what it was answered from, is what there would be offline."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from configs.case import ColumnType, Contract
from tasks.evaluation.predictions import Floats
from tasks.verdicts import Evidence

_KEY = "evergreen: skew!"
"""Sixteen characters, fixed: the same requests are drawn on every machine."""
_ALL = 2**64 - 1
_ALIKE = 1e-9
"""Relative: for numbers written as text, and for linear models, whose last bits depend on the rows beside."""
DUST = 0.01
"""A feature that differs in no larger share of the rows was corrected at the source: it is named, and alarms nobody."""


def draw(batches: Iterable[pa.RecordBatch], at_most: int) -> pa.Table | None:
    """The rows of the requests that a hash draws, about `at_most` rows in all; None where there are no rows.

    Of every stretch of the log the same requests are drawn whatever comes with them; memory is that of a few batches.
    """
    kept: list[pa.Table] = []
    bound = _ALL
    rows = 0
    for batch in batches:
        table = pa.Table.from_batches([batch])
        hashed = hashes(table.column("request_id"))
        kept.append(table.filter(pa.array(hashed <= bound)).append_column("hash", pa.array(hashed[hashed <= bound])))
        rows += kept[-1].num_rows
        if rows > 2 * at_most + 10_000:
            kept, bound = _smallest(kept, at_most)
            rows = kept[0].num_rows
    if not rows:
        return None
    kept, _ = _smallest(kept, at_most)
    return kept[0].drop_columns(["hash"])


def hashes(requests: pa.ChunkedArray) -> NDArray[np.uint64]:
    """A number for each request id."""
    found = pd.util.hash_array(requests.to_numpy(zero_copy_only=False).astype(object), hash_key=_KEY, categorize=False)
    return np.asarray(found, dtype=np.uint64)


def _smallest(tables: list[pa.Table], at_most: int) -> tuple[list[pa.Table], int]:
    whole = pa.concat_tables(tables, promote_options="permissive")
    values = whole.column("hash").to_numpy()
    if len(values) <= at_most:
        return [whole], _ALL
    bound = np.partition(values, at_most - 1)[at_most - 1]
    return [whole.filter(pa.array(values <= bound))], int(bound)


def frame_of(table: pa.Table, contract: Contract, features: Sequence[str]) -> pd.DataFrame:
    """Logged features as a pipeline is given them: text, float64 and calendar times."""
    return pd.DataFrame({name: _column(table.column(name), contract.columns[name].type) for name in features})


def _column(values: pa.ChunkedArray, kind: ColumnType) -> NDArray[np.generic] | pd.Series:
    match kind:
        case ColumnType.string:
            return np.array(values.to_pylist(), dtype=object)
        case ColumnType.timestamp:
            return pd.Series(values.cast(pa.timestamp("us")).to_pandas())
        case _:
            return np.asarray(values.cast(pa.float64()).to_numpy(zero_copy_only=False))


def differing(logged: Floats, again: Floats, *, exact: bool) -> NDArray[np.intp]:
    """The rows whose answers differ, by a single bit if `exact`."""
    one, other = (np.ascontiguousarray(each, dtype=np.float64).reshape(len(each), -1) for each in (logged, again))
    if one.shape != other.shape:
        return np.arange(len(one))
    same = (one.view(np.uint64) == other.view(np.uint64)) | (np.isnan(one) & np.isnan(other))
    if not exact:
        same |= np.isclose(one, other, rtol=_ALIKE, atol=_ALIKE, equal_nan=True)
    return np.flatnonzero(~same.all(axis=1))


def said(table: pa.Table) -> Floats:
    """What was answered: the probabilities of a multiclass case, a probability, or a number."""
    if "probabilities" in table.column_names and table.column("probabilities").null_count == 0:
        return np.array(table.column("probabilities").to_pylist(), dtype=np.float64)
    name = "probability" if table.column("probability").null_count < table.num_rows else "prediction"
    return np.asarray(table.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


@dataclass(frozen=True)
class Compared:
    """Logged rows beside the same rows of the source."""

    logged: pd.DataFrame
    source: pd.DataFrame
    """The same rows in the same order."""
    about: list[str]
    """What each row is about, for a person."""
    not_found: int
    """Logged rows that the source does not have (yet)."""


def beside(table: pa.Table, source: pd.DataFrame, contract: Contract, features: Sequence[str]) -> Compared:
    """Each logged row beside the source's row of its entity and event time; of its entity, if it says no event time."""
    asked = pd.DataFrame({
        "place": np.arange(table.num_rows),
        "entity": np.array(table.column("entity").to_pylist(), dtype=object),
        "event_time": pd.to_datetime(table.column("event_time").cast(pa.timestamp("us", "UTC")).to_pandas(), utc=True),
    })  # fmt: skip
    there = pd.DataFrame({
        "there": np.arange(len(source)),
        "entity": source[contract.entity].astype("string").astype(object).to_numpy(),
        "event_time": pd.to_datetime(source[contract.event_time], utc=True),
    })  # fmt: skip
    there = there.drop_duplicates(["entity", "event_time"], keep="last")
    timed = asked[asked["event_time"].notna()].merge(there, on=["entity", "event_time"])
    once = there.drop_duplicates("entity", keep=False)[["entity", "there"]]
    timeless = asked[asked["event_time"].isna() & asked["entity"].notna()].merge(once, on="entity")
    both = pd.concat([timed[["place", "there", "entity"]], timeless[["place", "there", "entity"]]])
    logged = frame_of(table.take(pa.array(both["place"].to_numpy())), contract, features)
    found = source.iloc[both["there"].to_numpy()].reset_index(drop=True)
    return Compared(logged, found, both["entity"].astype(str).tolist(), table.num_rows - both["place"].nunique())


def feature_differences(compared: Compared, contract: Contract) -> tuple[Evidence, ...]:
    """The columns in which rows differ, the worst first."""
    found = []
    for name in compared.logged:
        here = compared.logged[name]
        if name not in compared.source:
            found.append(_evidence(str(name), len(here), len(here), "the source does not have this column"))
            continue
        there = _as_logged(compared.source[name], contract.columns[str(name)].type)
        places = np.flatnonzero(~_same(here, there))
        if len(places):
            first = places[0]
            example = f"{compared.about[first]}: logged {_shown(here, first)}, the source says {_shown(there, first)}"
            found.append(_evidence(str(name), len(places), len(here), example))
    return tuple(sorted(found, key=lambda one: -(one.effect or 0.0)))


def _evidence(name: str, rows: int, of: int, example: str) -> Evidence:
    share = rows / of
    return Evidence(
        subject=name,
        test="logged feature against the source, share of rows that differ",
        statistic=float(rows),
        effect=share,
        alarm=share > DUST,
        text=f"{rows:,} of {of:,} rows differ ({example})",
    )


def _as_logged(values: pd.Series, kind: ColumnType) -> pd.Series:
    """Delivered values in the form they are logged in; what cannot be is left as it is, and differs."""
    try:
        match kind:
            case ColumnType.string:
                return values.astype("string").astype(object)
            case ColumnType.timestamp:
                return pd.to_datetime(values, format=None if values.dtype.kind == "M" else "ISO8601")
            case _:
                return values.astype("float64")
    except (ValueError, TypeError):
        return values


def _same(here: pd.Series, there: pd.Series) -> NDArray[np.bool_]:
    missing, lacking = here.isna().to_numpy(), there.isna().to_numpy()
    same: NDArray[np.bool_] = missing & lacking
    known = ~missing & ~lacking
    if here.dtype.kind == there.dtype.kind == "f":
        same[known] = np.isclose(here[known], there[known], rtol=_ALIKE, atol=0)
    else:
        same[known] = here[known].to_numpy(dtype=object) == there[known].to_numpy(dtype=object)
    return same


def _shown(values: pd.Series, place: int) -> str:
    value = values.iloc[place]
    return "nothing" if pd.isna(value) else f"{value!r}"[:60] if isinstance(value, str) else str(value)[:60]


def span_of(table: pa.Table, name: str) -> tuple[pd.Timestamp, pd.Timestamp] | None:
    """The first and the last of some moments; None where there are none."""
    found = pc.min_max(table.column(name))
    return (
        None
        if found["min"].as_py() is None
        else (pd.Timestamp(found["min"].as_py()), pd.Timestamp(found["max"].as_py()))
    )
