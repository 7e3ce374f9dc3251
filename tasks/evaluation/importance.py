"""Which features the model leans on."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

_MOST_ROWS = 2000

Quality = Callable[[pd.DataFrame, np.ndarray], float | None]
"""Larger is better; None where it is not defined on the rows."""


def permutation_importance(
    quality: Quality, frame: pd.DataFrame, labels: np.ndarray, features: Sequence[str], draw: np.random.Generator
) -> dict[str, float]:
    """How much `quality` falls when one feature is shuffled (Breiman 2001), largest first; empty if undefined.

    Measured on at most 2,000 rows: enough to rank features, not to tell close ones apart.
    """
    chosen = np.sort(draw.choice(len(frame), size=min(_MOST_ROWS, len(frame)), replace=False))
    sample, known = frame.iloc[chosen].reset_index(drop=True), labels[chosen]
    whole = quality(sample, known)
    shuffled = {name: quality(_shuffled(sample, name, draw), known) for name in features}
    lost = {name: whole - left for name, left in shuffled.items() if whole is not None and left is not None}
    return dict(sorted(lost.items(), key=lambda item: -item[1]))


def _shuffled(frame: pd.DataFrame, name: str, draw: np.random.Generator) -> pd.DataFrame:
    order = draw.permutation(len(frame))
    return frame.assign(**{name: frame[name].take(order).reset_index(drop=True)})
