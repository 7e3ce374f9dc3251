"""detect, on loans: the outcome store, the reference and the verdict are real; only the registry is stood in for."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from configs.project import Project
from tasks.outcomes import detect as detecting
from tasks.outcomes.detect import detect
from tasks.outcomes.gather import gather
from tasks.verdicts import Answer, Findings, Verdict
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


def serve(clone: Project, frame: pd.DataFrame, labels_after: timedelta = DAY, versions: Sequence[str] = ("1",)) -> None:
    """Answer these loans, `ROWS` a day, and let their labels come."""
    count = len(frame)
    answered = pd.Timestamp(START) + pd.to_timedelta(np.arange(count) * 86_400 / ROWS, unit="s")
    log = frame.drop(columns="label").rename(columns={"score": "probability"})
    log = log.assign(
        request_id=[f"q{n}" for n in range(count)], row=0, entity=[f"L{n}" for n in range(count)],
        event_time=answered, received_at=answered, answered_at=answered,
        prediction=(frame["score"] >= 0.5).astype(int), fallback=pd.Series([None] * count, dtype="str"),
        contract_version=1,
    )  # fmt: skip
    roles = ("champion", "shadow")
    parts = [log.assign(model_version=version, role=role) for version, role in zip(versions, roles, strict=False)]
    told = pd.DataFrame(
        {
            "loan": log["entity"], "asked_at": answered, "paid": frame["label"].astype(bool),
            "told_at": answered + labels_after,
        }
    )  # fmt: skip
    told.to_parquet(clone.root / "labels" / "all.parquet")
    gather(clone, "loans", NOW, Frame(pd.concat(parts, ignore_index=True)))


def said(findings: Findings) -> Verdict:
    (verdict,) = findings.verdicts
    return verdict


def test_labels_as_promised_are_clear(clone: Project) -> None:
    refer(clone)
    serve(clone, loans(np.random.default_rng(2), ROWS * DAYS))
    verdict = said(detect(clone, "loans", NOW))

    assert verdict.answer is Answer.clear, verdict.text
    assert verdict.rows > ROWS * (DAYS - 2)
    assert verdict.cause == ""


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
    assert "say nothing any more" in verdict.text or "rank worse" in verdict.text
    assert "the model is worse than it promises" in verdict.text


def test_a_region_that_turned_around_is_named(clone: Project) -> None:
    refer(clone)
    frame = loans(np.random.default_rng(5), ROWS * DAYS)
    turned = (frame["region"] == "r13") & (frame.index >= ROWS * 5)
    frame.loc[turned, "label"] = 1 - frame.loc[turned, "label"]
    serve(clone, frame)
    verdict = said(detect(clone, "loans", NOW))

    assert verdict.answer is Answer.alarm
    assert verdict.cause == "region=r13"
    assert verdict.evidence[0].subject == "region=r13"
    assert "`region=r13`" in verdict.text


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
    verdict = said(detect(clone, "loans", NOW))

    assert verdict.answer is Answer.waiting
    assert "50 more are needed" in verdict.text


def test_before_any_answer_it_waits(clone: Project) -> None:
    refer(clone)

    assert said(detect(clone, "loans", NOW)).answer is Answer.waiting


def test_without_a_reference_it_cannot_say(clone: Project) -> None:
    serve(clone, loans(np.random.default_rng(9), 600))
    verdict = said(detect(clone, "loans", NOW))

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
