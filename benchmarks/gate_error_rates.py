"""How often the gate is wrong: equal-quality and planted candidates on 24,000 rows of 28 days that differ.

`python benchmarks/gate_error_rates.py` prints a table; about two minutes on two cores.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.ensemble import HistGradientBoostingClassifier

from configs.case import Case, Problem
from configs.params import GateParams, Params
from tasks.evaluation.comparison import compare
from tasks.evaluation.fresh import FreshRows
from tasks.evaluation.gate import Measured, decide
from tasks.evaluation.metrics import auc
from tasks.evaluation.predictions import Predictions, unusable
from tasks.records import Candidate
from tests.evaluation.conftest import CASE as SHOP
from tests.evaluation.conftest import GATE as SHOPS_GATE
from tests.evaluation.conftest import PARAMS as SHOPS_PARAMS

SEED = 20260101
ROWS, DAYS = 24_000, 28
TRAIN_ROWS, TRAIN_DAYS = 12_000, 60
START = datetime(2024, 1, 1, tzinfo=UTC)
FEATURES = ("a", "b", "c", "rain", "wind", "heat", "region")
WEATHER = ("rain", "wind", "heat")
MOODS = ("mood1", "mood2", "mood3")
"""What a day is like beyond its weather; of no use, and no feature."""
REGIONS = 6

COLUMNS = {
    "id": {"type": "string", "role": "entity"},
    "at": {"type": "timestamp", "role": "event_time"},
    **{name: {"type": "number", "role": "feature"} for name in FEATURES},
    "y": {"type": "boolean", "role": "target"},
}
CASE = Case.model_validate(SHOP | {"name": "benchmark", "contract": {"version": 1, "columns": COLUMNS}})
GATE = SHOPS_GATE | {
    "limits": [{"metric": "auc", "at_least": 0.62}, {"metric": "ece", "at_most": 0.15}],
    "slices": {"columns": ["region"], "min_share": 0.03, "tolerance": 0.05},
    "max_latency_ms": 50,
}
PARAMS = Params.model_validate(SHOPS_PARAMS | {"gate": GATE})
RECORD = Candidate(
    case="benchmark",
    contract_version=1,
    estimator="hist_gradient_boosting",
    calibration="none",
    seed=1,
    features=FEATURES,
    train_start=START,
    train_end=START,
    batches=(),
)


def rows(draw: np.random.Generator, count: int, days: int) -> FreshRows:
    """Rows whose days differ by weather a model sees and by luck it does not."""
    day = np.sort(draw.integers(days, size=count))
    frame = pd.DataFrame(draw.normal(size=(count, 3)), columns=["a", "b", "c"])
    daily = draw.normal(size=(days, 6))[day]
    frame = frame.assign(**dict(zip(WEATHER + MOODS, daily.T, strict=True)), region=draw.integers(REGIONS, size=count))
    luck = 0.4 * draw.normal(size=days)[day]
    labels = (draw.random(count) < 1 / (1 + np.exp(-_logit(frame) - luck))).astype(float)
    return FreshRows(frame, labels, pd.Series(pd.Timestamp(START) + pd.to_timedelta(day, unit="D")))


def _logit(frame: pd.DataFrame) -> pd.Series:
    return 0.9 * frame["a"] + 0.5 * frame["b"] * frame["rain"] + 0.3 * frame["wind"] - 1.2


def simulated(draw: np.random.Generator, fresh: FreshRows, noise: float) -> Predictions:
    """A model that knows the truth but for errors of its own: per row, and in how it reads what a day is like.

    What it misreads has three equally important sides, none of them of any use; models differ only in the direction
    they lean to, so that two of the same noise are exactly equally good.
    """
    frame, mood = fresh.frame, fresh.frame[list(MOODS)].to_numpy()
    leaning, twist = (side / np.linalg.norm(side) for side in draw.normal(size=(2, 3)))
    wrong = 0.2 * mood @ leaning + 0.2 * (mood @ twist) * frame["c"] + noise * draw.normal(size=len(frame))
    return Predictions(1 / (1 + np.exp(-(_logit(frame) + wrong).to_numpy())))


def trained(draw: np.random.Generator, plant: str = "") -> Callable[[FreshRows], Predictions]:
    """A gradient boosting fitted on rows of its own, with a fault planted in it if asked."""
    own = rows(draw, TRAIN_ROWS, TRAIN_DAYS)
    labels = own.labels.copy()
    if plant == "shuffled labels":
        labels = draw.permutation(labels)
    model = HistGradientBoostingClassifier(
        max_iter=40,
        learning_rate=0.15,
        min_samples_leaf=60,
        early_stopping=False,
        random_state=int(draw.integers(2**31)),
    )
    model.fit(_inputs(own, plant), labels)
    return lambda fresh: Predictions(model.predict_proba(_inputs(fresh, plant))[:, 1])


def _inputs(own: FreshRows, plant: str) -> pd.DataFrame:
    inputs = own.frame[list(FEATURES)]
    return inputs.assign(c=own.labels) if plant == "leaked feature" else inputs


def ask(fresh: FreshRows, candidate: Predictions, champion: Predictions, plant: str = "", by_row: bool = False) -> Any:
    """The whole gate on one pair of models."""
    judged = fresh
    if by_row:  # Every row a block of its own: what an interval that ignores days would say.
        apart = pd.Series(pd.Timestamp(START) + pd.to_timedelta(np.arange(len(fresh)), unit="h"))
        judged = FreshRows(fresh.frame, fresh.labels, apart)
    gate = GateParams.model_validate(GATE | ({"block": "hour"} if by_row else {}))
    found = compare(Problem.binary, gate, judged, candidate, champion)
    measured = Measured(
        rows=len(fresh),
        blocks=found.blocks,
        unusable_predictions=unusable(Problem.binary, candidate.answers),
        metrics=found.metrics,
        champion_version="1",
        differences=found.differences,
        slices=found.slices,
        latency_ms=51 if plant == "slow" else 5,
        model_mb=1,
        faithful=True,
    )
    record = RECORD.model_copy(update={"features": FEATURES[:-1]}) if plant == "wrong schema" else RECORD
    return decide(CASE, PARAMS.model_copy(update={"gate": gate}), record, measured), found.differences["auc"]


def equal_simulated(seed: int) -> tuple[bool, bool, float]:
    """Promoted by day, promoted by row, and the half-width of the interval of the difference."""
    draw = np.random.default_rng([SEED, 1, seed])
    fresh = rows(draw, ROWS, DAYS)
    pair = [simulated(draw, fresh, 0.4) for _ in range(2)]
    decision, difference = ask(fresh, *pair)
    naive, _ = ask(fresh, *pair, by_row=True)
    return decision.promote, naive.promote, (difference.high - difference.low) / 2


def better_simulated(asked: tuple[int, float]) -> bool:
    """Promoted, for a candidate of less noise than the champion."""
    seed, noise = asked
    draw = np.random.default_rng([SEED, 2, seed])
    fresh = rows(draw, ROWS, DAYS)
    return bool(ask(fresh, simulated(draw, fresh, noise), simulated(draw, fresh, 0.4))[0].promote)


def equal_trained(seed: int) -> tuple[bool, bool, float, bool]:
    """Like `equal_simulated`, of two boostings fitted on other rows with other seeds; and whether it is better."""
    draw = np.random.default_rng([SEED, 3, seed])
    fresh = rows(draw, ROWS, DAYS)
    models = [trained(draw) for _ in range(2)]
    pair = [model(fresh) for model in models]
    decision, difference = ask(fresh, *pair)
    naive, _ = ask(fresh, *pair, by_row=True)
    future = rows(draw, 50_000, 1000)
    ours, theirs = (auc(future.labels == 1, model(future).answers) for model in models)
    better = ours is not None and theirs is not None and ours.value > theirs.value
    return decision.promote, naive.promote, (difference.high - difference.low) / 2, better


def planted(asked: tuple[int, str]) -> bool:
    """Promoted, for a bad candidate against a champion that it would beat without its fault."""
    seed, plant = asked
    draw = np.random.default_rng([SEED, 4, seed])
    fresh = rows(draw, ROWS, DAYS)
    worse = simulated(draw, fresh, 1.5)
    return bool(ask(fresh, trained(draw, plant)(fresh), worse, plant)[0].promote)


def spoiled(asked: tuple[int, float]) -> tuple[bool, bool, bool, float]:
    """Promoted, passed by the slice rule, passed by the comparison, and by how much one region's loss grew.

    The champion is noisy, so that the candidate, a trained boosting, gains as a whole. In one region of six, a share
    `asked[1]` of the candidate's answers is turned around.
    """
    seed, shuffled = asked
    draw = np.random.default_rng([SEED, 6, seed])
    fresh = rows(draw, ROWS, DAYS)
    worse = simulated(draw, fresh, 1.5)
    answers = trained(draw)(fresh).answers.copy()
    there = np.flatnonzero(fresh.frame["region"] == 0)
    chosen = there[draw.random(len(there)) < shuffled]
    answers[chosen] = 1 - answers[chosen]
    candidate = Predictions(answers)
    ours, theirs = (np.square(p.answers - fresh.labels)[there].mean() for p in (candidate, worse))
    decision, _ = ask(fresh, candidate, worse)
    failed = {reason.rule for reason in decision.against}
    return decision.promote, "slices" not in failed, "comparison" not in failed, float(ours / theirs - 1)


def noise_for_a_gain(gain: float) -> float:
    """The noise that makes a simulated model better by `gain` AUC, on average over 20 draws of 28 days."""

    def mean_auc(noise: float) -> float:
        values = []
        for seed in range(20):
            draw = np.random.default_rng([SEED, 5, seed])
            fresh = rows(draw, ROWS, DAYS)
            found = auc(fresh.labels == 1, simulated(draw, fresh, noise).answers)
            values.append(found.value if found else np.nan)
        return float(np.mean(values))

    wanted, low, high = mean_auc(0.4) + gain, 0.0, 0.4
    for _ in range(8):
        middle = (low + high) / 2
        low, high = (middle, high) if mean_auc(middle) > wanted else (low, middle)
    return (low + high) / 2


def share(hits: Sequence[bool]) -> str:
    """A share with its 95 % interval (Clopper and Pearson 1934)."""
    found = stats.binomtest(int(sum(hits)), len(hits)).proportion_ci()
    return f"{sum(hits)} of {len(hits)} ({np.mean(hits):.1%}; {found.low:.1%} to {found.high:.1%})"


def line(what: str, found: str, bar: str) -> None:
    print(f"| {what} | {found} | {bar} |", flush=True)


def main() -> None:
    gain = 0.01
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        print(f"| {ROWS:,} rows, {DAYS} days that differ | promoted | bar |\n|---|---|---|")
        by_day, by_row, widths = zip(*pool.map(equal_simulated, range(200)), strict=True)
        line("equal quality, simulated", share(by_day), "5 %")
        line("the same, if days were ignored", share(by_row), "for comparison")
        fitted_by_day, fitted_by_row, fitted_widths, better = zip(*pool.map(equal_trained, range(200)), strict=True)
        line("same learner, trained on other rows", share(fitted_by_day), "5 %")
        unearned = [said and not true for said, true in zip(fitted_by_day, better, strict=True)]
        line("promoted, yet no better on 50,000 later rows", share(unearned), "2.5 %")
        line("the same, if days were ignored", share(fitted_by_row), "for comparison")
        for plant in ("shuffled labels", "leaked feature", "slow", "wrong schema"):
            line(f"planted: {plant}", share(list(pool.map(planted, [(s, plant) for s in range(25)]))), "0")
        for turned in (0.15, 0.2, 0.25, 0.3, 0.4, 0.6):
            found = list(pool.map(spoiled, [(seed, turned) for seed in range(25)]))
            promoted, slices, compared, grew = zip(*found, strict=True)
            line(
                f"planted: one region's loss {np.mean(grew):+.0%} (tolerated +5%)",
                f"{share(promoted)}; slice rule passed {sum(slices)}, comparison passed {sum(compared)}",
                "0 from +30 % on",
            )
        line("control: the same without a fault", share(list(pool.map(planted, [(s, "") for s in range(25)]))), "high")
        noise = noise_for_a_gain(gain)
        powers = list(pool.map(better_simulated, [(seed, noise) for seed in range(100)]))
        line(f"better by {gain} AUC", share(powers), "power")
    for name, reach in (("simulated", widths), ("trained", fitted_widths)):
        error = float(np.mean(reach)) / stats.t.ppf(0.975, DAYS - 1)
        smallest = error * (stats.t.ppf(0.975, DAYS - 1) + stats.t.ppf(0.8, DAYS - 1))
        line(f"smallest AUC gain promoted 4 times in 5, {name}", f"{smallest:.4f}", "-")


if __name__ == "__main__":
    main()
