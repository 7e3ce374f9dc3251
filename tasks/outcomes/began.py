"""Since when a slice has been another: the day from which on it is more like its newest rows than like the rest."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit

from tasks.evaluation.predictions import Floats
from tasks.outcomes.calibration import line_of, odds_of
from tasks.outcomes.slices import FEWEST_ROWS, Labelled, Slice, cuts_of, members

_CALM = 10.0
"""A day's level is taken to be as usual with the weight of so many rows at even odds."""


def began(
    life: Labelled, reference: Labelled | None, named: Slice, now: NDArray[np.bool_], *, follows: bool = True
) -> int | None:
    """The day, as `life` numbers them, on which a slice began to be what it is `now`.

    `life`: the champion's rows with the column that makes it; `now` are those of the newest window. The day
    with the largest sum of log likelihood ratios from there to the end (Page 1954, Biometrika 41:100, from behind).
    None where there are too few rows to say what it has become. `follows`: the score is a chance itself.
    """
    inside = _inside(life, reference, named)
    if min((inside & now).sum(), (~inside).sum()) < FEWEST_ROWS:
        return None
    usual = _usual(life, ~inside, follows=follows)[inside]
    hits, days, new = life.hits[inside], life.days[inside], now[inside]
    inputs = np.column_stack([np.ones(len(usual)), usual])
    became, _ = line_of(inputs[new], hits[new])
    changed = inputs @ became
    ratios = hits * (log_expit(changed) - log_expit(usual)) + (1 - hits) * (log_expit(-changed) - log_expit(-usual))
    by_day = np.bincount(days, weights=ratios, minlength=int(life.days.max()) + 1)
    return int(np.argmax(np.cumsum(by_day[::-1])[::-1]))


def _inside(life: Labelled, reference: Labelled | None, named: Slice) -> NDArray[np.bool_]:
    cuts = [cut for cut in cuts_of(life, reference) if cut.column == named.column and named.value in cut.names]
    return members(cuts, named) if cuts else np.zeros(len(life), dtype=np.bool_)


def _usual(life: Labelled, rest: NDArray[np.bool_], *, follows: bool) -> Floats:
    """Log odds of each row's event, as the rest of the rows has them, on the level of the rest of its day."""
    odds = odds_of(life.scores, follows)
    line, _ = line_of(np.column_stack([np.ones(int(rest.sum())), odds[rest]]), life.hits[rest])
    usual = line[0] + line[1] * odds
    chances, days = expit(usual[rest]), life.days[rest]
    count = int(life.days.max()) + 1
    surprise = np.bincount(days, weights=life.hits[rest] - chances, minlength=count)
    known = np.bincount(days, weights=chances * (1 - chances), minlength=count)
    found: Floats = usual + (surprise / (known + _CALM / 4))[life.days]
    return found
