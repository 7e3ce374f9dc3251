"""Faults as words and as files, and what is refused of them."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from configs.errors import ConfigError
from configs.faults import KINDS, Concept, LateLabels, Nulls, Units, read_faults

MOMENT = datetime(2013, 8, 12, tzinfo=UTC)


def test_a_word_says_what_goes_wrong_how_and_when() -> None:
    [units] = read_faults(["units:distance=1.609@2013-08-12..2013-09-02"])
    assert units == Units(column="distance", factor=1.609, start=MOMENT, end=datetime(2013, 9, 2, tzinfo=UTC))
    [slice_] = read_faults(["concept:origin=JFK@2013-08-12"])
    assert slice_ == Concept(column="origin", value="JFK", start=MOMENT)
    [late] = read_faults(["late_labels=72@2013-08-12T06:00"])
    assert late == LateLabels(hours=72, start=MOMENT.replace(hour=6))


def test_faults_of_words_and_files_come_in_order_of_time(tmp_path: Path) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text("faults:\n  - {fault: nulls, column: temperature, share: 0.5, start: 2013-07-01}\n")
    first, second = read_faults(["units:distance@2013-08-12", str(path)])
    assert first == Nulls(column="temperature", share=0.5, start=datetime(2013, 7, 1, tzinfo=UTC))
    assert isinstance(second, Units)


@pytest.mark.parametrize("kind", ["stale", "outage", "bad_candidate", "bad_challenger", "kill"])
def test_some_faults_need_nothing_but_a_date(kind: str) -> None:
    [fault] = read_faults([f"{kind}@2013-08-12"])
    assert (fault.fault, fault.start, fault.end) == (kind, MOMENT, None)
    assert kind in KINDS


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("distance", r"cannot be read; write it as KIND"),
        ("fire@2013-08-12", r"of an unknown kind; known kinds: units, nulls"),
        ("units@2013-08-12", r"`column`: Field required"),
        ("units:distance=-1@2013-08-12", r"`factor`: Input should be greater than 0"),
        ("nulls:distance=2@2013-08-12", r"`share`: Input should be less than or equal to 1"),
        ("kill=3@2013-08-12", r"`how`: Extra inputs are not permitted"),
        ("kill@soon", r"`start`: Input should be a valid datetime"),
        ("concept:origin@2013-08-12", r"a slice needs both `column` and `value`"),
        ("outage@2013-08-12..2013-08-11", r"it ends at 2013-08-11 00:00, not after it begins"),
    ],
)
def test_a_word_that_cannot_be_meant_is_refused(word: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_faults([word])


def test_a_file_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text("faults:\n  - {fault: units, colum: distance, start: 2013-07-01}\n")
    with pytest.raises(ConfigError, match=r"faults\.yaml: .*colum"):
        read_faults([str(path)])
