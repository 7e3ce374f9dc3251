"""traffic: how much of a case's traffic its challenger answers, and whether it shadows the rest."""

import logging
from dataclasses import replace

from configs.project import Project
from tasks.errors import NoChallenger, NotApprovable
from tasks.promotion.decide import Desk, Why, must_be_an_approver
from tasks.promotion.proof import prove
from tasks.records import Traffic
from tasks.rollout.errors import RolloutUnderWay

log = logging.getLogger(__name__)


def set_traffic(  # noqa: PLR0913 - who, how much, and why
    project: Project, case: str, version: str | None, *, share: float, shadow: float, why: Why
) -> Traffic:
    """Let the challenger `version` answer `share` of the entities, and score `shadow` of the others.

    What is so already changes nothing. Taking everything away from a challenger asks for no proof of its file.
    Raises NoChallenger, NotApprovable if another version is challenger, NotAnApprover, RolloutUnderWay while a rollout
    decides on it, and ArtifactMissing, ArtifactAltered or AnswersDiffer when the model's file is not what was judged.
    """
    desk = Desk(project, case)
    with desk.alone():
        now = desk.registry.traffic(case)
        if (now.share, now.shadow) == (share, shadow):
            log.info("traffic %s: %s already", case, now)
            return now
        holder = desk.registry.holder(case, "challenger")
        if holder is None or version is None:
            raise NoChallenger(case)
        if (state := desk.under_way()) and not state.promoted:
            raise RolloutUnderWay(case, state.version, str(state))
        if holder.version != version:
            raise NotApprovable(case, version, f"version {holder.version} is the challenger", desk.waiting())
        must_be_an_approver(desk, why, version)
        if share or shadow:
            prove(desk.registry, holder)
        return _share(desk, version, share, shadow, why)


def _share(desk: Desk, version: str, share: float, shadow: float, why: Why) -> Traffic:
    # Each challenger draws its own entities: not the same people are the first to meet every new model.
    traffic = Traffic(challenger=version, share=share, shadow=shadow, salt=f"{desk.case}/{version}")
    desk.settle("traffic", version, replace(why, reason=f"{traffic}: {why.reason}"), traffic=traffic)
    log.info("traffic %s: %s (version %s), decided by %s", desk.case, traffic, version, why.by)
    return traffic
