"""After the world changed: what is a candidate worth that learned from all weeks, from recent ones, from those since.

`python -m benchmarks.monitoring.relearn`: flights of 2013 in which what happens at an airport turns around at the
start of a week, and labels of some weeks since are in. AUC over the two weeks that follow; ten minutes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from benchmarks.monitoring.flights_weeks import ROOT, SEED, Year, read
from benchmarks.serving.ours import say
from configs.case import Case
from configs.params import Params
from configs.project import Project
from tasks.features.inputs import used_features
from tasks.training.pipeline import build_pipeline

CHANGES = (22, 30, 38)
"""Weeks of the year in which it happens."""
SINCE = (1, 3)
"""Weeks since then whose labels are in."""
AHEAD = 2
TURNED = (("EWR", 1.0), ("EWR", 0.5), ("JFK", 0.5), ("", 0.0))


@dataclass(frozen=True)
class Candidates:
    """Models of some weeks, and what they are worth in others."""

    case: Case
    params: Params
    frame: pd.DataFrame
    label: np.ndarray
    week: np.ndarray

    @classmethod
    def of(cls, params: Params, year: Year) -> "Candidates":
        names = list(used_features(year.case, params.features))
        frame = year.frame.loc[year.known, names].reset_index(drop=True)
        return cls(year.case, params, frame, year.label[year.known].to_numpy(dtype=np.int64), year.week[year.known])

    def after(self, change: int, airport: str, share: float) -> "Candidates":
        """The same year with that share of the airport's outcomes turned around from a week on."""
        there = (self.frame["origin"] == airport).to_numpy() & (self.week >= change)
        there &= np.random.default_rng(SEED).random(len(there)) < share
        return replace(self, label=np.where(there, 1 - self.label, self.label))

    def worth(self, first: int, stop: int, judged: int) -> float:
        """AUC over the two weeks from `judged` on of who learned from the weeks `[first, stop)`."""
        learns = (self.week >= first) & (self.week < stop)
        asked = (self.week >= judged) & (self.week < judged + AHEAD)
        model = build_pipeline(self.case, self.params.features, self.params.training, self.params.seed)
        model.fit(self.frame[learns], self.label[learns])
        return float(roc_auc_score(self.label[asked], model.predict_proba(self.frame[asked])[:, 1]))


def main() -> None:
    project = Project(ROOT)
    case, params = project.case("flights"), project.params("flights")
    candidates, recent = Candidates.of(params, read(case)), case.triage.recent_batches
    found = pd.DataFrame(list(_found(candidates, recent)))
    print(f"| turned around | weeks since | champion | all weeks | last {recent} | since the change |")
    print("|---|---|---|---|---|---|")
    for (planted, since), each in found.groupby(["planted", "since"], sort=False):
        mean = each[["champion", "all", "recent", "new"]].mean()
        print(f"| {planted} | {since} | {' | '.join(f'{value:.3f}' for value in mean)} |")


def _found(candidates: Candidates, recent: int) -> Iterator[dict[str, object]]:
    for airport, share in TURNED:
        for change in CHANGES:
            changed = candidates.after(change, airport, share)
            for since in SINCE:
                now = change + since
                say(f"{share:.0%} of {airport or 'nothing'} in week {change}, {since} weeks ago")
                yield {
                    "planted": f"{share:.0%} of {airport}" if airport else "nothing",
                    "since": since,
                    "champion": changed.worth(0, change, now),
                    "all": changed.worth(0, now, now),
                    "recent": changed.worth(now - recent, now, now),
                    "new": changed.worth(change, now, now),
                }


if __name__ == "__main__":
    main()
