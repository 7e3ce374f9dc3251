"""decide: the one verb behind the form, the command line and the policy; and going back."""

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
from tasks.errors import DecisionUnexplained, NotAnApprover, NotApprovable, NothingToRollBackTo
from tasks.promotion.proof import prove, training_record
from tasks.records import Approval, Event, Registered, Rollout, Ruling, Status
from tasks.rollout.contract import breaking, unfit
from tasks.rollout.errors import ContractDiffers, RolloutUnderWay, RolloutUnfit
from tasks.rollout.stages import begin, traffic_of

log = logging.getLogger(__name__)

_EXPIRY = "expiry"
"""Who rejects a version that nobody answered for."""

What = Literal["approving", "approved", "rejected", "rolling back", "rolled back", "rollout"]
_MARKERS = {"approving", "rolling back"}
"""Events that say what is about to be, not what is."""


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
            self._finish_interrupted()
            yield

    def version(self, version: str) -> ModelVersion:
        """A version of the case. Raises NotApprovable if there is none."""
        found = self.registry.version(self.case, version)
        if found is None:
            raise NotApprovable(self.case, version, "it does not exist", self.waiting())
        return found

    def waiting(self) -> list[str]:
        return [entry.version for entry in self.registry.versions(self.case) if entry.status == Status.awaiting]

    def record(
        self, what: What, version: str, why: Why, before: str | None = None, rollout: Rollout | None = None
    ) -> None:
        self.history.append(
            Event(
                case=self.case,
                at=why.at,
                what=what,
                version=version,
                by=why.by,
                reason=why.reason,
                before=before,
                traffic=traffic_of(self.case, rollout) if rollout and what == "rollout" else None,
                rollout=rollout,
            )
        )

    def rollout(self) -> Rollout | None:
        """The state of the case's last rollout, over or not."""
        events = self.history.events(self.case)
        return next((e.rollout for e in reversed(events) if e.rollout and e.what not in _MARKERS), None)

    def under_way(self) -> Rollout | None:
        """The rollout that is under way, or None."""
        state = self.rollout()
        return None if state is None or state.over else state

    def move(self, state: Rollout, why: Why) -> None:
        """Decide on a state before promotion, and bring it about: the history first, so that none is undecided."""
        self.record("rollout", state.version, why, rollout=state)
        self.enforce(state)

    def enforce(self, state: Rollout) -> None:
        """Make the registry say what was decided; what it says already is not written again.

        Taking a stopped challenger out is the first write, and its status the last: it says that all is done.
        """
        wanted = traffic_of(self.case, state)
        holder = self.registry.holder(self.case, "challenger")
        holds = holder is not None and holder.version == state.version
        if state.promoted:
            return
        if holds and self.registry.traffic(self.case) != wanted:
            self.registry.set_traffic(self.case, wanted)
        if state.standing == "stopped":
            if self.version(state.version).status != Status.rolled_back:
                self.turn_away(state.version, Status.rolled_back)
            return
        if not holds:
            self.registry.set_traffic(self.case, wanted)
            self.registry.move_alias(self.case, "challenger", state.version)
        if self.version(state.version).status != Status.rolling_out:
            self.registry.tag(self.case, state.version, {"status": Status.rolling_out.value})

    def promote(self, state: Rollout, why: Why) -> None:
        """Make the challenger the champion: `state` is the one in which it is. One write of an alias moves everybody.

        That write also ends the challenger's share, which is only ever a challenger's.
        """
        self.record("approving", state.version, why, state.champion, state)
        self.switch(state.version, state.champion, retired=state.champion)
        self.record("approved", state.version, why, state.champion, state)

    def switch(self, to: str, before: str | None, retired: str | None) -> None:
        """Make version `to` the champion. Every write sets a state, so that running it again ends the same."""
        self.registry.move_alias(self.case, "champion", to)
        self.registry.tag(self.case, to, {"status": Status.champion.value})
        self.registry.move_alias(self.case, "retired", retired)
        if before and before != to:
            status = Status.retired if retired == before else Status.rolled_back
            self.registry.tag(self.case, before, {"status": status.value})
        challenger = self.registry.holder(self.case, "challenger")
        if challenger and challenger.version == to:
            self.registry.move_alias(self.case, "challenger", None)

    def turn_away(self, version: str, status: Status) -> None:
        """Free the challenger's place if `version` holds it. The status comes last: it says that all is done."""
        challenger = self.registry.holder(self.case, "challenger")
        if challenger and challenger.version == version:
            self.registry.move_alias(self.case, "challenger", None)
        self.registry.tag(self.case, version, {"status": status.value})

    def retired_before(self, version: str) -> str | None:
        """The champion before `version` became one, as far as it has not itself been rolled back."""
        changes = [
            event for event in self.history.events(self.case) if event.what == "approved" and event.version == version
        ]
        before = changes[-1].before if changes else None
        found = self.registry.version(self.case, before) if before else None
        return found.version if found and found.status != Status.rolled_back else None

    def _finish_interrupted(self) -> None:
        events = self.history.events(self.case)
        begun = next((event for event in reversed(events) if event.what != "registered"), None)
        if begun is None:
            return
        why = Why(begun.by, begun.reason, begun.at)
        match begun.what:
            case "rejected":
                asked_again = any(event.version == begun.version for event in events[events.index(begun) + 1 :])
                if not asked_again and self.version(begun.version).status == Status.awaiting:
                    self.turn_away(begun.version, Status.expired if begun.by == _EXPIRY else Status.rejected)
            case "rollout" if begun.rollout:
                self.enforce(begun.rollout)
            case "approving":
                log.warning("decide %s: finishing `approving` of version %s", self.case, begun.version)
                self.switch(begun.version, begun.before, retired=begun.before)
                self.record("approved", begun.version, why, begun.before, begun.rollout)
            case "rolling back":
                log.warning("decide %s: finishing `rolling back` to version %s", self.case, begun.version)
                self.switch(begun.version, begun.before, retired=self.retired_before(begun.version))
                self.record("rolled back", begun.version, why, begun.before, begun.rollout)


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
            _approve(desk, version, approval) if approval.approve else _reject(desk, approval, Status.rejected)
        return _standing(desk.version(approval.version))


def roll_back(project: Project, case: str, why: Why, *, champion: bool = False) -> Registered:
    """Take the challenger that is rolling out away from users; where there is none, put the former champion back.

    With `champion` it is the champion that leaves in any case, and with it the rollout that was to replace it.
    One write of the registry does it, and the version that leaves is marked as rolled back.
    Raises NothingToRollBackTo, and ArtifactMissing or ArtifactAltered when the retired model's file is not whole.
    """
    desk = Desk(project, case)
    with desk.alone():
        return take_back(desk, why, champion=champion)


def take_back(desk: Desk, why: Why, *, champion: bool = False) -> Registered:
    """As `roll_back`, by whom the desk belongs to already."""
    case, state = desk.case, desk.under_way()
    stopped = state.model_copy(update={"standing": "stopped"}) if state else None
    if state and stopped and not state.promoted:
        must_be_an_approver(desk, why, state.version)
        desk.move(stopped, why)
        log.warning("roll back %s: version %s answers nobody any more: %s", case, state.version, why.reason)
        if not champion:
            return _standing(desk.version(state.champion))
    leaving, retired = desk.registry.holder(case, "champion"), desk.registry.holder(case, "retired")
    if leaving is None or retired is None:
        raise NothingToRollBackTo(case)
    must_be_an_approver(desk, why, retired.version)
    prove(desk.registry, retired)
    desk.record("rolling back", retired.version, why, leaving.version, stopped)
    desk.switch(retired.version, leaving.version, retired=desk.retired_before(retired.version))
    desk.record("rolled back", retired.version, why, leaving.version, stopped)
    log.warning("roll back %s: version %s serves again instead of %s", case, retired.version, leaving.version)
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
        _reject(desk, silence, Status.expired)
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
    desk.record("approving", version.version, why, before)
    desk.switch(version.version, before, retired=before)
    desk.record("approved", version.version, why, before)
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


def _reject(desk: Desk, approval: Approval, status: Status) -> None:
    _sign(desk, approval)
    desk.record("rejected", approval.version, Why(approval.by, approval.reason, approval.at))
    desk.turn_away(approval.version, status)
    log.info("decide %s: version %s is %s by %s", desk.case, approval.version, status, approval.by)


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
