"""Estimated performance beside NannyML's CBPE, on the two data sets that ship with it and the same chunks.

`python -m benchmarks.monitoring.estimated [--quick]`: error of estimated AUC, F1 and accuracy against the truth, how
often the intervals hold it, and CPU seconds. NannyML gets an environment of its own outside the project; `--quick`
takes the car loans alone. The labels of a chunk of 5,000 rows are taken to come in four chunks later; ours learns from
them then, CBPE cannot. Seconds, and two minutes for the installation once.
"""

import argparse
import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.serving.instruments import CACHE, quiet_environment
from benchmarks.serving.ours import say
from configs.case import Problem
from tasks.monitoring.conformal import learn
from tasks.monitoring.correction import Past, learn_correction
from tasks.monitoring.estimate import Answers, Calibration, Expected, back_test, expected, past_of

CHUNK = 5000
LATE = 4
CONFIDENCE = 0.9
PACKAGES = ("nannyml==0.13.1", "statsmodels")
METRICS = {"auc": "roc_auc", "f1": "f1", "accuracy": "accuracy"}


@dataclass(frozen=True)
class Columns:
    """What a data set calls its columns."""

    label: str
    probability: str
    prediction: str


SETS = {
    "car loan": Columns("repaid", "y_pred_proba", "y_pred"),
    "census": Columns("employed", "predicted_probability", "prediction"),
}


@dataclass(frozen=True)
class Ours:
    """What was estimated of each chunk, and what was true."""

    estimated: np.ndarray
    realised: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Spent:
    """Rows, and CPU seconds."""

    reference: int
    rows: int
    learning: float
    estimating: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the car loans alone")
    chosen = list(SETS)[: 1 if parser.parse_args().quick else None]
    folder = theirs()
    seconds = json.loads((folder / "seconds.json").read_text())
    print("| data | metric | CBPE: mean error | its band holds the truth | ours: mean error "
          f"| the {CONFIDENCE:.0%} interval holds it | half its width |")  # fmt: skip
    print("|---|---|---|---|---|---|---|")
    spent = {}
    for name in chosen:
        say(f"{name}: estimating")
        found, spent[name] = ours(folder / name.replace(" ", "-"), SETS[name])
        table = pd.read_parquet(folder / name.replace(" ", "-") / "cbpe.parquet")
        for metric, one in found.items():
            print(f"| {name} | {metric} | {cbpe(table, metric, one)} | {said(one)} |")
    print("\n| data | rows | CBPE: CPU s | ours, learning and back-test | ours, estimating | for 250,000 rows |")
    print("|---|---|---|---|---|---|")
    for name, one in spent.items():
        each = one.estimating / one.rows * 250_000
        print(f"| {name} | {one.reference:,} + {one.rows:,} | {seconds[name]:.2f} | {one.learning:.3f} | "
              f"{one.estimating:.3f} | {each:.3f} |")  # fmt: skip
    print("\nCPU seconds of one thread without imports; ours for AUC, accuracy, F1 and Brier score, with intervals.")


def theirs() -> Path:
    """The data sets and NannyML's estimates, made if they are not in the cache."""
    folder, home = CACHE / "nannyml", CACHE / "environments" / "nannyml-0.13.1"
    if not (folder / "seconds.json").exists():
        if not (home / "done").exists():
            say(f"installing {', '.join(PACKAGES)}")
            subprocess.run(["uv", "venv", "--quiet", "--no-project", "--python", "3.11", str(home)], check=True)
            install = ["uv", "pip", "install", "--quiet", "--python", str(home / "bin" / "python"), *PACKAGES]
            subprocess.run(install, check=True)
            (home / "done").touch()
        say("NannyML: fitting and estimating")
        folder.mkdir(parents=True, exist_ok=True)
        program = [str(home / "bin" / "python"), str(Path(__file__).with_name("nannyml_side.py")), str(folder)]
        subprocess.run(program, check=True, env=quiet_environment(NML_DISABLE_USAGE_LOGGING="1"))
    return folder


def ours(folder: Path, columns: Columns) -> tuple[dict[str, Ours], Spent]:
    """Our estimates of the same chunks, and what they cost."""
    reference, analysis, truth = (pd.read_parquet(folder / f"{n}.parquet") for n in ("reference", "analysis", "truth"))
    known = answers(reference, columns), reference[columns.label].to_numpy(dtype=float)
    units = np.minimum(np.arange(len(reference)) // CHUNK, len(reference) // CHUNK - 1)
    labels = truth[columns.label].to_numpy(dtype=float)
    chunks = np.arange(len(analysis)) // CHUNK
    whole = answers(analysis, columns)
    began = time.process_time()
    calibration, judged = Calibration.learn(*known), back_test(*known, units)
    learning, began = time.process_time() - began, time.process_time()
    each = [whole.at(chunks == chunk) for chunk in range(chunks.max() + 1)]
    estimated = [expected(own, calibration(own)) for own in each]
    estimating = time.process_time() - began
    realised = [expected(own, labels[chunks == chunk]) for chunk, own in enumerate(each)]
    means = [own.mean_score for own in each]
    found = {}
    for metric in METRICS:
        past = past_of(judged, metric)
        came = [
            Past(mean, one[metric].value, true[metric].value, one[metric].error, live=True)
            for mean, one, true in zip(means, estimated, realised, strict=True)
        ]
        began = time.process_time()
        told = [foreseen(past, came[: max(n - LATE + 1, 0)], means[n], one[metric]) for n, one in enumerate(estimated)]
        estimating += time.process_time() - began
        value, low, high = np.array(told).T
        found[metric] = Ours(value, np.array([true[metric].value for true in realised]), low, high)
    return found, Spent(len(reference), len(analysis), learning, estimating)


def answers(frame: pd.DataFrame, columns: Columns) -> Answers:
    scores = frame[columns.probability].to_numpy(dtype=float)
    return Answers(Problem.binary, scores, frame[columns.prediction].to_numpy(dtype=float) > 0)


def foreseen(past: Sequence[Past], came: Sequence[Past], mean: float, now: Expected) -> tuple[float, float, float]:
    """The estimate and its interval, from the reference and what came true."""
    correction = learn_correction([*past, *came])
    value = correction(mean, now.value)
    reach = learn(correction.residuals, CONFIDENCE)
    assert reach is not None, "the reference has chunks enough"
    return value, *reach.around(value, now.error)


def cbpe(table: pd.DataFrame, metric: str, one: Ours) -> str:
    theirs = METRICS[metric]
    value = table[f"{theirs}|value"].to_numpy()
    low, high = (table[f"{theirs}|{side}_confidence_boundary"].to_numpy() for side in ("lower", "upper"))
    held = (low <= one.realised) & (one.realised <= high)
    return f"{np.abs(value - one.realised).mean():.6f} | {held.mean():.0%}"


def said(one: Ours) -> str:
    held = (one.low <= one.realised) & (one.realised <= one.high)
    error = np.abs(one.estimated - one.realised).mean()
    return f"{error:.6f} | {held.mean():.0%} of {len(held)} | {np.mean(one.high - one.low) / 2:.4f}"


if __name__ == "__main__":
    main()
