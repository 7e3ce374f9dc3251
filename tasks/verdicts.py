"""Verdicts: what a monitor answers, with its statistic, threshold and error rate; and the one action made of them."""

from enum import StrEnum
from typing import Literal

from pydantic import AwareDatetime, Field

from tasks.records import Record


class Monitor(StrEnum):
    """Who watches what."""

    freshness = "freshness"
    """Whether requests, and how many, still come in."""
    contract = "contract"
    """Rows that break the contract, columns that vanished or changed their type."""
    inputs = "inputs"
    """One window's inputs against the reference: columns one by one, and jointly."""
    hourly = "hourly"
    """The same, looked at every hour."""
    score = "score"
    """The champion's score against its own change from week to week."""
    estimated = "estimated"
    """Performance as estimated from the probabilities, before labels arrive."""
    labels = "labels"
    """Whether labels arrive: maturity, and whether the missing ones are missing at random."""
    realised = "realised"
    """Performance as labels show it, against the reference."""
    concept = "concept"
    """What happens given the scores, over the champion's life."""
    slices = "slices"
    """The same in each group of rows, in the newest window."""
    skew = "skew"
    """Logged answers scored again, and logged features taken from the source again."""


class Answer(StrEnum):
    """What a monitor says."""

    clear = "clear"
    alarm = "alarm"
    waiting = "waiting"
    """Too little evidence to say; `text` tells how much more is needed."""
    unknown = "unknown"
    """Could not compute: never counts as clear, and alerts."""


class Evidence(Record):
    """One column, slice or test inside a verdict."""

    subject: str
    """The column, `column=value` of a slice, or what was tested jointly."""
    test: str
    """In words: `two-sample Kolmogorov-Smirnov`."""
    statistic: float | None = None
    p_value: float | None = None
    effect: float | None = None
    """How large the difference is, on the scale that `test` names."""
    alarm: bool = False
    expected: bool = False
    """Found, and expected: its column drives expected change."""
    text: str = ""


class Verdict(Record):
    """The answer of one monitor about one window."""

    case: str
    monitor: Monitor
    answer: Answer
    as_of: AwareDatetime
    start: AwareDatetime
    end: AwareDatetime
    """The window `[start, end)` it is about."""
    version: str | None
    """The champion it is about; None where there is none."""
    rows: int = Field(ge=0)
    statistic: float | None = None
    threshold: float | None = None
    error_rate: float | None = None
    """Of false alarms, as configured and held."""
    text: str
    """What was found and what was expected, in one sentence for a person."""
    evidence: tuple[Evidence, ...] = ()
    """The worst first."""
    since: AwareDatetime | None = None
    """From about when on; None where that cannot be told."""
    cause: str = ""
    """What makes two alarms one incident: the column, slice or test that gives it away."""
    report: str | None = None
    """Where the pictures are."""

    @property
    def subjects(self) -> tuple[str, ...]:
        return tuple(entry.subject for entry in self.evidence if entry.alarm)


class Figure(Record):
    """One number of one window, for the journal and for dashboards."""

    case: str
    kind: Literal["estimated", "realised", "drift", "labels", "volume"]
    metric: str
    """`auc`, `brier`, `share of labels`, `score drift`, …"""
    start: AwareDatetime
    end: AwareDatetime
    version: str | None
    role: str = "champion"
    slice: str = ""
    """`column=value`, or empty for all rows."""
    value: float | None
    """None where it is not defined on these rows."""
    low: float | None = None
    high: float | None = None
    rows: int = Field(ge=0)


class Findings(Record):
    """What a monitoring verb found: verdicts to act on, figures to draw."""

    verdicts: tuple[Verdict, ...]
    figures: tuple[Figure, ...] = ()


class Action(StrEnum):
    """What triage decides on."""

    none = "none"
    wait = "wait"
    note = "note"
    """Written down; nobody is woken."""
    alert = "alert"
    block = "block"
    """No training until the data are mended."""
    retrain = "retrain"
    retrain_recent = "retrain_recent"
    """On a recent window: the world before it is gone."""
    roll_back = "roll_back"
    escalate = "escalate"
    """People have to look: what could be done by itself was done."""


class Triaged(Record):
    """The one action made of the verdicts of a moment, with the reasons."""

    case: str
    as_of: AwareDatetime
    action: Action
    rule: str
    """Name of the rule that fitted first."""
    reasons: tuple[str, ...]
    verdicts: tuple[Monitor, ...] = ()
    """The monitors whose verdicts the rule is about."""
    since: AwareDatetime | None = None
    """From about when on the world is another, for a training on a recent window."""
    version: str | None = None
    """The champion then: the one that leaves, if somebody has to."""
    held_back: Action | None = None
    """What the rule asked for, where a guard (cool-down, budget, a run in flight) said no."""
    key: str = Field(min_length=1)
    """The same event has the same key, so that it never starts two trainings."""
