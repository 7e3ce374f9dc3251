"""A second opinion on the champion's answers: it has the labels since, and sees what the champion lost."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from configs.project import Project
from tasks.monitoring import opinion as opinions
from tasks.monitoring.estimate import Answers
from tasks.monitoring.estimator import learn_estimator
from tasks.monitoring.opinion import Opinion, second_opinion
from tasks.monitoring.reference import Reference, kept_at, read_reference
from tasks.outcomes.gather import gather
from tests.conftest import change_params
from tests.outcomes.lent import Frame, loans, refer
from tests.outcomes.loans import DAY, START, label_file, project

SINCE = START + DAY
"""The reference ends here."""
WEEK = 7 * DAY
NOW = SINCE + 10 * DAY
ROWS = 3000


@pytest.fixture
def clone(tmp_path: Path) -> Project:
    """A project whose reference ends before a week in which high incomes began to mean the contrary, with labels."""
    made = project(tmp_path, label_file(tmp_path))
    refer(made)
    rows = asked(SINCE, ROWS)
    tell(made, rows, 1 - rows["label"])
    gather(made, "loans", NOW, Frame(rows.drop(columns="label")))
    return made


def asked(start: datetime, count: int) -> pd.DataFrame:
    """A week of the log, and what would have become of these loans in the reference's world."""
    when = pd.Timestamp(start) + pd.to_timedelta(np.arange(count) * WEEK.total_seconds() / count, unit="s")
    return loans(np.random.default_rng(3), count).assign(
        request_id=[f"q{n}" for n in range(count)], row=0, entity=[f"L{n}" for n in range(count)], event_time=when,
        answered_at=when, prediction=1, probability=lambda rows: rows["score"], model_version="1", role="champion",
        fallback=pd.Series([None] * count, dtype="str"), contract_version=1,
    ).drop(columns="score")  # fmt: skip


def tell(made: Project, rows: pd.DataFrame, paid: pd.Series) -> None:
    told = {"loan": rows["entity"], "asked_at": rows["event_time"], "paid": paid, "told_at": rows["event_time"] + DAY}
    pd.DataFrame(told).to_parquet(made.root / "labels" / "a.parquet")


def asked_for(made: Project, start: datetime = NOW - DAY, as_of: datetime = NOW) -> Opinion | None:
    return second_opinion(made, made.case("loans"), reference_of(made), start, as_of)


def reference_of(made: Project) -> Reference:
    return read_reference(made, "loans", "1")


def test_it_sees_a_world_that_changed_where_the_champions_own_probabilities_do_not(clone: Project) -> None:
    case, reference = clone.case("loans"), reference_of(clone)
    opinion = asked_for(clone)
    assert opinion is not None
    assert opinion.since == ROWS
    window = loans(np.random.default_rng(9), 4000)
    answers = Answers(case.problem, window["score"].to_numpy())
    known = reference.known(reference.units(DAY))
    blind, seeing = (learn_estimator(known, told)[0](answers, window) for told in (None, opinion))
    assert blind["auc"].value > 0.75
    assert seeing["auc"].value < blind["auc"].value - 0.05


def test_a_sample_speaks_with_the_error_of_all_rows(clone: Project) -> None:
    case, reference = clone.case("loans"), reference_of(clone)
    window = loans(np.random.default_rng(9), 4000)
    estimator, _ = learn_estimator(reference.known(reference.units(DAY)), asked_for(clone))
    whole = estimator(Answers(case.problem, window["score"].to_numpy()), window)["auc"]
    part = estimator(Answers(case.problem, window["score"].to_numpy()), window.head(1000))["auc"]
    assert part.error == pytest.approx(whole.error, rel=0.15)
    assert part.value == pytest.approx(whole.value, abs=0.06)


def test_it_is_fitted_once_and_kept_until_a_window_has_passed(clone: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    first = asked_for(clone)
    monkeypatch.setattr(opinions, "read_outcomes", None)
    again = asked_for(clone, NOW, NOW + DAY)
    rows = loans(np.random.default_rng(5), 50)
    assert first is not None
    assert again is not None
    assert np.array_equal(first(rows), again(rows))


def test_a_look_back_does_not_take_what_was_learnt_later(clone: Project) -> None:
    later = asked_for(clone)
    earlier = asked_for(clone, NOW - 2 * DAY, SINCE + 8 * DAY - DAY / 2)
    assert later is not None
    assert earlier is not None
    assert earlier.since < later.since == ROWS


def test_with_few_labels_there_is_none(clone: Project) -> None:
    change_params(clone.root, "loans", {"monitoring": {"outcomes": {"min_labels": ROWS + 1}}})
    assert asked_for(Project(clone.root)) is None


def test_before_a_window_has_passed_there_is_none(clone: Project) -> None:
    assert asked_for(clone, SINCE + 6 * DAY) is None


@pytest.mark.parametrize("name", ["model.skops", "opinion.json"])
def test_a_kept_one_that_was_damaged_is_fitted_anew(
    clone: Project, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = asked_for(clone)
    file = kept_at(clone, "loans", "1").parent / "opinion" / name
    file.write_bytes(b"\xff" + file.read_bytes())
    again = asked_for(clone)
    rows = loans(np.random.default_rng(5), 50)
    assert first is not None
    assert again is not None
    assert np.array_equal(first(rows), again(rows))
    assert "cannot be used and are made anew" in caplog.text
    caplog.clear()
    assert asked_for(clone) is not None
    assert not caplog.records


def test_a_kept_one_without_its_model_is_fitted_anew(clone: Project) -> None:
    asked_for(clone)
    model = kept_at(clone, "loans", "1").parent / "opinion" / "model.skops"
    model.unlink()
    assert asked_for(clone) is not None
    assert model.is_file()
