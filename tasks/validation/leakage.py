"""Target leakage: a feature that alone ranks the target almost perfectly was not known when it was asked for."""

import numpy as np
import pandas as pd

from configs.case import Case, Problem
from tasks.evaluation.ranking import rank_auc
from tasks.features.labels import labels
from tasks.records import Finding, Severity
from tasks.validation.wording import number

_ENOUGH = 30
"""Rows wanted on each side of a ranking: among fewer, a harmless feature may rank perfectly by luck."""
_FOLDS = 5
_SCORES = {Problem.binary: "AUC", Problem.multiclass: "AUC", Problem.regression: "rank correlation"}


def leakage(case: Case, frame: pd.DataFrame, features: list[str], at_most: float) -> list[Finding]:
    """One finding for each feature; only rows with a label count. `frame` holds the target in its promised type."""
    if frame[case.target].isna().all():
        # Without a single value a column may come in any type, and labels are made of one type only.
        return [_cannot_be_judged(case, 0)]
    label = labels(case, frame)
    labelled = label.notna().to_numpy()
    targets = _targets(case, label[labelled].reset_index(drop=True))
    if not targets:
        return [_cannot_be_judged(case, int(labelled.sum()))]
    rows, scored_by = frame.loc[labelled].reset_index(drop=True), _SCORES[case.problem]
    return [_finding(name, _score(rows[name], targets, scored_by), scored_by, at_most) for name in features]


def out_of_fold_means(categories: pd.Series, target: pd.Series) -> pd.Series:
    """For each row the mean target of its category in the other folds; the mean of all of them if it is not there."""
    codes, names = pd.factorize(categories)
    fold = np.arange(len(codes)) % _FOLDS
    cell, shape = codes * _FOLDS + fold, (len(names), _FOLDS)
    count = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape).astype("float64")
    total = np.bincount(cell, weights=target, minlength=shape[0] * shape[1]).reshape(shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        everywhere = (total.sum() - total.sum(axis=0)) / (count.sum() - count.sum(axis=0))
        means = (total.sum(axis=1, keepdims=True) - total) / (count.sum(axis=1, keepdims=True) - count)
    return pd.Series(np.where(np.isnan(means), everywhere, means)[codes, fold], index=categories.index)


def _targets(case: Case, label: pd.Series) -> list[pd.Series]:
    """What a feature could give away: the number; being positive; or, for several classes, being of each one."""
    if case.problem is Problem.regression:
        return [label] if len(label) >= _ENOUGH and _varies(label) else []
    kinds = [1.0] if case.problem is Problem.binary else sorted(label.unique())
    return [positive for kind in kinds if _enough(positive := (label == kind).astype("float64"))]


def _score(values: pd.Series, targets: list[pd.Series], scored_by: str) -> float:
    """The best ranking of any target by the values, or by their being there at all."""
    rank = _folded_auc if scored_by == "AUC" else _folded_correlation
    present = values.notna()
    scores = [rank(present.astype("float64"), target) for target in targets]
    for target in targets:
        there, wanted = values[present], target[present]
        if len(there) < _ENOUGH or (scored_by == "AUC" and not _enough(wanted)):
            continue
        scores.append(rank(there, wanted) if _is_ordered(there) else _by_category(there, wanted, scored_by))
    return max(scores)


def _by_category(categories: pd.Series, target: pd.Series, scored_by: str) -> float:
    # Not folded: a higher mean stands for a higher target, and a small category ranks its own rows the wrong way round.
    means = out_of_fold_means(categories, target)
    return _auc(means, target) if scored_by == "AUC" else _correlation(means, target)


def _folded_auc(values: pd.Series, target: pd.Series) -> float:
    score = _auc(values, target)
    return max(score, 1 - score)


def _auc(values: pd.Series, target: pd.Series) -> float:
    score = rank_auc(target.to_numpy(dtype=bool), values.rank().to_numpy())
    assert score is not None, "a target is asked about only if there is enough of both kinds"
    return score


def _folded_correlation(values: pd.Series, target: pd.Series) -> float:
    return abs(_correlation(values, target))


def _correlation(values: pd.Series, target: pd.Series) -> float:
    """Spearman's; 0 where one of them does not vary."""
    if not _varies(values) or not _varies(target):
        return 0.0
    return float(np.corrcoef(values.rank(), target.rank())[0, 1])


def _is_ordered(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_datetime64_any_dtype(values.dtype)


def _varies(values: pd.Series) -> bool:
    return bool((values != values.iloc[0]).any())


def _enough(positive: pd.Series) -> bool:
    positives = int(positive.sum())
    return min(positives, len(positive) - positives) >= _ENOUGH


def _finding(name: str, score: float, scored_by: str, at_most: float) -> Finding:
    return Finding(
        check="feature_does_not_know_the_target",
        column=name,
        severity=Severity.critical,
        passed=score < at_most,
        expected=f"{scored_by} with the target below {number(at_most)}",
        found=f"alone it ranks the target at {scored_by} {score:.3f}",
    )


def _cannot_be_judged(case: Case, known: int) -> Finding:
    return Finding(
        check="feature_does_not_know_the_target",
        column=case.target,
        severity=Severity.info,
        passed=False,
        expected=f"at least {_ENOUGH} labels of each kind, to look for features that know the target",
        found=f"{known:,} labels, too few of some kind: leakage was not looked for",
    )
