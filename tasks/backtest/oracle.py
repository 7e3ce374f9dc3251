"""The ceiling: of all ways to retrain, the one that turns out best, found by going backwards through the year.

In each week the oracle may train on all that is labelled, or let the champion go on; among equals it trains less. It
knows what is to come, so nobody can follow it; it says how much there was to win by retraining at the right weeks.
"""

from collections.abc import Callable, Sequence

Gain = Callable[[int, int, int], float]
"""(week, who answers at its start, who answers from its decision on) to how good the week is; more is better."""

_LESS = 1e-9
"""What a training has to gain at the least."""


def best_path(weeks: int, gain: Gain) -> list[int]:
    """Whose turn it is after the decision of each week: model 0 came first, model k + 1 may be trained in week k."""
    ahead = [0.0] * (weeks + 1)
    chosen: list[list[int]] = []
    for week in reversed(range(weeks)):
        values, picks = [], []
        for champion in range(week + 1):
            kept = gain(week, champion, champion) + ahead[champion]
            trained = gain(week, champion, week + 1) + ahead[week + 1] - _LESS
            picks.append(week + 1 if trained > kept else champion)
            values.append(max(trained, kept))
        ahead = values
        chosen.append(picks)
    return _forwards(list(reversed(chosen)))


def _forwards(chosen: Sequence[Sequence[int]]) -> list[int]:
    path, champion = [], 0
    for picks in chosen:
        champion = picks[champion]
        path.append(champion)
    return path
