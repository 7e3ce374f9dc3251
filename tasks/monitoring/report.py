"""The door to Evidently: its pictures of two samples, with our verdicts above them.

Imported where a report is drawn, because it takes seconds. Evidently raises for the whole report on one broken column:
what it cannot draw is left out and named. Its thresholds are not ours, and the page says so.
"""

import html
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import pandas as pd

from tasks.verdicts import Answer, Verdict

with warnings.catch_warnings():
    # It imports what its dependencies announce the end of.
    warnings.simplefilter("ignore")
    from evidently import DataDefinition, Dataset, Report  # type: ignore[import-untyped]
    from evidently.metrics import ValueDrift  # type: ignore[import-untyped]

log = logging.getLogger(__name__)

Kind = Literal["number", "category"]

_FEWEST_ROWS = 20
_MOST_CATEGORIES = 200
_BODY = "<body"
_COLOURS = {Answer.clear: "#2e7d32", Answer.alarm: "#c62828", Answer.waiting: "#8a6d00", Answer.unknown: "#6a1b9a"}
_STYLE = (
    "font-family:system-ui,sans-serif;max-width:70rem;margin:1.5rem auto;padding:0 1rem;line-height:1.45;color:#222"
)


@dataclass(frozen=True)
class Sides:
    """What is compared: rows of the reference and of the window, drawn where there are more."""

    reference: pd.DataFrame
    current: pd.DataFrame
    kinds: Mapping[str, Kind]
    """The columns to draw, and how."""
    reference_rows: int
    current_rows: int
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Columns that are not drawn, and why."""


def drawable(sides: Sides) -> Sides:
    """The sides with the columns Evidently can draw; the others are named in `left_out`."""
    left_out = dict(sides.left_out)
    for name, kind in sides.kinds.items():
        why = _why_not(sides.reference, sides.current, name, kind)
        if why:
            left_out[name] = why
    kept = {name: kind for name, kind in sides.kinds.items() if name not in left_out}
    return Sides(
        _plain(sides.reference, kept),
        _plain(sides.current, kept),
        kept,
        sides.reference_rows,
        sides.current_rows,
        left_out,
    )


def page(title: str, verdicts: Sequence[Verdict], sides: Sides) -> str:
    """The report as one HTML page that opens without a network."""
    shown = drawable(sides)
    words = _words(title, verdicts, shown)
    few = min(len(shown.reference), len(shown.current)) < _FEWEST_ROWS
    if few or not shown.kinds:
        why = f"fewer than {_FEWEST_ROWS} rows on one side" if few else "no column can be drawn"
        return f"<!doctype html><meta charset=utf-8><title>{html.escape(title)}</title>{words}<p>No pictures: {why}."
    drawn = _evidently(shown)
    where = drawn.index(">", drawn.index(_BODY)) + 1
    return drawn[:where] + words + drawn[where:]


def _evidently(shown: Sides) -> str:
    definition = DataDefinition(
        numerical_columns=[name for name, kind in shown.kinds.items() if kind == "number"],
        categorical_columns=[name for name, kind in shown.kinds.items() if kind == "category"],
    )
    current, reference = (
        Dataset.from_pandas(frame, data_definition=definition) for frame in (shown.current, shown.reference)
    )
    with warnings.catch_warnings(), TemporaryDirectory() as folder, np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        snapshot = Report([ValueDrift(column=name) for name in shown.kinds]).run(current, reference)
        snapshot.save_html(str(Path(folder, "report.html")))
        return Path(folder, "report.html").read_text(encoding="utf-8")


def _why_not(reference: pd.DataFrame, current: pd.DataFrame, name: str, kind: Kind) -> str | None:
    for side, frame in (("reference", reference), ("window", current)):
        if name not in frame:
            return f"not in the {side}"
        if frame[name].isna().all() or (kind == "number" and _numbers(frame[name]).isna().all()):
            return f"no {'number' if kind == 'number' else 'value'} in the {side}"
    values = pd.concat([frame[name].dropna().astype(str) for frame in (reference, current)]).nunique()
    if kind == "category" and values > _MOST_CATEGORIES:
        return f"more than {_MOST_CATEGORIES} categories"
    return "one value only, the same on both sides" if values < 2 else None


def _numbers(values: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(values, errors="coerce").astype("float64")
    return numbers.where(np.isfinite(numbers))


def _plain(frame: pd.DataFrame, kinds: Mapping[str, Kind]) -> pd.DataFrame:
    """Floats and text alone: Evidently does not take what Arrow keeps."""
    columns = {
        name: _numbers(frame[name])
        if kind == "number"
        else frame[name].astype(object).where(frame[name].notna(), None).map(lambda value: value and str(value))
        for name, kind in kinds.items()
    }
    return pd.DataFrame(columns, index=frame.index)


def _words(title: str, verdicts: Sequence[Verdict], shown: Sides) -> str:
    rows = "".join(_row(verdict) for verdict in verdicts) or "<tr><td>No verdict was handed in."
    return (
        f'<div style="{_STYLE}"><h1>{html.escape(title)}</h1><table>{rows}</table>'
        f"<p>{_drawn('reference', len(shown.reference), shown.reference_rows)}; "
        f"{_drawn('window', len(shown.current), shown.current_rows)}.</p>{_missing(shown.left_out)}"
        "<p>The verdicts above are Evergreen's. Below are Evidently's pictures; what it calls drift there is by "
        "thresholds of its own, which hold no error rate and trigger nothing.</p></div>"
    )


def _row(verdict: Verdict) -> str:
    evidence = "".join(
        f"<li>{html.escape(f'{entry.subject}: {entry.text or entry.test}')}</li>"
        for entry in verdict.evidence[:8]
        if entry.alarm or entry.text
    )
    return (
        f'<tr style="vertical-align:top"><td><b>{verdict.monitor.value}</b></td>'
        f'<td style="color:{_COLOURS[verdict.answer]};padding:0 1rem"><b>{verdict.answer.value}</b></td>'
        f"<td>{html.escape(verdict.text)}<ul>{evidence}</ul></td></tr>"
    )


def _drawn(side: str, shown: int, rows: int) -> str:
    return f"{side}: all {rows:,} rows" if shown >= rows else f"{side}: a sample of {shown:,} of {rows:,} rows"


def _missing(left_out: Mapping[str, str]) -> str:
    if not left_out:
        return ""
    entries = "".join(
        f"<li><code>{html.escape(name)}</code>: {html.escape(why)}</li>" for name, why in left_out.items()
    )
    return f"<p>Not drawn:</p><ul>{entries}</ul>"
