"""Of the rules that fit, the one that decides; the others are told."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tasks.triage.guards import TRAININGS, Held
from tasks.triage.rules import Ruled
from tasks.verdicts import Action, Verdict

_NOBODY_NEEDED = frozenset({Action.none, Action.note, Action.wait})
_ONLY_TOLD = frozenset({Action.alert, Action.escalate})
"""Telling people keeps nothing else from being done, and nothing else keeps it."""


@dataclass(frozen=True)
class Fit:
    """A rule that fits, and what keeps its training from being started."""

    ruled: Ruled
    held: Held | None = None

    @property
    def action(self) -> Action:
        return self.held.action if self.held else self.ruled.action

    @property
    def held_back(self) -> Action | None:
        return self.ruled.action if self.held else None

    @property
    def reasons(self) -> tuple[str, ...]:
        held = [f"{self.ruled.action} was held back: {self.held.reason}"] if self.held else []
        return (*self.ruled.reasons, *held)


@dataclass(frozen=True)
class Concern:
    """An alarm that somebody must know of, and what is done about it."""

    verdict: Verdict
    rule: str
    action: Action
    held_back: Action | None
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Choice:
    """The rule that decides, and the others that fit, in the order of the table."""

    decides: Fit
    others: tuple[Fit, ...] = ()

    @property
    def action(self) -> Action:
        return self.decides.action

    @property
    def reasons(self) -> tuple[str, ...]:
        """Of the rule that decides; then, in a line each, what else alarms."""
        told = (f"`{fit.ruled.rule}` fits too: {fit.ruled.reasons[0]}{_but(fit)}" for fit, _ in self._untold())
        return (*self.decides.reasons, *told)

    @property
    def concerns(self) -> tuple[Concern, ...]:
        """One for each rule that asks for somebody and alarms for what no rule before it told."""
        own = self.decides
        first = [self._concern(own, own.ruled.primary)] if own.ruled.primary and _needs_somebody(own) else []
        return (*first, *(self._concern(fit, verdict) for fit, verdict in self._untold() if _needs_somebody(fit)))

    def _untold(self) -> Iterator[tuple[Fit, Verdict]]:
        told = {verdict.monitor for verdict in self.decides.ruled.alarming}
        for fit in self.others:
            new = [verdict for verdict in fit.ruled.alarming if verdict.monitor not in told]
            told |= {verdict.monitor for verdict in new}
            if new:
                yield fit, new[0]

    def _concern(self, fit: Fit, verdict: Verdict) -> Concern:
        rule, asked, own = fit.ruled.rule, fit.ruled.action, self.decides
        if fit is own or asked in _ONLY_TOLD:
            return Concern(verdict, rule, fit.action, fit.held_back, fit.reasons)
        if asked in TRAININGS and self.action in TRAININGS:
            served = f"`{own.ruled.rule}` decided on {self.action}"
            return Concern(verdict, rule, self.action, None, (*fit.reasons, served))
        if fit.held:
            return Concern(verdict, rule, fit.action, asked, fit.reasons)
        before = f"{asked} was held back: `{own.ruled.rule}` comes first"
        return Concern(verdict, rule, Action.wait, asked, (*fit.reasons, before))


def choose(fitting: Sequence[Ruled], held: Callable[[Ruled], Held | None]) -> Choice:
    """The first rule decides; where a guard holds its training back, the next one that may train does, if there is one.

    `fitting` are the rules that fit, at least one; `held` says what keeps the training of one from being started.
    """
    fits = [Fit(ruled, held(ruled)) for ruled in fitting]
    decides = fits[0]
    if decides.held:
        decides = next((fit for fit in fits[1:] if fit.action in TRAININGS), decides)
    return Choice(decides, tuple(fit for fit in fits if fit is not decides))


def _needs_somebody(fit: Fit) -> bool:
    return fit.ruled.action not in _NOBODY_NEEDED


def _but(fit: Fit) -> str:
    return f" ({fit.ruled.action} was held back: {fit.held.reason})" if fit.held else ""
