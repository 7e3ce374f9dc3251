"""What a rollout refuses.

EvergreenError
└── RefusedError                 (tasks.errors)
    ├── RolloutUnderWay          another one has begun for the case
    ├── NothingRollsOut          nothing was approved, or it is over
    ├── RolloutUnfit             what params.yaml asks of it, its case cannot have
    ├── ContractDiffers          clients of the champion could not be answered by the challenger
    └── NotInThisState           a pause of what is paused, an answer where nobody asked
"""

from collections.abc import Sequence

from tasks.errors import RefusedError


class RolloutUnderWay(RefusedError):
    def __init__(self, case: str, version: str, state: str) -> None:
        super().__init__(
            f"Version {version} of `{case}` is rolling out: {state}. One rollout at a time: wait for its end, or "
            f"end it with `evergreen rollout {case} --abort`."
        )


class NothingRollsOut(RefusedError):
    def __init__(self, case: str) -> None:
        super().__init__(
            f"Nothing of `{case}` is rolling out. A rollout begins when a version that passed the gate is approved; "
            f"`evergreen status {case}` shows which wait for it."
        )


class RolloutUnfit(RefusedError):
    def __init__(self, case: str, problems: Sequence[str]) -> None:
        super().__init__(
            f"The rollout that params.yaml asks for cannot be done for `{case}`: {'; '.join(problems)}. Nothing was "
            "changed. Mend its section `rollout`, and approve again."
        )


class ContractDiffers(RefusedError):
    def __init__(self, case: str, version: str, problems: Sequence[str]) -> None:
        super().__init__(
            f"Version {version} of `{case}` breaks the contract that the champion's clients rely on: "
            f"{'; '.join(problems)}. Nothing was changed. Reject this version, or give it a case of its own, "
            "with clients of its own."
        )


class NotInThisState(RefusedError):
    def __init__(self, case: str, wish: str, state: str) -> None:
        super().__init__(f"The rollout of `{case}` cannot {wish}: it is {state}. Nothing was changed.")
