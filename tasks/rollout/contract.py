"""What of a challenger would break the clients of the champion, and what of a rollout its case cannot have; pure."""

from configs.case import Case, Contract, Problem
from configs.rollout import RolloutParams
from tasks.records import Candidate


def breaking(champion: Candidate, challenger: Candidate, contract: Contract) -> list[str]:
    """Why clients that the champion answers could not be answered by the challenger; empty if they can."""
    problems = []
    newer = challenger.contract_version != champion.contract_version
    for name in challenger.features:
        if name not in contract.features:
            problems.append(f"it needs `{name}`, which the contract does not promise")
        elif newer and name not in champion.features and not contract.columns[name].may_be_missing:
            problems.append(f"it needs `{name}`, which contract {champion.contract_version} did not ask for")
    if set(challenger.classes) != set(champion.classes):
        ours, theirs = (", ".join(map(str, c.classes)) or "a number" for c in (challenger, champion))
        problems.append(f"it answers {ours}, the champion {theirs}")
    return problems


def unfit(case: Case, params: RolloutParams) -> list[str]:
    """What the case's `rollout` asks for and cannot get; empty if it can begin."""
    problems = []
    if params.costs and case.problem is not Problem.binary:
        problems.append(f"`costs` judges yes and no, and this is a {case.problem} case")
    kept = case.serving.log
    if params.shadow.share < 1 and "entity" in (*kept.hashed, *kept.dropped):
        problems.append("`shadow.share` draws entities, and the prediction log does not keep them as they are")
    return problems
