"""Outcomes of one airport or carrier that turn around in real weeks: how soon the scan over slices says so.

`python -m benchmarks.monitoring.turned`: flights of 2013, scored as in `flights_weeks`; references of thirteen weeks,
each with the seven weeks after it. In every third of these a share of what happens in a slice is turned in the newest
days. Alarms with nothing planted are in the first line; some of those may be true. Three minutes.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from benchmarks.monitoring.flights_weeks import ROOT, SEED, Year, read, scored
from benchmarks.serving.ours import say
from configs.case import ColumnType
from configs.project import Project
from tasks.outcomes.slices import Labelled, scan

REFERENCES = (0, 4, 8, 12, 20)
"""The first week of each."""
WEEKS, AFTER = 13, 7
EVERY = 3
"""In every third of these weeks something is planted."""
DAYS = (3, 5, 7)
TURNED = (("origin", "JFK", 1.0), ("origin", "JFK", 0.5), ("origin", "EWR", 1.0), ("carrier", "UA", 1.0))
KEPT, RATE = 20_000, 0.05


class Weeks:
    """Scored rows with a label, by day."""

    def __init__(self, year: Year, scores: np.ndarray) -> None:
        known, columns = year.known, year.case.contract.columns
        self.names = [name for name in year.case.contract.features if columns[name].type is not ColumnType.timestamp]
        self.frame = year.frame[known].reset_index(drop=True)
        self.scores, self.hits = scores[known], year.label[known].to_numpy(dtype=np.float64)
        self.week = year.week[known]

    def reference(self, first: int, draw: np.random.Generator) -> Labelled:
        inside = np.flatnonzero((self.week >= first) & (self.week < first + WEEKS))
        return self._labelled(np.sort(draw.choice(inside, KEPT, replace=False)), first)

    def window(self, week: int) -> Labelled:
        return self._labelled(np.flatnonzero(self.week == week), week)

    def _labelled(self, rows: np.ndarray, first: int) -> Labelled:
        frame = self.frame.iloc[rows]
        moments = frame["event_time"]
        return Labelled.of(frame[self.names], self.scores[rows], self.hits[rows], self.week[rows] - first, moments)


def turned(window: Labelled, plant: tuple[str, str, float], days: int, draw: np.random.Generator) -> Labelled:
    """The window, with a share of a slice's outcomes turned around in its newest days."""
    column, value, share = plant
    there = (window.frame[column] == value).to_numpy() & (window.days > window.days.max() - days)
    there &= draw.random(len(window)) < share
    hits = np.where(there, 1 - window.hits, window.hits)
    return Labelled(window.frame, window.scores, hits, np.zeros_like(window.batches), window.days)


def main() -> None:
    project = Project(ROOT)
    year = read(project.case("flights"))
    weeks = Weeks(year, scored(year, project.params("flights")))
    draw = np.random.default_rng(SEED)
    found = pd.DataFrame(list(_looks(weeks, draw)), columns=["planted", "days", "alarm", "named", "first"])
    print("| planted in the newest days | days | windows | alarm | the slice itself named | first |")
    print("|---|---|---|---|---|---|")
    for (planted, days), each in found.groupby(["planted", "days"], sort=False):
        said = " | ".join(str(each[column].sum()) for column in ("alarm", "named", "first"))
        print(f"| {planted} | {days} | {len(each)} | {said} |")


def _looks(weeks: Weeks, draw: np.random.Generator) -> Iterator[tuple[str, int, bool, bool, bool]]:
    """Planted, days, whether anything alarmed, whether the slice itself was named, and as the first."""
    for first in REFERENCES:
        reference = weeks.reference(first, draw)
        for week in range(first + WEEKS, first + WEEKS + AFTER):
            say(f"weeks {first} to {first + WEEKS - 1}, week {week}")
            window = weeks.window(week)
            for plant in (None, *TURNED):
                if plant and week % EVERY:
                    continue
                for days in DAYS if plant else (0,):
                    asked = turned(window, plant or ("origin", "", 0.0), days, draw)
                    named = [one for one in scan(asked, reference, RATE) if one.refuted]
                    itself = [plant is not None and (one.column, one.value) == plant[:2] for one in named]
                    yield _said(plant), days, bool(named), any(itself), itself[:1] == [True]


def _said(plant: tuple[str, str, float] | None) -> str:
    return f"{plant[2]:.0%} of {plant[0]}={plant[1]}" if plant else "nothing"


if __name__ == "__main__":
    main()
