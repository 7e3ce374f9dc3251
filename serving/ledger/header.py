"""The first frame of a segment: all that is needed to read its entries, whatever the configuration says by then."""

from collections.abc import Iterable
from typing import Literal

from configs.case import Case, ColumnType, Problem
from configs.frozen import Frozen


class LoggedCase(Frozen):
    """What a case had promised, and what its log was to keep, when a segment was begun."""

    contract: int
    features: dict[str, ColumnType]
    """In the contract's order."""
    problem: Problem
    hashed: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    sample: float = 1.0


class Header(Frozen):
    """What the first frame says."""

    format: Literal[1] = 1
    ledger: str
    """Which folder of segments this is, among all that write to one store."""
    cases: dict[str, LoggedCase]


def logged_cases(cases: Iterable[Case]) -> dict[str, LoggedCase]:
    """What a ledger needs to know of `cases`, by name."""
    return {case.name: _logged(case) for case in cases}


def _logged(case: Case) -> LoggedCase:
    kept = case.serving.log
    return LoggedCase(
        contract=case.contract.version,
        features={name: case.contract.columns[name].type for name in case.contract.features},
        problem=case.problem,
        hashed=kept.hashed,
        dropped=kept.dropped,
        sample=kept.sample,
    )
