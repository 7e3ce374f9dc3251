"""The watch over every hour: an e-detector over all columns, which may be looked at as often as one likes.

For each bet (`bets.py`) a game is begun each hour, and the wealth of all its games is added up. Averaged over the bets
of a column and over the columns, this exceeds `horizon / error_rate` within the horizon with a chance of at most
`error_rate` (`sequential.py`). After an alarm the sums are held at what alarms, so that it ends soon after its cause.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

import numpy as np
from pydantic import AwareDatetime

from configs.monitoring import HourlyParams
from tasks.evaluation.predictions import Floats
from tasks.monitoring.bets import Bet, Bets, Reading
from tasks.monitoring.profile import Profile
from tasks.monitoring.sequential import log_threshold, restarted
from tasks.records import Record
from tasks.verdicts import Answer, Evidence, Monitor, Verdict

HOUR = timedelta(hours=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KEPT_FOR_VILLE = 0.9
"""Of the error rate; the rest is for a reference that is farther from the truth than its tolerance says."""


class Watched(Record):
    """What the watch remembers of a champion's hours."""

    version: str
    reference: str
    """What hours are held against, and on which grid: with anything else the watch begins anew."""
    bets: str = ""
    """Digest of the bets: with others their sums begin anew, as they do where the reference moves along."""
    begun: AwareDatetime | None = None
    """The first hour."""
    until: AwareDatetime | None = None
    """End of the last hour taken in: an hour counts once."""
    added_since: AwareDatetime | None = None
    """Where the hours begin that the last look added."""
    added: int = 0
    """Their rows: a look that was cut short before its verdict was written down says the same when it is made again."""
    looks: int = 0
    """Hours with rows."""
    rows: int = 0
    skipped: int = 0
    """Hours that came too late, after a later one was taken in."""
    log_sums: tuple[float, ...] = ()
    since: tuple[float, ...] = ()
    """For each bet the hour its gain began, as hours since 1970."""


@dataclass(frozen=True)
class Watch:
    """The bets against one reference, and how much they must gain."""

    bets: Bets
    params: HourlyParams
    expected: Collection[str] = ()
    """Columns that drive expected change: their values are shown, and alarm nobody; that values are missing does."""

    @cached_property
    def _log_weights(self) -> Floats:
        """Of each bet among those of its column that may alarm; minus infinity for the others."""
        bets, columns = self.bets, self.bets.column
        expected = np.array([column in self.expected for column in bets.columns])[columns]
        missing = np.array([bets.readings[bet.reading].what == "missing" for bet in bets.bets])
        weights = np.where(expected & ~missing, 0.0, np.exp(bets.log_weights))
        whole = np.bincount(columns, weights=weights, minlength=len(bets.columns))
        with np.errstate(divide="ignore"):
            log_weights: Floats = np.log(weights) - np.log(np.where(whole > 0, whole, 1.0))[columns]
        return log_weights

    @property
    def log_threshold(self) -> float:
        """That of the mean wealth over the columns."""
        return log_threshold(self.params.horizon_days * 24, _KEPT_FOR_VILLE * self.params.error_rate)

    def take(self, state: Watched, start: datetime, hour: Profile) -> Watched:
        """The state after the hour that begins at `start`; an hour already past is counted as skipped, not taken."""
        if state.until is not None and start < state.until:
            return state.model_copy(update={"skipped": state.skipped + 1})
        state = state.model_copy(update={"begun": state.begun or start, "until": start + HOUR})
        if not hour.rows:
            return state
        size, goes_on = len(self.bets.bets), state.bets == self.bets.digest and state.log_sums
        log_sums = np.array(state.log_sums) if goes_on else np.full(size, -np.inf)
        since = np.array(state.since) if goes_on else np.zeros(size)
        now = (start - _EPOCH) / HOUR
        log_sums, since = restarted(log_sums, since, self.bets.log_ratios(hour), now)
        log_sums = _held(log_sums, self._enough)
        return state.model_copy(
            update={
                "looks": state.looks + 1,
                "rows": state.rows + hour.rows,
                "bets": self.bets.digest,
                "log_sums": tuple(log_sums.tolist()),
                "since": tuple(since.tolist()),
            }
        )

    def wealth(self, state: Watched) -> Floats:
        """The logarithm of each column's mean wealth."""
        return self._wealth(state, self.bets.log_weights)

    def alarming(self, state: Watched) -> Floats:
        """The same of the bets that may alarm."""
        return self._wealth(state, self._log_weights)

    def _wealth(self, state: Watched, log_weights: Floats) -> Floats:
        if not state.log_sums or state.bets != self.bets.digest:
            return np.full(len(self.bets.columns), -np.inf)
        return self.bets.by_column(np.array(state.log_sums), log_weights)

    def total(self, state: Watched) -> float:
        """The logarithm of the mean over the columns, of what may alarm."""
        columns = np.unique(self.bets.column[np.isfinite(self._log_weights)])
        if not len(columns):
            return -np.inf
        return float(np.logaddexp.reduce(self.alarming(state)[columns]) - np.log(len(columns)))

    def verdict(self, case: str, state: Watched, as_of: datetime, start: datetime, rows: int) -> Verdict:
        """What is to be said of the hours in `[start, state.until)`, the newest, in the light of all before."""
        total = self.total(state)
        alarm = total >= self.log_threshold
        evidence = self._evidence(state, alarm=alarm)
        return Verdict(
            case=case,
            monitor=Monitor.hourly,
            answer=Answer.alarm if alarm else Answer.clear if rows else Answer.waiting,
            as_of=as_of,
            start=start,
            end=state.until or start,
            version=state.version,
            rows=rows,
            statistic=float(np.exp(min(total, 700.0))),
            threshold=float(np.exp(self.log_threshold)),
            error_rate=self.params.error_rate,
            text=self._text(state, evidence, rows, alarm=alarm),
            evidence=evidence,
            cause=next((entry.subject for entry in evidence if entry.alarm), "") if alarm else "",
        )

    def _text(self, state: Watched, evidence: tuple[Evidence, ...], rows: int, *, alarm: bool) -> str:
        late = f" {state.skipped} hours came after a later one, and were left out." if state.skipped else ""
        days = self.params.horizon_days
        if not rows and not alarm:
            return f"Nothing was answered in these hours; {state.looks} with rows were watched before.{late}"
        if not alarm:
            return (
                f"{state.looks} hours and {state.rows:,} rows watched; no column moved beyond its tolerance, at "
                f"{self.params.error_rate:.0%} false alarms in {days} days.{late}"
            )
        worst = next((entry for entry in evidence if entry.alarm), evidence[0])
        others = sum(entry.alarm for entry in evidence) - 1
        also = f", and {others} other columns" if others > 0 else ""
        return (
            f"`{worst.subject}` changed: {worst.text}{also}. Looked at every hour, such evidence comes up by chance "
            f"in at most {self.params.error_rate:.0%} of {days}-day spans.{late}"
        )

    def _evidence(self, state: Watched, *, alarm: bool) -> tuple[Evidence, ...]:
        wealth, alarming = self.wealth(state), self.alarming(state)
        found = alarming >= self.log_threshold
        gained = np.where(found, alarming, wealth)
        told = [
            self._of_column(state, index, gained[index], alarms=bool(found[index]), alarm=alarm)
            for index in np.argsort(-gained, kind="stable")
            if gained[index] >= self.log_threshold / 2
        ]
        return tuple(told)

    def _of_column(self, state: Watched, index: int, gained: float, *, alarms: bool, alarm: bool) -> Evidence:
        """What is held against a column: by bets that may alarm, if they found enough."""
        column = self.bets.columns[index]
        log_weights = self._log_weights if alarms else self.bets.log_weights
        mine = np.flatnonzero(self.bets.column == index)
        best = mine[np.argmax(np.array(state.log_sums)[mine] + log_weights[mine])]
        bet = self.bets.bets[best]
        began = _EPOCH + round(state.since[best]) * HOUR
        return Evidence(
            subject=column,
            test="e-detector over hours (Shiryaev-Roberts)",
            statistic=float(np.exp(min(gained, 700.0))),
            p_value=float(min(1.0, self.params.horizon_days * 24 / np.exp(min(gained, 700.0)))),
            effect=bet.shift if bet.up else -bet.shift,
            alarm=alarms and alarm,
            expected=not alarms and gained >= self.log_threshold,
            text=f"{_in_words(self.bets.readings[bet.reading], bet)} since about {began:%Y-%m-%d %H:%M}",
        )

    @property
    def _enough(self) -> Floats:
        """What each bet needs to alarm by itself."""
        weights = np.where(np.isfinite(self._log_weights), self._log_weights, self.bets.log_weights)
        enough: Floats = self.log_threshold + np.log(len(self.bets.columns)) - weights
        return enough


def _held(log_sums: Floats, enough: Floats) -> Floats:
    """What is more than enough, mostly given away: the order stays, and the way back is short."""
    more = np.maximum(log_sums - enough, 0.0)
    held: Floats = np.minimum(log_sums, enough) + np.log1p(more)
    return held


def _in_words(reading: Reading, bet: Bet) -> str:
    up = "higher" if bet.up else "lower"
    match reading.what:
        case "mean":
            return f"its values are {up}, by about {bet.shift:.2g} standard deviations"
        case "spread":
            return f"its values are {'wider' if bet.up else 'narrower'} spread"
        case "missing":
            return f"{'more' if bet.up else 'fewer'} values are missing"
        case "beyond":
            return "values lie beyond all the reference has"
        case "share":
            return f"`{reading.name}` is {'more' if bet.up else 'less'} frequent"
        case "unseen":
            return "values come that the reference does not have"
