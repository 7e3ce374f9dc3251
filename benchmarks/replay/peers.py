"""Others, shown the same rows as the monitors are: what Evidently and NannyML say of them by their defaults.

Both compare with the eight weeks before the replay, and look at whole days, or whole weeks. They have no memory: each
day or week is judged by itself.
"""

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

import pandas as pd

from benchmarks.replay.happen import ROOT
from benchmarks.replay.plans import DAY, PLANTED, SHOWN, START, days_with
from benchmarks.serving.instruments import quiet_environment
from benchmarks.serving.ours import say
from benchmarks.serving.peers import install_packages
from configs.project import Project
from tasks.features.labels import labels
from tasks.replay.plant import KNOWN_AT
from tasks.replay.source import history_of
from tasks.training.pipeline import build_pipeline

BEFORE = timedelta(weeks=8)
SPANS = {"day": DAY, "week": 7 * DAY}
SAMPLE = 5000
"""Rows a side that Evidently gets: from 1,000 on it measures distances, and more rows change little but its time."""
PACKAGES = ("nannyml==0.13.1", "statsmodels")
_KEPT = ROOT / "data" / "replays"
Alarms = dict[str, list[str]]
"""At the end of each span, what alarmed."""


@dataclass(frozen=True)
class Peer:
    """One way to watch."""

    name: str
    alarms: Mapping[str, Alarms]
    """For each kind of fault; under the empty word without any."""

    def noticed(self, kind: str) -> str:
        """After how many hours something alarmed that did not without the fault."""
        calm = self.alarms[""]
        for moment, names in sorted(self.alarms[kind].items()):
            if datetime.fromisoformat(moment) > PLANTED and set(names) - set(calm.get(moment, [])):
                return f"{(datetime.fromisoformat(moment) - PLANTED) / timedelta(hours=1):g}"
        return "never"

    def unasked(self) -> str:
        """How often it alarmed though nothing was planted."""
        looks = self.alarms[""].values()
        return f"{sum(map(bool, looks))} of {len(looks)}"


def peers_of(kinds: Sequence[str]) -> list[Peer]:
    """What others say of a week without faults, and with each of these; kept, so that it is asked once."""
    found = {}
    for kind in ("", *kinds):
        found[kind] = {
            **_kept(kind, "evidently", _evidently),
            **_kept(kind, "nannyml", _nannyml),
        }
    return [Peer(name, {kind: said[name] for kind, said in found.items()}) for name in found[""]]


def _kept(kind: str, who: str, ask: Callable[[str], dict[str, Alarms]]) -> dict[str, Alarms]:
    path = _KEPT / f"benchmark-faults-{kind or 'calm'}-{who}.json"
    if not path.is_file():
        say(f"{who}: {kind or 'no fault'}")
        path.write_text(json.dumps(ask(kind), indent=1))
    return json.loads(path.read_text())  # type: ignore[no-any-return]


@lru_cache(maxsize=2)
def _rows(kind: str) -> pd.DataFrame:
    """The history with a fault of this kind; when labels came is not shown to anybody."""
    return history_of(Project(ROOT), days_with(kind, SHOWN)).drop(columns=KNOWN_AT)


def _inputs(rows: pd.DataFrame) -> list[str]:
    """The columns that are watched."""
    features = Project(ROOT).case("flights").contract.features
    return [one for one in features if not pd.api.types.is_datetime64_any_dtype(rows[one])]


# Evidently


def _evidently(kind: str) -> dict[str, Alarms]:
    """Its preset for drift, asked at the end of every day."""
    rows = _rows(kind)
    columns = _inputs(rows)
    if kind and rows[columns].equals(_rows("")[columns]):
        return _kept("", "evidently", _evidently)  # the same rows to it
    found: dict[str, Alarms] = {}
    for name, span in SPANS.items():
        drifted = dict(_drifted(rows, columns, span))
        found[f"Evidently, any column, the last {name}"] = drifted
        half = {moment: ["half"] if len(names) >= len(columns) / 2 else [] for moment, names in drifted.items()}
        found[f"Evidently, half of the columns, the last {name}"] = half
    return found


def _drifted(rows: pd.DataFrame, columns: list[str], span: timedelta) -> Iterator[tuple[str, list[str]]]:
    from evidently import Report  # noqa: PLC0415 - takes seconds, and is only asked for at times
    from evidently.presets import DataDriftPreset  # noqa: PLC0415

    def side(start: datetime, end: datetime) -> pd.DataFrame:
        some = rows.loc[(rows["event_time"] >= start) & (rows["event_time"] < end), columns]
        return some.sample(min(SAMPLE, len(some)), random_state=7)

    reference = side(START - BEFORE, START)
    for day in range(1, (SHOWN - START).days + 1):
        moment = START + day * DAY
        current = side(moment - span, moment)
        if current.empty:  # it cannot be asked about nothing
            yield moment.isoformat(), []
            continue
        tests = Report([DataDriftPreset()], include_tests=True).run(current, reference).dict()["tests"]
        failed = (test["metric_config"]["params"] for test in tests if test["status"] == "FAIL")
        yield moment.isoformat(), sorted(config["column"] for config in failed if "column" in config)


# NannyML


def _nannyml(kind: str) -> dict[str, Alarms]:
    """Its drift and data quality, and performance as it estimates it (CBPE), and as labels show it a day later."""
    rows = _rows(kind)
    if kind and rows.equals(_rows("")):
        return _kept("", "nannyml", _nannyml)
    columns = _inputs(rows)
    project = Project(ROOT)
    case, params = project.case("flights"), project.params("flights")
    label = labels(case, rows)
    features = list(case.contract.features)
    learnt = (rows["event_time"] < START - BEFORE) & label.notna()
    model = build_pipeline(case, params.features, params.training, params.seed)
    model.fit(rows.loc[learnt, features], label[learnt].astype(int))
    watched = rows["event_time"] >= START - BEFORE
    shown = rows.loc[watched, columns].assign(
        when=rows.loc[watched, "event_time"].dt.tz_localize(None),
        label=label[watched].astype("float64"),
        score=model.predict_proba(rows.loc[watched, features])[:, 1],
    )
    folder = _KEPT / "benchmark-faults-nannyml"
    folder.mkdir(exist_ok=True)
    before = shown["when"] < START.replace(tzinfo=None)
    shown[before].to_parquet(folder / "reference.parquet", index=False)
    shown[~before].to_parquet(folder / "analysis.parquet", index=False)
    program = install_packages("nannyml", PACKAGES) / "python"
    side = Path(__file__).with_name("nannyml_side.py")
    environment = quiet_environment(NML_DISABLE_USAGE_LOGGING="1")
    subprocess.run([str(program), str(side), str(folder)], check=True, env=environment)
    return json.loads((folder / "alarms.json").read_text())  # type: ignore[no-any-return]
