"""An A/B test of fixed size: how many rows it needs, said before it begins, and who won, judged once; pure."""

import math

from scipy import stats

from configs.rollout import AbParams, RolloutParams
from tasks.evaluation.predictions import Floats
from tasks.records import Reason
from tasks.rollout.expected import Expected


def rows_per_arm(ab: AbParams, error_rate: float, expected: Expected) -> int:
    """So many labelled rows of each arm find a difference of `ab.effect` with the power asked for.

    The two-sample normal formula, with the variance of the champion's loss at evaluation in both arms.
    """
    effect = ab.effect * expected.champion_loss
    quantiles = stats.norm.isf(error_rate / 2) + stats.norm.ppf(ab.power)
    return math.ceil(2 * float(quantiles * expected.deviation / effect) ** 2)


def size_stated(ab: AbParams, error_rate: float, expected: Expected) -> Reason:
    """What is said before the test begins."""
    rows = rows_per_arm(ab, error_rate, expected)
    text = (
        f"needs {rows:,} labelled rows in each arm to find a loss lower by {ab.effect:.1%} with power {ab.power:g} "
        f"and an error rate of {error_rate:g}; nothing is judged before"
    )
    return Reason(rule="sample size", passed=True, text=text)


def arms_compared(arms: tuple[Floats, Floats], params: RolloutParams, expected: Expected) -> Reason:
    """Who won: Welch's test on the first rows of each arm, as many as were asked for; later looks change nothing."""
    wanted = rows_per_arm(params.ab, params.error_rate, expected)
    found = min(len(side) for side in arms)
    if found < wanted:
        text = f"{found:,} of {wanted:,} labelled rows in the smaller arm; not judged before all are in"
        return Reason(rule="A/B", passed=False, inconclusive=True, text=text)
    champion, challenger = (side[:wanted] for side in arms)
    p_value = float(stats.ttest_ind(challenger, champion, equal_var=False).pvalue)
    difference = float(challenger.mean() - champion.mean())
    won = p_value <= params.error_rate and difference < 0
    who = "the challenger won" if won else "the champion won" if p_value <= params.error_rate else "nobody won"
    text = f"{who}: mean loss {difference:+.4f} over {wanted:,} rows in each arm (p = {p_value:.2g})"
    return Reason(rule="A/B", passed=won, text=text)
