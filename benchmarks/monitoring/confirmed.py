"""Which weeks of 2013 do labels confirm as bad? Flights, trained on weeks 0-12, judged week by week.

    python -m benchmarks.monitoring.confirmed [--quick]

A model of the case's own parameters is fitted once; its reference is blocked in time and out of fold. Each of the weeks
13-51 is judged by the verdict's own rule once all its labels are in, and with 90 % of them (the least that `realised`
judges). A week is bad when its AUC, of all its labels, fell by 0.05 or more below the reference's mean week. Some
minutes; `--quick` takes every fourth week.
"""

import argparse
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from configs.case import Problem
from configs.project import Project
from tasks.features.labels import labels
from tasks.ingestion.recorded import recorded
from tasks.monitoring.estimate import Answers
from tasks.monitoring.refer import Fit, out_of_fold
from tasks.outcomes.realised import Standard, expected_of_scores, fall, given_answers, measure, standard
from tasks.records import Candidate
from tasks.training.pipeline import build_pipeline

TRAIN, LAST = 13, 52
DROP, CONFIDENCE = 0.05, 0.9
SEED = 20261121


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="every fourth week")
    options = parser.parse_args()
    project = Project(Path(__file__).resolve().parents[2])
    case, params = project.case("flights"), project.params("flights")
    frame = recorded("flights").sort_values("event_time", ignore_index=True)
    label = labels(case, frame)
    frame, label = frame[label.notna()].reset_index(drop=True), label[label.notna()].reset_index(drop=True)
    first = frame["event_time"].min().normalize()
    week = ((frame["event_time"] - first) // timedelta(days=7)).to_numpy()
    before = week < TRAIN
    model = build_pipeline(case, params.features, params.training, params.seed)
    _say(f"fitting on {before.sum():,} rows, and five times more for the reference")
    fitted = model.fit(frame.loc[before, list(case.contract.features)], label[before].to_numpy())
    candidate = Candidate(
        case="flights",
        contract_version=1,
        estimator=params.training.estimator,
        calibration="none",
        seed=params.seed,
        features=case.contract.features,
        classes=(0, 1),
        train_start=first,
        train_end=first + timedelta(days=7 * TRAIN),
        batches=(),
    )
    scores = out_of_fold(Fit(case.problem, model, candidate, 1), frame[before], label[before], week[before])
    learnt_on, truth = Answers(Problem.binary, scores), label[before].to_numpy()
    usual = standard("auc", learnt_on, truth, week[before])
    assert usual is not None
    _say(f"reference: AUC {usual.value:.4f} in the mean week, standard error {usual.error:.4f}")
    told = []
    draw = np.random.default_rng(SEED)
    for number in range(TRAIN, LAST, 4 if options.quick else 1):
        rows = pd.DataFrame({
            "answered_at": frame.loc[week == number, "event_time"],
            "score": fitted.predict_proba(frame.loc[week == number, list(case.contract.features)])[:, 1],
            "label": label[week == number],
        })  # fmt: skip
        told.append({"week": number, **_judged(rows, usual, learnt_on, truth, draw)})
        _say(str(told[-1]))
    _table(pd.DataFrame(told))


def _judged(
    rows: pd.DataFrame, usual: Standard, learnt_on: Answers, truth: np.ndarray, draw: np.random.Generator
) -> dict[str, float | bool]:
    """The truth of a week, and what the rule says with all and with most of its labels."""
    found: dict[str, float | bool] = {}
    most = rows[draw.random(len(rows)) < 0.9]
    for name, some in {"all": rows, "most": most}.items():
        measured = measure(Problem.binary, some, CONFIDENCE)["auc"]
        expected = expected_of_scores("auc", learnt_on, truth, given_answers(Problem.binary, some))
        judged = fall("auc", measured, usual, expected)
        found |= {
            f"{name}: alarm": judged.alarm(DROP),
            f"{name}: alarm if shown to be that large": judged.worse_by.low >= DROP,
            f"{name}: harder": judged.harder,
        }
        if name == "all":
            found |= {"auc": measured.interval.value, "bad": usual.value - measured.interval.value >= DROP}
    return found


def _table(weeks: pd.DataFrame) -> None:
    bad = weeks["bad"]
    print(f"\n{len(weeks)} weeks, {int(bad.sum())} of them bad (AUC {DROP} or more below the reference)\n")
    print("| rule | alarms | precision | recall |")
    print("|---|---|---|---|")
    for rule in [name for name in weeks if "alarm" in name]:
        alarms = weeks[rule]
        hits = int((alarms & bad).sum())
        precision = f"{hits / alarms.sum():.2f}" if alarms.any() else "-"
        print(f"| {rule} | {int(alarms.sum())} | {precision} | {hits / max(int(bad.sum()), 1):.2f} |")
    harder = weeks.loc[bad & weeks["all: harder"], "week"].tolist()
    print(f"\nBad weeks: {weeks.loc[bad, 'week'].tolist()}; of them because the rows were harder: {harder}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
