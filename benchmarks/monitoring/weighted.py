"""What weighting the reference for a window's inputs does to the estimated AUC, where it should help and where not.

`python -m benchmarks.monitoring.weighted [--quick]`: windows of 5,000 rows whose second input moved, in a world in
which that moves the calibration and in one in which it does not; then the data sets that ship with NannyML, which
`--quick` leaves out. A minute; the data sets take NannyML's installation once, and two minutes.
"""

import argparse
from collections.abc import Iterator

import numpy as np
import pandas as pd

from benchmarks.monitoring.estimated import CHUNK, SETS, answers, theirs
from configs.case import Problem
from tasks.evaluation.predictions import Floats
from tasks.monitoring.estimate import Answers, Calibration, expected
from tasks.monitoring.estimator import Known, weights_for

REFERENCE, REPEATS, SEED = 20_000, 6, 5
SHIFTS = (0.0, 0.25, 0.5, 1.0, 1.5)

Window = tuple[pd.DataFrame, Answers, Floats]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="without the data sets of NannyML")
    quick = parser.parse_args().quick
    print("| rows | windows | weighted | mean error of AUC, plain | as used |\n|---|---|---|---|---|")
    for turns in (True, False):
        for shift in SHIFTS:
            draw = np.random.default_rng([SEED, turns, round(100 * shift)])
            windows = [world(CHUNK, shift, draw, turns=turns) for _ in range(REPEATS)]
            about = "the calibration moves" if turns else "it does not move"
            print(line(f"{about}, shift of {shift:g} sd", world(REFERENCE, 0, draw, turns=turns), windows))
    if not quick:
        for name in SETS:
            reference, chunks = shipped(name)
            print(line(name, reference, chunks))


def world(rows: int, shift: float, draw: np.random.Generator, *, turns: bool) -> Window:
    """Inputs, the answers of a model that knows of no turn, and labels; with `turns` one input turns the other."""
    one, two = draw.normal(size=rows), draw.normal(size=rows) + shift
    beyond = (two > 1) & turns
    odds = 0.8 * one + 0.4 * two - 0.3
    truth = np.where(beyond, 0.5 - 0.36 * one, odds)
    labels = (draw.random(rows) < 1 / (1 + np.exp(-truth))).astype(float)
    return pd.DataFrame({"one": one, "two": two}), Answers(Problem.binary, 1 / (1 + np.exp(-odds))), labels


def shipped(name: str) -> tuple[Window, list[Window]]:
    """The reference of a data set, and its chunks."""
    folder, columns = theirs() / name.replace(" ", "-"), SETS[name]
    reference, analysis, truth = (pd.read_parquet(folder / f"{n}.parquet") for n in ("reference", "analysis", "truth"))
    left_out = {columns.label, columns.probability, columns.prediction, "timestamp", "id", "identifier", "year"}
    features = [each for each in reference if each in analysis and each not in left_out]
    labels, whole = truth[columns.label].to_numpy(dtype=float), answers(analysis, columns)
    chunks = np.arange(len(analysis)) // CHUNK
    windows = [
        (analysis.loc[own, features].reset_index(drop=True), whole.at(own), labels[own])
        for own in (chunks == chunk for chunk in range(chunks.max() + 1))
    ]
    return (reference[features], answers(reference, columns), reference[columns.label].to_numpy(dtype=float)), windows


def line(name: str, reference: Window, windows: list[Window]) -> str:
    found = np.array(list(errors(reference, windows)))
    return f"| {name} | {len(found)} | {found[:, 2].sum():.0f} | {found[:, 0].mean():.5f} | {found[:, 1].mean():.5f} |"


def errors(reference: Window, windows: list[Window]) -> Iterator[tuple[float, float, float]]:
    """For each window the error of plain and of used estimates, and whether the reference was weighted."""
    inputs, learnt, labels = reference
    rows = np.random.default_rng(SEED).permutation(len(labels))[:REFERENCE]
    known = Known(learnt, labels, np.zeros(len(labels), np.intp), inputs.iloc[rows].reset_index(drop=True), rows)
    plain = Calibration.learn(learnt, labels)
    for frame, given, true in windows:
        weights = weights_for(known, frame, SEED)
        used = plain if weights is None else Calibration.learn(learnt.at(rows), labels[rows], weights.of_rows)
        truth = expected(given, true)["auc"].value
        off = [abs(expected(given, one(given))["auc"].value - truth) for one in (plain, used)]
        yield off[0], off[1], float(weights is not None)


if __name__ == "__main__":
    main()
