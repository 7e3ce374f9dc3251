"""backtest: walk policies through a case's history, and write down what each would have done."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from configs.params import Params
from configs.policies import ORACLE, BackTestParams, GateChange
from configs.project import Project
from tasks.adapters.locks import exclusive
from tasks.backtest.fits import Fits, Model, Parallel
from tasks.backtest.known import reference_models
from tasks.backtest.oracle import best_path
from tasks.backtest.picture import draw
from tasks.backtest.result import BackTest, Gate, PolicyResult, Reckoning
from tasks.backtest.scores import Scores, Turn
from tasks.backtest.walk import Step, Walk, Walker, first_model, fitted_again, trainable
from tasks.backtest.weeks import History, Week, between, collect
from tasks.files import write_whole
from tasks.monitoring.estimate import BETTER_WHEN_LOWER
from tasks.verdicts import Action

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """What a back-test is asked for."""

    params: BackTestParams
    as_of: datetime
    """Up to when history is known."""
    start: datetime | None = None
    end: datetime | None = None


def backtest_folder(project: Project, case_name: str) -> Path:
    """Where fits and results of a case lie."""
    return project.stores / "backtest" / case_name


def backtest(project: Project, case_name: str, asked: Asked, *, parallel: Parallel = map) -> BackTest:
    """Fit what was not fitted yet, walk each policy and the oracle, and write `backtest.json` and its pictures.

    Killed at any point it goes on where it stopped; the same history and policies give the same result. `parallel` maps
    a picklable function over the models to fit. Raises OutsideHistory or TooShort before anything is fitted.
    """
    folder = backtest_folder(project, case_name)
    with exclusive(folder.parent / f"{case_name}.lock"):
        history = collect(project, case_name, folder, asked.as_of)
        weeks = between(history, asked.start, asked.end, asked.params.warm_up)
        fits = Fits(project, history, weeks[-1].stop, folder)
        params = project.params(case_name)
        fits.ensure(_models(history, params, weeks, asked.params), parallel)
        found = _compare(fits, params, weeks, asked.params)
        found.write(folder / "backtest.json")
        picture = draw(found)
        for kind in ("png", "svg"):
            write_whole(folder / f"backtest.{kind}", partial(_save, picture, kind))
    return found


def _save(picture: Figure, kind: str, part: Path) -> None:
    # Without a date and with fixed ids, a picture is the same whenever it is drawn.
    with rc_context({"svg.hashsalt": "evergreen"}):
        picture.savefig(part, format=kind, metadata={"Date": None} if kind == "svg" else None)


def _models(history: History, params: Params, weeks: tuple[Week, ...], asked: BackTestParams) -> set[Model]:
    """What some policy is sure to ask for; a training on a recent window is fitted when one does."""
    wanted = {first_model(history, params, weeks[0].start)}
    moments = [history.decides_at(week) for week in weeks]
    found = {trainable(history, params, moment, gated=False) for moment in moments}
    for policy in asked.policies:
        own = policy.params(params)
        for moment in moments:
            candidate = trainable(history, own, moment, gated=policy.gated)
            found |= {candidate, fitted_again(history, candidate, moment) if policy.refits(own) else None}
    wanted |= {model for model in found if model is not None}
    return wanted | {unseen for model in wanted for unseen in reference_models(history, params, model)}


def _compare(fits: Fits, params: Params, weeks: tuple[Week, ...], asked: BackTestParams) -> BackTest:
    scores = Scores(fits, params.rollout.costs)
    lead = timedelta(hours=asked.lead_hours)
    walker = Walker(fits, params, lead)
    oracle = _oracle(fits, params, weeks, scores, lead)
    reckoning = Reckoning(scores, asked, weeks, [batch.batch_id for batch in fits.history.batches])
    results: list[PolicyResult] = []
    for policy in asked.policies:
        gate: Gate = "own" if isinstance(policy.gate, GateChange) else policy.gate
        results.append(reckoning.result(walker.walk(policy, weeks), gate, oracle.turns))
        log.info("backtest %s: %s: %d trainings", fits.history.case.name, policy.policy, results[-1].trainings)
    results.append(reckoning.result(oracle, "off", oracle.turns))
    return BackTest(
        case=fits.history.case.name,
        start=weeks[0].start,
        end=weeks[-1].end,
        metric=scores.metric,
        unit=fits.history.unit,
        params=asked,
        results=tuple(results),
    )


def _oracle(fits: Fits, params: Params, weeks: tuple[Week, ...], scores: Scores, lead: timedelta) -> Walk:
    """The best of all ways to retrain on everything that is labelled."""
    history = fits.history
    first = first_model(history, params, weeks[0].start)
    fresh = [trainable(history, params, history.decides_at(week), gated=False) or first for week in weeks]
    models = [first, *fresh]
    ready = [history.decides_at(week) + lead for week in weeks]
    sign = -1.0 if scores.metric in BETTER_WHEN_LOWER else 1.0

    def gain(week: int, champion: int, then: int) -> float:
        turns = [Turn(weeks[week].start, models[champion])]
        turns += [Turn(ready[week], models[then])] if then != champion else []
        return sign * (scores.headline(weeks[week], turns) or 0.0)

    path = best_path(len(weeks), gain)
    before = [0, *path[:-1]]
    turns = [Turn(weeks[0].start, first)]
    turns += [Turn(ready[week], models[path[week]]) for week in range(len(weeks)) if path[week] != before[week]]
    steps = tuple(
        Step(
            week, history.decides_at(week), Action.retrain if path[place] != before[place] else Action.none,
            "what turned out best", (), models[before[place]], fresh[place], fresh[place],
            trained=path[place] != before[place],
        )
        for place, week in enumerate(weeks)
    )  # fmt: skip
    return Walk(ORACLE, steps, tuple(turns))
