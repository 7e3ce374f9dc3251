"""A year of production that never was, written through the journal, the history and the registry as the flows do it."""

import math
import random
from datetime import UTC, datetime, timedelta
from typing import Any

from configs.project import Project
from configs.rollout import RolloutParams
from tasks.adapters.history import History
from tasks.adapters.incidents import Incidents
from tasks.adapters.journal import Journal, Trained
from tasks.adapters.registry import LoggedCandidate, Registry
from tasks.records import BatchReport, Event, Finding, Rollout, Severity, Traffic
from tasks.rollout.stages import begin, following, traffic_of
from tasks.triage.incident import Incident
from tasks.verdicts import Action, Figure, Findings, Monitor, Triaged, Verdict

CASE = "flights"
DAY, WEEK = timedelta(days=1), timedelta(days=7)


def on(month: int, day: int, hour: int = 2) -> datetime:
    return datetime(2013, month, day, hour, tzinfo=UTC)


BEGAN, ENDED = on(4, 1), on(12, 30)
BROKEN = on(7, 8)
"""For a week, `distance` comes in metres."""
LOSS, MENDED = on(9, 12), on(10, 21)
"""The world changes, and a champion that knows it serves."""
CHAMPIONS = ((BEGAN, "1"), (on(6, 17), "2"), (on(9, 7), "4"), (on(9, 23), "2"), (on(10, 17), "5"))
RENEWED = (BEGAN, on(6, 12), on(8, 27), MENDED)
MEASURED = frozenset(Monitor) - {Monitor.freshness, Monitor.contract, Monitor.hourly, Monitor.labels, Monitor.skew}
RATES = {
    Monitor.inputs: 0.05,
    Monitor.hourly: 0.05,
    Monitor.realised: 0.05,
    Monitor.concept: 0.05,
    Monitor.slices: 0.05,
    Monitor.labels: 0.01,
}
CLEAR = {
    Monitor.freshness: "6,240 answers, about as many as in the weeks before (6,010 to 6,480).",
    Monitor.contract: "Every row keeps the contract.",
    Monitor.inputs: "15 columns and their joint distribution look like the reference.",
    Monitor.hourly: "No hour of the last 28 days differs.",
    Monitor.score: "The score moved as far as it does from week to week anyway.",
    Monitor.estimated: "Estimated AUC 0.7121 (0.6961 to 0.7281, from 9 earlier windows); 0.7190 in the reference.",
    Monitor.labels: "97 % of the labels of 2013-12-09 to 2013-12-16 are in, as they usually are by now.",
    Monitor.realised: "AUC 0.7096 (0.6986 to 0.7206); 0.0094 below its reference, which may be chance.",
    Monitor.concept: "41,220 labels say nothing against the scores.",
    Monitor.slices: "6,120 labels say nothing against the scores in any of 164 slices.",
    Monitor.skew: "500 logged answers come out the same when scored again.",
}
ALARM = {
    Monitor.contract: ("distance", "`distance` is outside 0 to 6000 in 412 of 5,893 rows (for example 1085000)."),
    Monitor.inputs: ("carrier", "`carrier` differs: the flights of AirTran are Southwest's since November."),
    Monitor.score: ("score", "The score moved further than from week to week; `origin` moved it."),
    Monitor.realised: ("auc", "AUC 0.668 (0.657 to 0.679), 0.041 below its reference; the rows are no harder."),
    Monitor.concept: ("all rows", "Since about 2013-09-13 31 % of the events where 22 % were expected."),
    Monitor.slices: ("origin=JFK", "In `origin=JFK` 31 % of 2,050 rows where 22 % were expected."),
    Monitor.skew: ("distance", "12 of 500 logged answers come out otherwise when scored again."),
}


def live(project: Project) -> None:
    """Write the year into the stores of `project`."""
    _Versions(project).live()
    _Monitors(project).live()
    _incidents(project)
    _quarantine(project)


class _Versions:
    """What was trained, decided and rolled out."""

    def __init__(self, project: Project) -> None:
        self.registry, self.history, self.journal = Registry(project), History(project), Journal(project)
        self.champion: str | None = None

    def live(self) -> None:
        self.promote(BEGAN, self.train(BEGAN), "policy", "auto_approve: first_model")
        self.train_in_vain(on(4, 29))
        self.roll_out(on(6, 5), self.train(on(6, 3)), "ada")
        third = self.train(on(7, 22), "rolled back")
        self.roll_out(on(7, 23), third, "ada", stopped="canary 5 %: 14 % of the answers differ by more than expected")
        self.roll_out(on(8, 27), self.train(on(8, 26), "rolled back"), "grace")
        self.event(on(9, 23, 9), "rolled back", "2", "triage", "a fresh release got worse: AUC 0.664", before="4")
        self.champion = "2"
        self.roll_out(on(10, 5), self.train(on(10, 4)), "ada")
        self.train_in_vain(on(11, 25))
        self.train(on(12, 23), "awaiting approval")
        for alias, version in (("champion", "5"), ("challenger", "6"), ("retired", "2")):
            self.registry.move_alias(CASE, alias, version)
        self.registry.set_traffic(CASE, Traffic(challenger="6", salt="flights/6"))

    def train(self, at: datetime, status: str = "champion") -> str:
        """A version that passed the gate; its model is only a name."""
        run_id = self.registry.start_run(CASE, f"{at:%Y-%m-%d}", {})
        experiment = self.registry._experiment(CASE)
        model = self.registry._client.create_logged_model(experiment, name="model", source_run_id=run_id)
        self.registry.end_run(run_id)
        logged = LoggedCandidate(run_id=run_id, model_id=model.model_id, model_sha256="0" * 64)
        window = f"{at - 24 * WEEK:%Y-%m-%d} to {at - 4 * WEEK:%Y-%m-%d}"
        tags = {"status": status, "asked_at": at.isoformat(), "train_window": window, "flow_run_id": run_of(at)}
        version = self.registry.register(CASE, logged, "", tags).version
        self.journal.note_training(Trained(case=CASE, run=run_of(at), as_of=at, ruling="promote", version=version))
        self.event(at, "registered", version, "training", "passed the gate")
        return version

    def train_in_vain(self, at: datetime) -> None:
        self.journal.note_training(Trained(case=CASE, run=run_of(at), as_of=at, ruling="reject", version=None))

    def promote(self, at: datetime, version: str, by: str, reason: str, state: Rollout | None = None) -> None:
        self.event(at, "approved", version, by, reason, before=self.champion, rollout=state)
        self.champion = version

    def roll_out(self, at: datetime, version: str, by: str, stopped: str | None = None) -> None:
        """Stage by stage, two days each; `stopped`: in the first canary, and why."""
        assert self.champion is not None
        state = begin(version, self.champion, RolloutParams(), 0.0, at)
        self.move(at, state, by, "better in every airport")
        while not state.over:
            at += 2 * DAY
            if stopped and state.stage.kind == "canary":
                state = state.model_copy(update={"standing": "stopped"})
                self.move(at, state, "rollout", stopped)
                return
            passed = f"{state.stage.name}: all 6 rules passed"
            promoted_before, state = state.promoted, following(state, (), at)
            if state.promoted and not promoted_before:
                self.promote(at, version, "rollout", passed, state)
            else:
                self.move(at, state, "rollout", passed)

    def move(self, at: datetime, state: Rollout, by: str, reason: str) -> None:
        self.event(at, "rollout", state.version, by, reason, rollout=state, traffic=traffic_of(CASE, state))

    def event(self, at: datetime, what: str, version: str, by: str, reason: str, **more: Any) -> None:
        said = {"case": CASE, "at": at, "what": what, "version": version, "by": by, "reason": reason}
        self.history.append(Event.model_validate(said | more))


class _Monitors:
    """What the monitors found, and what triage made of it: three looks a week."""

    def __init__(self, project: Project) -> None:
        self.journal, self.draw = Journal(project), random.Random(7)
        self.champion = "1"

    def live(self) -> None:
        found = []
        for number in range((ENDED - BEGAN).days):
            at = BEGAN + (number + 1) * DAY
            self.champion = next(version for since, version in reversed(CHAMPIONS) if at >= since)
            if at.weekday() in {0, 2, 4}:
                found.append(self.look(at))
        # In one go: a year of commits would take longer than all tests of the page.
        every = Findings(
            verdicts=tuple(one for some in found for one in some.verdicts),
            figures=tuple(one for some in found for one in some.figures),
        )
        self.journal.record(every)

    def look(self, at: datetime) -> Findings:
        window, labelled = (at - WEEK, at), (at - 12 * DAY - WEEK, at - 12 * DAY)
        drift, limit = self.drift(at), 0.062
        promised = self.performance(at) + self.draw.gauss(0, 0.003) + (0.02 if at > LOSS else 0)
        figures = [
            self.figure("drift", "score drift", window, drift),
            self.figure("drift", "score drift threshold", window, limit),
            self.figure("estimated", "auc", window, promised, half=0.016),
        ]
        broken = BROKEN <= at < BROKEN + WEEK
        alarms = {Monitor.contract: broken, Monitor.skew: broken, Monitor.score: drift > limit}
        alarms[Monitor.inputs] = self.draw.random() < 0.06 or drift > limit + 0.012
        if labelled[0] >= BEGAN and at.weekday() == 0:
            value = self.performance(labelled[1]) + self.draw.gauss(0, 0.004)
            figures += [
                self.figure("realised", "auc", labelled, value, half=0.011),
                self.figure("labels", "share of labels", labelled, 0.97 + self.draw.random() * 0.03),
            ]
            alarms |= {Monitor.realised: value < 0.672, Monitor.concept: LOSS + 2 * WEEK < at < LOSS + 7 * WEEK}
            alarms[Monitor.slices] = alarms[Monitor.concept]
        self.act(at, alarms)
        verdicts = [self.verdict(monitor, at, alarm=alarms.get(monitor, False)) for monitor in Monitor]
        return Findings(verdicts=tuple(verdicts), figures=tuple(figures))

    def act(self, at: datetime, alarms: dict[Monitor, bool]) -> None:
        held = at.day > 20
        said: dict[str, Any] = {"action": Action.none, "rule": "nothing alarms", "reasons": ("every monitor is clear",)}
        if alarms[Monitor.contract]:
            said = {"action": Action.block, "rule": "broken data", "reasons": (ALARM[Monitor.contract][1],)}
        elif alarms.get(Monitor.realised):
            said = {"rule": "loss that drift explains", "reasons": (ALARM[Monitor.realised][1],)}
            said |= {"action": Action.wait, "held_back": Action.retrain} if held else {"action": Action.retrain}
        elif at.weekday():
            return
        run = run_of(at) if said["action"] is Action.retrain else None
        self.journal.act(Triaged(case=CASE, as_of=at, key=f"{at:%Y%m%d}", **said), run)

    def performance(self, at: datetime) -> float:
        """How good the champion is: it ages, and a change of the world costs it more."""
        age = (at - max(moment for moment in RENEWED if moment <= max(at, BEGAN))) / WEEK
        season = 0.012 * math.sin((at - BEGAN) / WEEK / 5)
        return 0.718 + season - 0.0022 * age - (0.035 if LOSS < at < MENDED else 0.0)

    def drift(self, at: datetime) -> float:
        season = 0.012 * math.sin((at - BEGAN) / WEEK / 3)
        planted = 0.035 if BROKEN <= at < BROKEN + WEEK else 0.018 if LOSS < at < MENDED else 0.0
        return 0.032 + season + planted + self.draw.random() * 0.014

    def figure(
        self, kind: str, metric: str, window: tuple[datetime, datetime], value: float, *, half: float | None = None
    ) -> Figure:
        interval = {} if half is None else {"low": value - half, "high": value + half}
        said = {"case": CASE, "kind": kind, "metric": metric, "start": window[0], "end": window[1]}
        rows = 6_100 + self.draw.randrange(400)
        return Figure.model_validate(said | {"version": self.champion, "value": value, "rows": rows} | interval)

    def verdict(self, monitor: Monitor, at: datetime, *, alarm: bool) -> Verdict:
        waits = monitor is Monitor.labels and at < BEGAN + 3 * WEEK
        cause, text = ALARM[monitor] if alarm else ("", CLEAR[monitor])
        said = {"case": CASE, "monitor": monitor, "as_of": at, "start": at - WEEK, "end": at, "version": self.champion}
        said |= {"answer": "alarm" if alarm else "waiting" if waits else "clear", "cause": cause, "text": text}
        if monitor in MEASURED:
            said |= {"statistic": self.draw.random() * 0.05 + 0.05 * alarm, "threshold": 0.0621}
        return Verdict.model_validate(said | {"rows": 6_240, "error_rate": RATES.get(monitor)})


def run_of(at: datetime) -> str:
    """The flow run of a moment."""
    return f"00000000-0000-4000-8000-{at:%Y%m%d%H%M}"


def _incidents(project: Project) -> None:
    told = [
        (Monitor.contract, "2", Action.block, "broken data", BROKEN, BROKEN + WEEK, "ada"),
        (Monitor.realised, "4", Action.retrain, "loss that drift explains", LOSS + 2 * WEEK, MENDED + WEEK, "grace"),
        (Monitor.inputs, "5", Action.alert, "drift without loss", on(12, 18), None, None),
    ]
    found = [
        Incident(
            id=number,
            case=CASE,
            monitor=monitor,
            cause=f"{monitor}: {ALARM[monitor][0]}",
            version=version,
            opened_at=opened,
            seen_at=closed or ENDED,
            closed_at=closed,
            alarms=3,
            action=action,
            rule=rule,
            key=str(number),
            reasons=(ALARM[monitor][1],),
            acknowledged_by=by,
        )
        for number, (monitor, version, action, rule, opened, closed, by) in enumerate(told, 1)
    ]
    Incidents(project).keep(found)


def _quarantine(project: Project) -> None:
    """A delivery that was blocked, with its report."""
    files = project.files(CASE)
    files.quarantine.mkdir(parents=True)
    (files.quarantine / "2013-W27.parquet").write_bytes(b"")
    finding = Finding(
        check="expect_column_values_to_be_between",
        column="distance",
        severity=Severity.critical,
        passed=False,
        expected="0 to 6000",
        found="412 of 5,893 rows outside",
    )
    report = BatchReport(case=CASE, batch_id="2013-W27", contract_version=1, rows=5893, digest="0", findings=(finding,))
    report.write(files.validation / "2013-W27.json")
    (files.validation / "2013-W27.html").write_text("<!doctype html><title>2013-W27</title><h1>2013-W27: distance</h1>")
