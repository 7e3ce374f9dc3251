"""decide: the one verb behind the form, the command line and the policy; and going back.

Every decision is one entry of the history, and then writes of the registry. It may be killed between any two of them:

    decision                     entry         writes, in this order; the first moves users          last entry
    approve at once, promote     approving     aliases champion and retired with the status of       approved
                                               who holds them, then alias challenger
    roll back the champion       rolling back  the same                                              rolled back
    begin, move, stop a rollout  rollout       shares, alias challenger, status
    share by hand                traffic       shares
    reject, expire               rejected      alias challenger, status

Before its entry nothing is decided, and who answers is as it was. Every write after it sets a state, so that all may be
made again; whoever has the desk next makes them first (`Desk.alone`), so that only the last entry can be unfinished.
A request names the version it is about. Repeated, it finds that version where it wanted it, and decides nothing.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from configs.project import Project
from tasks.adapters.history import History
from tasks.adapters.registry import ModelVersion, Registry
from tasks.adapters.turns import alone
from tasks.errors import (
    DecidedNotDone,
    DecisionUnexplained,
    NotAnApprover,
    NotApprovable,
    NothingToRollBackTo,
    NotServing,
    StoreUnreachable,
)
from tasks.promotion.proof import prove, training_record
from tasks.records import Approval, Event, Registered, Rollout, Ruling, Status, Traffic
from tasks.rollout.contract import breaking, unfit
from tasks.rollout.errors import ContractDiffers, RolloutUnderWay, RolloutUnfit
from tasks.rollout.stages import begin, traffic_of

log = logging.getLogger(__name__)

_EXPIRY = "expiry"
"""Who rejects a version that nobody answered for."""

_DONE = {"approving": "approved", "rolling back": "rolled back"}
"""Events that say what is about to be, and the ones that say that it is."""


@dataclass(frozen=True)
class Why:
    """Who decided, why and when."""

    by: str
    reason: str
    at: datetime
    automatic: bool = False
    """A gate or a rule decided: it needs not be among the approvers."""

    def __post_init__(self) -> None:
        if not self.by.strip() or not self.reason.strip():
            raise DecisionUnexplained


class Desk:
    """Where the versions of one case are decided on; one decision at a time."""

    def __init__(self, project: Project, case: str) -> None:
        self.project = project
        self.case = case
        self.registry = Registry(project)
        self.history = History(project)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the case's turn to decide, and finish first what an interrupted decision began."""
        with alone(self.project, f"{self.case}.decision"):
            decisions = (event for event in reversed(self.history.events(self.case)) if _decides(event))
            if last := next(decisions, None):
                if last.what in _DONE:
                    log.warning("decide %s: finishing %s", self.case, _told(last))
                self._bring_about(last)
            yield

    def version(self, version: str) -> ModelVersion:
        """A version of the case. Raises NotApprovable if there is none."""
        found = self.registry.version(self.case, version)
        if found is None:
            raise NotApprovable(self.case, version, "it does not exist", self.waiting())
        return found

    def waiting(self) -> list[str]:
        return [entry.version for entry in self.registry.versions(self.case) if entry.status == Status.awaiting]

    def rollout(self) -> Rollout | None:
        """The state of the case's last rollout, over or not."""
        events = self.history.events(self.case)
        return next((e.rollout for e in reversed(events) if e.rollout and e.what not in _DONE), None)

    def under_way(self) -> Rollout | None:
        """The rollout that is under way, or None."""
        state = self.rollout()
        return None if state is None or state.over else state

    def settle(  # noqa: PLR0913, PLR0917 - what, about whom, who says so, and what becomes of it
        self,
        what: Literal["approving", "rolling back", "rejected", "rollout", "traffic"],
        version: str,
        why: Why,
        before: str | None = None,
        rollout: Rollout | None = None,
        traffic: Traffic | None = None,
    ) -> None:
        """Decide: the entry first, so that nothing is ever done that was not decided. Raises DecidedNotDone."""
        event = Event(
            case=self.case,
            at=why.at,
            what=what,
            version=version,
            by=why.by,
            reason=why.reason,
            before=before,
            traffic=traffic,
            rollout=rollout,
        )
        self.history.append(event)
        try:
            self._bring_about(event)
        except StoreUnreachable as error:
            raise DecidedNotDone(self.case, _told(event), error) from error

    def move(self, state: Rollout, why: Why) -> None:
        """Decide on a state before promotion, or on the end of the rollout."""
        self.settle("rollout", state.version, why, rollout=state, traffic=traffic_of(self.case, state))

    def promote(self, state: Rollout, why: Why) -> None:
        """Make the challenger the champion: `state` is the one in which it is. One write of an alias moves everybody.

        That write also ends the challenger's share, which is only ever a challenger's.
        """
        self.settle("approving", state.version, why, state.champion, state)

    def _bring_about(self, event: Event) -> None:
        """The writes of a decision, as the table above has them."""
        match event.what:
            case "approving":
                self._switch(event.version, event.before, retired=event.before)
            case "rolling back":
                self._switch(event.version, event.before, retired=self._retired_before(event.version))
            case "rollout" if event.rollout:
                self._roll(event.rollout)
            case "traffic" if event.traffic:
                self._share(event.version, event.traffic)
            case "rejected":
                status = Status.expired if event.by == _EXPIRY else Status.rejected
                self._turn_away(event.version, status)
        if done := _DONE.get(event.what):
            self.history.append(event.model_copy(update={"what": done}))

    def _switch(self, to: str, before: str | None, retired: str | None) -> None:
        self.registry.move_alias(self.case, "champion", to)
        self.registry.tag(self.case, to, {"status": Status.champion.value})
        self.registry.move_alias(self.case, "retired", retired)
        if before and before != to:
            status = Status.retired if retired == before else Status.rolled_back
            self.registry.tag(self.case, before, {"status": status.value})
        self._free_challenger(to)

    def _roll(self, state: Rollout) -> None:
        if state.promoted:
            return
        wanted = traffic_of(self.case, state)
        if state.standing == "stopped":
            self._share(state.version, wanted)
            self._turn_away(state.version, Status.rolled_back)
        elif self._holds(state.version):
            self._share(state.version, wanted)
            self._say(state.version, Status.rolling_out)
        else:
            # Shares of one who is not the challenger are nobody's: in this order it never has more than was decided.
            self.registry.set_traffic(self.case, wanted)
            self.registry.move_alias(self.case, "challenger", state.version)
            self._say(state.version, Status.rolling_out)

    def _share(self, version: str, traffic: Traffic) -> None:
        if self._holds(version) and self.registry.traffic(self.case) != traffic:
            self.registry.set_traffic(self.case, traffic)

    def _turn_away(self, version: str, status: Status) -> None:
        self._free_challenger(version)
        self._say(version, status)

    def _free_challenger(self, version: str) -> None:
        if self._holds(version):
            self.registry.move_alias(self.case, "challenger", None)

    def _holds(self, version: str) -> bool:
        challenger = self.registry.holder(self.case, "challenger")
        return challenger is not None and challenger.version == version

    def _say(self, version: str, status: Status) -> None:
        if self.version(version).status != status:
            self.registry.tag(self.case, version, {"status": status.value})

    def _retired_before(self, version: str) -> str | None:
        """The champion before `version` became one, as far as it has not itself been rolled back."""
        changes = [
            event for event in self.history.events(self.case) if event.what == "approved" and event.version == version
        ]
        before = changes[-1].before if changes else None
        found = self.registry.version(self.case, before) if before else None
        return found.version if found and found.status != Status.rolled_back else None


def _told(event: Event) -> str:
    return f"`{event.what}` version {event.version}" + (f" instead of {event.before}" if event.before else "")


def _decides(event: Event) -> bool:
    """Whether the event is a decision, or ends the one before it: a version that is asked about again has no share."""
    return event.what != "registered" or event.traffic is not None


def decide(project: Project, approval: Approval) -> Registered:
    """Carry out an approval or a rejection of a version that waits for one; a repeated answer changes nothing.

    Where there is a champion, an approval begins the version's rollout, unless the strategy is `direct`.
    Raises NotApprovable, RolloutUnderWay, ContractDiffers, and ArtifactMissing or ArtifactAltered when the model's file
    is not what was judged.
    """
    desk = Desk(project, approval.case)
    with desk.alone():
        _expire_overdue(desk, approval.at)
        version = desk.version(approval.version)
        done = {Status.champion, Status.rolling_out} if approval.approve else {Status.rejected}
        if version.status in done:
            log.info("decide %s: version %s is %s already", approval.case, approval.version, version.status)
        elif version.status != Status.awaiting:
            raise NotApprovable(approval.case, approval.version, f"it is {version.status}", desk.waiting())
        else:
            if approval.channel in {"form", "cli"}:
                must_be_an_approver(desk, Why(approval.by, approval.reason, approval.at), approval.version)
            _approve(desk, version, approval) if approval.approve else _reject(desk, approval)
        return _standing(desk.version(approval.version))


def roll_back(project: Project, case: str, version: str, why: Why) -> Registered:
    """Take `version` away from users: a challenger that is rolling out, or the champion; returns who serves then.

    A champion that leaves is replaced by the one before it, and the rollout of a challenger that was judged against it
    ends. The version that leaves is marked as rolled back; asked for again, nothing is left to do.
    Raises NotServing, NotAnApprover, NothingToRollBackTo, and ArtifactMissing or ArtifactAltered when the retired
    model's file is not whole.
    """
    desk = Desk(project, case)
    with desk.alone():
        return take_back(desk, version, why)


def take_back(desk: Desk, version: str, why: Why) -> Registered:
    """As `roll_back`, by whom the desk belongs to already."""
    case, state = desk.case, desk.under_way()
    challenger = state.version if state and not state.promoted else None
    champion = desk.registry.holder(case, "champion")
    found = desk.registry.version(case, version)
    if champion and found and found.status == Status.rolled_back:
        log.info("roll back %s: version %s was rolled back already", case, version)
        return _standing(champion)
    stopped = state.model_copy(update={"standing": "stopped"}) if state else None
    if champion and stopped and version == challenger:
        must_be_an_approver(desk, why, version)
        desk.move(stopped, why)
        log.warning("roll back %s: version %s answers nobody any more: %s", case, version, why.reason)
        return _standing(champion)
    if champion is None or champion.version != version:
        serving = [f"{challenger} (challenger)"] if challenger else []
        serving += [f"{champion.version} (champion)"] if champion else []
        raise NotServing(case, version, found.status if found else None, serving)
    retired = desk.registry.holder(case, "retired")
    if retired is None:
        raise NothingToRollBackTo(case)
    must_be_an_approver(desk, why, retired.version)
    prove(desk.registry, retired)
    if stopped and challenger:
        desk.move(stopped, why)
    desk.settle("rolling back", retired.version, why, version, stopped)
    log.warning("roll back %s: version %s serves again instead of %s", case, retired.version, version)
    return _standing(desk.version(retired.version))


def expire(project: Project, case: str, now: datetime) -> list[str]:
    """Reject every version nobody answered for in time; returns which."""
    desk = Desk(project, case)
    with desk.alone():
        return _expire_overdue(desk, now)


def _expire_overdue(desk: Desk, now: datetime) -> list[str]:
    patience = desk.project.params(desk.case).approval.expires_after
    overdue = [v.version for v in map(desk.version, desk.waiting()) if _asked_at(v) + patience <= now]
    for version in overdue:
        reason = f"expired: nobody answered within {patience / timedelta(hours=1):g} hours"
        silence = Approval(
            case=desk.case, version=version, approve=False, by=_EXPIRY, reason=reason, channel="expiry", at=now
        )
        _reject(desk, silence)
    return overdue


def _asked_at(version: ModelVersion) -> datetime:
    return datetime.fromisoformat(version.tags["asked_at"])


def must_be_an_approver(desk: Desk, why: Why, version: str) -> None:
    """Raises NotAnApprover where the place names approvers, and a person who is none of them decides."""
    approvers = desk.project.place.approvers
    if approvers and why.by not in approvers and not why.automatic:
        said = f"`{why.by}` may not decide here; approvers are {', '.join(approvers)}"
        raise NotAnApprover(desk.case, version, said, desk.waiting())


def _approve(desk: Desk, version: ModelVersion, approval: Approval) -> None:
    prove(desk.registry, version)
    champion = desk.registry.holder(desk.case, "champion")
    before = champion.version if champion else None
    if not version.was_judged_against(champion):
        unlike = f"it was judged against champion {version.tags['champion_then']}, and {before or 'none'} serves now"
        raise NotApprovable(desk.case, version.version, f"{unlike}; train again to compare the two", desk.waiting())
    why = Why(approval.by, approval.reason, approval.at)
    rollout = _planned(desk, version, champion, approval) if champion else None
    _sign(desk, approval)
    if rollout:
        desk.move(rollout, why)
        log.info("decide %s: version %s is rolling out, approved by %s", desk.case, version.version, approval.by)
        return
    desk.settle("approving", version.version, why, before)
    log.info("decide %s: version %s is champion, approved by %s", desk.case, version.version, approval.by)


def _planned(desk: Desk, version: ModelVersion, champion: ModelVersion, approval: Approval) -> Rollout | None:
    """The rollout that an approval begins; None where the version serves at once. Raises RefusedError."""
    if under_way := desk.under_way():
        raise RolloutUnderWay(desk.case, under_way.version, str(under_way))
    theirs, ours = (training_record(desk.registry, entry) for entry in (champion, version))
    if problems := breaking(theirs, ours, desk.project.case(desk.case).contract):
        raise ContractDiffers(desk.case, version.version, problems)
    params = desk.project.params(desk.case).rollout
    if params.strategy == "direct" or desk.project.place.rollout == "direct":
        return None
    if problems := unfit(desk.project.case(desk.case), params):
        raise RolloutUnfit(desk.case, problems)
    return begin(version.version, champion.version, params, approval.share, approval.at)


def _reject(desk: Desk, approval: Approval) -> None:
    _sign(desk, approval)
    desk.settle("rejected", approval.version, Why(approval.by, approval.reason, approval.at))
    log.info("decide %s: version %s is turned down by %s", desk.case, approval.version, approval.by)


def _sign(desk: Desk, approval: Approval) -> None:
    tags = {
        "decided_by": approval.by,
        "decided_at": approval.at.isoformat(),
        "decided_because": approval.reason[:4000],
        "decided_through": approval.channel,
        "starting_share": f"{approval.share:g}",
    }
    desk.registry.tag(desk.case, approval.version, tags)


def _standing(version: ModelVersion) -> Registered:
    return Registered(
        case=version.case,
        ruling=Ruling.promote,
        run_id=version.run_id,
        version=version.version,
        status=Status(version.status),
    )
