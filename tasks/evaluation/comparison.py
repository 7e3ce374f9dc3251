"""Candidate and champion on the same rows: every metric, every difference, every group."""

from dataclasses import dataclass, field

from configs.case import Problem
from configs.params import GateParams
from tasks.evaluation.fresh import FreshRows
from tasks.evaluation.intervals import Blocks, blocks_of, count_blocks, interval
from tasks.evaluation.metrics import Estimate, estimates, row_losses
from tasks.evaluation.predictions import Predictions
from tasks.evaluation.slices import compare_slices
from tasks.records import Interval, SliceComparison


@dataclass(frozen=True)
class Comparison:
    """What the rows say about the candidate, alone and against the champion."""

    blocks: int
    metrics: dict[str, Interval]
    champion_metrics: dict[str, Interval] = field(default_factory=dict)
    differences: dict[str, Interval] = field(default_factory=dict)
    slices: tuple[SliceComparison, ...] = ()


def compare(
    problem: Problem, gate: GateParams, rows: FreshRows, candidate: Predictions, champion: Predictions | None
) -> Comparison:
    """Judge both by their answers to the same `rows`; what is not defined on these rows is left out."""
    blocks = blocks_of(rows.event_time, gate.block)
    ours = estimates(problem, rows.labels, candidate)
    theirs = estimates(problem, rows.labels, champion) if champion else {}
    return Comparison(
        blocks=count_blocks(blocks),
        metrics=_intervals(ours, blocks, gate.confidence),
        champion_metrics=_intervals(theirs, blocks, gate.confidence),
        differences=_intervals(_differences(ours, theirs), blocks, gate.confidence),
        slices=_slices(problem, gate, rows, candidate, champion if theirs else None) if ours else (),
    )


def _slices(
    problem: Problem, gate: GateParams, rows: FreshRows, candidate: Predictions, champion: Predictions | None
) -> tuple[SliceComparison, ...]:
    ours = row_losses(problem, rows.labels, candidate)
    theirs = row_losses(problem, rows.labels, champion) if champion else None
    return compare_slices(rows, ours, theirs, gate)


def _intervals(found: dict[str, Estimate], blocks: Blocks, confidence: float) -> dict[str, Interval]:
    return {name: _interval(estimate, blocks, confidence) for name, estimate in found.items()}


def _interval(estimate: Estimate, blocks: Blocks, confidence: float) -> Interval:
    if estimate.influence is None:
        return Interval(value=estimate.value, low=estimate.value, high=estimate.value, confidence=confidence)
    return interval(estimate.value, estimate.influence, blocks, confidence)


def _differences(ours: dict[str, Estimate], theirs: dict[str, Estimate]) -> dict[str, Estimate]:
    """Of the metrics with a known interval; pairing rows removes what is hard about them for both models."""
    return {
        name: Estimate(our.value - theirs[name].value, our.influence - their_influence)
        for name, our in ours.items()
        if name in theirs and our.influence is not None and (their_influence := theirs[name].influence) is not None
    }
