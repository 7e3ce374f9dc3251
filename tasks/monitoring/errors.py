"""What can be wrong with what the monitors keep, worded in one place; each is built from facts.

EvergreenError                   (configs.errors)
├── ProfileError                 counts that cannot be used, or not together
│   ├── ContractDiffers          they were made for another contract version
│   ├── GridDiffers              they were counted on another grid
│   ├── ProfileUnreadable        the file is not what was written there
│   └── NameTaken                a feature has the name of what the monitors add
└── ReferenceMissing             the champion's reference
    ├── NoReference              was not built yet, or is not on this machine
    ├── DeliveriesMissing        cannot be built: batches are gone
    └── TooLittleReference       cannot be built: nothing the champion has not seen
"""

from collections.abc import Sequence

from configs.errors import EvergreenError


class ProfileError(EvergreenError):
    """Counts that cannot be used, or not together."""


class ContractDiffers(ProfileError):
    def __init__(self, what: str, found: int, expected: int) -> None:
        super().__init__(
            f"{what} was counted for contract version {found}, and version {expected} is asked for: its columns mean "
            "something else. Let the champion's reference be made again for this contract."
        )


class GridDiffers(ProfileError):
    def __init__(self, what: str, found: str, expected: str) -> None:
        super().__init__(
            f"{what} was counted on grid {found[:12]}, and grid {expected[:12]} is asked for: the two cannot be added "
            "or compared. Count it again from the rows on the grid of today."
        )


class ProfileUnreadable(ProfileError):
    def __init__(self, where: str, cause: str) -> None:
        super().__init__(
            f"The counts at {where} cannot be read: {cause}. Remove the file; it is counted again from the log."
        )


class NameTaken(ProfileError):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"The contract has a feature `{name}`, which is what the monitors call the champion's answer. "
            "Give the feature another name, with a new contract version."
        )


class ReferenceMissing(EvergreenError):
    """There is nothing to compare with."""


class NoReference(ReferenceMissing):
    def __init__(self, where: str) -> None:
        super().__init__(
            f"There is no whole reference at {where}. The drift flow builds it when it first meets a champion; run it, "
            "and look at its step `refer` if it did not."
        )


class DeliveriesMissing(ReferenceMissing):
    def __init__(self, what: str, where: str, files: Sequence[str]) -> None:
        more = f" and {len(files) - 5} more" if len(files) > 5 else ""
        super().__init__(
            f"{what} cannot be built: {where} lacks {', '.join(files[:5])}{more}, on which the champion was trained or "
            "judged. Restore them with `dvc checkout` (after `dvc pull`, on another machine), then run again."
        )


class TooLittleReference(ReferenceMissing):
    def __init__(self, what: str, found: str) -> None:
        super().__init__(
            f"{what} cannot be built: {found}. It takes rows the champion has not seen: at least two training batches "
            "with all labels in each part, or a window that judged it. Train on a longer window."
        )
