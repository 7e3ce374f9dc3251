"""What can be wrong with what the monitors keep, worded in one place; each is built from facts.

EvergreenError                   (configs.errors)
└── ProfileError                 counts that cannot be used, or not together
    ├── ContractDiffers          they were made for another contract version
    ├── GridDiffers              they were counted on another grid
    ├── ProfileUnreadable        the file is not what was written there
    └── NameTaken                a feature has the name of what the monitors add
"""

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
