"""One Parquet row for each row of a request and each model that answered it, in columns whose types never change."""

from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest

from serving.ledger.columns import schema_of
from serving.ledger.entry import encode_entry
from serving.ledger.parts import utc_day
from serving.records import Part, Role, Rows
from tests.serving.ledger.conftest import BIRDS, NOON, SONGS, TIDES, Log, bird, birds, champion, tide

UTC_TIME = pa.timestamp("us", tz="UTC")


def test_the_columns_of_a_binary_case_with_every_type() -> None:
    assert schema_of(BIRDS) == pa.schema(
        {
            "request_id": pa.string(),
            "row": pa.int64(),
            "entity": pa.string(),
            "event_time": UTC_TIME,
            "received_at": UTC_TIME,
            "answered_at": UTC_TIME,
            "species": pa.string(),
            "eggs": pa.float64(),
            "weight": pa.float64(),
            "ringed": pa.bool_(),
            "seen": pa.timestamp("us"),
            "prediction": pa.int64(),
            "probability": pa.float64(),
            "model_version": pa.string(),
            "role": pa.string(),
            "fallback": pa.string(),
            "contract_version": pa.int64(),
            "scoring_seconds": pa.float64(),
            "champion_scoring_seconds": pa.float64(),
            "trace": pa.string(),
        }
    )


def test_a_multiclass_case_has_probabilities_and_their_classes_and_other_cases_have_not() -> None:
    songs = schema_of(SONGS)
    assert songs.field("prediction").type == pa.string()
    assert songs.field("probabilities").type == pa.list_(pa.float64())
    assert songs.field("classes").type == pa.list_(pa.string())
    assert {"probabilities", "classes"}.isdisjoint(schema_of(BIRDS).names)
    assert schema_of(TIDES).field("prediction").type == pa.float64()


def test_a_binary_answer_lands_whole(log: Log) -> None:
    log.write("w0-1-000001", bird("a", trace="ab" * 16))
    log.compact()
    (row,) = log.read()
    assert row == {
        "request_id": "a",
        "row": 0,
        "entity": "nest-0",
        "event_time": datetime(2026, 3, 1, 6, tzinfo=UTC),
        "received_at": NOON - timedelta(milliseconds=2),
        "answered_at": NOON,
        "species": "robin",
        "eggs": 4.0,
        "weight": 18.5,
        "ringed": True,
        "seen": datetime.fromisoformat("2026-03-01T07:30:00"),
        "prediction": 1,
        "probability": 0.75,
        "model_version": "3",
        "role": "champion",
        "fallback": None,
        "contract_version": 2,
        "scoring_seconds": None,
        "champion_scoring_seconds": None,
        "trace": "ab" * 16,
    }


def test_what_both_models_took_lands_with_the_shadows_row(log: Log) -> None:
    timed = Part(None, "4", Role.shadow, [0.2], (False, True), timed=(0.002, 0.001))
    log.write("w0-1-000001", bird("a"), bird("a", parts=[timed]))
    log.compact()
    told = {row["role"]: (row["scoring_seconds"], row["champion_scoring_seconds"]) for row in log.read()}
    assert told == {"champion": (None, None), "shadow": (0.002, 0.001)}


def test_missing_values_are_null(log: Log) -> None:
    rows = birds(species=None, eggs=None, weight=None, ringed=None, seen=None)
    rows.entities, rows.event_times = [None], [None]
    log.write("w0-1-000001", bird("a", rows=rows))
    log.compact()
    (row,) = log.read()
    wanted = ("entity", "event_time", "species", "eggs", "weight", "ringed", "seen")
    assert [row[name] for name in wanted] == [None] * 7


@pytest.mark.parametrize(("score", "prediction"), [(0.5, 0), (0.5000001, 1), (0.0, 0), (1.0, 1)])
def test_a_binary_prediction_is_positive_above_a_half(log: Log, score: float, prediction: int) -> None:
    log.write("w0-1-000001", bird("a", parts=[champion(score)]))
    log.compact()
    assert [(row["prediction"], row["probability"]) for row in log.read()] == [(prediction, score)]


def test_a_multiclass_prediction_is_the_likeliest_class_with_its_probability(log: Log) -> None:
    rows = Rows(2, [[440.0, 880.0]], [None] * 2, [None] * 2)
    part = Part(None, "1", Role.champion, [[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]], (1, 2, 3))
    log.write("w0-1-000001", encode_entry("songs", 1, "a", 1.0, NOON.timestamp(), rows, [part], None))
    log.compact()
    first, second = log.read("songs")
    assert (first["prediction"], first["probability"]) == ("2", 0.5)
    assert (first["probabilities"], first["classes"]) == ([0.2, 0.5, 0.3], ["1", "2", "3"])
    assert (second["prediction"], second["probability"]) == ("1", 0.4)


def test_a_regression_has_a_number_and_no_probability(log: Log) -> None:
    log.write("w0-1-000001", tide("a", level=2.25))
    log.compact()
    assert [(row["prediction"], row["probability"]) for row in log.read("tides")] == [(2.25, None)]


def test_each_row_says_who_answered_it(log: Log) -> None:
    rows = birds(3)
    rows.columns[2] = [10.0, 20.0, 30.0]
    parts = [
        Part([2, 0], "3", Role.champion, [0.9, 0.1], (False, True)),
        Part([1], None, Role.fallback, [0.24], (False, True), "timeout"),
    ]
    shadow = [Part(None, "4", Role.shadow, [0.2, 0.3, 0.4], (False, True))]
    log.write("w0-1-000001", bird("a", rows=rows, parts=parts), bird("a", rows=rows, parts=shadow))
    log.compact()
    told = [
        (
            row["role"],
            row["row"],
            row["entity"],
            row["weight"],
            row["probability"],
            row["model_version"],
            row["fallback"],
        )
        for row in log.read()
    ]
    assert told == [
        ("champion", 0, "nest-0", 10.0, 0.1, "3", None),
        ("champion", 2, "nest-2", 30.0, 0.9, "3", None),
        ("fallback", 1, "nest-1", 20.0, 0.24, None, "timeout"),
        ("shadow", 0, "nest-0", 10.0, 0.2, "4", None),
        ("shadow", 1, "nest-1", 20.0, 0.3, "4", None),
        ("shadow", 2, "nest-2", 30.0, 0.4, "4", None),
    ]


def test_floats_survive_the_whole_way_bit_for_bit(log: Log) -> None:
    values = [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, 2.0**53 + 2, 18.123456789012345]
    log.write("w0-1-000001", *(bird(f"{n}", rows=birds(weight=value)) for n, value in enumerate(values)))
    log.compact()
    assert [row["weight"] for row in log.read()] == values


def test_a_case_keeps_one_schema_whatever_the_values_are(log: Log) -> None:
    log.write("w0-1-000001", bird("a", rows=birds(species=None, weight=None)))
    log.write("w0-1-000002", bird("b"))
    log.compact()
    schemas = [log.store.schema("birds", date(2026, 3, 1), name) for name in log.store.files("birds", date(2026, 3, 1))]
    assert schemas == [schema_of(BIRDS)] * 2


@pytest.mark.parametrize(
    ("at", "day"),
    [
        (datetime(2026, 2, 28, 23, 59, 59, 999000, tzinfo=UTC), "2026-02-28"),
        (datetime(2026, 3, 1, tzinfo=UTC), "2026-03-01"),
    ],
)
def test_a_row_belongs_to_the_utc_day_of_its_answer(log: Log, at: datetime, day: str) -> None:
    log.write("w0-1-000001", bird("a", at))
    log.compact()
    assert [name.split("/")[:2] for name in log.files()] == [["case=birds", f"date={day}"]]
    assert utc_day(at).isoformat() == day
