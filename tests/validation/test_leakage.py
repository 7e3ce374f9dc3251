"""A feature that knows the target is found in every kind of problem; one that only helps is not."""

import numpy as np
import pandas as pd
import pytest

from configs.case import Case
from tasks.evaluation.ranking import rank_auc
from tasks.records import Severity
from tasks.validation.leakage import leakage, out_of_fold_means

from .conftest import CASE

ROWS = 600
DRAW = np.random.default_rng(7)
LATE = pd.Series(DRAW.normal(10, 15, ROWS))


def problem(kind: str, target: dict[str, object], **of: object) -> Case:
    columns = {**CASE["contract"]["columns"], "minutes_late": {"role": "target", "may_be_missing": 0.3, **target}}
    contract = {"version": 1, "columns": columns}
    return Case.model_validate(
        {**CASE, "name": "parcels", "positive": None, "problem": kind, "contract": contract, **of}
    )


BINARY = problem("binary", {"type": "number"}, positive={"at_least": 15})
REGRESSION = problem("regression", {"type": "number"})
MULTICLASS = problem("multiclass", {"type": "string"})
CLASSES = pd.Series(np.select([LATE < 0, LATE < 15], ["early", "fine"], "late"))


def refused(case: Case, feature: pd.Series, target: pd.Series = LATE, at_most: float = 0.95) -> bool:
    frame = pd.DataFrame({"weight": feature, "minutes_late": target})
    (finding,) = leakage(case, frame, ["weight"], at_most)
    assert finding.severity is Severity.critical
    return not finding.passed


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("case", [BINARY, REGRESSION])
def test_a_number_that_ranks_the_target_either_way_is_refused(case: Case, sign: int) -> None:
    assert refused(case, sign * LATE + DRAW.normal(0, 0.5, ROWS))


@pytest.mark.parametrize("case", [BINARY, REGRESSION])
def test_a_number_that_merely_helps_is_not_refused(case: Case) -> None:
    assert not refused(case, LATE + DRAW.normal(0, 15, ROWS))


def test_a_category_that_stands_for_the_answer_is_refused() -> None:
    assert refused(BINARY, pd.Series(np.where(LATE >= 15, "surcharge", "none")))
    assert refused(REGRESSION, (LATE / 5).round().astype(str))
    assert refused(MULTICLASS, CLASSES.str.upper(), CLASSES)


def test_a_number_that_tells_one_class_of_several_is_refused() -> None:
    assert refused(MULTICLASS, LATE, CLASSES)
    assert not refused(MULTICLASS, pd.Series(DRAW.normal(size=ROWS)), CLASSES)


def test_a_key_that_never_repeats_is_not_taken_for_the_answer() -> None:
    assert not refused(BINARY, pd.Series([f"key {i}" for i in range(ROWS)]))


def test_a_value_that_is_there_only_for_one_answer_is_refused() -> None:
    assert refused(BINARY, pd.Series(np.where(LATE >= 15, 1.0, np.nan)))


def test_a_time_that_knows_the_answer_is_refused() -> None:
    assert refused(BINARY, pd.Timestamp("2024-02-01") + pd.to_timedelta(LATE, unit="min"))


def test_a_leak_in_the_rows_where_the_feature_is_there_is_refused() -> None:
    assert refused(BINARY, LATE.where(np.arange(ROWS) % 2 == 0))


def test_the_score_itself_is_refused_and_a_hair_more_is_not() -> None:
    feature = LATE + DRAW.normal(0, 15, ROWS)
    score = rank_auc((LATE >= 15).to_numpy(), feature.rank().to_numpy())
    assert score
    assert refused(BINARY, feature, at_most=score)
    assert not refused(BINARY, feature, at_most=np.nextafter(score, 1))


def test_rows_without_a_label_do_not_count() -> None:
    unlabelled = LATE.where(np.arange(ROWS) >= 200)
    blurred = LATE.where(np.arange(ROWS) >= 200, pd.Series(DRAW.normal(10, 15, ROWS)))
    assert refused(BINARY, blurred, unlabelled)


@pytest.mark.parametrize(("positives", "judged"), [(29, False), (30, True)])
def test_too_few_labels_of_a_kind_are_said_instead_of_judged(positives: int, judged: bool) -> None:
    target = pd.Series(np.where(np.arange(ROWS) < positives, 20.0, 0.0))
    (finding,) = leakage(BINARY, pd.DataFrame({"weight": target, "minutes_late": target}), ["weight"], 0.95)
    assert (finding.severity is Severity.critical) is judged
    assert ("was not looked for" in finding.found) is not judged


def test_the_mean_of_a_category_comes_from_the_other_folds() -> None:
    categories = pd.Series(["a", "b", "a", "b", "a", "a", "b", "a", "b", "c"])
    target = pd.Series([1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0])
    means = out_of_fold_means(categories, target)
    # Rows 0 and 5 share a fold; the other rows with `a` are 2, 4 and 7.
    assert means[0] == pytest.approx(2 / 3)
    # `c` is in no other fold: the mean of the eight rows there.
    assert means[9] == pytest.approx(4 / 8)
