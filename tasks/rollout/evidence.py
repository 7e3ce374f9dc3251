"""What users (or the shadow) saw of challenger and champion since a stage began, as numbers a gate can test; pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from configs.case import Problem
from configs.rollout import Costs
from tasks.evaluation.predictions import Floats
from tasks.records import Rollout, Stage
from tasks.rollout.days import Days, days_of
from tasks.rollout.draw import in_shadow
from tasks.rollout.expected import Expected, distances, levels, shifts
from tasks.rollout.losses import loss_of, row_costs, row_losses
from tasks.rollout.pairs import days_of_pairs, matched, same_rows
from tasks.rollout.stages import traffic_of

COLUMNS = ("request_id", "row", "role", "model_version", "fallback", "received_at", "answered_at", "prediction")
TIMED = ("scoring_seconds", "champion_scoring_seconds")
FAILURES = frozenset({"error", "timeout", "overload"})
_SETTLE = timedelta(seconds=10)
"""The shadow comes after the answer: rows younger than this may still wait for it."""
_NONE: Floats = np.empty(0)
_NO_DAYS: Days = np.empty(0, dtype=np.int64)


def _none() -> Floats:
    return _NONE


def _no_days() -> Days:
    return _NO_DAYS


def columns_of(problem: Problem, state: Rollout) -> tuple[str, ...]:
    """The columns of the prediction log that evidence is made of."""
    shadow = ((*TIMED, "entity") if state.stage.shadow < 1 else TIMED) if state.stage.shadow else ()
    more = {Problem.binary: ("probability",), Problem.multiclass: ("probability", "probabilities", "classes")}
    return (*COLUMNS, *more.get(problem, ()), *shadow)


@dataclass(frozen=True)
class Period:
    """A stage that evidence is gathered in, `[start, end)`."""

    stage: Stage
    start: datetime
    end: datetime


@dataclass(frozen=True)
class Pairs:
    """Answers of both models whose labels are known, each pair in the order in which it came to be known."""

    losses: Floats = field(default_factory=_none, repr=False)
    """Challenger minus champion, pair by pair."""
    costs: Floats = field(default_factory=_none, repr=False)
    days: Days = field(default_factory=_no_days, repr=False)
    """Which each of these pairs is about, or, where that is not known, on which it was answered."""
    arms: tuple[Floats, Floats] = field(default_factory=lambda: (_NONE, _NONE), repr=False)
    """Losses of champion and challenger, of the rows of an A/B test, unmatched."""


@dataclass(frozen=True)
class Seen:
    """What was seen, each array in the order in which it came to be known."""

    rows: int = 0
    """That the challenger was asked for."""
    rows_here: int = 0
    """Of them, in the last period."""
    failed: Floats = field(default_factory=_none, repr=False)
    fell_back: Floats = field(default_factory=_none, repr=False)
    champion_failed: float = 0.0
    champion_fell_back: float = 0.0
    seconds: Floats = field(default_factory=_none, repr=False)
    champion_seconds: Floats = field(default_factory=_none, repr=False)
    distances: Floats = field(default_factory=_none, repr=False)
    shifts: Floats = field(default_factory=_none, repr=False)
    pairs: Pairs = Pairs()
    """Of the whole rollout: labels come late, those of the shadow when users are already asked."""
    labels_here: int = 0
    """Pairs with labels in the last period."""


@dataclass(frozen=True)
class Watched:
    """Whose rows are whose in a rollout, and what is expected of them."""

    case: str
    problem: Problem
    state: Rollout
    expected: Expected
    costs: Costs | None = None

    def seen(self, periods: Sequence[Period], answers: pd.DataFrame, outcomes: pd.DataFrame) -> Seen:
        """From rows of the prediction log, and from those whose label is known (`label`, `labelled_at`, `event_time`).

        Of `periods`, answers tell about those in which the challenger was asked as it is now, labels about all.
        """
        asked = [self._asked(period, _within(answers, period)) for period in self.alike(periods)]
        if not asked:
            return Seen()
        told = [self._told(period, _within(outcomes, period)) for period in self.labelled(periods)]
        arrays = ("failed", "fell_back", "seconds", "champion_seconds", "distances", "shifts")
        return Seen(
            rows=sum(part.rows for part in asked),
            rows_here=asked[-1].rows,
            champion_failed=float(np.mean([part.champion_failed for part in asked])),
            champion_fell_back=float(np.mean([part.champion_fell_back for part in asked])),
            labels_here=len(told[-1].losses),
            pairs=_joined(told),
            **{name: np.concatenate([getattr(part, name) for part in asked]) for name in arrays},
        )

    def alike(self, periods: Sequence[Period]) -> list[Period]:
        """Those in which the challenger was asked as it is now: in the shadow, or by users."""
        return [period for period in periods if period.start >= self.state.evidence_since]

    def labelled(self, periods: Sequence[Period]) -> list[Period]:
        """Those whose labels say which of the two is better; once promoted, nobody is there to compare with."""
        return self.alike(periods) if self.state.promoted else list(periods)

    def _asked(self, period: Period, answers: pd.DataFrame) -> Seen:
        return (self._shadowed if period.stage.kind == "shadow" else self._shared)(period, answers)

    def _told(self, period: Period, outcomes: pd.DataFrame) -> Pairs:
        return self._same(outcomes) if period.stage.kind == "shadow" else self._split(period, outcomes)

    def _shadowed(self, period: Period, answers: pd.DataFrame) -> Seen:
        champion = answers[(answers["role"] == "champion") & (answers["model_version"] == self.state.champion)]
        challenger = answers[(answers["role"] == "shadow") & (answers["model_version"] == self.state.version)]
        theirs, ours = same_rows(champion, challenger)
        both = champion.iloc[theirs], challenger.iloc[ours]
        would_take, took = _timed(*both)
        return Seen(
            rows=len(ours),
            failed=_unanswered(champion[self._drawn(champion, period.stage)], challenger, period),
            seconds=would_take,
            champion_seconds=took,
            distances=distances(self.problem, *both, self.expected.scale),
            shifts=shifts(self.problem, *both, self.expected.scale),
        )

    def _drawn(self, rows: pd.DataFrame, stage: Stage) -> NDArray[np.bool_]:
        """Of the champion's rows, those that the shadow was to score."""
        if stage.shadow == 1 or rows.empty:
            return np.ones(len(rows), dtype=np.bool_)
        salt = traffic_of(self.case, self.state).salt
        units = rows["entity"].fillna(rows["request_id"])
        return np.array([in_shadow(salt, unit, stage.shadow) for unit in units])

    def _same(self, outcomes: pd.DataFrame) -> Pairs:
        champion = outcomes[(outcomes["role"] == "champion") & (outcomes["model_version"] == self.state.champion)]
        challenger = outcomes[(outcomes["role"] == "shadow") & (outcomes["model_version"] == self.state.version)]
        theirs, ours = same_rows(champion, challenger)
        champion, challenger = champion.iloc[theirs], challenger.iloc[ours]
        return Pairs(
            losses=self._losses(challenger) - self._losses(champion),
            costs=self._costs(challenger) - self._costs(champion),
            days=_days(challenger),
        )

    def _shared(self, period: Period, answers: pd.DataFrame) -> Seen:
        theirs, ours = self._arms(answers, period.stage)
        own = ours[ours["fallback"].isna()], theirs[theirs["fallback"].isna()]
        share = period.stage.share
        said = [levels(self.problem, side, self.expected.scale) for side in (own[1], own[0])]
        return Seen(
            rows=len(ours),
            failed=_marks(ours["fallback"].isin(FAILURES)),
            fell_back=_marks(ours["fallback"].notna()),
            champion_failed=_marked(theirs["fallback"].isin(FAILURES)),
            champion_fell_back=_marked(theirs["fallback"].notna()),
            seconds=_seconds(ours),
            champion_seconds=_seconds(theirs),
            shifts=matched(said[0], said[1], share) if 0 < share < 1 else _NONE,
        )

    def _split(self, period: Period, outcomes: pd.DataFrame) -> Pairs:
        champion, challenger = self._arms(outcomes, period.stage)
        arms = self._losses(champion), self._losses(challenger)
        share = period.stage.share
        if not 0 < share < 1:
            return Pairs(arms=arms)
        return Pairs(
            losses=matched(*arms, share),
            costs=matched(self._costs(champion), self._costs(challenger), share),
            days=days_of_pairs(_days(champion), _days(challenger), share),
            arms=arms,
        )

    def _arms(self, rows: pd.DataFrame, stage: Stage) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The champion's rows and the challenger's, by whose turn it was, whoever answered in the end.

        A row that fell back to the champion was the challenger's: a champion is never its own fallback.
        """
        fallback = rows["role"] == "fallback"
        to_champion = rows["model_version"] == self.state.champion
        if self.state.promoted:  # everything is the new champion's turn
            return rows.iloc[:0], rows[(rows["role"] == "champion") | fallback]
        mine = (rows["role"] == "challenger") | (fallback & to_champion)
        if stage.share == 1:
            mine |= fallback
        return rows[(rows["role"] == "champion") | (fallback & ~mine)], rows[mine]

    def _losses(self, rows: pd.DataFrame) -> Floats:
        if rows.empty:
            return _NONE
        return row_losses(self.problem, loss_of(self.problem, self.expected.scale / 8), rows, rows["label"])

    def _costs(self, rows: pd.DataFrame) -> Floats:
        if self.costs is None or rows.empty:
            return _NONE
        return row_costs(self.costs, rows["probability"].to_numpy(np.float64), rows["label"].to_numpy(np.float64))


def _joined(parts: Sequence[Pairs]) -> Pairs:
    theirs, ours = (np.concatenate([part.arms[side] for part in parts]) for side in (0, 1))
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ("losses", "costs", "days")}
    return Pairs(**joined, arms=(theirs, ours))


def _within(rows: pd.DataFrame, period: Period) -> pd.DataFrame:
    """The period's rows, in the order in which they became known: labels when they arrived, answers when given."""
    if rows.empty:
        return rows
    inside = rows[(rows["answered_at"] >= period.start) & (rows["answered_at"] < period.end)]
    order = ["labelled_at", "answered_at"] if "labelled_at" in rows else ["answered_at"]
    return inside.sort_values([*order, "request_id", "row"], kind="stable")


def _seconds(rows: pd.DataFrame) -> Floats:
    """How long each request took, from its first byte to its answer."""
    if rows.empty:
        return _NONE
    once = rows.drop_duplicates("request_id")
    return np.asarray((once["answered_at"] - once["received_at"]).dt.total_seconds(), dtype=np.float64)


def _days(rows: pd.DataFrame) -> Days:
    return _NO_DAYS if rows.empty else days_of(rows["event_time"].fillna(rows["answered_at"]))


def _marks(marked: "pd.Series[bool]") -> Floats:
    return np.asarray(marked, dtype=np.float64)


def _marked(marked: "pd.Series[bool]") -> float:
    """The share of rows that are marked."""
    return float(marked.mean()) if len(marked) else 0.0


def _timed(champion: pd.DataFrame, challenger: pd.DataFrame) -> tuple[Floats, Floats]:
    """What requests would have taken if the challenger had scored them, and what they took; of those that were timed.

    Both models scored such a request once more by itself: the difference is what the challenger would have added.
    """
    if champion.empty:  # of columns without a row, none says that it holds times
        return _NONE, _NONE
    both = pd.DataFrame({
        "request_id": champion["request_id"].to_numpy(),
        "took": (champion["answered_at"] - champion["received_at"]).dt.total_seconds().to_numpy(),
        "more": challenger["scoring_seconds"].to_numpy(float) - challenger["champion_scoring_seconds"].to_numpy(float),
    })  # fmt: skip
    once = both.dropna().drop_duplicates("request_id")
    return (once["took"] + once["more"]).to_numpy(np.float64), once["took"].to_numpy(np.float64)


def _unanswered(champion: pd.DataFrame, challenger: pd.DataFrame, period: Period) -> Floats:
    """For each of the champion's rows that the shadow had time to score, 1 where it did not."""
    if challenger.empty:
        return _NONE
    theirs, _ = same_rows(champion, challenger)
    scored = np.zeros(len(champion), dtype=np.bool_)
    scored[theirs] = True
    began = champion.iloc[theirs]["answered_at"].min() if len(theirs) else challenger["answered_at"].min()
    due = (champion["answered_at"] >= began) & (champion["answered_at"] < period.end - _SETTLE)
    return np.asarray(~scored[due.to_numpy()], dtype=np.float64)
