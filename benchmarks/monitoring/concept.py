"""Concept drift: how often it is cried for nothing, how many labels it takes, and whether the slice is named.

`uv run python -m benchmarks.monitoring.concept` prints a table; about ten minutes of one core (`--quick`: one).

The world: a calibrated binary score with an AUC of 0.844, a reference of 20,000 rows in 20 batches. The inputs, and so
the scores, never change; what happens given the score does, so an estimate made from scores alone (CBPE) sees nothing:
its figures before and after the change are in the table. Labels come in lots of 50, and one looks after each lot. The
life without change is 10,000 labels. The slices: 10,000 labelled rows with five categories (2 to 100 values) and six
numbers, about 195 slices; a flip on one percent of the rows.
"""

import argparse
import sys
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit, logit

from configs.case import Problem
from tasks.evaluation.metrics import auc
from tasks.outcomes.calibration import Calibration
from tasks.outcomes.concept import Events, settle
from tasks.outcomes.promise import POSITIVE, Promise, Told
from tasks.outcomes.slices import Labelled, scan

SEED = 20260402
RATE = 0.05
LOT = 50
LIFE = 10_000
REFERENCE = 20_000
MIDDLE, SPREAD = -1.0, 1.775
"""Of the scores' log odds: an AUC of 0.844."""
WORSE = 0.27
"""The log odds that remain of each, where the AUC falls to 0.630."""
LEVELS = (2, 5, 10, 30, 100)

Change = Callable[[np.ndarray], np.ndarray]


def scores(draw: np.random.Generator, rows: int) -> np.ndarray:
    """Scores as they always are."""
    return expit(MIDDLE + SPREAD * draw.normal(size=rows))


def happened(draw: np.random.Generator, chances: np.ndarray) -> np.ndarray:
    """What comes of chances."""
    return (draw.random(len(chances)) < chances).astype(float)


def weaker(odds: np.ndarray) -> np.ndarray:
    """The scores rank worse; as many events as before."""
    return -0.69 + WORSE * (odds - MIDDLE)


def promised(draw: np.random.Generator) -> Calibration:
    """What a reference says."""
    told = scores(draw, REFERENCE)
    rows = Told(told, pd.Series(happened(draw, told)))
    return Promise.learn(Problem.binary, rows, np.arange(REFERENCE) * 20 // REFERENCE, RATE).calibrations[POSITIVE]


def first_alarm(
    draw: np.random.Generator, expected: Calibration, before: int, after: int, change: Change
) -> int | None:
    """How many labels were in when the alarm came; None if it did not."""
    told = scores(draw, before + after)
    chances = np.where(np.arange(before + after) < before, told, expit(change(logit(told))))
    events = Events(POSITIVE, told, happened(draw, chances), expected)
    lots = (before + after) // LOT
    ratios, changes = events.log_ratios(np.arange(before + after) // LOT, lots), list(events.changes())
    for lot in range(1, lots + 1):
        if settle(ratios[:lot], changes, lot * LOT, RATE).alarm:
            return lot * LOT
    return None


def sliced(draw: np.random.Generator, rows: int, *, turned: bool) -> Labelled:
    """Rows of five categories and six numbers; in one percent of them what happens may be turned around."""
    frame = pd.DataFrame(
        {f"c{index}": draw.integers(levels, size=rows).astype(str) for index, levels in enumerate(LEVELS)}
        | {f"n{index}": draw.normal(size=rows) for index in range(6)}
    )
    told = expit(-1 + 1.2 * frame["n0"].to_numpy() + frame["n1"].to_numpy() + 0.8 * draw.normal(size=rows))
    hits = happened(draw, told)
    there = (frame["c4"] == "7").to_numpy()
    if turned:
        hits[there] = 1 - hits[there]
    return Labelled(frame, told, hits, np.arange(rows) * 13 // rows, np.arange(rows) * 91 // rows)


def share(hits: int, runs: int) -> str:
    """A share with its 95 % interval (Clopper and Pearson 1934)."""
    found = stats.binomtest(hits, runs).proportion_ci()
    return f"{hits} of {runs} ({hits / runs:.1%}; {found.low:.1%} to {found.high:.1%})"


def say(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def progress(what: str, run: int, runs: int) -> None:
    if (run + 1) % 20 == 0:
        print(f"{what}: {run + 1} of {runs}", file=sys.stderr, flush=True)


def blind() -> None:
    """What an estimate from scores alone sees of it, on many rows."""
    draw = np.random.default_rng(SEED)
    told = scores(draw, 400_000)
    before, after = happened(draw, told), happened(draw, expit(weaker(logit(told))))
    was, now = (auc(labels == 1, told) for labels in (before, after))
    assert was is not None
    assert now is not None
    # What the scores promise of themselves: the AUC of labels drawn from them, which asks for no label.
    promise = auc(happened(draw, told) == 1, told)
    assert promise is not None
    say("true AUC before and after", f"{was.value:.3f}, {now.value:.3f}", "0.844, 0.630")
    say(
        "AUC estimated from the scores, before and after",
        f"{promise.value:.3f}, {promise.value:.3f}",
        "blind by construction",
    )
    say("share of events before and after", f"{before.mean():.3f}, {after.mean():.3f}", "-")


def over_a_life(runs: int) -> None:
    """False alarms, and labels needed."""
    cried = 0
    for run in range(runs):
        draw = np.random.default_rng([SEED, 1, run])
        cried += first_alarm(draw, promised(draw), LIFE, 0, weaker) is not None
        progress("no change", run, runs)
    say(f"no change: any alarm in {LIFE:,} labels", share(cried, runs), "<= 5 %")
    for name, change in (
        ("AUC 0.844 -> 0.630", weaker),
        ("the scores say nothing", lambda odds: np.full(len(odds), -0.66)),
        ("log odds + 1", lambda odds: odds + 1),
        ("log odds - 1", lambda odds: odds - 1),
    ):
        for before in (500, 5000):
            needed, early = [], 0
            for run in range(runs):
                draw = np.random.default_rng([SEED, 2, before, run])
                at = first_alarm(draw, promised(draw), before, 2000, change)
                early += at is not None and at <= before
                needed.append(np.inf if at is None else max(at - before, 0))
                progress(f"{name}, after {before}", run, runs)
            middle, late = np.quantile(needed, [0.5, 0.95], method="inverted_cdf")
            within = share(int((np.array(needed) <= 500).sum()), runs)
            say(
                f"{name}, after {before:,} labels",
                f"median {middle:.0f} labels, 95 % within {late:.0f}; within 500: {within}; before: {early}",
                "<= 500 labels" if change is weaker else "-",
            )


def over_slices(runs: int) -> None:
    """One scan: false alarms, and whether one percent that turned around is found and named."""
    for rows_of_reference in (0, REFERENCE):
        cried = found = named = 0
        for run in range(runs):
            draw = np.random.default_rng([SEED, 3, rows_of_reference, run])
            reference = sliced(draw, rows_of_reference, turned=False) if rows_of_reference else None
            cried += any(one.refuted for one in scan(sliced(draw, 10_000, turned=False), reference, RATE))
            turned = [one.name for one in scan(sliced(draw, 10_000, turned=True), reference, RATE) if one.refuted]
            found += bool(turned)
            named += turned[:1] == ["c4=7"]
            progress("slices", run, runs)
        by = f"reference of {rows_of_reference:,} rows" if rows_of_reference else "no reference of slices"
        say(f"10,000 labels, {by}, no change: any slice alarms", share(cried, runs), "<= 5 %")
        say(f"10,000 labels, {by}, a slice of 1 % flips: found", share(found, runs), ">= 95 %")
        say("the same: named first", share(named, runs), ">= 95 %")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="20 runs")
    asked = parser.parse_args()
    runs = 20 if asked.quick else asked.runs
    say(f"concept drift, {runs} runs", "found", "bar")
    say("---", "---", "---")
    blind()
    over_a_life(runs)
    over_slices(runs)


if __name__ == "__main__":
    main()
