"""Answers that differ by a bit, and features that differ from their source, are found and named."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from configs.case import Contract
from tasks.monitoring.skew import beside, differing, draw, feature_differences

CONTRACT = Contract.model_validate({
    "version": 1,
    "columns": {
        "bird": {"type": "string", "role": "entity"},
        "seen_at": {"type": "timestamp", "role": "event_time"},
        "weight": {"type": "number", "role": "feature"},
        "species": {"type": "string", "role": "feature"},
        "ringed": {"type": "boolean", "role": "feature"},
        "hatched": {"type": "timestamp", "role": "feature"},
        "stays": {"type": "boolean", "role": "target"},
    },
})  # fmt: skip
ROWS = 300
FEATURES = ["weight", "species", "ringed", "hatched"]


def source() -> pd.DataFrame:
    draw_ = np.random.default_rng(1)
    return pd.DataFrame({
        "bird": [f"b{n}" for n in range(ROWS)],
        "seen_at": pd.date_range("2026-03-02", periods=ROWS, freq="h", tz="UTC").as_unit("us"),
        "weight": draw_.normal(20, 4, ROWS).round(3),
        "species": pd.array([None if n % 7 == 0 else "wren" for n in range(ROWS)], dtype="str"),
        "ringed": pd.array([None if n % 5 == 0 else n % 2 == 0 for n in range(ROWS)], dtype="boolean"),
        "hatched": pd.date_range("2025-05-01", periods=ROWS, freq="D").as_unit("us"),
    })  # fmt: skip


def logged(**changes: object) -> pa.Table:
    """The rows of the source as the log has them, in another order."""
    there = source()
    table = {
        "request_id": [f"r{n}" for n in range(ROWS)],
        "entity": there["bird"].tolist(),
        "event_time": pa.array(there["seen_at"]),
        "weight": pa.array(there["weight"]),
        "species": pa.array(
            there["species"].astype(object).where(there["species"].notna(), None).tolist(), pa.string()
        ),
        "ringed": pa.array([None if pd.isna(one) else bool(one) for one in there["ringed"]], pa.bool_()),
        "hatched": pa.array(there["hatched"]),
    }
    return pa.table(table | changes).take(np.random.default_rng(2).permutation(ROWS))


def test_the_same_bits_do_not_differ_and_one_bit_does() -> None:
    scores = np.random.default_rng(3).random(1000)
    assert len(differing(scores, scores.copy(), exact=True)) == 0
    other = scores.copy()
    other[417] = np.nextafter(other[417], 1)
    assert differing(scores, other, exact=True).tolist() == [417]
    assert len(differing(scores, other, exact=False)) == 0
    other[417] += 1e-6
    assert differing(scores, other, exact=False).tolist() == [417]


def test_probabilities_of_classes_are_compared_one_by_one() -> None:
    shares = np.random.default_rng(4).dirichlet([1, 1, 1], 50)
    other = shares.copy()
    other[7, 2] = np.nextafter(other[7, 2], 0)
    assert differing(shares, other, exact=True).tolist() == [7]
    assert len(differing(shares, shares[:, :2], exact=True)) == 50


def test_nothing_twice_is_the_same_nothing() -> None:
    assert len(differing(np.array([np.nan, 1.0]), np.array([np.nan, 1.0]), exact=True)) == 0
    assert differing(np.array([np.nan, 1.0]), np.array([0.0, 1.0]), exact=True).tolist() == [0]


def test_the_sample_is_drawn_by_hash_whatever_the_batches() -> None:
    requests = [f"request-{n}" for n in range(50_000)]
    table = pa.table({"request_id": requests, "row": np.arange(50_000)})
    small, large = (draw(table.to_batches(max_chunksize=size), 500) for size in (777, 50_000))
    assert small is not None
    assert large is not None
    assert small.num_rows == large.num_rows == 500
    assert sorted(small.column("row").to_pylist()) == sorted(large.column("row").to_pylist())
    assert np.mean(small.column("row").to_pylist()) == pytest.approx(25_000, rel=0.15)
    assert draw(table.slice(0, 20).to_batches(), 500).num_rows == 20  # type: ignore[union-attr]
    assert draw(iter([]), 500) is None


def test_features_that_are_those_of_the_source_do_not_differ() -> None:
    compared = beside(logged(), source(), CONTRACT, FEATURES)
    assert (len(compared.logged), compared.not_found) == (ROWS, 0)
    assert feature_differences(compared, CONTRACT) == ()


@pytest.mark.parametrize(
    ("column", "changed", "alarms"),
    [
        ("weight", lambda there: pa.array(there["weight"] * 2.2), True),
        ("weight", lambda there: pa.array([None, *there["weight"][1:]], pa.float64()), False),
        ("species", lambda there: pa.array(["tit"] * ROWS), True),
        ("ringed", lambda there: pa.array([False] * ROWS), True),
        ("hatched", lambda there: pa.array(there["hatched"] + pd.Timedelta(hours=1)), True),
    ],
)
def test_a_feature_that_differs_is_named(column: str, changed: object, alarms: bool) -> None:
    table = logged(**{column: changed(source())})  # type: ignore[operator]
    (found,) = feature_differences(beside(table, source(), CONTRACT, FEATURES), CONTRACT)
    assert (found.subject, found.alarm) == (column, alarms)
    assert "the source says" in found.text


def test_a_column_the_source_lost_is_named() -> None:
    (found,) = feature_differences(beside(logged(), source().drop(columns="weight"), CONTRACT, FEATURES), CONTRACT)
    assert (found.subject, found.alarm, found.effect) == ("weight", True, 1.0)


def test_rows_the_source_does_not_have_are_counted() -> None:
    compared = beside(logged(), source().head(100), CONTRACT, FEATURES)
    assert (len(compared.logged), compared.not_found) == (100, ROWS - 100)


def test_a_row_without_event_time_is_found_by_an_entity_that_occurs_once() -> None:
    nowhen = logged(event_time=pa.nulls(ROWS, pa.timestamp("us", "UTC")))
    assert beside(nowhen, source(), CONTRACT, FEATURES).not_found == 0
    again = pd.concat([source(), source().assign(seen_at=lambda rows: rows["seen_at"] + pd.Timedelta(days=9))])
    assert beside(nowhen, again, CONTRACT, FEATURES).not_found == ROWS
