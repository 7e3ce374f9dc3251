"""The window that is scanned, and what its counts say: numbers in, verdicts out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from configs.case import Case
from configs.monitoring import MonitoringParams
from tasks.monitoring.columns import CHANCE, broken_columns, names_of
from tasks.monitoring.grid import PREDICTION, SCORE, Grid
from tasks.monitoring.hours import HOUR, Hour
from tasks.monitoring.inputs import Scope, Side, compare_inputs, rule_on
from tasks.monitoring.season import in_words
from tasks.monitoring.volume import WINDOWS_BEFORE, judge_volume
from tasks.verdicts import Answer, Evidence, Figure, Findings, Monitor, Verdict

_ANSWERS = frozenset({SCORE, PREDICTION})
"""Watched by a monitor of their own."""
_DAY, _WEEK = timedelta(days=1), timedelta(weeks=1)


@dataclass(frozen=True)
class Window:
    """The window that is scanned: `[start, end)`, from the begin of an hour on."""

    case: Case
    params: MonitoringParams
    seed: int
    version: str | None
    start: datetime
    end: datetime

    @classmethod
    def of(cls, case: Case, params: MonitoringParams, seed: int, version: str | None, as_of: datetime) -> "Window":
        start = (as_of.astimezone(UTC) - params.window).replace(minute=0, second=0, microsecond=0)
        return cls(case, params, seed, version, start, as_of)

    @property
    def history(self) -> datetime:
        """From here on rows are counted: windows before, to compare their number."""
        return self.start - WINDOWS_BEFORE * (self.end - self.start)

    @property
    def not_comparable(self) -> frozenset[str]:
        """Columns the log does not keep as they came."""
        kept = self.case.serving.log
        return frozenset({*kept.hashed, *kept.dropped})

    def without_reference(self, rows: Mapping[datetime, int], answer: Answer, why: str) -> Findings:
        """All that can be said without a reference: whether requests come in."""
        last = max((hour + HOUR for hour, found in rows.items() if found), default=None)
        freshness = self._freshness(rows, last and min(last, self.end))
        others = [self._verdict(monitor, answer, why, 0) for monitor in (Monitor.contract, Monitor.inputs)]
        return Findings(verdicts=(freshness, *others), figures=(self._volume(rows),))

    def findings(  # noqa: PLR0913, PLR0917
        self,
        grid: Grid,
        reference: Side,
        current: Side,
        hours: Mapping[datetime, Hour],
        rows: Mapping[datetime, int],
        earlier: Sequence[Verdict],
    ) -> Findings:
        """The verdicts, from counted hours alone."""
        elsewhere = sum(hour.of_another_contract for hour in hours.values())
        by_challenger = [begin + HOUR for begin, hour in hours.items() if hour.of_challenger]
        newest = [*by_challenger, *([current.profile.last] if current.profile.last else [])]
        last = max(newest or (hour + HOUR for hour, found in rows.items() if found), default=None)
        freshness = self._freshness(rows, last and min(last, self.end))
        figures = [self._volume(rows)]
        if elsewhere and not current.profile.rows:
            why = f"all {elsewhere:,} rows are of another version of the contract than {grid.contract_version}"
            unknown = [self._verdict(monitor, Answer.unknown, why, 0) for monitor in (Monitor.contract, Monitor.inputs)]
            return Findings(verdicts=(freshness, *unknown), figures=tuple(figures))
        contract = self._contract(grid, reference, current, elsewhere)
        inputs = self._inputs(grid, reference, current, earlier, self._out_of_step(grid, rows))
        figures += [self._gap(evidence, current.profile.rows) for evidence in inputs.evidence]
        unique = {(figure.metric, figure.slice): figure for figure in reversed(figures)}
        return Findings(verdicts=(freshness, contract, inputs), figures=tuple(reversed(unique.values())))

    def _freshness(self, rows: Mapping[datetime, int], last: datetime | None) -> Verdict:
        found = judge_volume(rows, last, self.start, self.end, self.params)
        return self._verdict(Monitor.freshness, found.answer, found.text, found.rows, found.evidence)

    def _contract(self, grid: Grid, reference: Side, current: Side, elsewhere: int) -> Verdict:
        rows = current.profile.rows
        if not rows:
            return self._verdict(Monitor.contract, Answer.waiting, "the window has no rows: at least 1 is needed", 0)
        left_out = self.not_comparable
        expected = self.params.reference.expected
        evidence = broken_columns(self.case.contract, grid, current.profile, reference.profile, left_out, expected)
        tested = len(set(self.case.contract.features) - left_out)
        also = f"; {elsewhere:,} more rows were checked against another version of it" if elsewhere else ""
        also += f"; not looked at, being hashed or dropped: {', '.join(sorted(left_out))}" if left_out else ""
        alarms = [one for one in evidence if one.alarm]
        text = f"{rows:,} rows keep the contract in all {tested} features{also}"
        if alarms:
            broken = "break" if len({one.subject for one in alarms}) > 1 else "breaks"
            text = f"{names_of(alarms)} {broken} the contract: `{alarms[0].subject}`: {alarms[0].text}{also}"
        answer = Answer.alarm if alarms else Answer.clear
        verdict = self._verdict(Monitor.contract, answer, text, rows, evidence)
        return verdict.model_copy(update={"error_rate": CHANCE * tested})

    def _out_of_step(self, grid: Grid, rows: Mapping[datetime, int]) -> frozenset[str]:
        """Columns of time, if whole weeks are what the window is held against, and it is none: a Monday is no change.

        It is none if it is too short, or begins before the first row.
        """
        if self.params.reference.kind == "same_hours":
            return frozenset()
        first = min((hour for hour, found in rows.items() if found), default=self.end)
        is_whole = self.params.window % _WEEK == timedelta() and first < self.start + _DAY
        return frozenset() if is_whole else frozenset(name for name, bins in grid.numbers.items() if bins.of_time)

    def _inputs(
        self, grid: Grid, reference: Side, current: Side, earlier: Sequence[Verdict], out_of_step: frozenset[str]
    ) -> Verdict:
        params = self.params.inputs
        against = in_words(self.params.reference)
        counted = (reference.profile.rows, current.profile.rows)
        evidence: tuple[Evidence, ...] = ()
        if min(counted) >= params.min_rows:
            expected = frozenset(self.params.reference.expected)
            scope = Scope(params, self.seed, expected, self.not_comparable | _ANSWERS, out_of_step)
            evidence = compare_inputs(reference, current, grid, scope)
        before = [verdict for verdict in earlier if verdict.end < self.end]
        ruled = rule_on(evidence, counted, against, params, before)
        verdict = self._verdict(Monitor.inputs, ruled.answer, ruled.text, counted[1], evidence)
        told = [one.p_value for one in evidence if one.p_value is not None and not one.expected]
        update = {"statistic": min(told, default=None), "threshold": params.error_rate, "error_rate": params.error_rate}
        return verdict.model_copy(update=update)

    def _verdict(
        self, monitor: Monitor, answer: Answer, text: str, rows: int, evidence: Sequence[Evidence] = ()
    ) -> Verdict:
        alarms = [one.subject for one in evidence if one.alarm] if answer is Answer.alarm else []
        return Verdict(
            case=self.case.name,
            monitor=monitor,
            answer=answer,
            as_of=self.end,
            start=self.start,
            end=self.end,
            version=self.version,
            rows=rows,
            text=text,
            evidence=tuple(evidence),
            cause=alarms[0] if alarms else "",
        )

    def _volume(self, rows: Mapping[datetime, int]) -> Figure:
        count = sum(found for hour, found in rows.items() if self.start <= hour < self.end)
        return self._figure("volume", "rows", float(count), count)

    def _gap(self, evidence: Evidence, rows: int) -> Figure:
        return self._figure("drift", evidence.test, evidence.effect, rows, evidence.subject)

    def _figure(self, kind: str, metric: str, value: float | None, rows: int, subject: str = "") -> Figure:
        return Figure.model_validate(
            {
                "case": self.case.name, "kind": kind, "metric": metric, "start": self.start, "end": self.end,
                "version": self.version, "slice": subject, "value": value, "rows": rows,
            }
        )  # fmt: skip
