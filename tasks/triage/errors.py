"""What can be wrong with what is asked of triage and its incidents.

EvergreenError                   (configs.errors)
└── RefusedError                 (tasks.errors)
    ├── TrainingBlocked          an incident keeps the case from being trained
    ├── NoSuchIncident
    ├── NothingBlocked           there is no block to lift
    └── ClosesByItself           a monitor opened it, and its verdict closes it
"""

from collections.abc import Sequence

from tasks.errors import RefusedError


class TrainingBlocked(RefusedError):
    def __init__(self, case: str, incident: int, since: str, why: str) -> None:
        self.incident = incident
        super().__init__(
            f"Training of `{case}` is blocked by incident {incident} since {since}: {why}. Mend the data; the block is "
            f'lifted when the verdict clears, or by `evergreen unblock {case} --by YOU --reason "…"`.'
        )


class NoSuchIncident(RefusedError):
    def __init__(self, number: int, known: Sequence[int]) -> None:
        open_ones = f"Open incidents: {', '.join(map(str, known))}." if known else "No incident is open."
        super().__init__(f"There is no incident {number}. {open_ones} `evergreen incidents` lists them.")


class NothingBlocked(RefusedError):
    def __init__(self, case: str) -> None:
        super().__init__(f"Training of `{case}` is not blocked; `evergreen incidents` shows what is open.")


class ClosesByItself(RefusedError):
    def __init__(self, incident: int, monitor: str) -> None:
        super().__init__(
            f"Incident {incident} is open because `{monitor}` alarms, and closes when its verdict clears. Mend what it "
            f"tells of; `evergreen incidents ack {incident} --by YOU` says that you do."
        )
