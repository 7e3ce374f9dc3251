"""The rules that a challenger must keep to while it rolls out; each may be looked at whenever one likes; pure.

A rule that stops is a sequential test of "it is as it should be", with a part of the case's error rate: an equal
challenger is stopped wrongly, by any of them at any look, with at most that rate.
"""

from dataclasses import dataclass

import numpy as np

from configs.case import Problem
from configs.rollout import RolloutParams
from tasks.evaluation.predictions import Floats
from tasks.monitoring.sequential import BoundedMeanTest, ConfidenceSequence
from tasks.records import Reason, Rollout
from tasks.rollout.arms import arms_compared
from tasks.rollout.days import Days, log_evidence
from tasks.rollout.evidence import Pairs, Seen
from tasks.rollout.expected import Expected
from tasks.rollout.losses import Loss, cost_bounds, loss_of
from tasks.rollout.stages import HARM

_SPENT = {
    "errors": 0.2,
    "fallbacks": 0.05,
    "p95": 0.1,
    "p99": 0.1,
    "disagreement": 0.05,
    "shift": 0.1,
    "loss": 0.3,
    "value": 0.1,
}
"""What part of the error rate each rule may spend."""
_SHADOW_SLACK = 5
_FEWEST_TO_TIME = 100
"""Of the champion's requests, before its latencies say anything."""


@dataclass(frozen=True)
class Gates:
    """The rules of one rollout."""

    problem: Problem
    params: RolloutParams
    state: Rollout
    expected: Expected

    def reasons(self, seen: Seen) -> tuple[Reason, ...]:
        """Every rule of the stage, and how the challenger stands to it."""
        kind = self.state.stage.kind
        fallbacks = () if kind == "shadow" else (self._fallbacks(seen),)
        technical = (self._errors(seen), *fallbacks, *self._latency(seen))
        if kind == "warm":
            return technical
        if kind == "ab":
            return (*technical, *self._value(seen), arms_compared(seen.pairs.arms, self.params, self.expected))
        model = (*self._disagreement(seen), self._shift(seen), *self._loss(seen), *self._value(seen))
        return (*technical, *model, *self._enough(seen))

    def _rate(self, rule: str) -> float:
        """A rule's part of the error rate; of answers, shadow, canary and what comes after are tests of their own.

        Of labels there is one test for the whole rollout: those of the shadow come while users are asked already.
        """
        if rule in HARM:
            return self.params.error_rate * _SPENT[rule]
        kinds = {stage.kind for stage in self.state.plan} - {"load"}
        return self.params.error_rate * _SPENT[rule] / len(kinds)

    def _surely_above(self, rule: str, values: Floats, loss: Loss, bound: float, parts: int = 1) -> BoundedMeanTest:
        test = BoundedMeanTest(low=loss.lowest, high=loss.highest, threshold=bound, error_rate=self._rate(rule) / parts)
        return test.seen(values)

    def _share(self, rule: str, values: Floats, bound: float, what: str) -> Reason:
        test = self._surely_above(rule, values, Loss("share", 1.0), bound)
        found = f"{values.mean():.2%} of {len(values):,}" if len(values) else "none seen"
        text = f"{what}: {found}, at most {bound:.2%} allowed{_said(test)}"
        return Reason(rule=rule, passed=not test.rejected, text=text)

    def _errors(self, seen: Seen) -> Reason:
        shadow = self.state.stage.kind == "shadow"
        what = "rows not scored in the shadow" if shadow else "rows it failed to answer"
        bound = self.params.technical.error_rate * (_SHADOW_SLACK if shadow else 1) + seen.champion_failed
        return self._share("errors", seen.failed, min(0.99, bound), what)

    def _fallbacks(self, seen: Seen) -> Reason:
        bound = min(0.99, self.params.technical.fallback_rate + seen.champion_fell_back)
        return self._share("fallbacks", seen.fell_back, bound, "rows that somebody else answered")

    def _latency(self, seen: Seen) -> tuple[Reason, ...]:
        return tuple(self._slower(rule, seen, quantile) for rule, quantile in (("p95", 0.95), ("p99", 0.99)))

    def _slower(self, rule: str, seen: Seen, quantile: float) -> Reason:
        if len(seen.champion_seconds) < _FEWEST_TO_TIME or not len(seen.seconds):
            return Reason(rule=rule, passed=True, text="too few requests of the champion to compare with")
        theirs, ours = (float(np.quantile(side, quantile)) for side in (seen.champion_seconds, seen.seconds))
        limit = self.params.technical.latency_ratio
        test = self._surely_above(
            rule, (seen.seconds > limit * theirs).astype(np.float64), Loss("share", 1.0), 1 - quantile
        )
        text = f"{1000 * ours:.2f} ms against {1000 * theirs:.2f} ms, at most {limit:g} times allowed{_said(test)}"
        return Reason(rule=rule, passed=not test.rejected, text=text)

    def _disagreement(self, seen: Seen) -> tuple[Reason, ...]:
        if self.state.stage.kind != "shadow":
            return ()
        limits = self.params.model
        usual = self.expected.disagreement * (1 + limits.disagreement) + self.expected.disagreement_wavering
        bound = min(0.99, usual + limits.dust)
        test = self._surely_above("disagreement", seen.distances, Loss("distance", 1.0), bound)
        text = (
            f"predictions differ by {_mean(seen.distances):.4f} on average, {self.expected.disagreement:.4f} at "
            f"evaluation, at most {bound:.4f} allowed{_said(test)}"
        )
        return (Reason(rule="disagreement", passed=not test.rejected, text=text),)

    def _shift(self, seen: Seen) -> Reason:
        moved = seen.shifts - self.expected.shift
        both = Loss("shift", 2.0, -2.0)
        bound = min(1.9, self.params.model.shift + self.expected.wavering)
        tests = [self._surely_above("shift", signed, both, bound, parts=2) for signed in (moved, -moved)]
        worse = max(tests, key=lambda test: test.e_value)
        text = (
            f"predictions lie {_mean(seen.shifts):+.4f} from the champion's, {self.expected.shift:+.4f} at evaluation, "
            f"at most {bound:.3g} further allowed{_said(worse)}"
        )
        return Reason(rule="shift", passed=not any(test.rejected for test in tests), text=text)

    def _loss(self, seen: Seen) -> tuple[Reason, ...]:
        loss = loss_of(self.problem, self.expected.scale / 8)
        both = Loss(loss.name, loss.highest, -loss.highest)
        harm = self._surely_above("loss", seen.pairs.losses, both, 0.0)
        over_days = self._over_days(seen.pairs.losses, seen.pairs.days, self.expected.loss_between_days)
        mean, count = _mean(seen.pairs.losses), len(seen.pairs.losses)
        found = self._unharmed(
            "loss", f"{loss.name} {mean:+.4f} against the champion's, {count:,} pairs", harm, over_days
        )
        if self.state.stage.labels and found.passed:
            return found, self._not_worse(seen.pairs, both)
        return (found,)

    def _unharmed(self, rule: str, text: str, test: BoundedMeanTest, over_days: float | None) -> Reason:
        """To stop, harm has to be shown twice: for rows as if each were drawn alone, and for days that differ.

        Shown for rows alone, as they stand now, it waits: these days were bad for users, whatever others will be like.
        Where the challenger answers everybody it does not, because no pair of rows comes any more that could end that.
        """
        if over_days is None or not test.rows:
            return Reason(rule=rule, passed=not test.rejected, text=f"{text}{_said(test)}")
        stage = self.state.stage
        both = f"p = {test.p_value:.2g}, {over_days:.2g} for days that differ"
        fails = test.rejected and over_days <= test.error_rate
        compared = stage.kind in {"shadow", "canary"} and stage.share < 1
        waits = compared and not fails and test.e_value * test.error_rate >= 1
        held = "; held while rows say so" if waits else ""
        said = f" ({both}; stops where neither is above {test.error_rate:.2g}{held})"
        return Reason(rule=rule, passed=not fails and not waits, inconclusive=waits, text=f"{text}{said}")

    def _over_days(self, harm: Floats, days: Days, between: float) -> float | None:
        """The p-value of harm among days that differ; None where it is not known by how much they do."""
        return float(np.exp(-max(0.0, log_evidence(harm, days, between)))) if between else None

    def _not_worse(self, pairs: Pairs, loss: Loss) -> Reason:
        margin = self.params.margin * self.expected.champion_loss
        sequence = ConfidenceSequence(low=loss.lowest, high=loss.highest, confidence=1 - self.params.error_rate)
        interval = sequence.seen(pairs.losses).interval
        over_days = self._over_days(margin - pairs.losses, pairs.days, self.expected.loss_between_days)
        passed = interval.high < margin and (over_days is None or over_days <= self.params.error_rate)
        by_days = "" if over_days is None else f", p = {over_days:.2g} for days that differ"
        text = (
            f"{loss.name} higher by at most {interval.high:.4f} (confidence {interval.confidence:g}, at any time); "
            f"less than {margin:.4f} wanted{by_days}"
        )
        return Reason(rule="not worse", passed=passed, inconclusive=not passed, text=text)

    def _value(self, seen: Seen) -> tuple[Reason, ...]:
        if self.params.costs is None:
            return ()
        bounds = cost_bounds(self.params.costs)
        width = bounds.highest - bounds.lowest
        test = self._surely_above("value", seen.pairs.costs, Loss("cost", width, -width), 0.0)
        over_days = self._over_days(seen.pairs.costs, seen.pairs.days, self.expected.cost_between_days)
        text = f"costs {1000 * _mean(seen.pairs.costs):+.1f} per 1,000 answers against the champion"
        return (self._unharmed("value", text, test, over_days),)

    def _enough(self, seen: Seen) -> tuple[Reason, ...]:
        stage = self.state.stage
        wanted = (("requests", seen.rows_here, stage.requests), ("labels", seen.labels_here, stage.labels))
        return tuple(_counted(rule, found, least) for rule, found, least in wanted)


def _counted(rule: str, found: int, least: int) -> Reason:
    passed = found >= least
    return Reason(rule=rule, passed=passed, inconclusive=not passed, text=f"{found:,} in this stage, {least:,} wanted")


def _said(test: BoundedMeanTest) -> str:
    return f" (p = {test.p_value:.2g}, stops below {test.error_rate:.2g})" if test.rows else ""


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else 0.0
