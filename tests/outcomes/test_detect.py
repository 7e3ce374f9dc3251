"""detect, on loans: the outcome store, the reference and the verdict are real; only the registry is stood in for."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from configs.project import Project
from tasks.adapters.journal import Journal
from tasks.outcomes import detect as detecting
from tasks.outcomes.detect import detect
from tasks.outcomes.gather import gather
from tasks.verdicts import Answer, Findings, Monitor, Verdict
from tests.outcomes.lent import Champion, Frame, loans, refer
from tests.outcomes.loans import DAY, START, label_file, project

ROWS = 300
"""Answers a day."""
DAYS = 14
NOW = START + (DAYS + 3) * DAY


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose version 1 is champion; its reference is not there yet."""
    monkeypatch.setattr(detecting, "Registry", Champion)
    return project(tmp_path, label_file(tmp_path))


def answered_at(frame: pd.DataFrame) -> pd.DatetimeIndex:
    return pd.Timestamp(START) + pd.to_timedelta(np.arange(len(frame)) * 86_400 / ROWS, unit="s")


def told(clone: Project, frame: pd.DataFrame, labels_after: timedelta) -> pd.DataFrame:
    """What the labels' source says of these loans."""
    answered = answered_at(frame)
    return pd.DataFrame(
        {
            "loan": [f"L{n}" for n in range(len(frame))], "asked_at": answered, "paid": frame["label"].astype(bool),
            "told_at": answered + labels_after,
        }
    )  # fmt: skip


def serve(
    clone: Project,
    frame: pd.DataFrame,
    labels_after: timedelta = DAY,
    versions: Sequence[str] = ("1",),
    at: datetime = NOW,
) -> None:
    """Answer these loans, `ROWS` a day, and let the labels come that are there at a moment."""
    count, answered = len(frame), answered_at(frame)
    log = frame.drop(columns="label").rename(columns={"score": "probability"})
    log = log.assign(
        request_id=[f"q{n}" for n in range(count)], row=0, entity=[f"L{n}" for n in range(count)],
        event_time=answered, received_at=answered, answered_at=answered,
        prediction=(frame["score"] >= 0.5).astype(int), fallback=pd.Series([None] * count, dtype="str"),
        contract_version=1,
    )  # fmt: skip
    roles = ("champion", "shadow")
    parts = [log.assign(model_version=version, role=role) for version, role in zip(versions, roles, strict=False)]
    labels = told(clone, frame, labels_after)
    labels[labels["told_at"] < at].to_parquet(clone.root / "labels" / "all.parquet")
    gather(clone, "loans", at, Frame(pd.concat(parts, ignore_index=True)))


def said(findings: Findings, monitor: Monitor = Monitor.concept) -> Verdict:
    (verdict,) = [verdict for verdict in findings.verdicts if verdict.monitor is monitor]
    return verdict


def test_labels_as_promised_are_clear(clone: Project) -> None:
    refer(clone)
    serve(clone, loans(np.random.default_rng(2), ROWS * DAYS))
    findings = detect(clone, "loans", NOW)

    for verdict in findings.verdicts:
        assert verdict.answer is Answer.clear, verdict.text
        assert verdict.cause == ""
        assert verdict.error_rate == 0.05
    assert said(findings).rows > ROWS * (DAYS - 2)
    assert said(findings, Monitor.slices).rows < said(findings).rows, "of the newest window"


def test_scores_that_rank_nothing_any_more_are_found_and_dated(clone: Project) -> None:
    refer(clone)
    frame = loans(np.random.default_rng(3), ROWS * DAYS)
    late = slice(ROWS * 9, None)
    frame.loc[frame.index[late], "label"] = np.random.default_rng(4).permutation(frame["label"].iloc[late])
    serve(clone, frame)
    verdict = said(detect(clone, "loans", NOW))

    assert verdict.answer is Answer.alarm
    assert verdict.cause == "all rows"
    assert abs(verdict.start - (START + 9 * DAY)) <= 2 * DAY
    assert verdict.since == verdict.start
    assert "say nothing any more" in verdict.text or "rank worse" in verdict.text
    assert "the model is worse than it promises" in verdict.text


def test_a_region_that_turned_around_is_named_and_is_not_the_whole_world(clone: Project) -> None:
    refer(clone)
    frame = loans(np.random.default_rng(5), ROWS * DAYS)
    turned = (frame["region"] == "r13") & (frame.index >= ROWS * 5)
    frame.loc[turned, "label"] = 1 - frame.loc[turned, "label"]
    serve(clone, frame)
    findings = detect(clone, "loans", NOW)
    verdict = said(findings, Monitor.slices)

    assert verdict.answer is Answer.alarm
    assert verdict.cause == "region=r13"
    assert verdict.evidence[0].subject == "region=r13"
    assert "`region=r13`" in verdict.text
    assert verdict.since is not None
    assert abs(verdict.since - (START + 5 * DAY)) <= DAY
    assert f"since about {verdict.since:%Y-%m-%d}" in verdict.text
    assert said(findings).answer is Answer.clear, said(findings).text


def test_harder_rows_are_no_worse_model(clone: Project) -> None:
    refer(clone)
    frame = loans(np.random.default_rng(6), 10 * ROWS * DAYS)
    serve(clone, frame[frame["score"].between(0.3, 0.7)].head(ROWS * DAYS).reset_index(drop=True))
    verdict = said(detect(clone, "loans", NOW))

    assert verdict.answer is Answer.clear, verdict.text
    assert "these rows are harder" in verdict.text


def test_labels_known_later_do_not_count(clone: Project) -> None:
    refer(clone)
    frame = loans(np.random.default_rng(7), ROWS * DAYS)
    frame.loc[ROWS * 7 :, "label"] = 1 - frame.loc[ROWS * 7 :, "label"]
    serve(clone, frame)

    assert said(detect(clone, "loans", START + 7 * DAY)).answer is Answer.clear
    assert said(detect(clone, "loans", NOW)).answer is Answer.alarm
    assert said(detect(clone, "loans", START + 7 * DAY)).answer is Answer.clear


def test_too_few_labels_wait_and_say_how_many_more(clone: Project) -> None:
    refer(clone)
    serve(clone, loans(np.random.default_rng(8), 150))

    for verdict in detect(clone, "loans", NOW).verdicts:
        assert verdict.answer is Answer.waiting
        assert "50 more are needed" in verdict.text


def test_where_no_window_has_enough_labels_slices_wait_while_the_whole_life_is_judged(
    clone: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    refer(clone)
    monkeypatch.setattr(sys.modules[__name__], "ROWS", 25)
    serve(clone, loans(np.random.default_rng(20), 25 * DAYS))
    findings = detect(clone, "loans", NOW)

    assert said(findings).answer is Answer.clear, said(findings).text
    waits = said(findings, Monitor.slices)
    assert waits.answer is Answer.waiting
    assert "more are needed to speak of slices" in waits.text


def test_before_any_answer_it_waits(clone: Project) -> None:
    refer(clone)

    assert said(detect(clone, "loans", NOW)).answer is Answer.waiting


def test_without_a_reference_it_cannot_say(clone: Project) -> None:
    serve(clone, loans(np.random.default_rng(9), 600))

    for verdict in detect(clone, "loans", NOW).verdicts:
        assert verdict.answer is Answer.unknown
        assert "reference" in verdict.text


def test_a_reference_with_hardly_a_label_promises_nothing(clone: Project) -> None:
    refer(clone, rows=160)
    serve(clone, loans(np.random.default_rng(10), 600))

    assert said(detect(clone, "loans", NOW)).answer is Answer.unknown


def test_another_version_on_the_same_rows_is_compared(clone: Project) -> None:
    refer(clone)
    serve(clone, loans(np.random.default_rng(11), ROWS * DAYS), versions=("1", "2"))
    verdict = said(detect(clone, "loans", NOW))
    (other,) = [entry for entry in verdict.evidence if entry.subject == "version 2"]

    assert verdict.answer is Answer.clear
    assert other.statistic == 0
    assert not other.alarm


# What is remembered


@dataclass
class Reads:
    """Which days of the champion's life were read from the outcomes."""

    days: list[date]

    @classmethod
    def of(cls, monkeypatch: pytest.MonkeyPatch) -> "Reads":
        reads = cls([])
        read = detecting.read_outcomes

        def counted(project: Project, case: str, start: datetime, end: datetime, *rest: Any, **others: Any) -> Any:
            if end - start == DAY:
                reads.days.append(start.date())
            return read(project, case, start, end, *rest, **others)

        monkeypatch.setattr(detecting, "read_outcomes", counted)
        return reads


def forgotten(clone: Project) -> None:
    """Nothing is remembered."""
    Journal(clone).keep_state("loans", detecting.STATE, '{"version": "0", "promise": ""}')


def test_a_look_reads_what_changed_and_says_what_reading_everything_again_says(
    clone: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    refer(clone)
    frame = loans(np.random.default_rng(12), ROWS * DAYS)
    frame.loc[ROWS * 8 :, "label"] = np.random.default_rng(4).permutation(frame["label"].iloc[ROWS * 8 :])
    for days in range(5, DAYS + 1):
        serve(clone, frame.head(ROWS * days), at=START + days * DAY)
        reads = Reads.of(monkeypatch)
        remembering = detect(clone, "loans", START + days * DAY)
        assert len(reads.days) == (5 if days == 5 else 2), "the new day, and the labels of the day before"
        forgotten(clone)
        reads.days.clear()
        anew = detect(clone, "loans", START + days * DAY)
        assert len(reads.days) == days
        assert remembering == anew
    assert said(anew).answer is Answer.alarm


def test_a_label_that_is_corrected_later_counts_as_it_is_now(clone: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    refer(clone)
    frame = loans(np.random.default_rng(13), ROWS * DAYS)
    serve(clone, frame)
    before = detect(clone, "loans", NOW)
    corrected = slice(ROWS * 3, ROWS * 4 - 1)
    frame.loc[corrected, "label"] = 1 - frame.loc[corrected, "label"]
    told(clone, frame, DAY).assign(told_at=NOW + DAY).iloc[corrected].to_parquet(clone.root / "labels" / "more.parquet")
    gather(clone, "loans", NOW + 2 * DAY, Frame(pd.DataFrame({"answered_at": pd.to_datetime([], utc=True)})))

    reads = Reads.of(monkeypatch)
    after = detect(clone, "loans", NOW + 2 * DAY)
    assert reads.days == [(START + 3 * DAY).date()]
    assert (said(before).answer, said(after).answer) == (Answer.clear, Answer.alarm)
    forgotten(clone)
    assert detect(clone, "loans", NOW + 2 * DAY) == after


def test_a_look_back_neither_takes_nor_changes_what_is_remembered(clone: Project) -> None:
    refer(clone)
    serve(clone, loans(np.random.default_rng(14), ROWS * DAYS))
    detect(clone, "loans", NOW)
    kept = Journal(clone).state("loans", detecting.STATE)
    early = detect(clone, "loans", START + 6 * DAY)
    assert Journal(clone).state("loans", detecting.STATE) == kept
    forgotten(clone)
    assert detect(clone, "loans", START + 6 * DAY) == early


def test_another_champion_and_another_reference_are_begun_anew(clone: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    refer(clone)
    serve(clone, loans(np.random.default_rng(15), ROWS * DAYS), versions=("1", "2"))
    detect(clone, "loans", NOW)
    refer(clone, rows=7000)
    reads = Reads.of(monkeypatch)
    detect(clone, "loans", NOW)
    assert len(reads.days) == DAYS
    refer(clone, version="2")
    monkeypatch.setattr(Champion, "version", "2")
    reads.days.clear()
    assert said(detect(clone, "loans", NOW)).version == "2"
    assert len(reads.days) == DAYS
    reads.days.clear()
    detect(clone, "loans", NOW)
    assert reads.days == []


def test_outcomes_that_were_gathered_anew_under_the_same_names_are_read_anew(clone: Project) -> None:
    refer(clone)
    frame = loans(np.random.default_rng(16), ROWS * DAYS)
    serve(clone, frame)
    assert said(detect(clone, "loans", NOW)).answer is Answer.clear
    (clone.stores / "outcomes" / "loans" / "state.json").unlink()
    serve(clone, frame.assign(score=1 - frame["score"]))
    assert said(detect(clone, "loans", NOW)).answer is Answer.alarm


@pytest.mark.parametrize("rows", [0, 1])
def test_a_window_of_hardly_a_row_waits(clone: Project, rows: int) -> None:
    refer(clone)
    serve(clone, loans(np.random.default_rng(17), max(rows, 1)).head(rows))
    assert said(detect(clone, "loans", NOW)).answer is Answer.waiting


@pytest.mark.parametrize("score", [np.nan, np.inf, -np.inf, 2.0])
def test_scores_that_are_no_chances_are_no_all_clear(clone: Project, score: float) -> None:
    refer(clone)
    serve(clone, loans(np.random.default_rng(18), ROWS * DAYS).assign(score=score))
    assert said(detect(clone, "loans", NOW)).answer is not Answer.clear
