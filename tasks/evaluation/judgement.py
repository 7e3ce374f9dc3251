"""Everything that is found out about a candidate, and the gate's answer to it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from configs.case import Case
from configs.params import Params
from tasks.evaluation.comparison import Comparison, compare
from tasks.evaluation.contender import Contender
from tasks.evaluation.fresh import FreshRows
from tasks.evaluation.gate import Measured, decide
from tasks.evaluation.importance import permutation_importance
from tasks.evaluation.metrics import HIGHER_IS_BETTER, estimates
from tasks.evaluation.predictions import Predictions, digest, unusable
from tasks.records import Decision


@dataclass(frozen=True)
class Judgement:
    """The rows, both models' answers to them, what follows from these, and the decision."""

    rows: FreshRows
    candidate: Predictions
    champion: Predictions | None
    comparison: Comparison
    measured: Measured
    decision: Decision


def judge(case: Case, params: Params, rows: FreshRows, candidate: Contender, champion: Contender | None) -> Judgement:
    """Score both on all of `rows`, measure, and ask the gate; the same input gives the same answer but for latency."""
    ours = candidate.predict(rows.frame)
    theirs = champion.predict(rows.frame) if champion else None
    comparison = compare(case.problem, params.gate, rows, ours, theirs)
    measured = Measured(
        rows=len(rows),
        blocks=comparison.blocks,
        unusable_predictions=unusable(case.problem, ours.answers),
        metrics=comparison.metrics,
        champion_version=champion.version if champion else None,
        champion_lacks=champion.lacks(rows.frame) if champion else (),
        answers_alike=theirs is not None and digest(ours.answers) == digest(theirs.answers),
        differences=comparison.differences,
        slices=comparison.slices,
        importance=_importance(params, rows, candidate) if comparison.metrics else {},
        latency_ms=candidate.latency_ms(),
        model_mb=candidate.megabytes,
        faithful=candidate.answers_as_trained(),
        too_early=rows.too_early,
    )
    return Judgement(rows, ours, theirs, comparison, measured, decide(case, params, candidate.record, measured))


def _importance(params: Params, rows: FreshRows, candidate: Contender) -> dict[str, float]:
    metric = params.gate.metric
    sign = 1 if metric in HIGHER_IS_BETTER else -1

    def quality(frame: pd.DataFrame, labels: np.ndarray) -> float | None:
        found = estimates(candidate.problem, labels, candidate.predict(frame)).get(metric)
        return None if found is None else sign * found.value

    draw = np.random.default_rng(params.seed)
    return permutation_importance(quality, rows.frame, rows.labels, candidate.record.features, draw)
