"""Pairs of one answer of each model: of the same row in the shadow, of rows close in time where users were split; pure.

Where users were split at random, each row of the smaller arm is set against the mean of the rows of the larger arm that
came at about the same time: `m` of them, by the shares of the arms. A difference then has the mean difference of the
two models for its expectation, also while the world changes from hour to hour, and the bounds of the losses themselves;
weighting rows by the inverse of a share of 5 % would make them twenty times as wide.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.evaluation.predictions import Floats
from tasks.rollout.days import Days

_ROUNDING = 1e-9


def per_champion_rows(share: float) -> tuple[int, int]:
    """How many rows of the champion and of the challenger make one pair when the challenger answers `share`."""
    if share <= 0.5:
        return max(1, int((1 - share) / share + _ROUNDING)), 1
    return 1, max(1, int(share / (1 - share) + _ROUNDING))


def matched(champion: Floats, challenger: Floats, share: float) -> Floats:
    """Challenger minus champion, pair by pair, of two arms' values in the order they came; what is left over waits."""
    theirs, ours = per_champion_rows(share)
    count = min(len(champion) // theirs, len(challenger) // ours)
    return _means(challenger, ours, count) - _means(champion, theirs, count)


def days_of_pairs(champion: Days, challenger: Days, share: float) -> Days:
    """For each pair that `matched` makes, the day of the one row that the smaller arm has in it."""
    theirs, ours = per_champion_rows(share)
    count = min(len(champion) // theirs, len(challenger) // ours)
    return (challenger if ours == 1 else champion)[:count]


def _means(values: Floats, size: int, count: int) -> Floats:
    means: Floats = values[: size * count].reshape(count, size).mean(axis=1)
    return means


def same_rows(champion: pd.DataFrame, challenger: pd.DataFrame) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Positions in each frame of the rows that both answered, in the order of the challenger's."""
    keys = ["request_id", "row"]
    theirs = champion[keys].reset_index(drop=True).assign(theirs=np.arange(len(champion)))
    ours = challenger[keys].reset_index(drop=True).assign(ours=np.arange(len(challenger)))
    both = ours.drop_duplicates(keys).merge(theirs.drop_duplicates(keys), on=keys)
    return both["theirs"].to_numpy(np.intp), both["ours"].to_numpy(np.intp)
