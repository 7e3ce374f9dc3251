"""The rules of triage: which lines of the table fit, and because of what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from configs.triage import Line, Rule, Span
from tasks.verdicts import Action, Answer, Monitor, Verdict

SILENT = "silent"
"""What a monitor says that has said nothing about this champion."""
_NOTHING_FITS = "nothing to do"


@dataclass(frozen=True)
class Facts:
    """What the rules look at."""

    standing: Mapping[Monitor, Verdict]
    """The newest verdict of each monitor, as far as it is about this champion and not too old."""
    recent: Mapping[Monitor, Sequence[Verdict]] = field(default_factory=dict)
    """The verdicts of each monitor, newest first; the standing one among them."""
    hours_since_promotion: float | None = None
    hours_since_training: float | None = None
    new_rows: int | None = None
    can_roll_back: bool = False
    """There is a retired champion to go back to."""


@dataclass(frozen=True)
class Ruled:
    """A rule that fits, and why it does."""

    rule: str
    action: Action
    reasons: tuple[str, ...]
    verdicts: tuple[Verdict, ...] = ()
    """The verdicts that made it fit, what alarms first."""

    @property
    def alarming(self) -> tuple[Verdict, ...]:
        """The verdicts among them that alarm or could not compute."""
        return tuple(verdict for verdict in self.verdicts if verdict.answer in (Answer.alarm, Answer.unknown))

    @property
    def primary(self) -> Verdict | None:
        """The verdict that the action is about, if there is one that alarms or could not compute."""
        return next(iter(self.alarming), None)

    @property
    def since(self) -> datetime | None:
        """When what it is about began, if a verdict says so."""
        return next((verdict.since for verdict in self.alarming if verdict.since), None)


def changed_at(ruled: Ruled, fitting: Sequence[Ruled]) -> datetime | None:
    """When the world changed, for the training a rule asks for: as its own verdicts say, or as those of others do.

    Others are those of `fitting` that want the new world learned; of their moments the newest counts.
    """
    if ruled.since:
        return ruled.since
    moments = [ruled.since for ruled in fitting if ruled.action is Action.retrain_recent and ruled.since]
    return max(moments, default=None)


def fitting(rules: Sequence[Rule], facts: Facts) -> tuple[Ruled, ...]:
    """The rules that fit, in the order of the table; none fits: one that says that nothing is to be done."""
    found = [ruled for ruled in (_fit(rule, facts) for rule in rules) if ruled]
    if found:
        return tuple(found)
    said = ", ".join(f"{monitor} {verdict.answer}" for monitor, verdict in facts.standing.items())
    return (Ruled(_NOTHING_FITS, Action.none, (f"no rule fits ({said or 'no monitor has said anything'})",)),)


def cause_of(verdict: Verdict) -> str:
    """What makes two alarms one incident: the monitor, and the column, slice or test that gives it away."""
    if verdict.answer is Answer.unknown:
        return f"{verdict.monitor}: could not compute"
    return f"{verdict.monitor}: {verdict.cause}" if verdict.cause else verdict.monitor.value


def _fit(rule: Rule, facts: Facts) -> Ruled | None:
    action = Action(rule.action)
    if action is Action.roll_back and not facts.can_roll_back:
        return None
    lines = [_saying(line, rule, facts) for line in rule.when]
    numbers = _numbers(rule, facts)
    season = _only_expected(rule, facts)
    if not all(lines) or numbers is None or season is None:
        return None
    matched = list(dict.fromkeys([monitor for line in lines for monitor in line] + season))
    verdicts = sorted((facts.standing[m] for m in matched if m in facts.standing), key=_alarms_first)
    words = [f"{verdict.monitor} {_says(verdict)}: {verdict.text}" for verdict in verdicts]
    silent = [f"{monitor} has said nothing about this champion" for monitor in matched if monitor not in facts.standing]
    return Ruled(rule.rule, action, (*words, *silent, *numbers), tuple(verdicts))


def _saying(line: Line, rule: Rule, facts: Facts) -> list[Monitor]:
    """The monitors of a line that say one of its answers."""
    wanted = dict.fromkeys(Monitor, line["any"]) if "any" in line else {}
    wanted |= {Monitor(name): answers for name, answers in line.items() if name != "any"}
    return [monitor for monitor, answers in wanted.items() if _answer(monitor, rule, facts) in answers]


def _answer(monitor: Monitor, rule: Rule, facts: Facts) -> str:
    verdict = facts.standing.get(monitor)
    if verdict is None:
        return SILENT
    if verdict.answer is Answer.alarm and not _persists(monitor, rule, facts):
        return Answer.waiting.value
    return verdict.answer.value


def _persists(monitor: Monitor, rule: Rule, facts: Facts) -> bool:
    """Whether the alarm stood in k of the last n verdicts; a window that was judged twice counts once."""
    k, n = rule.persistence
    windows = {verdict.end: verdict.answer for verdict in reversed(facts.recent.get(monitor, ()))}
    windows[facts.standing[monitor].end] = Answer.alarm
    last = sorted(windows, reverse=True)[:n]
    return sum(windows[end] is Answer.alarm for end in last) >= k


def _only_expected(rule: Rule, facts: Facts) -> list[Monitor] | None:
    """The monitors that found expected change and nothing else; None if that is not so, or not asked for."""
    if not rule.only_expected:
        return []
    named = [facts.standing[Monitor(name)] for name in rule.only_expected if Monitor(name) in facts.standing]
    surprising = any(_surprises(verdict) for verdict in named)
    expected = [verdict.monitor for verdict in named if any(entry.expected for entry in verdict.evidence)]
    return expected if expected and not surprising else None


def _surprises(verdict: Verdict) -> bool:
    found = [entry for entry in verdict.evidence if entry.alarm or entry.expected]
    if verdict.answer is Answer.alarm and not found:
        return True  # an alarm that names no column is not explained by one
    return verdict.answer is Answer.unknown or any(entry.alarm and not entry.expected for entry in found)


def _numbers(rule: Rule, facts: Facts) -> list[str] | None:
    """How the numbers that a rule asks for stand; None if one of them does not hold."""
    asked = (
        ("hours since the promotion", rule.hours_since_promotion, facts.hours_since_promotion),
        ("hours since the last training", rule.hours_since_training, facts.hours_since_training),
        ("rows since the last training", rule.new_rows, facts.new_rows),
    )
    if not all(span.holds(value) for _, span, value in asked if span):
        return None
    return [f"{value:,.0f} {what} ({_worded(span)})" for what, span, value in asked if span and value is not None]


def _worded(span: Span) -> str:
    low = [f"at least {span.at_least:g}"] if span.at_least is not None else []
    high = [f"at most {span.at_most:g}"] if span.at_most is not None else []
    return "the rule asks for " + " and ".join(low + high)


def _says(verdict: Verdict) -> str:
    return {
        Answer.clear: "is clear",
        Answer.alarm: "alarms",
        Answer.waiting: "waits",
        Answer.unknown: "could not compute",
    }[verdict.answer]


def _alarms_first(verdict: Verdict) -> int:
    return [Answer.alarm, Answer.unknown, Answer.waiting, Answer.clear].index(verdict.answer)
