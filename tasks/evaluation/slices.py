"""Groups of rows that must not lose while the whole gains.

For each group the claim "the candidate's mean loss is at most the champion's times (1 + tolerance)" is tested, one
sided, with block-robust errors. Holm's procedure (1979, Scandinavian Journal of Statistics 6:65) keeps the chance
that any harmless candidate is refused below 1 - confidence over all groups together.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from configs.params import GateParams, SliceParams
from tasks.evaluation.fresh import FreshRows
from tasks.evaluation.intervals import Blocks, blocks_of, count_blocks, interval, p_above_zero
from tasks.evaluation.predictions import Floats
from tasks.records import SliceComparison

_FEWEST_BLOCKS = 5
"""A group seen in fewer blocks is judged by the hour; seen in fewer hours than this, it is not judged."""

_MOST_VALUES = 12
"""A numeric column with more distinct values than this is cut at its quartiles."""


@dataclass(frozen=True)
class Losses:
    """Each row's loss, and what its rows have in common."""

    candidate: Floats
    champion: Floats | None
    blocks: Blocks
    hours: Blocks

    def at(self, rows: NDArray[np.intp]) -> "Losses":
        champion = None if self.champion is None else self.champion[rows]
        return Losses(self.candidate[rows], champion, self.blocks[rows], self.hours[rows])


def compare_slices(
    rows: FreshRows, candidate: Floats, champion: Floats | None, gate: GateParams
) -> tuple[SliceComparison, ...]:
    """Losses of candidate and champion in every group; `refused` where the candidate is shown to lose too much."""
    losses = Losses(candidate, champion, blocks_of(rows.event_time, gate.block), blocks_of(rows.event_time, "hour"))
    found = [
        _compare(column, value, losses.at(members), gate)
        for column in gate.slices.columns
        for value, members in groups(rows.frame[column], gate.slices)
    ]
    return _refuse(found, 1 - gate.confidence)


def groups(column: pd.Series, slices: SliceParams) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """The name and row positions of each group that is large enough; a missing value is a group of its own."""
    codes, values = pd.factorize(_cut(column), use_na_sentinel=False, sort=False)
    sizes = np.bincount(codes)
    named = sorted((("missing" if pd.isna(value) else str(value)), code) for code, value in enumerate(values))
    for name, code in named:
        if sizes[code] >= slices.min_share * len(column):
            yield name, np.flatnonzero(codes == code)


def holm(p_values: Sequence[float], alpha: float) -> list[bool]:
    """Which claims are refuted when the chance of refuting any true one is to stay below `alpha`."""
    refuted = [False] * len(p_values)
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[index] > alpha / (len(p_values) - rank):
            break
        refuted[index] = True
    return refuted


def _cut(column: pd.Series) -> pd.Series:
    if not pd.api.types.is_numeric_dtype(column) or column.nunique() <= _MOST_VALUES:
        return column
    return pd.qcut(column, 4, duplicates="drop").astype(object)


def _compare(column: str, value: str, losses: Losses, gate: GateParams) -> SliceComparison:
    found = SliceComparison(
        column=column,
        value=value,
        rows=len(losses.candidate),
        candidate_loss=float(losses.candidate.mean()),
        champion_loss=None if losses.champion is None else float(losses.champion.mean()),
    )
    blocks = _enough_blocks(losses)
    if losses.champion is None or blocks is None:
        return found
    worse, beyond = (losses.candidate - allowed * losses.champion for allowed in (1, 1 + gate.slices.tolerance))
    return found.model_copy(
        update={
            "worse_by": interval(float(worse.mean()), worse - worse.mean(), blocks, gate.confidence),
            "p_value": p_above_zero(float(beyond.mean()), beyond - beyond.mean(), blocks),
        }
    )


def _enough_blocks(losses: Losses) -> Blocks | None:
    """Hours are less independent than days: a group judged by them is refused sooner, never later."""
    return next((blocks for blocks in (losses.blocks, losses.hours) if count_blocks(blocks) >= _FEWEST_BLOCKS), None)


def _refuse(found: Sequence[SliceComparison], alpha: float) -> tuple[SliceComparison, ...]:
    judged = [index for index, group in enumerate(found) if group.p_value is not None]
    refuted = dict(zip(judged, holm([found[index].p_value or 0.0 for index in judged], alpha), strict=True))
    return tuple(group.model_copy(update={"refused": refuted.get(index, False)}) for index, group in enumerate(found))
