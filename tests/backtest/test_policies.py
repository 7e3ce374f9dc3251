"""A policy is a table of rules; triggers are a short way to write one."""

from pathlib import Path

import pytest

from configs.errors import ConfigError
from configs.policies import BackTestParams, Policy, read_policies
from configs.read import read_params
from configs.triage import Triage
from tests.conftest import ROOT


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def test_the_policies_that_are_shipped_can_be_read() -> None:
    found = read_policies(ROOT / "configs/backtests/default.yaml")
    assert [policy.gate for policy in found.policies] == ["off"] * 6 + ["case"]


def test_an_unknown_trigger_is_named_with_its_policy(tmp_path: Path) -> None:
    path = written(tmp_path, "policies: [{policy: mine, triggers: [{trigger: realized loss}]}]")
    with pytest.raises(ConfigError, match=r"`mine` has the unknown trigger `realized loss`. Did you mean `realised lo"):
        read_policies(path)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("{policy: mine, triggers: [{trigger: time}]}", "`weeks` belongs to the trigger `time`"),
        ("{policy: mine, triggers: [{trigger: drift, rows: 5}]}", "`rows` belongs to the trigger `new rows`"),
        ("{policy: oracle}", "two policies are called `oracle`"),
        ("{policy: mine, triage: case, triggers: [{trigger: drift}]}", "both triggers and a triage table"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(tmp_path: Path, policy: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_policies(written(tmp_path, f"policies: [{policy}]"))


def test_triggers_become_rules_without_guards() -> None:
    triggers = [{"trigger": "time", "weeks": 4}, {"trigger": "concept drift", "persistence": (2, 3), "recent": True}]
    table = Policy.model_validate({"policy": "mine", "triggers": triggers}).table(Triage(recent_batches=5))
    assert [rule.action for rule in table.rules] == ["retrain", "retrain_recent"]
    assert table.rules[0].hours_since_training is not None
    assert table.rules[0].hours_since_training.at_least == 672
    assert table.rules[1].when == ({"concept": ("alarm",)},)
    assert (table.rules[1].persistence, table.recent_batches, table.guards.cool_down_hours) == ((2, 3), 5, 0)


def test_a_policy_that_is_adopted_keeps_what_guards_the_case() -> None:
    adopted = Policy.model_validate(
        {"policy": "weekly", "triggers": [{"trigger": "time", "weeks": 1}], "gate": False}
    ).adopted(Triage())
    kept = [rule for rule in Triage().rules if rule.action not in {"retrain", "retrain_recent"}]
    assert [rule for rule in adopted.rules if rule.rule != "1. time"] == kept
    assert [rule.rule for rule in adopted.rules].index("1. time") == 4
    assert adopted.guards == Triage().guards


def test_a_policy_may_change_the_gate() -> None:
    given = {"policy": "mine", "gate": {"rule": "non_inferiority", "margin": 0.01, "evaluate_batches": 2}}
    params = read_params(ROOT, "flights")
    changed = Policy.model_validate(given).params(params)
    assert (changed.gate.rule, changed.gate.margin, changed.window.evaluate_batches) == ("non_inferiority", 0.01, 2)
    assert changed.gate.limits == params.gate.limits
    assert Policy(policy="mine").params(params) is params


def test_a_file_that_is_not_there_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no file of policies at"):
        read_policies(tmp_path / "mine.yaml")


def test_the_cases_own_table_is_taken_as_it_is() -> None:
    own = Triage(recent_batches=3)
    assert Policy(policy="evergreen", triage="case").table(own) is own


def test_the_result_tells_policies_apart_by_name() -> None:
    with pytest.raises(ValueError, match="two policies are called `a`"):
        BackTestParams(policies=(Policy(policy="a"), Policy(policy="a")))
