"""decide: the one verb behind the form, the command line and the policy; and going back."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from configs.project import Project
from tasks.adapters.history import History
from tasks.adapters.locks import exclusive
from tasks.adapters.registry import ModelVersion, Registry
from tasks.errors import DecisionUnexplained, NotAnApprover, NotApprovable, NothingToRollBackTo
from tasks.promotion.proof import prove
from tasks.records import Approval, Event, Registered, Ruling, Status

log = logging.getLogger(__name__)

_EXPIRY = "expiry"
"""Who rejects a version that nobody answered for."""

What = Literal["approving", "approved", "rejected", "rolling back", "rolled back"]


@dataclass(frozen=True)
class Why:
    """Who decided, why and when."""

    by: str
    reason: str
    at: datetime

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
        """Hold the case's lock, and finish first what an interrupted decision began."""
        with exclusive(self.project.stores / f"{self.case}.decision.lock"):
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

    def record(self, what: What, version: str, why: Why, before: str | None = None) -> None:
        self.history.append(
            Event(case=self.case, at=why.at, what=what, version=version, by=why.by, reason=why.reason, before=before)
        )

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
        if begun is None or begun.what not in {"approving", "rolling back", "rejected"}:
            return
        if begun.what == "rejected":
            asked_again = any(event.version == begun.version for event in events[events.index(begun) + 1 :])
            if not asked_again and self.version(begun.version).status == Status.awaiting:
                self.turn_away(begun.version, Status.expired if begun.by == _EXPIRY else Status.rejected)
            return
        why = Why(begun.by, begun.reason, begun.at)
        log.warning("decide %s: finishing `%s` of version %s", self.case, begun.what, begun.version)
        if begun.what == "approving":
            self.switch(begun.version, begun.before, retired=begun.before)
            self.record("approved", begun.version, why, begun.before)
        else:
            self.switch(begun.version, begun.before, retired=self.retired_before(begun.version))
            self.record("rolled back", begun.version, why, begun.before)


def decide(project: Project, approval: Approval) -> Registered:
    """Carry out an approval or a rejection of a version that waits for one; a repeated answer changes nothing.

    Raises NotApprovable, and ArtifactMissing or ArtifactAltered when the model's file is not what was judged.
    """
    desk = Desk(project, approval.case)
    with desk.alone():
        _expire_overdue(desk, approval.at)
        version = desk.version(approval.version)
        if version.status == (Status.champion if approval.approve else Status.rejected):
            log.info("decide %s: version %s is %s already", approval.case, approval.version, version.status)
        elif version.status != Status.awaiting:
            raise NotApprovable(approval.case, approval.version, f"it is {version.status}", desk.waiting())
        else:
            if approval.channel in {"form", "cli"}:
                must_be_an_approver(desk, approval.by, approval.version)
            _approve(desk, version, approval) if approval.approve else _reject(desk, approval, Status.rejected)
        return _standing(desk.version(approval.version))


def roll_back(project: Project, case: str, why: Why) -> Registered:
    """Make the retired champion the champion again; the version that leaves is marked as rolled back.

    Raises NothingToRollBackTo, and ArtifactMissing or ArtifactAltered when the retired model's file is not whole.
    """
    desk = Desk(project, case)
    with desk.alone():
        champion, retired = desk.registry.holder(case, "champion"), desk.registry.holder(case, "retired")
        if champion is None or retired is None:
            raise NothingToRollBackTo(case)
        must_be_an_approver(desk, why.by, retired.version)
        prove(desk.registry, retired)
        desk.record("rolling back", retired.version, why, champion.version)
        desk.switch(retired.version, champion.version, retired=desk.retired_before(retired.version))
        desk.record("rolled back", retired.version, why, champion.version)
        log.info("roll back %s: version %s serves again instead of %s", case, retired.version, champion.version)
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


def must_be_an_approver(desk: Desk, by: str, version: str) -> None:
    approvers = desk.project.place.approvers
    if approvers and by not in approvers:
        why = f"`{by}` may not decide here; approvers are {', '.join(approvers)}"
        raise NotAnApprover(desk.case, version, why, desk.waiting())


def _approve(desk: Desk, version: ModelVersion, approval: Approval) -> None:
    prove(desk.registry, version)
    champion = desk.registry.holder(desk.case, "champion")
    before = champion.version if champion else None
    if not version.was_judged_against(champion):
        unlike = f"it was judged against champion {version.tags['champion_then']}, and {before or 'none'} serves now"
        raise NotApprovable(desk.case, version.version, f"{unlike}; train again to compare the two", desk.waiting())
    why = Why(approval.by, approval.reason, approval.at)
    _sign(desk, approval)
    desk.record("approving", version.version, why, before)
    desk.switch(version.version, before, retired=before)
    desk.record("approved", version.version, why, before)
    log.info("decide %s: version %s is champion, approved by %s", desk.case, version.version, approval.by)


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
