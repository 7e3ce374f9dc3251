"""Would the scores alone have told which weeks of 2013 were bad? Flights, trained on weeks 0-12, watched week by week.

`python -m benchmarks.monitoring.flights_weeks [--evidently] [--quick]`: a model of the case's own parameters and some
near variants of it are fitted once each, the reference is blocked by week and out of fold, and each of the weeks 13-51
is judged against it. A week is bad when its realised AUC is 0.05 or more below the reference's mean week. The labels of
a week are in before the next is judged (their delay is a day): the second opinion and the correction learn from them,
but of the judged week no label is used. Fifteen minutes; `--evidently` adds Evidently's defaults on a sample of 5,000
rows a side (ten minutes); `--quick` takes the case's own model alone.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.serving.ours import say
from configs.case import Case, Problem
from configs.params import Params
from configs.project import Project
from tasks.evaluation.ranking import rank_auc
from tasks.features.labels import labels
from tasks.ingestion.recorded import recorded
from tasks.monitoring import score
from tasks.monitoring.correction import Past
from tasks.monitoring.estimate import Answers, Calibration, Expected, Judged, back_test, expected
from tasks.monitoring.estimator import Known
from tasks.monitoring.opinion import MOST_ROWS, fit
from tasks.monitoring.outlook import CameTrue, Foreseen, apart, look_out
from tasks.monitoring.unseen import Fit, out_of_fold
from tasks.records import Candidate
from tasks.training.pipeline import build_pipeline

ROOT = Path(__file__).resolve().parents[2]
TRAIN, LAST = 13, 52
SAMPLE = 5000
SEED = 7
ALL = datetime(2013, 1, 1, tzinfo=UTC)
VARIANTS = {
    "the case's own": None,
    "scikit-learn's settings": {},
    "early stopping": {"early_stopping": True},
    "60 small trees": {"max_iter": 60, "max_leaf_nodes": 15, "min_samples_leaf": 200},
}


@dataclass(frozen=True)
class Year:
    """All rows: inputs, label, week from 0."""

    case: Case
    frame: pd.DataFrame
    label: pd.Series
    week: np.ndarray

    @property
    def known(self) -> np.ndarray:
        return self.label.notna().to_numpy()


@dataclass(frozen=True)
class Told:
    """What was said of one week, and what was true."""

    week: int
    realised: float
    own: float
    """AUC as the champion's own calibrated probabilities have it."""
    own_chance: float
    """Of a loss, by these."""
    value: float
    """AUC by the second opinion, corrected."""
    low: float
    high: float
    chance: float
    drift: score.ScoreDrift
    first_labels: float
    """AUC by the labels of its first four days."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the case's own model alone")
    parser.add_argument("--evidently", action="store_true", help="Evidently's defaults beside ours")
    asked = parser.parse_args()
    project = Project(ROOT)
    params, year = project.params("flights"), read(project.case("flights"))
    say(f"{len(year.frame):,} flights")
    print(
        "| model | weeks 13-51 that were bad | alarm rule | alarms | precision | recall | rank | in reference weeks |"
    )
    print("|---|---|---|---|---|---|---|---|")
    notes = []
    for name in list(VARIANTS)[: 1 if asked.quick else None]:
        say(f"{name}: fitting")
        scores = scored(year, variant(params, name))
        told, judged, quiet = watched(year, scores, variant(params, name))
        before = float(np.mean([one.realised["auc"].value for one in judged]))
        bad = np.array([one.realised <= before - params.monitoring.estimate.largest_drop for one in told])
        for rule, alarms, ranks, calm in rules(told, before, params, quiet):
            found = f"{worth(bad, alarms)} | {ranked(bad, ranks)} | {calm}"
            print(f"| {name} | {bad.sum()} of {len(bad)} | {rule} | {found} |")
        notes.append(f"{name}: {quality(told)}")
        if asked.evidently and name == "the case's own":
            for rule, alarms in evidently_says(year, scores):
                print(f"| {name} | {bad.sum()} of {len(bad)} | {rule} | {worth(bad, alarms)} | - | - |")
    print("\n" + "\n".join(f"- {note}" for note in notes))


def read(case: Case) -> Year:
    frame = recorded("flights").sort_values("event_time", ignore_index=True)
    week = ((frame["event_time"] - pd.Timestamp(ALL)) // pd.Timedelta(weeks=1)).to_numpy(dtype=int)
    inside = (week >= 0) & (week < LAST)
    return Year(
        case, frame[inside].reset_index(drop=True), labels(case, frame[inside]).reset_index(drop=True), week[inside]
    )


def variant(params: Params, name: str) -> Params:
    settings = VARIANTS[name]
    if settings is None:
        return params
    return params.model_copy(update={"training": params.training.model_copy(update={"settings": settings})})


def scored(year: Year, params: Params) -> np.ndarray:
    """The training weeks out of fold, the later ones by the model itself."""
    features, trained = list(year.case.contract.features), year.week < TRAIN
    fitting = trained & year.known
    pipeline = build_pipeline(year.case, params.features, params.training, params.seed)
    model = pipeline.fit(year.frame.loc[fitting, features], year.label[fitting].astype("int64"))
    candidate = Candidate.model_construct(features=tuple(features), classes=(0, 1))
    fit = Fit(Problem.binary, model, candidate, params.training.calibration_batches)
    scores = np.empty(len(year.frame))
    scores[trained] = out_of_fold(fit, year.frame[trained], year.label[trained], year.week[trained])
    scores[~trained] = model.predict_proba(year.frame.loc[~trained, features])[:, 1]
    return scores


def watched(year: Year, scores: np.ndarray, params: Params) -> tuple[list[Told], list[Judged], int]:
    """Each week from 13 on; the reference's own weeks; and in how many of these the score alarmed."""
    error_rate = params.monitoring.inputs.error_rate
    trained = (year.week < TRAIN) & year.known
    reference, truth = Answers(Problem.binary, scores[trained]), year.label[trained].to_numpy(dtype=float)
    calibration, judged = Calibration.learn(reference, truth), back_test(reference, truth, year.week[trained])
    bins = score.Bins.of(scores[year.week < TRAIN])
    units = [bins.count(scores[year.week == week]) for week in range(TRAIN)]
    known = sampled(year, params, reference, truth)
    by_opinion: list[CameTrue] = []
    by_itself: list[CameTrue] = []
    told = []
    for week in range(TRAIN, LAST):
        rows = (year.week == week) & year.known
        own, true = Answers(Problem.binary, scores[rows]), year.label[rows].to_numpy(dtype=float)
        itself, realised = expected(own, calibration(own))["auc"], expected(own, true)["auc"].value
        now = expected(own, second_opinion(year, params, known, week))["auc"] if week > TRAIN else itself
        seen, alone = (
            foreseen(judged, came, own, one, params) for came, one in ((by_opinion, now), (by_itself, itself))
        )
        first = rows & (year.frame["event_time"] < pd.Timestamp(ALL) + pd.Timedelta(days=7 * week + 4)).to_numpy()
        early = expected(Answers(Problem.binary, scores[first]), year.label[first].to_numpy(dtype=float))["auc"].value
        drift = score.drift(units, bins.count(scores[year.week == week]), error_rate)
        told.append(
            Told(
                week, realised, itself.value, alone.chance_of_loss, seen.value, seen.low, seen.high,
                seen.chance_of_loss, drift, early,
            )
        )  # fmt: skip
        start, end = ((pd.Timestamp(ALL) + pd.Timedelta(weeks=week + more)).to_pydatetime() for more in (0, 1))
        for came, one, said in ((by_opinion, now, seen), (by_itself, itself, alone)):
            past = Past(own.mean_score, one.value, realised, one.error, live=True)
            came.append(CameTrue(start, end, past, said.value, said.low, said.high))
        say(f"week {week}: AUC {realised:.3f}, foreseen {seen.value:.3f}, alone {alone.value:.3f}")
    return told, judged, sum(one.alarm for one in score.left_out(units, error_rate))


def sampled(year: Year, params: Params, reference: Answers, truth: np.ndarray) -> Known:
    """The reference as it is kept: labels of all rows, features of some."""
    trained = (year.week < TRAIN) & year.known
    draw = np.random.default_rng(params.seed)
    some = np.sort(draw.choice(trained.sum(), params.monitoring.inputs.sample_rows, replace=False))
    features = year.frame.loc[trained, list(year.case.contract.features)].iloc[some]
    return Known(reference, truth, year.week[trained], features, some)


def second_opinion(year: Year, params: Params, known: Known, week: int) -> np.ndarray:
    """What a model says of a week that learnt from the sampled reference and the labels of all weeks in between."""
    features = list(year.case.contract.features)
    since = np.flatnonzero((year.week >= TRAIN) & (year.week < week) & year.known)
    if len(since) > MOST_ROWS:
        since = np.sort(np.random.default_rng(params.seed).choice(since, MOST_ROWS, replace=False))
    model = fit(year.case, params, known, year.frame.loc[since, features], year.label[since].to_numpy(dtype=float))
    opinion: np.ndarray = model.predict_proba(year.frame.loc[(year.week == week) & year.known, features])[:, 1]
    return opinion


def foreseen(judged: list[Judged], came: Sequence[CameTrue], own: Answers, now: Expected, params: Params) -> Foreseen:
    estimate = params.monitoring.estimate
    look = look_out("auc", judged, apart(came), estimate.largest_drop, estimate.confidence)
    assert look is not None, "thirteen weeks are enough"
    return look.see(own.mean_score, now)


Rule = tuple[str, list[bool], list[float], str]


def rules(told: Sequence[Told], before: float, params: Params, quiet: int) -> Iterator[Rule]:
    """Each rule's alarms, what it ranks weeks by, and its alarms in the weeks of the reference."""
    drop = params.monitoring.estimate.largest_drop
    drifts = [one.drift for one in told]
    yield "score drift", [one.alarm for one in drifts], [one.distance for one in drifts], f"{quiet} of {TRAIN}"
    lowest = [-one.own for one in told]
    yield "AUC by the champion's own probabilities", [one.own <= before - drop for one in told], lowest, "-"
    least = params.monitoring.estimate.alarm_chance
    likely = f"chance of loss ≥ {least:.0%}"
    chances = [one.own_chance for one in told]
    yield f"{likely}, by them and a correction", [chance >= least for chance in chances], chances, "-"
    chances = [one.chance for one in told]
    yield f"{likely}, by a second opinion", [chance >= least for chance in chances], chances, "-"
    confirmed = [one.first_labels <= before - drop for one in told]
    yield "labels of four days", confirmed, [-one.first_labels for one in told], "-"


def quality(told: Sequence[Told]) -> str:
    """Error of the estimate, and how often its interval held the truth."""
    true = np.array([one.realised for one in told])
    plain, value = (
        np.abs(np.array(values) - true).mean() for values in ([t.own for t in told], [t.value for t in told])
    )
    held = np.mean([one.low <= one.realised <= one.high for one in told])
    half = np.mean([(one.high - one.low) / 2 for one in told])
    return (
        f"mean error of the estimated AUC {value:.4f} ({plain:.4f} by the champion's own probabilities); the interval "
        f"holds the truth in {held:.0%} of {len(told)} weeks, half its width {half:.3f}"
    )


def worth(bad: np.ndarray, alarms: Sequence[bool]) -> str:
    right, said = int(np.sum(bad & np.array(alarms))), int(np.sum(alarms))
    precision = f"{right / said:.2f}" if said else "-"
    return f"{said} | {precision} | {right / bad.sum():.2f}"


def ranked(bad: np.ndarray, values: Sequence[float]) -> str:
    found = rank_auc(bad, pd.Series(values).rank().to_numpy())
    return "-" if found is None else f"{found:.3f}"


def evidently_says(year: Year, scores: np.ndarray) -> Iterator[tuple[str, list[bool]]]:
    """Its default decisions on samples: any column, and half of the columns."""
    from evidently import DataDefinition, Dataset, Report  # noqa: PLC0415 - seconds that others need not pay
    from evidently.metrics import ValueDrift  # noqa: PLC0415

    numbers = [*year.frame[list(year.case.contract.features)].select_dtypes("number"), "score"]
    categories = list(year.frame[list(year.case.contract.features)].select_dtypes(["object", "string"]))
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=categories)
    whole = year.frame.assign(score=scores)[[*numbers, *categories]]
    draw = np.random.default_rng(SEED)

    def side(rows: np.ndarray) -> Dataset:
        some = draw.choice(np.flatnonzero(rows), min(SAMPLE, int(rows.sum())), replace=False)
        return Dataset.from_pandas(whole.iloc[some].reset_index(drop=True), data_definition=definition)

    reference, shares = side(year.week < TRAIN), []
    for week in range(TRAIN, LAST):
        say(f"Evidently: week {week}")
        report = Report([ValueDrift(column=name) for name in whole], include_tests=True)
        tests = report.run(side(year.week == week), reference).dict()["tests"]
        shares.append(float(np.mean([test["status"] == "FAIL" for test in tests])))
    yield f"Evidently, any of {len(whole.columns)} columns (sample)", [share > 0 for share in shares]
    yield "Evidently, half of the columns (sample)", [share >= 0.5 for share in shares]


if __name__ == "__main__":
    main()
