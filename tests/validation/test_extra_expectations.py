"""A mistake in a case's own expectations is found before any data is judged, and named."""

from typing import Any

import pytest

from configs.case import Case
from configs.errors import ConfigError
from tasks.validation.suite import extra_checks


def written(case: Case, kind: str, **arguments: Any) -> Case:
    return Case.model_validate(
        {**case.model_dump(mode="json"), "expectations": [{"type": kind, "arguments": arguments}]}
    )


@pytest.mark.parametrize(
    ("kind", "arguments", "said"),
    [
        (
            "expect_column_mean_to_be_betwen",
            {"column": "weight"},
            r"parcels\.yaml: `expectations\[0\]` \(expect_column_mean_to_be_betwen\).*did you mean `expect_column_m",
        ),
        (
            "expect_column_mean_to_be_between",
            {"column": "weight", "min_valu": 1},
            "takes no argument `min_valu`; did you mean `min_value`",
        ),
        ("expect_column_mean_to_be_between", {"column": "wieght", "min_value": 1}, "did you mean `weight`"),
        ("expect_column_mean_to_be_between", {"column": "weight"}, "could never fail: give it `min_value`"),
        ("expect_column_mean_to_be_between", {"min_value": 1}, "`column`: field required"),
        (
            "expect_column_values_to_be_between",
            {"column": "weight", "min_value": 0, "mostly": 2},
            "`mostly`: ensure this value is less than or equal to 1",
        ),
        (
            "expect_column_mean_to_be_between",
            {"column": "weight", "min_value": 1, "severity": "info"},
            "takes no argument `severity`",
        ),
        (
            "expect_column_pair_values_to_be_equal",
            {"column_A": "weight", "column_B": "distanc"},
            "names `distanc`.*did you mean `distance`",
        ),
        (
            "expect_compound_columns_to_be_unique",
            {"column_list": ["parcel_id", "dpot"]},
            "names `dpot`.*did you mean `depot`",
        ),
    ],
)
def test_a_mistake_in_an_extra_expectation_is_named(
    kind: str, arguments: dict[str, Any], said: str, case: Case
) -> None:
    with pytest.raises(ConfigError, match=said):
        extra_checks(written(case, kind, **arguments))


@pytest.mark.parametrize(
    ("kind", "arguments", "expected"),
    [
        (
            "expect_column_unique_value_count_to_be_between",
            {"column": "depot", "min_value": 2},
            "unique value count at least 2",
        ),
        ("expect_table_row_count_to_equal", {"value": 7}, "table row count to equal (value 7)"),
        (
            "expect_column_values_to_match_regex",
            {"column": "parcel_id", "regex": "^2024", "mostly": 0.9},
            "values to match regex (regex ^2024, mostly 0.9)",
        ),
    ],
)
def test_an_extra_expectation_is_worded_from_its_name_and_arguments(
    kind: str, arguments: dict[str, Any], expected: str, case: Case
) -> None:
    assert [check.expected for check in extra_checks(written(case, kind, **arguments))] == [expected]
