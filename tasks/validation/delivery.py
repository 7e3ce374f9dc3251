"""A batch as it arrived, ready to be checked."""

from dataclasses import dataclass

import pandas as pd

from configs.case import Contract
from tasks.records import Batch
from tasks.validation.shape import named_once, of_wrong_type


@dataclass(frozen=True)
class Delivery:
    """The rows of one batch, and what may be asked of them."""

    batch: Batch
    frame: pd.DataFrame
    """Every column name once, as text."""
    sound: frozenset[str]
    """The promised columns that came in the promised type: only their values can be compared."""
    typical_rows: float | None
    """How many rows recent batches had; None if there are too few to say."""


def delivery(contract: Contract, batch: Batch, frame: pd.DataFrame, typical_rows: float | None) -> Delivery:
    """The batch with its sound columns told apart; `frame` is not changed."""
    once = named_once(frame)
    arrived = {name: column for name, column in contract.columns.items() if name in once.columns}
    sound = frozenset(name for name, column in arrived.items() if of_wrong_type(column, once[name]).empty)
    return Delivery(batch, once, sound, typical_rows)
