"""Words for values, ranges, shares and counts, as a finding says them to a person."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import pandas as pd

EXAMPLES = 5
_LONGEST = 60


def number(value: float) -> str:
    """`6000`, `0.25`: without a fraction that says nothing."""
    return str(int(value)) if float(value).is_integer() else f"{value:.6g}"


def between(low: float | None, high: float | None, unit: str | None = None) -> str:
    """`0 to 6000 miles`, `at least 0`, `at most 10 %`."""
    unit = f" {unit}" if unit else ""
    if low is None or high is None:
        side, bound = ("at least", low) if high is None else ("at most", high)
        return f"{side} {number(bound)}{unit}" if bound is not None else "any number"
    return f"{number(low)} to {number(high)}{unit}"


def percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def rows(failing: int, total: int, wrong: str) -> str:
    """`412 of 5,893 rows outside`."""
    return f"{failing:,} of {total:,} rows {wrong}"


def listing(names: Iterable[str], at_most: int) -> str:
    """The names, or the first of them and how many more there are."""
    every = list(names)
    more = len(every) - at_most
    return ", ".join(every[:at_most]) + (f" and {more} more" if more > 0 else "")


def examples(values: Iterable[Any]) -> tuple[str, ...]:
    """The first five distinct values that are there, each short enough to read."""
    shown = dict.fromkeys(value(v) for v in values if not _missing(v))
    return tuple(shown)[:EXAMPLES]


def value(found: Any) -> str:
    """One value, bounded in length; text that cannot be seen as it is comes quoted."""
    if isinstance(found, datetime):
        text = found.isoformat(sep=" ")
    elif isinstance(found, float):
        text = number(found) if abs(found) < float("inf") else str(float(found))
    else:
        text = str(found)
        text = text if text.strip() == text != "" and text.isprintable() else repr(text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _missing(found: Any) -> bool:
    answer = pd.isna(found)
    return answer if isinstance(answer, bool) else False
