"""Labels: what the target column says, in the form a model learns and a metric compares."""

import pandas as pd

from configs.case import AtLeast, Case, ColumnType, Equals, Problem


def labels(case: Case, frame: pd.DataFrame) -> pd.Series:
    """The label of each row; missing where the target is (a cancelled flight has no arrival).

    Binary: 1.0 or 0.0. Regression: the number. Multiclass: the class as text.
    """
    target = frame[case.target]
    if case.problem is Problem.regression:
        return target.astype("float64")
    if case.problem is Problem.multiclass:
        # One missing label is enough for pandas to deliver whole numbers as floats: 1 and 1.0 are one class.
        whole = case.contract.columns[case.target].type is ColumnType.integer
        text = (target.astype("Int64") if whole else target).astype("string")
        return text.astype("object").where(target.notna(), None)
    return _positive(case, target).astype("float64").where(target.notna())


def _positive(case: Case, target: pd.Series) -> pd.Series:
    match case.positive:
        case AtLeast(at_least=threshold):
            return target.astype("float64") >= threshold
        case Equals(equals=value):
            return target == value
        case _:
            return target.fillna(False).astype(bool)
