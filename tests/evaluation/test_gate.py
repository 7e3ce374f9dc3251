"""Each rule of the gate refuses on the wrong side of its boundary, and the decision carries every reason."""

from collections.abc import Callable
from typing import Any

import pytest

from configs.case import Case, Problem
from configs.params import GateParams, Params
from tasks.evaluation.gate import Measured, decide
from tasks.records import Candidate, Decision, Interval, Ruling, SliceComparison

Asked = Callable[..., Decision]

RULES = [
    *("rows", "blocks"),
    *("features", "contract", "artifact", "predictions"),
    *("limit auc", "limit ece", "leakage", "comparison", "slices"),
    *("latency", "size"),
]
FEATURES = ("interest", "budget", "region", "rain")


def about(value: float, reach: float = 0.004) -> Interval:
    return Interval(value=value, low=value - reach, high=value + reach, confidence=0.95)


def measured(**changes: Any) -> Measured:
    fine = {
        "rows": 5000,
        "blocks": 14,
        "metrics": {"auc": about(0.75), "ece": about(0.02), "log_loss": about(0.5)},
        "champion_version": "4",
        "differences": {"auc": about(0.01), "log_loss": about(-0.01)},
        "importance": {"interest": 0.2, "budget": 0.1},
        "latency_ms": 10.0,
        "model_mb": 1.0,
        "faithful": True,
    }
    return Measured.model_validate(fine | changes)


@pytest.fixture
def ask(shop: Any, gate: Callable[..., GateParams]) -> Asked:
    """The decision on a candidate that is fine but for the given changes."""
    case: Case = shop.case
    params: Params = shop.params
    record = Candidate(
        case="shop",
        contract_version=3,
        estimator="linear",
        calibration="none",
        seed=7,
        features=FEATURES,
        train_start="2024-01-01T00:00Z",
        train_end="2024-01-29T00:00Z",
        batches=(),
    )

    def decision(
        gate_changes: dict[str, Any] | None = None, record_changes: dict[str, Any] | None = None, **changes: Any
    ) -> Decision:
        return decide(
            case,
            params.model_copy(update={"gate": gate(**(gate_changes or {}))}),
            record.model_copy(update=record_changes or {}),
            measured(**changes),
        )

    return decision


def against(decision: Decision) -> list[str]:
    return [reason.rule for reason in decision.against]


def text(decision: Decision, rule: str) -> str:
    return next(reason.text for reason in decision.reasons if reason.rule == rule)


def test_a_candidate_that_keeps_every_rule_is_promoted(ask: Asked) -> None:
    decision = ask()
    assert (decision.ruling, decision.against) == (Ruling.promote, ())
    assert [reason.rule for reason in decision.reasons] == RULES


def test_the_decision_carries_every_reason_not_only_the_first(ask: Asked) -> None:
    decision = ask(latency_ms=9999, model_mb=99, faithful=False, record_changes={"contract_version": 2})
    assert against(decision) == ["contract", "artifact", "latency", "size"]


@pytest.mark.parametrize(("rows", "ruling"), [(4999, Ruling.inconclusive), (5000, Ruling.promote)])
def test_too_few_rows_are_inconclusive(rows: int, ruling: Ruling, ask: Asked) -> None:
    assert ask(rows=rows).ruling is ruling


@pytest.mark.parametrize(("blocks", "ruling"), [(13, Ruling.inconclusive), (14, Ruling.promote)])
def test_too_few_days_are_inconclusive(blocks: int, ruling: Ruling, ask: Asked) -> None:
    assert ask(blocks=blocks).ruling is ruling


def test_what_too_few_rows_seem_to_show_is_not_held_against_the_candidate(ask: Asked) -> None:
    decision = ask(rows=100, differences={"auc": about(-0.1)}, metrics={"auc": about(0.5), "ece": about(0.3)})
    assert decision.ruling is Ruling.inconclusive
    assert against(decision) == ["rows", "limit auc", "limit ece", "comparison"]


def test_a_fault_of_the_model_itself_rejects_even_on_too_few_rows(ask: Asked) -> None:
    assert ask(rows=100, model_mb=99).ruling is Ruling.reject


@pytest.mark.parametrize(("low", "ruling"), [(0.0, Ruling.reject), (0.0001, Ruling.promote)])
def test_superiority_wants_the_lower_end_above_zero(low: float, ruling: Ruling, ask: Asked) -> None:
    difference = Interval(value=0.01, low=low, high=0.02, confidence=0.95)
    assert ask(differences={"auc": difference}).ruling is ruling


@pytest.mark.parametrize(("low", "ruling"), [(0.005, Ruling.reject), (0.0051, Ruling.promote)])
def test_superiority_by_a_margin_wants_the_lower_end_above_it(low: float, ruling: Ruling, ask: Asked) -> None:
    difference = Interval(value=0.01, low=low, high=0.02, confidence=0.95)
    assert ask({"margin": 0.005}, differences={"auc": difference}).ruling is ruling


@pytest.mark.parametrize(("high", "ruling"), [(0.0, Ruling.reject), (-0.0001, Ruling.promote)])
def test_a_loss_is_superior_when_its_upper_end_is_below_zero(high: float, ruling: Ruling, ask: Asked) -> None:
    difference = Interval(value=-0.01, low=-0.02, high=high, confidence=0.95)
    assert ask({"metric": "log_loss"}, differences={"log_loss": difference}).ruling is ruling


@pytest.mark.parametrize(("low", "ruling"), [(-0.01, Ruling.reject), (-0.0099, Ruling.promote)])
def test_non_inferiority_wants_less_than_the_margin_lost(low: float, ruling: Ruling, ask: Asked) -> None:
    difference = Interval(value=-0.001, low=low, high=0.02, confidence=0.95)
    rule = {"rule": "non_inferiority", "margin": 0.01}
    assert ask(rule, differences={"auc": difference}).ruling is ruling


@pytest.mark.parametrize(("high", "ruling"), [(0.01, Ruling.reject), (0.0099, Ruling.promote)])
def test_a_loss_is_not_inferior_when_it_rises_by_less_than_the_margin(high: float, ruling: Ruling, ask: Asked) -> None:
    difference = Interval(value=0.001, low=-0.02, high=high, confidence=0.95)
    rule = {"metric": "log_loss", "rule": "non_inferiority", "margin": 0.01}
    assert ask(rule, differences={"log_loss": difference}).ruling is ruling


def test_the_comparison_says_what_was_found_and_wanted(ask: Asked) -> None:
    difference = Interval(value=0.002, low=-0.001, high=0.005, confidence=0.95)
    said = text(ask(differences={"auc": difference}), "comparison")
    assert said == (
        "auc is not shown to be better than champion 4: gain 0.0020 (-0.0010 to 0.0050) at 95%, "
        "lower end above 0 wanted"
    )


def test_without_a_champion_the_limits_alone_judge_and_a_reason_says_so(ask: Asked) -> None:
    decision = ask(champion_version=None, differences={})
    assert decision.ruling is Ruling.promote
    assert "no champion yet" in text(decision, "comparison")


def test_a_first_model_below_its_limits_is_rejected(ask: Asked) -> None:
    decision = ask(champion_version=None, differences={}, metrics={"auc": about(0.64), "ece": about(0.02)})
    assert (decision.ruling, against(decision)) == (Ruling.reject, ["limit auc"])


def test_a_champion_that_cannot_be_scored_leaves_the_comparison_open(ask: Asked) -> None:
    decision = ask(differences={}, champion_lacks=("speed",))
    assert decision.ruling is Ruling.inconclusive
    assert "needs `speed`" in text(decision, "comparison")


def test_a_difference_that_is_not_defined_leaves_the_comparison_open(ask: Asked) -> None:
    assert ask(differences={}).ruling is Ruling.inconclusive


@pytest.mark.parametrize(("found", "ruling"), [(0.6499, Ruling.reject), (0.65, Ruling.promote)])
def test_a_metric_below_its_least_value_rejects(found: float, ruling: Ruling, ask: Asked) -> None:
    assert ask(metrics={"auc": about(found), "ece": about(0.02)}).ruling is ruling


@pytest.mark.parametrize(("found", "ruling"), [(0.1001, Ruling.reject), (0.1, Ruling.promote)])
def test_a_calibration_error_above_its_largest_value_rejects(found: float, ruling: Ruling, ask: Asked) -> None:
    assert ask(metrics={"auc": about(0.75), "ece": about(found)}).ruling is ruling


def test_a_limit_on_a_metric_that_is_not_defined_is_inconclusive(ask: Asked) -> None:
    decision = ask(metrics={"ece": about(0.02)})
    assert (decision.ruling, against(decision)) == (Ruling.inconclusive, ["limit auc", "leakage"])


@pytest.mark.parametrize(("found", "ruling"), [(0.95, Ruling.reject), (0.9499, Ruling.promote)])
def test_a_score_too_good_to_be_true_rejects(found: float, ruling: Ruling, ask: Asked) -> None:
    assert ask(metrics={"auc": about(found), "ece": about(0.02)}).ruling is ruling


def test_the_leakage_alarm_names_the_feature_the_model_leans_on_most(ask: Asked) -> None:
    decision = ask(metrics={"auc": about(0.99), "ece": about(0.02)}, importance={"rain": 0.4, "interest": 0.1})
    assert "look first at `rain`" in text(decision, "leakage")


@pytest.mark.parametrize(
    ("problem", "metric"), [(Problem.binary, "auc"), (Problem.multiclass, "accuracy"), (Problem.regression, "r2")]
)
def test_each_problem_has_its_telltale_score(problem: Problem, metric: str, shop: Any, gate: Any) -> None:
    case = shop.case.model_copy(update={"problem": problem})
    params = shop.params.model_copy(update={"gate": gate(limits=[{"metric": metric, "at_least": 0.5}])})
    decision = decide(case, params, shop.candidate(shop.fit()), measured(metrics={metric: about(0.96)}))
    assert against(decision) == ["leakage"]


@pytest.mark.parametrize(
    ("features", "said"),
    [
        (FEATURES[:3], "lacks `rain`"),
        ((*FEATURES, "bought"), "takes `bought` besides"),
        (("budget", "interest", "region", "rain"), "in another order"),
    ],
)
def test_other_features_than_the_contracts_reject(features: tuple[str, ...], said: str, ask: Asked) -> None:
    decision = ask(record_changes={"features": features})
    assert (decision.ruling, against(decision)) == (Ruling.reject, ["features"])
    assert said in text(decision, "features")


def test_features_left_out_by_the_parameters_are_not_missed(shop: Any) -> None:
    features = shop.params.features.model_copy(update={"leave_out": ("rain",)})
    params = shop.params.model_copy(update={"features": features})
    without = shop.candidate(shop.fit(leave_out=("rain",)))
    assert decide(shop.case, params, without, measured()).promote
    assert not decide(shop.case, shop.params, without, measured()).promote


@pytest.mark.parametrize("version", [2, 4])
def test_another_contract_version_rejects(version: int, ask: Asked) -> None:
    assert against(ask(record_changes={"contract_version": version})) == ["contract"]


def test_an_artifact_that_answers_differently_rejects(ask: Asked) -> None:
    decision = ask(faithful=False)
    assert (decision.ruling, against(decision)) == (Ruling.reject, ["artifact"])


@pytest.mark.parametrize(("bad", "ruling"), [(1, Ruling.reject), (0, Ruling.promote)])
def test_one_unusable_prediction_rejects(bad: int, ruling: Ruling, ask: Asked) -> None:
    assert ask(unusable_predictions=bad).ruling is ruling


@pytest.mark.parametrize(("found", "ruling"), [(2000.1, Ruling.reject), (2000.0, Ruling.promote)])
def test_a_slow_model_rejects(found: float, ruling: Ruling, ask: Asked) -> None:
    assert ask(latency_ms=found).ruling is ruling


@pytest.mark.parametrize(("found", "ruling"), [(20.1, Ruling.reject), (20.0, Ruling.promote)])
def test_a_large_model_rejects(found: float, ruling: Ruling, ask: Asked) -> None:
    assert ask(model_mb=found).ruling is ruling


def group(value: str, **changes: Any) -> SliceComparison:
    return SliceComparison(
        column="region", value=value, rows=900, candidate_loss=0.2, champion_loss=0.15, p_value=0.001
    ).model_copy(update=changes)


@pytest.mark.parametrize(("refused", "ruling"), [(True, Ruling.reject), (False, Ruling.promote)])
def test_one_refused_group_rejects(refused: bool, ruling: Ruling, ask: Asked) -> None:
    decision = ask(slices=(group("north", refused=refused), group("south")))
    assert decision.ruling is ruling
    assert ("region=north: mean loss 0.2 against 0.15" in text(decision, "slices")) is refused


def test_a_group_that_could_not_be_judged_is_named(ask: Asked) -> None:
    assert "`region=north`" in text(ask(slices=(group("north", p_value=None), group("south"))), "slices")
