"""What a replay refuses, before anything starts.

EvergreenError                   (configs.errors)
└── ReplayError
    ├── OutsideRows              dates at which the source has no rows
    ├── TooLittleBefore          nothing to train a first model on
    ├── NotReplayable            a case whose labels are not in its source
    ├── FaultUnfit               a fault for a column, a slice or a time that is not there
    ├── NotToBeKilled            a gateway in this process is not killed alone
    ├── UnderWay                 another process replays under this name
    └── AnotherReplay            the name is taken by a replay of something else
"""

from datetime import datetime

from configs.errors import EvergreenError


class ReplayError(EvergreenError):
    """A replay cannot be made as it was asked for."""


class OutsideRows(ReplayError):
    def __init__(self, case: str, asked: tuple[datetime, datetime], there: tuple[datetime, datetime]) -> None:
        super().__init__(
            f"A replay of `{case}` from {asked[0]:%Y-%m-%d} to {asked[1]:%Y-%m-%d} was asked for; the source has rows "
            f"from {there[0]:%Y-%m-%d} to {there[1]:%Y-%m-%d}. Nothing was started; choose dates in between, the first "
            "before the last."
        )


class TooLittleBefore(ReplayError):
    def __init__(self, case: str, found: int, wanted: int, start: datetime) -> None:
        super().__init__(
            f"Before {start:%Y-%m-%d} the source of `{case}` has {found} whole batches with their labels; a first "
            f"model needs {wanted}, to be trained and judged on. Begin the replay later."
        )


class NotReplayable(ReplayError):
    def __init__(self, case: str) -> None:
        super().__init__(
            f"The labels of `{case}` come from a source of their own (`labels` in its YAML); a replay takes them from "
            "the target in the case's own source. Replay a case that has them there."
        )


class FaultUnfit(ReplayError):
    def __init__(self, fault: str, why: str) -> None:
        super().__init__(f"The fault `{fault}` cannot be planted: {why}")


class NotToBeKilled(ReplayError):
    def __init__(self) -> None:
        super().__init__(
            "A gateway in this process cannot be killed alone; leave out `--in-process`, or the fault `kill`."
        )


class UnderWay(ReplayError):
    def __init__(self, name: str) -> None:
        super().__init__(f"Another process replays `{name}` at this moment. Wait for it, or choose another `--name`.")


class AnotherReplay(ReplayError):
    def __init__(self, name: str, folder: str) -> None:
        super().__init__(
            f"There is a replay `{name}` already, of other dates, faults or settings ({folder}). Choose another "
            "`--name`, or begin it anew with `--fresh`."
        )
