"""What a back-test refuses, before anything is trained.

EvergreenError                   (configs.errors)
└── BackTestError
    ├── OutsideHistory           the weeks asked for are not all in the history
    └── TooShort                 the history holds too few weeks
"""

from datetime import datetime

from configs.errors import EvergreenError


class BackTestError(EvergreenError):
    """A back-test cannot be made of this history."""


class OutsideHistory(BackTestError):
    def __init__(
        self, case: str, asked: tuple[datetime, datetime], possible: tuple[datetime, datetime], why: str
    ) -> None:
        self.asked, self.possible = asked, possible
        super().__init__(
            f"A back-test of `{case}` from {asked[0]:%Y-%m-%d} to {asked[1]:%Y-%m-%d} was asked for. Its history "
            f"allows {possible[0]:%Y-%m-%d} to {possible[1]:%Y-%m-%d} ({why}). Nothing was trained; choose dates "
            "in between."
        )


class TooShort(BackTestError):
    def __init__(self, case: str, found: int, wanted: int, unit: str) -> None:
        super().__init__(
            f"The history of `{case}` holds {found} whole {unit}s, and a back-test takes at least {wanted}: "
            f"{wanted - 1} to train a first model on, and one to judge it in. Wait for more deliveries, or lower "
            "`warm_up` in the policies' file."
        )
