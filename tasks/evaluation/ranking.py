"""How well numbers rank rows: the same formula for a model's scores and for a feature that may know the target."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def rank_auc(positive: NDArray[np.bool_], ranks: NDArray[np.floating[Any]]) -> float | None:
    """Chance that a positive row outranks a negative one (Mann and Whitney 1947, Ann. Math. Statist. 18:50).

    `ranks` are those of all rows, with their mean for ties, which so count half. None unless both kinds are there.
    """
    positives = int(positive.sum())
    pairs = positives * (len(positive) - positives)
    if not pairs:
        return None
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / pairs)
