"""What happens in a replay, moment by moment: traffic, labels, the flows as they would have run, and what is told."""

import importlib
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import httpx
import pandas as pd

from configs.faults import BadCandidate, BadChallenger, Kill
from flows import clock
from flows.replay_gateway import Gateway, GatewayLost
from flows.replay_reference import references_ahead
from flows.replay_sandbox import Sandbox
from serving.ledger.places import predictions_url, segments_folder
from serving.ledger.windows import LoggedAnswers
from tasks.adapters.history import History
from tasks.adapters.journal import Journal
from tasks.adapters.registry import Registry, Standing
from tasks.errors import NothingServes
from tasks.promotion.decide import Desk, Why, decide, expire
from tasks.records import Approval
from tasks.replay.feed import requests
from tasks.replay.source import Source
from tasks.replay.steps import Plan, is_looked_at, looks_at, next_step
from tasks.replay.told import Acted, Estimate, Happened, Sent, Step, Steps
from tasks.rollout.carry import control
from tasks.rollout.draw import in_shadow

if TYPE_CHECKING:
    from flows.replay import Approve, Progress
    from flows.replay_in_process import InProcess

log = logging.getLogger(__name__)

WHO = "replay"
"""Who approves, where a replay was told to."""
_TRIES = 10
_SHADOW_SECONDS = 5
_PAUSE_SECONDS = 0.1
_AHEAD = ("serving.routes.engines", "tasks.monitoring.report", "skops.io")
"""What takes seconds to import, and steps after the first need: to check a challenger, to draw, to read a model."""


class Replay:
    """One replay under way."""

    def __init__(self, sandbox: Sandbox, plan: Plan, history: pd.DataFrame, approve: "Approve | None") -> None:
        self.sandbox, self.project, self.plan, self.history = sandbox, sandbox.project, plan, history
        self.case = self.project.case(plan.case)
        self.source = Source(self.case, history, sandbox.rows, sandbox.labels)
        self.approve = approve
        self.steps = Steps(sandbox.steps)
        self.seconds: dict[str, float] = {}
        self.failures: list[str] = []

    def run(self, gateway: "Gateway | InProcess", on_step: "Progress") -> tuple[Step, ...]:
        """Every step that is left, one after the other."""
        for step in self.steps.done:
            on_step(step)
        with references_ahead(self.project, self.case.name) as build_ahead:
            os.environ["EVERGREEN_GATEWAY_URL"] = gateway.url
            while (moment := self._next()) is not None:
                step = self.steps.keep(self._step(gateway, moment))
                on_step(step)
                build_ahead(self._to_be_looked_at(step))
        return tuple(self.steps.done)

    def _next(self) -> datetime | None:
        if not self.steps.done:
            return self.plan.start
        last = self.steps.done[-1]  # not the registry: a step that was killed may have begun a rollout, or ended it
        return next_step(self.plan, self.case.label_delay, last.at, rolling=bool(last.rollout))

    def _to_be_looked_at(self, step: Step) -> list[str]:
        """The versions that looks to come may find as champion, the nearest first."""
        if self._next() is None:
            return []
        rollout = Desk(self.project, self.case.name).under_way()
        likely = rollout is not None and is_looked_at(self.plan, rollout, step.at)
        return [*([step.champion] if step.champion else []), *([rollout.version] if rollout and likely else [])]

    def _step(self, gateway: "Gateway | InProcess", moment: datetime) -> Step:
        """What happens up to a moment: rows are asked and answered, labels come, and the flows run."""
        before = self.steps.done[-1].at if self.steps.done else None
        self.seconds, self.failures = {}, []
        sent = self.steps.sent(moment)
        with clock.at(moment):
            with self._timed("source"):
                self.source.show(moment, before)
            # It gets ready while the first model is trained. A step that was killed among its flows needs one, too.
            gateway.start()
            if before is None:
                threading.Thread(target=_import_ahead, daemon=True).start()
            if sent is None:
                sent = self._send(gateway, before, moment) if before else Sent(at=moment)
                self.steps.keep_sent(sent)
            self._await(gateway)
            looked = before is None or looks_at(self.plan, self.case.label_delay, moment)
            self._flows(before, moment, looked=looked)
            planted = tuple(str(fault) for fault in self.plan.faults if before and before <= fault.start < moment)
            return self._told(sent, moment, looked=looked, planted=planted)

    # Traffic

    def _send(self, gateway: "Gateway | InProcess", start: datetime, end: datetime) -> Sent:
        asked = list(requests(self.case, self.history, start, end))
        kills = sum(isinstance(fault, Kill) and start <= fault.start < end for fault in self.plan.faults)
        left, answered, refused = kills, set[str](), set[str]()
        for _ in range(_TRIES):
            logged = self._logged(start, end)
            missing = [one for one in asked if one.request_id not in logged and one.request_id not in refused]
            if not missing:
                break
            self._await(gateway)
            with self._timed("traffic"):
                said = gateway.ask(self.case.name, missing, kill_at=len(missing) // 2 + 1 if left else None)
            left, answered, refused = max(left - 1, 0), answered | said.answered, refused | said.refused
        else:
            raise GatewayLost(f"left {len(missing)} of {len(asked)} requests unanswered", gateway.output)
        with self._timed("shadow"):
            self._await_shadow(start, end)
        logged = self._logged(start, end)
        rows = sum(len(one.rows) for one in asked)
        return Sent(
            at=end,
            requests=len(asked),
            rows=rows,
            refused=rows - sum(logged.values()),
            lost=len(answered - set(logged)),
            kills=kills,
        )

    def _await(self, gateway: "Gateway | InProcess") -> None:
        """Wait until the gateway answers as the registry says, if anybody serves."""
        standing = Registry(self.project).standing(self.case.name)
        if standing is not None and standing.champion is not None:
            with self._timed("gateway"):
                gateway.settle(self.case.name, standing)

    def _logged(self, start: datetime, end: datetime) -> Counter[str]:
        """How many rows of each request the prediction log holds."""
        found: Counter[str] = Counter()
        for batch in self._answers.batches(start, end, ["request_id", "role"]):
            roles, ids = (batch.column(name).to_pylist() for name in ("role", "request_id"))
            found.update(name for name, role in zip(ids, roles, strict=True) if role != "shadow")
        return found

    def _await_shadow(self, start: datetime, end: datetime) -> None:
        """The shadow scores after the answer: wait for it, as long as it gets on."""
        traffic = self._standing().traffic
        if not traffic.shadow:
            return
        scored, since = -1, time.monotonic()
        while time.monotonic() - since < _SHADOW_SECONDS:
            wanted = now = 0
            for batch in self._answers.batches(start, end, ["request_id", "entity", "role"]):
                for row in batch.to_pylist():
                    now += row["role"] == "shadow"
                    unit = row["entity"] or row["request_id"]
                    wanted += row["role"] == "champion" and in_shadow(traffic.salt, unit, traffic.shadow)
            if now >= wanted:
                return
            if now > scored:
                scored, since = now, time.monotonic()
            time.sleep(_PAUSE_SECONDS)
        log.warning("replay %s: the shadow scored %d of %d rows", self.case.name, now, wanted)

    @property
    def _answers(self) -> LoggedAnswers:
        return LoggedAnswers(predictions_url(self.project), self.case.name, fresh=segments_folder(self.project))

    def _standing(self) -> Standing:
        standing = Registry(self.project).standing(self.case.name)
        if standing is None or standing.champion is None:
            raise NothingServes(self.case.name)
        return standing

    # Flows

    def _flows(self, before: datetime | None, moment: datetime, *, looked: bool) -> None:
        """The flows of a moment, in the order of their schedules."""
        case = self.case.name
        expire(self.project, case, moment)
        if before is None:
            self._train(moment, "first model")
        else:
            self._plant(before, moment)
            self._look(moment, looked=looked)
            if looked and self.plan.train == "weekly":
                self._train(moment, "weekly")
        self._answer(moment)
        if Desk(self.project, case).under_way() is not None:
            self._roll_out()
            if self._say_yes(moment):
                self._roll_out()

    # Each imports its flow: Prefect reads where it belongs when it is imported, which has to be in the sandbox, and the
    # first step needs training alone.

    def _look(self, moment: datetime, *, looked: bool) -> None:
        from flows.drift import drift  # noqa: PLC0415
        from flows.ground_truth import ground_truth  # noqa: PLC0415

        if looked:
            self._run("drift", lambda: drift(case=self.case.name, as_of=moment))
        self._run("ground truth", lambda: ground_truth(case=self.case.name, as_of=moment))

    def _roll_out(self) -> None:
        from flows.rollout import rollout  # noqa: PLC0415

        self._run("rollout", lambda: rollout(case=self.case.name, follow=False))

    def _train(self, moment: datetime, trigger: str) -> None:
        from flows.training import training  # noqa: PLC0415

        self._run("training", lambda: training(case=self.case.name, as_of=moment, trigger=trigger))

    def _plant(self, before: datetime, moment: datetime) -> None:
        """Bad models that were planted since the step before: trained as triage's are, but badly."""
        for fault in self.plan.faults:
            if isinstance(fault, BadCandidate | BadChallenger) and before <= fault.start < moment:
                with self.sandbox.badly_trained(self.case, gate=isinstance(fault, BadCandidate)):
                    self._train(moment, f"planted: {fault.fault}")

    def _answer(self, moment: datetime) -> None:
        """Approve what waits for approval, or ask whoever is there; while a rollout is under way, it waits on."""
        case = self.case.name
        for version in Desk(self.project, case).waiting():
            if Desk(self.project, case).under_way() is not None:
                return
            yes = self.approve is None or self.approve(case, version)
            reason = f"--approve {self.plan.approve}"
            share = self.project.params(case).approval.starting_share
            said: dict[str, Any] = {"approve": yes, "by": WHO, "reason": reason, "share": share, "at": moment}
            decide(self.project, Approval(case=case, version=version, channel="cli", **said))

    def _say_yes(self, moment: datetime) -> bool:
        """Let a rollout go on that asks before full traffic; whether it did."""
        case = self.case.name
        state = Desk(self.project, case).under_way()
        if state is None or state.standing != "asking":
            return False
        yes = self.approve is None or self.approve(case, state.version)
        control(self.project, case, "go on" if yes else "abort", Why(WHO, f"--approve {self.plan.approve}", moment))
        return yes

    def _run(self, what: str, flow: Callable[[], object]) -> None:
        """Run a flow; one that ends red is told, and history goes on, as it does where flows run by themselves."""
        with self._timed(what):
            try:
                flow()
            except httpx.TransportError:
                raise  # Prefect's server is gone, or does not answer: no flow would run any more
            except Exception as error:  # whatever it is, a scheduler would go on with the next
                log.info("replay %s: %s ended red", self.case.name, what, exc_info=True)
                self.failures.append(f"{what}: {type(error).__name__}: {str(error).splitlines()[0][:200]}")

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[what] = self.seconds.get(what, 0.0) + time.perf_counter() - began

    # What is told

    def _told(self, sent: Sent, moment: datetime, *, looked: bool, planted: tuple[str, ...]) -> Step:
        case, journal = self.case.name, Journal(self.project)
        champion = Registry(self.project).holder(case, "champion")
        state = Desk(self.project, case).under_way()
        events = History(self.project).events(case)[sum(len(step.events) for step in self.steps.done) :]
        return Step(
            **sent.model_dump(),
            looked=looked,
            planted=planted,
            champion=champion.version if champion else None,
            rollout=f"{state.version}: {state}" if state else "",
            realised=self._figure("realised", moment),
            estimated=self._figure("estimated", moment),
            verdicts={one.monitor.value: one.answer.value for one in journal.standing(case, moment).values()},
            actions=tuple(
                Acted(action=one.triaged.action.value, rule=one.triaged.rule)
                for one in reversed(journal.actions(case, since=moment, until=moment))
            ),
            events=tuple(map(Happened.of, events)),
            turned_away=sum(one.as_of == moment and one.version is None for one in journal.trainings(case)),
            failures=tuple(self.failures),
            seconds={what: round(taken, 3) for what, taken in self.seconds.items()},
        )

    def _figure(self, kind: str, moment: datetime) -> Estimate | None:
        metric = self.project.params(self.case.name).gate.metric
        found = Journal(self.project).figures(self.case.name, kind, metric, end=moment, slice="", role="champion")
        known = [one for one in found if one.value is not None]
        if not known:
            return None
        last = known[-1]
        return Estimate(metric=metric, value=float(last.value or 0), low=last.low, high=last.high)


def _import_ahead() -> None:
    for name in _AHEAD:
        importlib.import_module(name)
