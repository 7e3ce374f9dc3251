"""A back-test fits each model once, survives a kill, and gives the same result again."""

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from configs.policies import ORACLE, BackTestParams
from configs.project import Project
from tasks.backtest import backtest as verb
from tasks.backtest.backtest import Asked, backtest, backtest_folder
from tasks.backtest.errors import OutsideHistory
from tasks.backtest.fits import Fits, Model
from tasks.backtest.result import BackTest, front
from tasks.backtest.weeks import collect
from tests.backtest.conftest import AS_OF, BEGAN, CHANGED


class Killed(Exception):
    """The process ended here."""


def look_back(project: Project, policies: BackTestParams, **options: Any) -> BackTest:
    return backtest(project, "harbour", Asked(policies, AS_OF), **options)


def result_file(project: Project) -> Path:
    return backtest_folder(project, "harbour") / "backtest.json"


def test_each_policy_does_what_it_says(harbour: Project, policies: BackTestParams) -> None:
    found = look_back(harbour, policies)
    never, weekly, on_loss = (found.of(name) for name in ("never", "weekly", "on realised loss"))
    assert (never.trainings, weekly.trainings) == (0, 9)
    assert {week.champion for week in never.weeks} == {"2025-W06"}
    assert weekly.weeks[-1].champion == "2025-W16"
    # The world changes in the week CHANGED; its labels are in when the next week decides.
    assert [week.trained for week in on_loss.weeks].index(True) == CHANGED + 1 - 6
    assert never.means["auc"] < on_loss.means["auc"]
    assert never.missed_actions > 0


def test_nobody_beats_the_oracle(harbour: Project, policies: BackTestParams) -> None:
    found = look_back(harbour, policies)
    ungated = [result for result in found.results if result.gate == "off"]
    assert all(result.area_lost >= -1e-9 for result in ungated)
    assert found.of(ORACLE).area_lost == 0
    assert found.of(ORACLE).weeks_of_damage == 0


def test_a_candidate_answers_after_the_lead(harbour: Project, policies: BackTestParams) -> None:
    soon = look_back(harbour, policies.model_copy(update={"lead_hours": 0}))
    late = look_back(harbour, policies.model_copy(update={"lead_hours": 140}))
    assert soon.of("weekly").means["auc"] > late.of("weekly").means["auc"]
    assert soon.of("never") == late.of("never").model_copy(
        update={"weeks": soon.of("never").weeks, "area_lost": soon.of("never").area_lost,
                "weeks_of_damage": soon.of("never").weeks_of_damage,
                "missed_actions": soon.of("never").missed_actions}
    )  # fmt: skip


def test_a_gate_turns_a_candidate_away(harbour: Project, policies: BackTestParams) -> None:
    params = yaml.safe_load((harbour.root / "params.yaml").read_text())
    params["harbour"]["gate"]["limits"] = [{"metric": "auc", "at_least": 0.99}]
    (harbour.root / "params.yaml").write_text(yaml.safe_dump(params))
    mine = BackTestParams.model_validate(
        {"warm_up": 6, "policies": [{"policy": "gated", "triggers": [{"trigger": "time", "weeks": 1}]}]}
    )
    found = look_back(harbour, mine).of("gated")
    assert (found.trainings, found.promotions) == (9, 0)
    assert any("at least 0.99 wanted" in text for text in found.weeks[-1].gate)


def test_the_same_history_gives_the_same_result(harbour: Project, policies: BackTestParams) -> None:
    look_back(harbour, policies)
    folder = backtest_folder(harbour, "harbour")
    first = {path.name: path.read_bytes() for path in folder.glob("backtest.*")}
    look_back(harbour, policies)
    assert {path.name: path.read_bytes() for path in folder.glob("backtest.*")} == first
    assert set(first) == {"backtest.json", "backtest.png", "backtest.svg"}


def test_one_that_was_killed_goes_on_where_it_stopped(harbour: Project, policies: BackTestParams) -> None:
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
            yield call(item)

    resumed = look_back(harbour, policies, parallel=counted)
    assert not {item.folder for item in again} & {item.folder for item in done}
    (harbour.stores / "backtest").rename(harbour.root / "set-aside")
    assert look_back(harbour, policies) == resumed


def test_another_policy_trains_nothing_again(harbour: Project, policies: BackTestParams) -> None:
    look_back(harbour, policies)
    monthly = {"policy": "monthly", "triggers": [{"trigger": "time", "weeks": 4}], "gate": False}
    mine = BackTestParams.model_validate({"warm_up": 6, "policies": [monthly]})

    def nothing(call: Callable[..., Any], items: Iterable[Any]) -> Iterable[Any]:
        assert not list(items)
        return ()

    assert look_back(harbour, mine, parallel=nothing).of("monthly").trainings == 2


def test_other_parameters_are_other_models(harbour: Project) -> None:
    folder = backtest_folder(harbour, "harbour")
    history = collect(harbour, "harbour", folder, AS_OF)
    first = Fits(harbour, history, 16, folder)
    first.ensure([Model(0, 6)])
    params = yaml.safe_load((harbour.root / "params.yaml").read_text())
    params["harbour"]["training"]["settings"]["C"] = 0.001
    (harbour.root / "params.yaml").write_text(yaml.safe_dump(params))
    second = Fits(harbour, history, 16, folder)
    assert second.answers(Model(0, 6), 8).tolist() != first.answers(Model(0, 6), 8).tolist()


def test_dates_outside_are_refused_before_anything_is_trained(harbour: Project, policies: BackTestParams) -> None:
    asked = Asked(policies, AS_OF, start=BEGAN - timedelta(weeks=4))
    with pytest.raises(OutsideHistory, match="Nothing was trained"):
        backtest(harbour, "harbour", asked)
    assert not (backtest_folder(harbour, "harbour") / "fits").exists()


def test_the_front_holds_whom_nobody_beats_in_both(harbour: Project, policies: BackTestParams) -> None:
    found = look_back(harbour, policies)
    for result in found.policies:
        beaten = any(
            other.training_cost <= result.training_cost
            and other.area_lost <= result.area_lost
            and (other.training_cost, other.area_lost) != (result.training_cost, result.area_lost)
            for other in found.policies
        )
        assert (result in front(found.policies)) is not beaten


def test_the_record_reads_back(harbour: Project, policies: BackTestParams) -> None:
    found = look_back(harbour, policies)
    assert BackTest.read(result_file(harbour)) == found
    assert json.loads(result_file(harbour).read_text())["metric"] == "auc"
    assert verb.backtest_folder(harbour, "harbour") == result_file(harbour).parent
