"""Evidence: whose rows are whose, what is paired with what, and in which order it is taken."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from configs.case import Problem
from configs.rollout import Costs, RolloutParams
from tasks.records import Rollout
from tasks.rollout.draw import in_shadow
from tasks.rollout.evidence import Period, Seen, Watched, columns_of
from tasks.rollout.expected import Expected, expected
from tasks.rollout.losses import loss_of, row_costs, row_losses
from tasks.rollout.pairs import matched, per_champion_rows
from tasks.rollout.stages import begin, following

AT = datetime(2026, 5, 4, 12, tzinfo=UTC)
END = AT + timedelta(hours=1)
EXPECTED = Expected(rows=100, disagreement=0.1, shift=0.0, scale=1.0, champion_loss=0.5, deviation=0.4)


_OURS, _THEIRS = ("challenger", "3", 0.3), ("champion", "2", 0.5)


def state(number: int, shadow: float = 1.0) -> Rollout:
    params = RolloutParams.model_validate({"steps": (0.5, 1.0), "shadow": {"share": shadow}})
    found = begin("3", "2", params, 0.5, AT)
    for _ in range(number):
        found = following(found, (), AT)
    return found


COLUMNS = columns_of(Problem.binary, state(1, shadow=0.5))


def row(number: int, role: str, version: str | None, probability: float, **more: Any) -> dict[str, Any]:
    answered = AT + timedelta(seconds=number)
    return {
        "request_id": f"r{number}",
        "row": 0,
        "role": role,
        "model_version": version,
        "fallback": None,
        "received_at": answered - timedelta(milliseconds=4),
        "answered_at": answered,
        "prediction": int(probability >= 0.5),
        "probability": probability,
        "scoring_seconds": None,
        "champion_scoring_seconds": None,
        "entity": None,
        **more,
    }


def seen(
    number: int, rows: list[dict[str, Any]], labels: dict[int, float] | None = None, shadow: float = 1.0, **more: Any
) -> Seen:
    answers = pd.DataFrame(rows, columns=COLUMNS)
    known = answers.assign(
        label=answers["request_id"].str[1:].astype(int).map(labels or {}),
        labelled_at=answers["answered_at"],
        event_time=pd.NaT,
    )
    now = state(number, shadow)
    return Watched("bikes", Problem.binary, now, EXPECTED, **more).seen(
        [Period(now.stage, AT, END)], answers, known[known["label"].notna()]
    )


def test_in_the_shadow_the_same_row_is_compared() -> None:
    rows = [row(1, "champion", "2", 0.2), row(2, "champion", "2", 0.8), row(3, "champion", "2", 0.5)]
    rows += [row(2, "shadow", "3", 0.6), row(1, "shadow", "3", 0.3)]
    found = seen(1, rows, {1: 0.0, 2: 1.0})
    assert (found.rows, found.labels_here) == (2, 2)
    assert sorted(found.shifts) == pytest.approx([-0.2, 0.1])
    assert sorted(found.pairs.losses) == pytest.approx(sorted([np.log(0.8 / 0.7), np.log(0.8 / 0.6)]))
    assert found.failed.tolist() == [0, 0, 1], "one of the champion's rows was not scored in the shadow"


def test_each_pair_has_the_day_that_it_is_about_or_on_which_it_was_answered() -> None:
    day = 24 * 3600
    rows = [row(n, "champion", "2", 0.2) for n in (1, 2, 3)] + [row(n, "shadow", "3", 0.3) for n in (1, 2, 3)]
    [first] = set(seen(1, rows, {1: 0.0, 2: 1.0}).pairs.days)
    assert pd.Timestamp(first, unit="D").date() == AT.date()
    later = {"received_at": AT + timedelta(seconds=day), "answered_at": AT + timedelta(seconds=day)}
    rows = [row(1, "champion", "2", 0.2), row(2, "champion", "2", 0.2, **later)]
    rows += [row(3, "challenger", "3", 0.3), row(4, "challenger", "3", 0.3, **later)]
    answers = pd.DataFrame(rows, columns=COLUMNS)
    known = answers.assign(label=1.0, labelled_at=answers["answered_at"], event_time=pd.NaT)
    half = state(2)
    period = Period(half.stage, AT, AT + timedelta(seconds=2 * day))
    found = Watched("bikes", Problem.binary, half, EXPECTED).seen([period], answers, known)
    assert found.pairs.days.tolist() == [first, first + 1]
    assert len(found.pairs.losses) == 2
    about = known.assign(event_time=AT - timedelta(days=3))
    found = Watched("bikes", Problem.binary, half, EXPECTED).seen([period], answers, about)
    assert found.pairs.days.tolist() == [first - 3, first - 3]


def test_labels_of_the_shadow_tell_about_a_challenger_that_users_meet_already_its_answers_there_do_not() -> None:
    shadow = state(1)
    canary = following(shadow, (), END)
    rows = [row(1, "champion", "2", 0.2), row(1, "shadow", "3", 0.6)]
    later = [{**row(n, *who), "answered_at": END + timedelta(minutes=n)} for n, who in enumerate((_OURS, _THEIRS), 2)]
    answers = pd.DataFrame([*rows, *later], columns=COLUMNS)
    known = answers.assign(label=1.0, labelled_at=END + timedelta(hours=1), event_time=pd.NaT)
    spans = [Period(shadow.stage, AT, END), Period(canary.stage, END, END + timedelta(hours=2))]
    found = Watched("bikes", Problem.binary, canary, EXPECTED).seen(spans, answers, known)
    assert found.pairs.losses == pytest.approx([np.log(0.2 / 0.6), np.log(0.5 / 0.3)])
    assert (found.rows, len(found.shifts), found.labels_here) == (1, 1, 1)


def test_in_the_shadow_a_request_would_have_taken_longer_by_what_its_scoring_takes_longer() -> None:
    timed = {"scoring_seconds": 0.003, "champion_scoring_seconds": 0.001}
    rows = [row(1, "champion", "2", 0.2), row(1, "champion", "2", 0.2, row=1), row(2, "champion", "2", 0.8)]
    rows += [
        row(1, "shadow", "3", 0.6, **timed),
        row(1, "shadow", "3", 0.6, row=1, **timed),
        row(2, "shadow", "3", 0.6),
    ]
    found = seen(1, rows)
    assert found.champion_seconds == pytest.approx([0.004]), "one request was timed, and it had two rows"
    assert found.seconds == pytest.approx([0.006])


def test_of_a_share_in_the_shadow_only_those_are_missed_who_were_drawn() -> None:
    drawn = [n for n in range(1, 41) if in_shadow("bikes/3", f"e{n}", 0.25)]
    rows = [row(n, "champion", "2", 0.2, entity=f"e{n}") for n in range(1, 41)]
    rows += [row(n, "shadow", "3", 0.3, entity=f"e{n}") for n in drawn]
    assert 4 < len(drawn) < 18
    found = seen(1, rows, shadow=0.25)
    assert (found.rows, found.failed.tolist()) == (len(drawn), [0] * len(drawn))
    one_is_missing = [each for each in rows if (each["request_id"], each["role"]) != (f"r{drawn[1]}", "shadow")]
    assert seen(1, one_is_missing, shadow=0.25).failed.sum() == 1
    nameless = [n for n in range(1, 41) if in_shadow("bikes/3", f"r{n}", 0.25)]
    rows = [row(n, "champion", "2", 0.2) for n in range(1, 41)] + [row(n, "shadow", "3", 0.3) for n in nameless]
    assert seen(1, rows, shadow=0.25).failed.tolist() == [0] * len(nameless), "drawn by the request, then"


def test_rows_that_the_shadow_may_still_score_are_not_missed() -> None:
    late = {"answered_at": END - timedelta(seconds=1)}
    rows = [row(1, "champion", "2", 0.2), row(1, "shadow", "3", 0.3), row(2, "champion", "2", 0.2, **late)]
    assert seen(1, rows).failed.tolist() == [0]


def test_other_versions_and_other_times_are_left_out() -> None:
    rows = [row(1, "champion", "1", 0.2), row(1, "shadow", "3", 0.3), row(-5, "champion", "2", 0.2)]
    assert seen(1, rows).rows == 0


def test_a_row_that_fell_back_to_the_champion_was_the_challengers() -> None:
    rows = [
        row(1, "challenger", "3", 0.4),
        row(2, "fallback", "2", 0.4, fallback="error"),
        row(3, "fallback", "2", 0.4, fallback="confidence"),
        row(4, "champion", "2", 0.4),
        row(5, "fallback", "1", 0.4, fallback="error"),
    ]
    found = seen(2, rows)
    assert (found.failed.tolist(), found.fell_back.tolist()) == ([0, 1, 0], [0, 1, 1])
    assert found.champion_fell_back == 0.5


def test_once_everything_is_the_challengers_turn_every_fallback_is_its_own() -> None:
    assert seen(3, [row(1, "fallback", "1", 0.4, fallback="error"), row(2, "challenger", "3", 0.4)]).failed.sum() == 1
    after = seen(4, [row(1, "fallback", None, 0.4, fallback="timeout"), row(2, "champion", "3", 0.4)])
    assert after.failed.tolist() == [1, 0]


def test_each_step_of_a_canary_is_judged_by_its_own_share() -> None:
    at_half, at_all = state(2), state(3)
    half, full = END - timedelta(minutes=30), END
    rows = [row(n, "challenger", "3", 0.4) for n in range(1, 5)]
    rows += [row(1, "champion", "2", 0.4), row(5, "fallback", "1", 0.4, fallback="error")]
    rows += [row(1900, "challenger", "3", 0.4), row(1901, "fallback", "1", 0.4, fallback="error")]
    answers = pd.DataFrame(rows, columns=COLUMNS)
    found = Watched("bikes", Problem.binary, at_all, EXPECTED).seen(
        [Period(at_half.stage, AT, half), Period(at_all.stage, half, full)],
        answers,
        answers.iloc[:0].assign(label=None),
    )
    assert found.failed.tolist() == [0, 0, 0, 0, 0, 1], "at a half, the champion's failure was its own"
    assert (found.rows, found.rows_here) == (6, 2)


def test_latency_is_of_requests_not_of_their_rows() -> None:
    rows = [row(1, "challenger", "3", 0.4), row(1, "challenger", "3", 0.5, row=1), row(2, "champion", "2", 0.5)]
    found = seen(2, rows)
    assert (len(found.seconds), found.rows) == (1, 2)
    assert found.champion_seconds == pytest.approx([0.004])


def test_evidence_comes_in_the_order_in_which_labels_became_known() -> None:
    rows = [row(n, role, v, p) for n, role, v, p in [(1, "challenger", "3", 0.9), (2, "challenger", "3", 0.1)]]
    rows += [row(3, "champion", "2", 0.5), row(4, "champion", "2", 0.5)]
    answers = pd.DataFrame(rows, columns=COLUMNS)
    arrived = [AT + timedelta(hours=h) for h in (9, 5, 5, 6)]
    now = state(2)
    found = Watched("bikes", Problem.binary, now, EXPECTED).seen(
        [Period(now.stage, AT, END)], answers, answers.assign(label=1.0, labelled_at=arrived, event_time=pd.NaT)
    )
    assert found.pairs.losses == pytest.approx([np.log(0.5 / 0.1), np.log(0.5 / 0.9)])


def test_costs_follow_the_matrix_of_the_case() -> None:
    costs = Costs(true_positive=-1, false_positive=1, false_negative=5, true_negative=0, threshold=0.3)
    assert row_costs(costs, np.array([0.3, 0.3, 0.29, 0.29]), np.array([1, 0, 1, 0.0])).tolist() == [-1, 1, 5, 0]
    rows = [row(1, "champion", "2", 0.2), row(1, "shadow", "3", 0.4)]
    assert seen(1, rows, {1: 1.0}, costs=costs).pairs.costs.tolist() == [-6]


@pytest.mark.parametrize(("share", "rows"), [(0.05, (19, 1)), (0.25, (3, 1)), (0.5, (1, 1)), (0.75, (1, 3))])
def test_rows_of_the_smaller_arm_are_set_against_the_mean_of_the_larger(share: float, rows: tuple[int, int]) -> None:
    assert per_champion_rows(share) == rows


def test_a_matched_difference_has_the_difference_of_the_arms_for_its_mean_while_the_world_changes() -> None:
    draw = np.random.default_rng(3)
    world = np.linspace(0, 1, 40_000)  # both lose more and more
    loss = draw.random(40_000) + world
    challenger = draw.random(40_000) < 0.25
    found = matched(loss[~challenger], loss[challenger] + 0.1, 0.25)
    assert len(found) == pytest.approx(10_000, rel=0.05)
    assert found.mean() == pytest.approx(0.1, abs=0.02)


def test_losses_are_bounded_whatever_was_said() -> None:
    sure = pd.DataFrame({"probability": [0.0, 1.0]})
    loss = loss_of(Problem.binary, 1.0)
    assert row_losses(Problem.binary, loss, sure, pd.Series([1.0, 1.0])).tolist() == [loss.highest, 0.0]
    far = pd.DataFrame({"prediction": [1e9]})
    assert row_losses(Problem.regression, loss_of(Problem.regression, 2.0), far, pd.Series([0.0])).tolist() == [16.0]


@pytest.mark.parametrize(
    ("problem", "table", "disagreement"),
    [
        (Problem.binary, {"label": [1.0, 0.0], "candidate": [0.6, 0.4], "champion": [0.5, 0.5]}, 0.1),
        (Problem.regression, {"label": [10.0, 10.0], "candidate": [12.0, 12.0], "champion": [11.0, 11.0]}, 1 / 128),
        (
            Problem.multiclass,
            {
                "label": ["a", "b"],
                "candidate_a": [0.6, 0.6],
                "candidate_b": [0.4, 0.4],
                "champion_a": [0.7, 0.2],
                "champion_b": [0.3, 0.8],
            },
            0.5,
        ),
    ],
)
def test_what_is_expected_comes_from_the_rows_that_judged_both(
    problem: Problem, table: dict[str, Any], disagreement: float
) -> None:
    found = expected(problem, pd.DataFrame({"event_time": [AT, AT], **table}), None)
    assert found.disagreement == pytest.approx(disagreement)
    assert found.wavering == 0, "of one hour nothing can be told"


@pytest.mark.parametrize(("apart", "wavering"), [(0.0, 0.0), (0.15, 0.3)])
def test_what_moves_an_hour_as_a_whole_is_told_from_what_moves_its_rows(apart: float, wavering: float) -> None:
    draw, hours = np.random.default_rng(5), np.repeat(np.arange(300), 40)
    shift = 0.02 + apart * draw.normal(size=300)[hours] + 0.1 * draw.normal(size=len(hours))
    table = pd.DataFrame(
        {
            "event_time": AT + pd.to_timedelta(hours, unit="h"),
            "label": 0.0,
            "candidate": 0.5 + shift,
            "champion": 0.5,
        }
    )
    assert expected(Problem.binary, table, None).wavering == pytest.approx(wavering, abs=0.04)


def test_a_shadow_that_was_asked_nothing_yet_has_timed_nothing() -> None:
    nothing = pd.DataFrame(columns=list(COLUMNS))
    watched = Watched("birds", Problem.binary, state(1), EXPECTED)
    found = watched.seen([Period(state(1).stage, AT, END)], nothing, nothing.assign(label=[], labelled_at=[]))
    assert (found.rows, len(found.seconds), len(found.champion_seconds)) == (0, 0, 0)
