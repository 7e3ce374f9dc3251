"""A model that was fitted again beside its twin, which was judged: is it still that model, with more to go by?"""

from collections.abc import Iterator

import numpy as np

from configs.case import Problem
from configs.params import GateParams
from tasks.evaluation.comparison import compare
from tasks.evaluation.contender import Contender
from tasks.evaluation.fresh import FreshRows
from tasks.evaluation.gate import budgets, gain, usable
from tasks.evaluation.predictions import Predictions, digest, unusable
from tasks.records import Candidate, Likeness, Reason

_RECIPE = ("contract_version", "estimator", "settings", "calibration", "seed", "features", "classes")
"""What two fits of one recipe have in common, as their records name it."""


def liken(gate: GateParams, rows: FreshRows, refitted: Contender, ours: Predictions, theirs: Predictions) -> Likeness:
    """Measure a model that was fitted again by its answers and its twin's to the rows that judged the twin."""
    problem = refitted.problem
    alike = ours.classes == theirs.classes
    return Likeness(
        rows=len(rows),
        unusable_predictions=unusable(problem, ours.answers),
        difference=compare(problem, gate, rows, ours, theirs).differences.get(gate.metric) if alike else None,
        change=_change(problem, rows.labels, ours, theirs) if alike else None,
        latency_ms=round(refitted.latency_ms(), 3),
        model_mb=round(refitted.megabytes, 3),
        faithful=refitted.answers_as_trained(),
        predictions_sha256=digest(ours.answers),
    )


def like_its_twin(gate: GateParams, refitted: Candidate, twin: Candidate, likeness: Likeness) -> Iterator[Reason]:
    """Every rule about a model that was fitted again; where one fails, the twin is registered.

    It has seen the rows, so nothing here says that it is good. The rules find a fit that went wrong.
    """
    yield _recipe(refitted, twin)
    yield from usable(likeness.rows, likeness.unusable_predictions, faithful=likeness.faithful)
    yield _no_worse(gate, likeness)
    yield _change_within(gate, likeness)
    yield from budgets(gate, likeness.latency_ms, likeness.model_mb)


def _change(problem: Problem, labels: np.ndarray, ours: Predictions, theirs: Predictions) -> float | None:
    truth = labels.astype(np.float64) if problem is not Problem.multiclass else _one_hot(labels, theirs)
    erred = float(np.abs(theirs.answers - truth).mean())
    moved = float(np.abs(ours.answers - theirs.answers).mean())
    change = moved / erred if erred else float(moved > 0)
    return change if np.isfinite(change) else None


def _one_hot(labels: np.ndarray, predictions: Predictions) -> np.ndarray:
    found: np.ndarray = labels[:, None].astype(str) == np.array([str(label) for label in predictions.classes])
    return found.astype(np.float64)


def _recipe(refitted: Candidate, twin: Candidate) -> Reason:
    differs = [name for name in _RECIPE if getattr(refitted, name) != getattr(twin, name)]
    text = f"differs from the model that was judged in {', '.join(differs)}" if differs else "the same recipe"
    return Reason(rule="recipe", passed=not differs, text=text)


def _no_worse(gate: GateParams, likeness: Likeness) -> Reason:
    if likeness.difference is None:
        return Reason(rule="no worse", passed=False, text=f"{gate.metric} of the two cannot both be computed")
    gained = gain(gate.metric, likeness.difference)
    return Reason(
        rule="no worse",
        passed=gained.high >= 0,
        text=f"{gate.metric} gains {gained} on the rows it has now learned from, and must not be shown to lose",
    )


def _change_within(gate: GateParams, likeness: Likeness) -> Reason:
    if likeness.change is None:
        return Reason(rule="change", passed=False, text="the predictions of the two cannot be compared")
    moved = f"predictions moved by {likeness.change:.3g} of their distance to the labels"
    return Reason(
        rule="change",
        passed=likeness.change <= gate.refit_change,
        text=f"{moved}, at most {gate.refit_change:g} wanted",
    )
