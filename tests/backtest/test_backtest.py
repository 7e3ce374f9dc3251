"""A back-test fits each model once, survives a kill, and gives the same result again."""

import pickle
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from configs.policies import ORACLE, BackTestParams
from configs.project import Project
from tasks.backtest.backtest import Asked, backtest, backtest_folder
from tasks.backtest.errors import OutsideHistory
from tasks.backtest.fits import Fits, Model
from tasks.backtest.result import BackTest, front
from tasks.backtest.weeks import collect
from tests.backtest.conftest import AS_OF, BEGAN, CHANGED, ROWS, WEEKS, ships


class Killed(Exception):
    """The process ended here."""


def look_back(project: Project, policies: BackTestParams, **options: Any) -> BackTest:
    return backtest(project, "harbour", Asked(policies, AS_OF), **options)


@pytest.fixture(scope="module")
def found(looked_back: Project) -> BackTest:
    """What the back-test of POLICIES found."""
    return BackTest.read(result_file(looked_back))


def result_file(project: Project) -> Path:
    return backtest_folder(project, "harbour") / "backtest.json"


def test_each_policy_does_what_it_says(found: BackTest) -> None:
    never, weekly, on_loss = (found.of(name) for name in ("never", "weekly", "on realised loss"))
    assert (never.trainings, weekly.trainings) == (0, 7)
    assert {week.champion for week in never.weeks} == {"2025-W06"}
    assert weekly.weeks[-1].champion == "2025-W14"
    # The world changes in the week CHANGED; its labels are in when the next week decides.
    assert [week.trained for week in on_loss.weeks].index(True) == CHANGED + 1 - 6
    assert never.means["auc"] < on_loss.means["auc"]
    assert never.missed_actions > 0


def test_nobody_beats_the_oracle(found: BackTest) -> None:
    ungated = [result for result in found.results if result.gate == "off"]
    assert all(result.area_lost >= -1e-9 for result in ungated)
    assert found.of(ORACLE).area_lost == 0
    assert found.of(ORACLE).weeks_of_damage == 0


def test_a_candidate_answers_after_the_lead(warm: Project, found: BackTest) -> None:
    weekly = {"policy": "weekly", "triggers": [{"trigger": "time", "weeks": 1}], "gate": False}
    never = {"policy": "never", "gate": False}
    late = BackTestParams.model_validate({"warm_up": 6, "lead_hours": 140, "policies": [never, weekly]})
    later = look_back(warm, late)
    assert later.of("weekly").means["auc"] < found.of("weekly").means["auc"]
    assert later.of("never").means == found.of("never").means


def test_a_gate_turns_a_candidate_away(warm: Project) -> None:
    params = yaml.safe_load((warm.root / "params.yaml").read_text())
    params["harbour"]["gate"]["limits"] = [{"metric": "auc", "at_least": 0.99}]
    (warm.root / "params.yaml").write_text(yaml.safe_dump(params))
    mine = BackTestParams.model_validate(
        {"warm_up": 6, "policies": [{"policy": "gated", "triggers": [{"trigger": "time", "weeks": 1}]}]}
    )
    found = look_back(warm, mine).of("gated")
    assert (found.trainings, found.promotions) == (7, 0)
    assert any("at least 0.99 wanted" in text for text in found.weeks[-1].gate)


def gated(**gate: object) -> BackTestParams:
    lenient = {"rule": "non_inferiority", "margin": 0.5}
    policy = {"policy": "gated", "triggers": [{"trigger": "time", "weeks": 2}], "gate": {**lenient, **gate}}
    return BackTestParams.model_validate({"warm_up": 6, "policies": [policy]})


def test_an_accepted_candidate_answers_with_the_weeks_that_judged_it(warm: Project) -> None:
    found = look_back(warm, gated(refit=True)).of("gated")
    as_judged = look_back(warm, gated()).of("gated")
    took_over = next(place for place, week in enumerate(found.weeks) if week.promoted)
    assert as_judged.weeks[took_over].promoted
    # The last two of the labelled weeks judge.
    assert [week.champion for week in (as_judged.weeks[took_over], found.weeks[took_over])] == ["2025-W07", "2025-W09"]
    assert found.means["auc"] > as_judged.means["auc"]


def test_a_policy_that_keeps_the_cases_gate_is_fitted_again_where_the_case_is(warm: Project) -> None:
    wanted = look_back(warm, gated(refit=True)).of("gated")
    params = yaml.safe_load((warm.root / "params.yaml").read_text())
    params["harbour"]["gate"]["refit"] = True
    (warm.root / "params.yaml").write_text(yaml.safe_dump(params))
    assert look_back(warm, gated()).of("gated").weeks == wanted.weeks
    off = look_back(warm, gated(refit=False)).of("gated")
    assert off.weeks != wanted.weeks


def test_a_policy_without_a_gate_is_trained_on_all_there_is_whatever_the_case_does(
    warm: Project, policies: BackTestParams, found: BackTest
) -> None:
    params = yaml.safe_load((warm.root / "params.yaml").read_text())
    params["harbour"]["gate"]["refit"] = True
    (warm.root / "params.yaml").write_text(yaml.safe_dump(params))
    again = look_back(warm, policies)
    assert [again.of(name) for name in ("never", "weekly", ORACLE)] == [
        found.of(name) for name in ("never", "weekly", ORACLE)
    ]


def test_a_champion_that_got_worse_goes_back(warm: Project) -> None:
    rules = [
        {
            "rule": "back",
            "when": [{"realised": "alarm"}],
            "hours_since_promotion": {"at_most": 400},
            "action": "roll_back",
        },
        {"rule": "weekly", "hours_since_training": {"at_least": 168}, "action": "retrain"},
    ]
    policy = {"policy": "mine", "triage": {"rules": rules, "guards": {"trainings_a_month": 30}}, "gate": False}
    weeks = look_back(warm, BackTestParams.model_validate({"warm_up": 6, "policies": [policy]})).of("mine").weeks
    at = [week.action for week in weeks].index("roll_back")
    assert (weeks[at - 1].champion, weeks[at].champion) == ("2025-W10", "2025-W09")
    assert weeks[at].rule == "back"


def test_the_same_history_gives_the_same_result(warm: Project, policies: BackTestParams) -> None:
    folder = backtest_folder(warm, "harbour")
    first = {path.name: path.read_bytes() for path in folder.glob("backtest.*")}
    look_back(warm, policies)
    assert {path.name: path.read_bytes() for path in folder.glob("backtest.*")} == first
    assert set(first) == {"backtest.json", "backtest.png", "backtest.svg"}


def test_one_that_was_killed_goes_on_where_it_stopped(
    harbour: Project, policies: BackTestParams, found: BackTest
) -> None:
    done: list[Any] = []

    def killed_after_four(call: Callable[..., Any], items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            if len(done) == 4:
                raise Killed
            done.append(item)
            yield call(item)

    with pytest.raises(Killed):
        look_back(harbour, policies, parallel=killed_after_four)
    assert not result_file(harbour).exists()
    again: list[Any] = []

    def counted(call: Callable[..., Any], items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            again.append(item)
            yield call(pickle.loads(pickle.dumps(item)))  # as it would travel to a cluster

    assert look_back(harbour, policies, parallel=counted) == found
    assert not {item.folder for item in again} & {item.folder for item in done}


def test_another_policy_trains_nothing_again(warm: Project) -> None:
    monthly = {"policy": "monthly", "triggers": [{"trigger": "time", "weeks": 4}], "gate": False}
    mine = BackTestParams.model_validate({"warm_up": 6, "policies": [monthly]})

    def nothing(call: Callable[..., Any], items: Iterable[Any]) -> Iterable[Any]:
        assert not list(items)
        return ()

    assert look_back(warm, mine, parallel=nothing).of("monthly").trainings == 1


def test_other_parameters_are_other_models(harbour: Project) -> None:
    folder = backtest_folder(harbour, "harbour")
    history = collect(harbour, "harbour", folder, AS_OF)
    first = Fits(harbour, history, WEEKS, folder)
    first.ensure([Model(0, 6)])
    params = yaml.safe_load((harbour.root / "params.yaml").read_text())
    params["harbour"]["training"]["settings"]["C"] = 0.001
    (harbour.root / "params.yaml").write_text(yaml.safe_dump(params))
    second = Fits(harbour, history, WEEKS, folder)
    assert second.answers(Model(0, 6), 8).tolist() != first.answers(Model(0, 6), 8).tolist()


@pytest.mark.parametrize(
    ("problem", "kind", "metric"), [("multiclass", "string", "accuracy"), ("regression", "number", "mae")]
)
def test_other_problems_are_walked_too(
    harbour: Project, policies: BackTestParams, problem: str, kind: str, metric: str
) -> None:
    rows = ships()
    hours = rows["wind"].where(rows.index < CHANGED * ROWS, rows["cargo"]) + 0.3 * rows["late"]
    told = pd.cut(hours, [-np.inf, -1, 0.5, np.inf], labels=["early", "in time", "late"]).astype(object)
    rows.assign(late=hours if problem == "regression" else told).to_parquet(harbour.root / "ships.parquet")
    case = yaml.safe_load((harbour.root / "configs/harbour.yaml").read_text())
    case["problem"], case["contract"]["columns"]["late"]["type"] = problem, kind
    (harbour.root / "configs/harbour.yaml").write_text(yaml.safe_dump(case))
    params = yaml.safe_load((harbour.root / "params.yaml").read_text())
    params["harbour"]["gate"] |= {"metric": metric, "limits": [{"metric": metric, "at_least": 0.0}]}
    params["harbour"]["training"]["settings"] = {}
    (harbour.root / "params.yaml").write_text(yaml.safe_dump(params))
    found = look_back(harbour, policies)
    never, weekly = found.of("never"), found.of("weekly")
    assert found.metric == metric
    assert weekly.area_lost < never.area_lost
    assert found.of("on realised loss").trainings > 0


def test_dates_outside_are_refused_before_anything_is_trained(harbour: Project, policies: BackTestParams) -> None:
    asked = Asked(policies, AS_OF, start=BEGAN - timedelta(weeks=4))
    with pytest.raises(OutsideHistory, match="Nothing was trained"):
        backtest(harbour, "harbour", asked)
    assert not (backtest_folder(harbour, "harbour") / "fits").exists()


def test_the_front_holds_whom_nobody_beats_in_both(found: BackTest) -> None:
    for result in found.policies:
        beaten = any(
            other.training_cost <= result.training_cost
            and other.area_lost <= result.area_lost
            and (other.training_cost, other.area_lost) != (result.training_cost, result.area_lost)
            for other in found.policies
        )
        assert (result in front(found.policies)) is not beaten
