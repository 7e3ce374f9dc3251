"""What can be wrong with the prediction log.

EvergreenError            (configs.errors)
└── LedgerError
    ├── LogUnwritable     an entry is not in the log, and nothing of it is
    ├── LogUnsynced       the disk would not confirm entries that were written
    ├── SegmentAltered    a segment cannot be read at all
    ├── KeyUnusable       the key for hashed columns
    └── LogUnreadable     what was asked of the log cannot be given
"""

from configs.errors import EvergreenError


class LedgerError(EvergreenError):
    """The prediction log cannot do what it promises."""


class LogUnwritable(LedgerError):
    def __init__(self, cause: str) -> None:
        self.cause = cause
        super().__init__(
            f"The prediction log cannot be written: {cause}. Nothing of the entry was kept. Make room on its disk, "
            "or mend it; writing is tried again with each request."
        )


class LogUnsynced(LedgerError):
    def __init__(self, segment: str, cause: str) -> None:
        self.cause = cause
        super().__init__(
            f"The disk did not confirm the segment {segment} of the prediction log: {cause}. A power cut may now lose "
            "its last entries. It was closed, and another one begun; check the disk."
        )


class SegmentAltered(LedgerError):
    def __init__(self, segment: str, cause: str) -> None:
        super().__init__(
            f"The segment {segment} cannot be read: {cause}. It was left whole for a person to look at; "
            "a copy of its first frame, from a segment of the same worker, may mend it."
        )


class KeyUnusable(LedgerError):
    def __init__(self, where: str, found: str) -> None:
        super().__init__(
            f"The key for hashed columns in {where} is {found}; expected at least 16 characters. Restore it from a "
            "backup: with another key, the same value gets another hash."
        )


class LogUnreadable(LedgerError):
    """What was asked of the log cannot be given."""
