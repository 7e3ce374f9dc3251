"""Fresh rows: labelled, and later than the training cut-offs of everyone they judge."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from configs.case import Case
from tasks.features.labels import labels


@dataclass(frozen=True)
class FreshRows:
    """Columns of the rows that judge, `frame` (n rows), and what happened, `labels` (n,)."""

    frame: pd.DataFrame
    labels: np.ndarray
    event_time: pd.Series
    without_label: int = 0
    """Rows late enough that never got a label."""

    def __len__(self) -> int:
        return len(self.frame)


def fresh_rows(case: Case, delivered: pd.DataFrame, cutoff: datetime, columns: Sequence[str]) -> FreshRows:
    """Of the delivered rows those at or after `cutoff` that have a label, with those of `columns` they have."""
    late = delivered[delivered[case.contract.event_time] >= cutoff]
    label = labels(case, late)
    known = label.notna().to_numpy()
    kept = late.loc[known]
    return FreshRows(
        frame=kept.loc[:, [name for name in columns if name in kept]],
        labels=label[known].to_numpy(),
        event_time=kept[case.contract.event_time],
        without_label=int((~known).sum()),
    )


def joined(parts: Sequence[FreshRows]) -> FreshRows:
    """The rows of all `parts`, in their order."""
    return FreshRows(
        pd.concat([part.frame for part in parts], ignore_index=True),
        np.concatenate([part.labels for part in parts]),
        pd.concat([part.event_time for part in parts], ignore_index=True),
        sum(part.without_label for part in parts),
    )
