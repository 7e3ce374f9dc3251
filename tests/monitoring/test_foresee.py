"""The champion's reference, what is foreseen with it, and the report: on the bikes' second champion."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.tracking._tracking_service import utils as mlflow_tracking

from configs.project import Project
from tasks.adapters.journal import Journal
from tasks.adapters.registry import Registry
from tasks.errors import ArtifactAltered
from tasks.features.artifact import MODEL_FILE, load_model
from tasks.ingestion.recorded import recorded
from tasks.monitoring import loss
from tasks.monitoring.draw import draw_report
from tasks.monitoring.errors import DeliveriesMissing, NoReference
from tasks.monitoring.foresee import foresee
from tasks.monitoring.refer import refer
from tasks.monitoring.reference import kept_at, read_reference
from tasks.verdicts import Answer, Figure, Findings, Monitor, Verdict
from tests.conftest import change_params, move_in

END = datetime(2011, 4, 18, tzinfo=UTC)
DAY = timedelta(days=1)
WEEK = timedelta(weeks=1)
CHAMPION = "2"


@dataclass(frozen=True)
class Log:
    """Answers in memory."""

    case: str
    table: pa.Table

    def batches(self, start: datetime, end: datetime, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        moments = pd.Series(self.table.column("answered_at").to_pandas())
        within = self.table.filter(pa.array((moments >= start) & (moments < end)))
        for batch in within.combine_chunks().to_batches(max_chunksize=50):
            names = list(columns or batch.schema.names)
            has = set(batch.schema.names)
            yield pa.RecordBatch.from_arrays(
                [batch.column(name) if name in has else pa.nulls(batch.num_rows) for name in names], names=names
            )

    def rows_by_day(self, first: date, last: date) -> dict[date, int]:
        days = pd.Series(self.table.column("answered_at").to_pandas()).dt.date
        return dict(days[(days >= first) & (days <= last)].value_counts())


def elsewhere(template: Path, folder: Path) -> Project:
    """A clone moved to `folder`; MLflow remembers where a run's files were, in this process."""
    mlflow_tracking._artifact_repos_cache.clear()
    return move_in(template, folder)


@pytest.fixture(scope="module")
def referred(
    once: Callable[[str, Any], Path], bikes_in_succession: Path, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """A clone whose second bike model is champion and has its reference. Tests do not change it."""

    def make(folder: Path) -> None:
        project = elsewhere(bikes_in_succession, folder)
        # The fourteen weeks there are make five windows of this length or more.
        change_params(folder, "bikes", {"monitoring": {"inputs": {"min_rows": 50}}})
        refer(project, "bikes")

    template = once("referred", make)
    return elsewhere(template, tmp_path_factory.mktemp("referred") / "clone")


@pytest.fixture
def apart(referred: Project, tmp_path: Path) -> Project:
    """The same, to change."""
    return elsewhere(referred.root, tmp_path / "clone")


@pytest.fixture(scope="module")
def model(referred: Project) -> Any:
    about = read_reference(referred, "bikes", CHAMPION).about
    return load_model(kept_at(referred, "bikes", CHAMPION).parent / MODEL_FILE, about.model_sha256)


def logged(project: Project, model: Any, end: datetime = END, **changed: Any) -> Log:
    """The week before `end`, answered by `model`; `changed` gives columns other values before they are scored."""
    case = project.case("bikes")
    whole = recorded("bikes")
    rows = whole[(whole["event_time"] >= end - WEEK) & (whole["event_time"] < end)].reset_index(drop=True)
    features = rows[list(case.contract.features)].assign(**changed)
    told = features.assign(
        request_id=[f"r{n}" for n in range(len(rows))],
        row=0,
        answered_at=rows["event_time"],
        prediction=model.predict(features) if len(features) else pd.Series(dtype="float64"),
        model_version=CHAMPION,
        role="champion",
        fallback=pd.Series([None] * len(rows), dtype="str"),
        contract_version=case.contract.version,
    )
    return Log("bikes", pa.Table.from_pandas(told, preserve_index=False))


def said(findings: Findings, monitor: Monitor) -> Verdict:
    return next(verdict for verdict in findings.verdicts if verdict.monitor is monitor)


# The reference


def test_the_reference_holds_what_the_champion_was_trained_on_and_judged_on(referred: Project) -> None:
    reference = read_reference(referred, "bikes", CHAMPION)
    assert {batch.out_of_fold for batch in reference.batches} == {True, False}
    assert reference.about.rows == sum(batch.rows for batch in reference.batches) == reference.profile.rows
    assert set(reference.scores["batch_id"]) == {batch.batch_id for batch in reference.batches}
    assert len(reference.sample) == reference.scores["sampled"].sum()
    assert {*referred.case("bikes").contract.features, "score"} == set(reference.sample)


def test_scores_of_training_rows_come_from_models_that_had_not_seen_them(referred: Project, model: Any) -> None:
    reference = read_reference(referred, "bikes", CHAMPION)
    sampled = reference.scores[reference.scores["sampled"]].reset_index(drop=True)
    answers = model.predict(reference.sample)
    trained = {batch.batch_id for batch in reference.batches if batch.out_of_fold}
    seen = sampled["batch_id"].isin(trained)
    assert np.allclose(sampled.loc[~seen, "score"], answers[~seen])
    errors = [
        np.abs(values[seen] - sampled.loc[seen, "label"]).mean() for values in (answers, sampled["score"].to_numpy())
    ]
    assert errors[1] > errors[0]


def test_it_is_built_once_and_then_fetched(apart: Project) -> None:
    before = read_reference(apart, "bikes", CHAMPION)
    shutil.rmtree(kept_at(apart, "bikes", CHAMPION).parent)
    for delivery in apart.files("bikes").deliveries.glob("*.parquet"):
        delivery.unlink()
    fetched = refer(apart, "bikes")
    assert fetched is not None
    assert fetched.about == before.about
    assert (kept_at(apart, "bikes", CHAMPION).parent / MODEL_FILE).is_file()


def test_without_a_champion_there_is_no_reference(registered: Project) -> None:
    assert refer(registered, "bikes") is None


def test_a_missing_delivery_is_named(succession: Project) -> None:
    first = sorted(succession.files("bikes").deliveries.glob("*.parquet"))[1]
    first.unlink()
    with pytest.raises(DeliveriesMissing, match=f"lacks {first.name}, on which the champion was trained"):
        refer(succession, "bikes")


def test_a_reference_that_was_altered_is_not_read(apart: Project) -> None:
    scores = kept_at(apart, "bikes", CHAMPION) / "scores.parquet"
    scores.write_bytes(scores.read_bytes() + b"!")
    with pytest.raises(ArtifactAltered, match=r"scores\.parquet of the reference of version 2"):
        read_reference(apart, "bikes", CHAMPION)


def test_half_a_reference_counts_as_none(apart: Project) -> None:
    (kept_at(apart, "bikes", CHAMPION) / "reference.json").unlink()
    with pytest.raises(NoReference, match="no whole reference"):
        read_reference(apart, "bikes", CHAMPION)
    assert refer(apart, "bikes") is not None


# What is foreseen


def test_a_usual_week_is_clear(referred: Project, model: Any) -> None:
    findings = foresee(referred, "bikes", END, logged(referred, model))
    assert said(findings, Monitor.score).answer is Answer.clear, said(findings, Monitor.score).text
    assert {figure.metric for figure in findings.figures} >= {"mae", "rmse", "score drift"}
    for figure in findings.figures:
        assert figure.low is None or figure.low <= figure.value <= figure.high


def test_a_score_that_moved_alarms_and_names_the_column(referred: Project, model: Any) -> None:
    verdict = said(
        foresee(referred, "bikes", END, logged(referred, model, local_hour=pd.Timestamp("2011-04-12 04:00"))),
        Monitor.score,
    )
    assert verdict.answer is Answer.alarm, verdict.text
    assert verdict.cause == verdict.evidence[0].subject == "local_hour"
    assert verdict.evidence[0].effect == pytest.approx(1, abs=0.2)


def days(project: Project, model: Any, **changed: Any) -> Log:
    """The week before `END` and its last day, which `changed` may change."""
    usual, last = logged(project, model).table, logged(project, model, **changed).table
    when = pd.Series(usual.column("answered_at").to_pandas())
    before = usual.filter(pa.array(when < END - DAY))
    return Log("bikes", pa.concat_tables([before, last.filter(pa.array(when >= END - DAY)).cast(usual.schema)]))


def watch_days(project: Project, **reference: Any) -> None:
    watched = {"window_hours": 24, "inputs": {"min_rows": 20}, "reference": reference}
    change_params(project.root, "bikes", {"monitoring": watched})


def test_a_score_may_be_held_against_the_days_before(apart: Project, model: Any) -> None:
    watch_days(apart, kind="rolling", weeks=1)
    usual = said(foresee(apart, "bikes", END, days(apart, model)), Monitor.score)
    assert usual.answer is Answer.clear, usual.text
    assert "from the 1 week before" in usual.text
    for hours in apart.stores.rglob("*.hour"):
        hours.unlink()
    moved = days(apart, model, local_hour=pd.Timestamp("2011-04-12 04:00"))
    found = said(foresee(apart, "bikes", END, moved), Monitor.score)
    assert found.statistic is not None
    assert usual.statistic is not None
    assert found.statistic > usual.statistic + 0.1


def test_a_year_the_champion_did_not_answer_in_is_no_reference_for_its_score(apart: Project, model: Any) -> None:
    watch_days(apart, kind="last_year", weeks=2)
    verdict = said(foresee(apart, "bikes", END, days(apart, model)), Monitor.score)
    assert verdict.answer is Answer.waiting
    assert "(2 weeks around the same date a year ago) holds 0 windows" in verdict.text


def test_what_came_true_before_is_shown_beside_the_estimate(apart: Project, model: Any) -> None:
    journal = Journal(apart)
    for back in range(1, 5):
        about = {"case": "bikes", "metric": "mae", "end": END - back * WEEK, "start": END - (back + 1) * WEEK}
        about |= {"version": CHAMPION, "rows": 168}
        journal.record(
            Findings(
                verdicts=(),
                figures=(
                    Figure(kind="estimated", value=40.0, low=35.0, high=45.0, **about),
                    Figure(kind="realised", value=41.0 if back > 1 else 60.0, **about),
                    Figure(kind="drift", value=100.0, **{**about, "metric": "mean score"}),
                ),
            )
        )
    verdict = said(foresee(apart, "bikes", END, logged(apart, model)), Monitor.estimated)
    true = next(entry for entry in verdict.evidence if entry.subject == "windows that came true")
    assert true.statistic == pytest.approx((1 + 1 + 1 + 20) / 4)
    assert true.text.endswith("the interval held the truth in 3 of them")


def test_the_loss_model_is_fitted_once_and_kept_beside_the_champion(
    apart: Project, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = logged(apart, model)
    first = foresee(apart, "bikes", END, log)
    monkeypatch.setattr(loss, "build_pipeline", None)
    assert foresee(apart, "bikes", END, log) == first
    change_params(apart.root, "bikes", {"seed": 2})
    with pytest.raises(TypeError, match="not callable"):
        foresee(apart, "bikes", END, log)


def test_a_loss_model_that_was_altered_is_fitted_anew(
    apart: Project, model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    log = logged(apart, model)
    first = foresee(apart, "bikes", END, log)
    (kept_at(apart, "bikes", CHAMPION).parent / "loss" / MODEL_FILE).write_bytes(b"something else")
    assert foresee(apart, "bikes", END, log) == first
    assert "is not the file that was recorded" in caplog.text


def test_too_few_rows_wait_and_say_how_many_more(referred: Project, model: Any) -> None:
    log = logged(referred, model)
    for rows in (0, 1, 49):
        findings = foresee(referred, "bikes", END, Log("bikes", log.table.slice(0, rows)))
        assert [verdict.answer for verdict in findings.verdicts] == [Answer.waiting] * 2
        assert f"it takes 50, {50 - rows} more" in findings.verdicts[0].text


def test_answers_on_another_contract_version_are_unknown(referred: Project, model: Any) -> None:
    table = logged(referred, model).table
    other = table.set_column(
        table.column_names.index("contract_version"), "contract_version", pa.array([7] * len(table))
    )
    findings = foresee(referred, "bikes", END, Log("bikes", other))
    assert [verdict.answer for verdict in findings.verdicts] == [Answer.unknown] * 2
    assert "another contract version than 1" in findings.verdicts[0].text


def test_one_and_the_same_score_alarms(referred: Project, model: Any) -> None:
    table = logged(referred, model).table
    same = table.set_column(table.column_names.index("prediction"), "prediction", pa.array([50.0] * len(table)))
    assert said(foresee(referred, "bikes", END, Log("bikes", same)), Monitor.score).answer is Answer.alarm


def test_scores_that_are_no_numbers_are_unknown(referred: Project, model: Any) -> None:
    table = logged(referred, model).table
    broken = table.set_column(table.column_names.index("prediction"), "prediction", pa.nulls(len(table), pa.float64()))
    findings = foresee(referred, "bikes", END, Log("bikes", broken))
    assert [verdict.answer for verdict in findings.verdicts] == [Answer.unknown] * 2
    assert "hold no score" in findings.verdicts[0].text


def test_a_column_of_another_type_is_not_asked_and_named(referred: Project, model: Any) -> None:
    table = logged(referred, model).table
    turned = table.set_column(table.column_names.index("temperature"), "temperature", pa.array(["warm"] * len(table)))
    findings = foresee(referred, "bikes", END, Log("bikes", turned))
    verdict = said(findings, Monitor.score)
    entry = next(entry for entry in verdict.evidence if entry.subject == "temperature")
    assert entry.text == "not asked: string in the log, floating in the reference"
    assert said(findings, Monitor.estimated).answer is Answer.unknown


def test_without_a_reference_nothing_is_clear(apart: Project, model: Any) -> None:
    log = logged(apart, model)
    shutil.rmtree(kept_at(apart, "bikes", CHAMPION))
    findings = foresee(apart, "bikes", END, log)
    assert [verdict.answer for verdict in findings.verdicts] == [Answer.unknown] * 2
    assert "There is no whole reference" in findings.verdicts[0].text


def test_without_a_champion_it_waits(registered: Project) -> None:
    findings = foresee(
        registered, "bikes", END, Log("bikes", pa.table({"answered_at": pa.array([], pa.timestamp("us", "UTC"))}))
    )
    assert [(verdict.answer, verdict.version) for verdict in findings.verdicts] == [(Answer.waiting, None)] * 2


@pytest.mark.slow
def test_the_report_shows_the_verdicts_and_opens_offline(apart: Project, model: Any) -> None:
    log = logged(apart, model, temperature=np.nan)
    path = draw_report(apart, "bikes", END, log, foresee(apart, "bikes", END, log).verdicts)
    page = path.read_text(encoding="utf-8")
    assert page.index("Evergreen's") < page.index("plotly")
    assert "<script src" not in page
    assert "<code>temperature</code>: no number in the window" in page
    registry = Registry(apart)
    champion = registry.holder("bikes", "champion")
    assert champion is not None
    assert registry.download_file(champion.run_id, f"monitoring/{path.name}", apart.root).read_text() == page
