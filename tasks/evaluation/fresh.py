"""Fresh rows: labelled, and later than the training cut-offs of everyone they judge."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from configs.case import Case
from tasks.errors import TooLittleData
from tasks.features.labels import labels
from tasks.ingestion.batches import read_batch
from tasks.records import Window


@dataclass(frozen=True)
class FreshRows:
    """Columns of the rows that judge, `frame` (n rows), and what happened, `labels` (n,)."""

    frame: pd.DataFrame
    labels: np.ndarray
    event_time: pd.Series
    without_label: int = 0
    """Rows late enough that never got a label."""
    too_early: str = ""
    """In words, where the champion has learned from a part of the window they come from: what to wait for."""

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


def read_fresh(case: Case, deliveries: Path, window: Window, cutoff: datetime, columns: Sequence[str]) -> FreshRows:
    """The fresh rows of a delivered window. Raises TooLittleData if it has no batch."""
    if not window.batches:
        raise TooLittleData("evaluate", "no batch", "at least one", "Run the chain from `ingest`.")
    rows = joined([fresh_rows(case, read_batch(deliveries, batch), cutoff, columns) for batch in window.batches])
    return replace(rows, too_early=too_early(window, cutoff, case.label_delay))


def too_early(window: Window, cutoff: datetime, label_delay: timedelta) -> str:
    """What to wait for where the champion has learned up to `cutoff`, inside the window that judges; else nothing."""
    if cutoff <= window.start:
        return ""
    # By then a whole window will have been delivered after the cut-off, and its labels with it.
    ready = cutoff + (window.end - window.start) + label_delay
    return (
        f"the champion has learned from all before {cutoff:%Y-%m-%d}, which is inside the window that judges: too "
        f"early, wait until {ready:%Y-%m-%d %H:%M} UTC"
    )
