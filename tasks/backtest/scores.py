"""How good the answers of a week were, when one model or several answered it one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from scipy import stats

from configs.case import Problem
from configs.rollout import Costs
from tasks.backtest.fits import Fits, Model
from tasks.backtest.weeks import Week
from tasks.evaluation.metrics import estimates
from tasks.evaluation.predictions import Floats, Predictions
from tasks.evaluation.ranking import rank_auc
from tasks.monitoring.estimate import HEADLINE

SHOWN = {
    Problem.binary: ("auc", "brier"),
    Problem.multiclass: ("accuracy", "brier"),
    Problem.regression: ("mae", "rmse"),
}
"""The metric that is judged, and the one told beside it."""


@dataclass(frozen=True, order=True)
class Turn:
    """From a moment on, a model answers."""

    since: datetime
    model: Model


@dataclass(frozen=True)
class Answered:
    """The labelled rows of a week: what came true, and what was answered."""

    labels: np.ndarray
    answers: Floats


class Scores:
    """Figures of weeks, each computed once for the same turns."""

    def __init__(self, fits: Fits, costs: Costs | None) -> None:
        self.problem = fits.history.case.problem
        self.metric = HEADLINE[self.problem]
        self._fits, self._costs = fits, costs or Costs()
        self._headlines: dict[tuple[str, tuple[Turn, ...]], float | None] = {}

    def headline(self, week: Week, turns: Sequence[Turn]) -> float | None:
        """The metric that is judged; None where it is not defined on these rows."""
        own = within(week, turns)
        key = week.name, own
        if key not in self._headlines:
            self._headlines[key] = self._headline(self.answered(week, own))
        return self._headlines[key]

    def metrics(self, week: Week, turns: Sequence[Turn]) -> dict[str, float]:
        """The metrics that are shown, as far as they are defined."""
        told = self.answered(week, turns)
        found = estimates(self.problem, told.labels, Predictions(told.answers, self._fits.classes))
        return {name: found[name].value for name in SHOWN[self.problem] if name in found}

    def errors(self, week: Week, turns: Sequence[Turn]) -> float:
        """What the answers cost by the case's cost matrix; else wrong answers, or the sum of absolute errors."""
        told = self.answered(week, turns)
        if self.problem is Problem.regression:
            return float(np.abs(told.labels.astype(np.float64) - told.answers).sum())
        if self.problem is Problem.multiclass:
            return float(len(told.labels) - self._right(told).sum())
        costs, acts, true = self._costs, told.answers >= self._costs.threshold, told.labels == 1
        each = np.where(
            acts,
            np.where(true, costs.true_positive, costs.false_positive),
            np.where(true, costs.false_negative, costs.true_negative),
        )
        return float(each.sum())

    def answered(self, week: Week, turns: Sequence[Turn]) -> Answered:
        """The rows that have a label, each answered by the model whose turn it was."""
        own = within(week, turns)
        labels, answers = [], []
        for number in range(week.first, week.stop):
            rows = self._fits.history.rows(number)
            told = self._fits.answers(own[0].model, number)
            for turn in own[1:]:
                later = (rows.event_time >= turn.since).to_numpy()
                if later.any():
                    told = np.where(
                        later[(...,) + (None,) * (told.ndim - 1)], self._fits.answers(turn.model, number), told
                    )
            labels.append(rows.label.to_numpy()[rows.known])
            answers.append(told[rows.known])
        return Answered(np.concatenate(labels), np.concatenate(answers))

    def _headline(self, told: Answered) -> float | None:
        if not len(told.labels):
            return None
        if self.problem is Problem.binary:
            return rank_auc(told.labels == 1, stats.rankdata(told.answers))
        if self.problem is Problem.multiclass:
            return float(self._right(told).mean())
        return float(np.abs(told.labels.astype(np.float64) - told.answers).mean())

    def _right(self, told: Answered) -> np.ndarray:
        names = np.array(self._fits.classes, dtype=object)
        right: np.ndarray = names[told.answers.argmax(axis=1)] == told.labels.astype(str)
        return right


def within(week: Week, turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """The turns that have a part of the week, the first of them from its start."""
    before = [turn for turn in turns if turn.since <= week.start]
    inside = [turn for turn in turns if week.start < turn.since < week.end]
    return (Turn(week.start, before[-1].model), *inside)
