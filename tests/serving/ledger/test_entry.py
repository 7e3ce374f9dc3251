"""An entry gives back what was written down, to the bit."""

import math
from datetime import datetime

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

from serving.ledger.entry import decode_entry, encode_entry
from serving.records import Part, Role, Rows
from tests.serving.ledger.conftest import CASES, NOON, bird, birds, champion

EXACT = [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0, 2.0**53 + 2, 1e22, math.pi * 1e-7]


def test_an_entry_comes_back_as_it_was() -> None:
    rows = birds(2, species=None, seen=datetime.fromisoformat("1999-12-31T23:59:59.999999"))
    parts = [
        Part([0], "3", Role.champion, [0.25], (False, True)),
        Part([1], None, Role.fallback, [0.5], (False, True), "timeout"),
    ]
    entry = decode_entry(bird("a-1", rows=rows, parts=parts, trace="ab" * 16), CASES)
    assert (entry.case, entry.contract, entry.request_id, entry.trace) == ("birds", 2, "a-1", "ab" * 16)
    assert (entry.received, entry.answered) == (NOON.timestamp() - 0.002, NOON.timestamp())
    assert entry.rows == rows
    assert entry.parts == parts


@pytest.mark.parametrize("value", EXACT)
def test_floats_come_back_bit_for_bit(value: float) -> None:
    entry = decode_entry(bird("a", rows=birds(weight=value), parts=[champion(value)]), CASES)
    assert np.array(entry.rows.columns[2]).tobytes() == np.array([value]).tobytes()
    assert np.array(entry.parts[0].scores).tobytes() == np.array([value]).tobytes()


@pytest.mark.parametrize(
    "scores",
    [np.array([0.25, 0.5]), np.array([[0.25, 9], [0.5, 9]])[:, 0], [np.float64(0.25), np.float64(0.5)]],
    ids=["an array", "a slice across rows", "numpy's floats"],
)
def test_scores_may_be_numpys(scores: NDArray[np.float64]) -> None:
    payload = bird("a", rows=birds(2), parts=[Part(None, "3", Role.champion, scores, (False, True))])
    assert decode_entry(payload, CASES).parts[0].scores == [0.25, 0.5]


def test_times_are_written_as_wall_clocks_in_iso_8601() -> None:
    content = orjson.loads(bird("a", rows=birds(seen=datetime.fromisoformat("2026-03-01T07:30:00"))))
    assert content["columns"][4] == ["2026-03-01T07:30:00"]


def test_multiclass_scores_keep_their_classes_and_their_types() -> None:
    part = Part(None, "1", Role.challenger, [[0.2, 0.3, 0.5]], (1, 2, 3))
    payload = encode_entry("songs", 1, "a", 1.0, 2.0, Rows(1, [[440.0]], [None], [None]), [part], None)
    assert decode_entry(payload, CASES).parts == [part]


def test_an_entry_of_a_case_nobody_described_is_refused() -> None:
    with pytest.raises(KeyError, match="birds"):
        decode_entry(bird("a"), {})


def test_an_entry_with_columns_of_another_contract_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        decode_entry(bird("a"), {"birds": CASES["tides"]})


def test_rows_that_two_models_answered_are_written_alike_in_both_entries() -> None:
    rows = birds(200, weight=0.1, seen=None)
    by_each = [bird("a", rows=rows, parts=[champion(score, count=200)]) for score in (0.25, 0.75)]
    alone = bird("a", rows=birds(200, weight=0.1, seen=None), parts=[champion(0.75, count=200)])
    assert by_each[1] == alone
    assert [decode_entry(payload, CASES).rows for payload in by_each] == [rows, rows]
