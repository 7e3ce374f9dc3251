"""What a case and its parameters may not say, because no run could make sense of it."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from configs.case import Case
from configs.params import CalendarParams, GateParams, LimitParams, Params, SearchParams, SearchRange

ROOT = Path(__file__).parents[2]
SHIPPED = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["flights"]
TARGETS = {"number": {"at_least": 15}, "integer": {"at_least": 15}, "string": {"equals": "late"}, "boolean": None}


def case(target: str = "number", problem: str = "binary", **changes: Any) -> Case:
    columns = {
        "id": {"type": "string", "role": "entity"},
        "at": {"type": "timestamp", "role": "event_time"},
        "size": {"type": "number", "role": "feature"},
        "delay": {"type": target, "role": "target"},
    }
    whole = {
        "name": "parcels",
        "question": "Late?",
        "problem": problem,
        "positive": TARGETS[target] if problem == "binary" else None,
        "label_delay_hours": 0,
        "batch_every": "day",
        "source": {"kind": "file", "url": "x.csv", "format": "csv"},
        "contract": {"version": 1, "columns": columns | changes.pop("columns", {})},
    }
    return Case.model_validate(whole | changes)


@pytest.mark.parametrize("target", TARGETS)
def test_a_binary_case_may_have_a_target_of_any_type_when_it_says_what_is_positive(target: str) -> None:
    assert case(target).target == "delay"


@pytest.mark.parametrize("target", ["number", "integer", "string"])
def test_a_binary_case_must_say_what_is_positive_unless_its_target_is_true_or_false(target: str) -> None:
    with pytest.raises(
        ValidationError, match=f"`positive` must say when `delay` \\({target}\\) makes the label positive"
    ):
        case(target, positive=None)


@pytest.mark.parametrize("target", ["string", "boolean"])
def test_at_least_needs_a_number_to_compare_with(target: str) -> None:
    with pytest.raises(ValidationError, match=f"`at_least` needs a numeric target; `delay` is {target}"):
        case(target, positive={"at_least": 15})


@pytest.mark.parametrize(("target", "value"), [("string", 1), ("integer", "1"), ("number", True), ("boolean", "yes")])
def test_a_positive_value_must_be_one_the_target_can_have(target: str, value: object) -> None:
    with pytest.raises(ValidationError, match=f"can never be true of `delay` \\({target}\\)"):
        case(target, positive={"equals": value})


@pytest.mark.parametrize("problem", ["regression", "multiclass"])
def test_positive_belongs_to_binary_problems_only(problem: str) -> None:
    with pytest.raises(ValidationError, match=f"`positive` belongs to binary problems, not to {problem}"):
        case(problem=problem, positive={"at_least": 15})


def test_a_regression_needs_a_number_to_predict() -> None:
    assert case("integer", "regression").positive is None
    with pytest.raises(ValidationError, match="a regression needs a numeric target; `delay` is string"):
        case("string", "regression")


@pytest.mark.parametrize(("role", "type_"), [("target", "number"), ("entity", "string"), ("event_time", "timestamp")])
def test_what_every_case_has_once_it_may_not_have_twice(role: str, type_: str) -> None:
    with pytest.raises(ValidationError, match=f"exactly one column must have the role `{role}`, found .*'second'"):
        case(columns={"second": {"type": type_, "role": role}})


def test_a_case_without_a_target_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"exactly one column must have the role `target`, found \[\]"):
        case(columns={"delay": {"type": "number", "role": "hindsight"}})


def test_a_case_without_features_is_refused() -> None:
    with pytest.raises(ValidationError, match="no column has the role `feature`"):
        case(columns={"size": {"type": "number", "role": "info"}})


def test_an_event_time_must_be_a_time() -> None:
    with pytest.raises(ValidationError, match="the event time `at` must be a timestamp"):
        case(columns={"at": {"type": "string", "role": "event_time"}})


def test_a_range_must_not_start_above_its_end() -> None:
    assert case(columns={"size": {"type": "number", "role": "feature", "range": [6, 6]}})
    assert case(columns={"size": {"type": "number", "role": "feature", "range": [6, None]}})
    with pytest.raises(ValidationError, match=r"the range starts at 6\.5, above its end 6\.0"):
        case(columns={"size": {"type": "number", "role": "feature", "range": [6.5, 6]}})


def test_a_range_is_for_numbers_and_categories_are_for_text() -> None:
    with pytest.raises(ValidationError, match="a range needs type integer or number, not string"):
        case(columns={"size": {"type": "string", "role": "feature", "range": [0, 6]}})
    with pytest.raises(ValidationError, match="categories need type string, not integer"):
        case(columns={"size": {"type": "integer", "role": "feature", "categories": ["1"]}})


@pytest.mark.parametrize("share", [-0.01, 1.01])
def test_a_share_lies_between_nothing_and_everything(share: float) -> None:
    assert case(columns={"size": {"type": "number", "role": "feature", "may_be_missing": 1.0}})
    with pytest.raises(ValidationError, match="may_be_missing"):
        case(columns={"size": {"type": "number", "role": "feature", "may_be_missing": share}})


def test_a_password_cannot_be_written_into_a_case_only_the_name_of_a_variable() -> None:
    sql = {"kind": "sql", "url_from": "ORDERS_URL", "query": "select 1"}
    assert case(source=sql).source.kind == "sql"
    with pytest.raises(ValidationError, match="url_from"):
        case(source=sql | {"url_from": "postgresql://me:secret@host/db"})


def test_a_recorded_history_must_say_in_which_time_zone_it_stands_still() -> None:
    recorded = {"kind": "recorded", "name": "flights", "as_of": "2013-07-22T02:00:00"}
    assert case(source=recorded | {"as_of": "2013-07-22T02:00:00Z"}).source.kind == "recorded"
    with pytest.raises(ValidationError, match="should have timezone info"):
        case(source=recorded)


def test_a_gate_without_limits_is_refused_because_it_lets_the_first_model_pass_unseen() -> None:
    assert GateParams.model_validate(SHIPPED["gate"] | {"limits": [{"metric": "auc", "at_least": 0.5}]}).limits
    with pytest.raises(ValidationError, match="a gate without absolute limits lets the first model pass unseen"):
        GateParams.model_validate(SHIPPED["gate"] | {"limits": []})


@pytest.mark.parametrize("sides", [{}, {"at_least": 0.5, "at_most": 0.9}])
def test_a_limit_has_exactly_one_side(sides: dict[str, float]) -> None:
    assert LimitParams(metric="auc", at_least=0.0).at_most is None
    with pytest.raises(ValidationError, match="give exactly one of at_least and at_most"):
        LimitParams(metric="auc", **sides)


@pytest.mark.parametrize("confidence", [0.5, 1.0])
def test_a_confidence_is_more_than_a_coin_and_less_than_certainty(confidence: float) -> None:
    with pytest.raises(ValidationError, match="confidence"):
        GateParams.model_validate(SHIPPED["gate"] | {"confidence": confidence})


def test_a_search_needs_a_space_to_search_in() -> None:
    assert SearchParams(trials=0, space={}).trials == 0
    with pytest.raises(ValidationError, match="3 trials are asked for, but the search space is empty"):
        SearchParams(trials=3)


def test_a_range_to_search_in_goes_up_and_a_logarithmic_one_starts_above_zero() -> None:
    assert SearchRange(low=0, high=1).low == 0
    with pytest.raises(ValidationError, match=r"low 1\.0 must be below high 1\.0"):
        SearchRange(low=1, high=1)
    with pytest.raises(ValidationError, match="a logarithmic range must start above 0"):
        SearchRange(low=0, high=1, log=True)


def test_a_part_of_the_calendar_that_nobody_computes_is_refused() -> None:
    with pytest.raises(ValidationError, match="parts"):
        CalendarParams.model_validate({"column": "at", "parts": ["moon_phase"]})


def test_the_shipped_parameters_survive_being_written_down_and_read_back() -> None:
    params = Params.model_validate(SHIPPED)
    assert Params.model_validate_json(params.model_dump_json()) == params
