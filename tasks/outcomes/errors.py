"""What can be wrong with labels and outcomes.

EvergreenError
├── DataError
│   ├── LabelsUnreadable         the label source lacks a column, or holds what is no label
│   └── LabelsUnjoinable         the prediction log does not keep what labels are joined by
└── StoreError
    └── OutcomesAltered          a file of the outcome store is gone or damaged
"""

from collections.abc import Sequence

from tasks.errors import DataError, StoreError


class LabelsUnreadable(DataError):
    def __init__(self, case: str, what: str, examples: Sequence[object], remedy: str) -> None:
        shown = ", ".join(repr(example) for example in examples[:5])
        super().__init__(
            f"The labels of `{case}` cannot be read: {what}{f' (for example {shown})' if shown else ''}. "
            f"None of them was taken. {remedy}"
        )


class LabelsUnjoinable(DataError):
    def __init__(self, case: str, column: str) -> None:
        super().__init__(
            f"The labels of `{case}` name `{column}`, which the prediction log hashes or leaves out, so they cannot be "
            f"joined with it. Take `{column}` out of `serving.log`, or give `labels.request_id`, and name the request."
        )


class OutcomesAltered(StoreError):
    def __init__(self, path: str, cause: str) -> None:
        super().__init__(
            f"{path} of the outcome store cannot be read: {cause}. Restore it from a backup, or remove the "
            "folder of the case's outcomes: the next run of the ground-truth flow takes labels and predictions again."
        )
