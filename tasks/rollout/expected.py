"""What the two models answered to the rows that judged: what a rollout may expect of them; pure."""

import numpy as np
import pandas as pd

from configs.case import Problem
from configs.rollout import Costs
from tasks.evaluation.intervals import blocks_of
from tasks.evaluation.predictions import Floats
from tasks.records import Record
from tasks.rollout.days import days_of, straying
from tasks.rollout.losses import loss_of, row_costs, row_losses

_FEWEST_HOURS, _FEWEST_DAYS = 24, 7
"""Of more than one row each, before their means say how they differ."""


class Expected(Record):
    """On the rows on which challenger and champion were compared."""

    rows: int
    disagreement: float
    """Mean distance of the two predictions."""
    shift: float
    """Mean of the challenger's prediction minus the champion's."""
    scale: float
    """What a regression's differences are measured in: eight times the champion's mean absolute error; else 1."""
    champion_loss: float
    deviation: float
    """Standard deviation of the champion's loss from row to row."""
    champion_cost: float | None = None
    disagreement_wavering: float = 0.0
    """By how much the mean distance of an hour usually differs from `disagreement`: twice its standard deviation."""
    wavering: float = 0.0
    """By how much the mean shift of an hour usually differs from `shift`: twice its standard deviation."""
    loss_between_days: float = 0.0
    """Standard deviation of what a day adds to the mean difference of the losses."""
    cost_between_days: float = 0.0


def expected(problem: Problem, table: pd.DataFrame, costs: Costs | None) -> Expected:
    """From `predictions.parquet` of an evaluation, or of a refit: the columns `label`, `candidate…` and `champion…`."""
    known = table[table["label"].notna()]
    champion, challenger = (as_answers(problem, known, name) for name in ("champion", "candidate"))
    scale = 1.0
    if problem is Problem.regression:
        errors = np.abs(champion["prediction"].to_numpy(np.float64) - known["label"].to_numpy(np.float64))
        scale = 8 * max(float(errors.mean()), 1e-12)
    loss = loss_of(problem, scale / 8)
    losses = row_losses(problem, loss, champion, known["label"])
    harm = row_losses(problem, loss, challenger, known["label"]) - losses
    # Rows of one hour resemble each other, in their weather or their users, and so do those of a day.
    hours = blocks_of(known["event_time"], "hour")
    days = days_of(known["event_time"])
    spent, saved = (_spent(costs, answers, known["label"]) for answers in (champion, challenger))
    apart = distances(problem, champion, challenger, scale)
    moved = shifts(problem, champion, challenger, scale)
    return Expected(
        rows=len(known),
        disagreement=float(apart.mean()),
        shift=float(moved.mean()),
        scale=scale,
        champion_loss=float(losses.mean()),
        deviation=float(losses.std()),
        champion_cost=float(spent.mean()) if costs else None,
        disagreement_wavering=2 * straying(apart, hours, _FEWEST_HOURS),
        wavering=2 * straying(moved, hours, _FEWEST_HOURS),
        loss_between_days=straying(harm, days, _FEWEST_DAYS),
        cost_between_days=straying(saved - spent, days, _FEWEST_DAYS) if costs else 0.0,
    )


def _spent(costs: Costs | None, answers: pd.DataFrame, labels: pd.Series) -> Floats:
    if costs is None:
        return np.empty(0)
    return row_costs(costs, answers["probability"].to_numpy(np.float64), labels.to_numpy(np.float64))


def distances(problem: Problem, champion: pd.DataFrame, challenger: pd.DataFrame, scale: float) -> Floats:
    """How far two answers to the same row are apart, 0 to 1; of two classes: whether they differ."""
    if problem is Problem.multiclass:
        return np.asarray(champion["prediction"].to_numpy() != challenger["prediction"].to_numpy(), dtype=np.float64)
    apart: Floats = np.abs(shifts(problem, champion, challenger, scale))
    return apart


def shifts(problem: Problem, champion: pd.DataFrame, challenger: pd.DataFrame, scale: float) -> Floats:
    """Challenger minus champion, -1 to 1."""
    ours, theirs = levels(problem, challenger, scale), levels(problem, champion, scale)
    return ours - theirs


def levels(problem: Problem, answers: pd.DataFrame, scale: float) -> Floats:
    """Each prediction as one number: a probability, or a regression's number in `scale`, cut to a width of 1."""
    if problem.gives_probabilities:
        return answers["probability"].to_numpy(np.float64)
    numbers = answers["prediction"].to_numpy(np.float64)
    cut: Floats = np.clip(numbers / (16 * scale), -0.5, 0.5)
    return cut + 0.5


def as_answers(problem: Problem, table: pd.DataFrame, name: str) -> pd.DataFrame:
    """One model's answers with the prediction log's columns."""
    if problem is Problem.binary:
        return pd.DataFrame({"probability": table[name].to_numpy(np.float64)})
    if problem is Problem.regression:
        return pd.DataFrame({"prediction": table[name].to_numpy(np.float64)})
    columns = [column for column in table.columns if column.startswith(f"{name}_")]
    classes = [column.removeprefix(f"{name}_") for column in columns]
    chances = table[columns].to_numpy(np.float64)
    return pd.DataFrame(
        {
            "prediction": [classes[best] for best in chances.argmax(axis=1)],
            "probability": chances.max(axis=1),
            "probabilities": list(chances),
            "classes": [classes] * len(table),
        }
    )
