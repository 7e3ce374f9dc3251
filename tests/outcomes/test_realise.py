"""Whether labels arrive and how good a real champion turned out to be, from its log to the verdicts."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from configs.project import Project
from tasks.ingestion import sources
from tasks.monitoring.refer import refer
from tasks.outcomes.gather import gather
from tasks.outcomes.realise import realise
from tasks.verdicts import Answer, Monitor, Verdict
from tests.conftest import change_params
from tests.outcomes.riders import answered, log_of

FROM = datetime(2011, 4, 18, tzinfo=UTC)
"""A Monday; the champion has seen nothing this late."""
WEEK = timedelta(days=7)
pytestmark = pytest.mark.slow


def verdicts(project: Project, as_of: datetime) -> dict[Monitor, Verdict]:
    return {verdict.monitor: verdict for verdict in realise(project, "bikes", as_of).verdicts}


def test_a_champion_is_judged_by_its_labels_beside_its_shadow(succession: Project, tmp_path: Path) -> None:
    change_params(
        succession.root, "bikes", {"monitoring": {"outcomes": {"min_labels": 100, "slices": ["working_day"]}}}
    )
    champion = answered(succession, tmp_path / "two", FROM, FROM + 4 * WEEK, "2", "champion")
    shadow = answered(succession, tmp_path / "three", FROM, FROM + 4 * WEEK, "3", "shadow")
    log = log_of(champion, shadow)

    before = verdicts(succession, FROM + 2 * WEEK)
    assert before[Monitor.labels].answer is Answer.waiting
    assert before[Monitor.realised].answer is Answer.waiting

    as_of = FROM + 4 * WEEK + timedelta(hours=6)
    gathered = gather(succession, "bikes", as_of, log)
    assert gathered.joined == gathered.predictions == champion.num_rows + shadow.num_rows
    without = verdicts(succession, as_of)
    assert without[Monitor.labels].answer is Answer.clear
    assert without[Monitor.realised].answer is Answer.unknown
    assert "drift flow builds it" in without[Monitor.realised].text

    refer(succession, "bikes")
    found = realise(succession, "bikes", as_of)
    judged = found.verdicts[1]
    assert (judged.version, judged.monitor) == ("2", Monitor.realised)
    assert judged.rows >= 100
    assert judged.text.startswith("MAE ")
    assert judged.end <= as_of
    (other,) = (entry for entry in judged.evidence if entry.subject == "version 3")
    assert other.effect is not None
    assert other.effect > 0, "version 3 has four times the trees"
    of_all = {(figure.metric, figure.role) for figure in found.figures if figure.slice == ""}
    assert {
        ("mae", "champion"),
        ("mae", "shadow"),
        ("base rate", "champion"),
        ("share of labels", "champion"),
    } <= of_all
    assert any(figure.slice.startswith("working_day=") for figure in found.figures)
    assert all(
        figure.low is None or figure.low <= (figure.value or 0) <= (figure.high or 0) for figure in found.figures
    )

    # The world changes: twice as many ride, and the model does not know.
    worse = champion.set_column(champion.column_names.index("prediction"), "prediction", [[0.0] * champion.num_rows])
    spoiled = Project(succession.root)
    (spoiled.stores / "outcomes" / "bikes" / "state.json").unlink()
    gather(spoiled, "bikes", as_of, log_of(worse))
    alarm = verdicts(spoiled, as_of)[Monitor.realised]
    assert (alarm.answer, alarm.cause) == (Answer.alarm, "worse")
    assert alarm.statistic is not None
    assert alarm.threshold is not None
    assert alarm.statistic > alarm.threshold


def test_labels_that_stop_are_late(succession: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change_params(succession.root, "bikes", {"monitoring": {"outcomes": {"min_labels": 100}}})
    log = log_of(answered(succession, tmp_path / "two", FROM, FROM + 4 * WEEK, "2", "champion"))
    real = sources.recorded

    def stops(name: str) -> pd.DataFrame:
        hours = real(name)
        return hours.assign(rentals=hours["rentals"].where(hours["event_time"] < FROM + 3 * WEEK))

    monkeypatch.setattr(sources, "recorded", stops)
    as_of = FROM + 4 * WEEK
    gather(succession, "bikes", as_of, log)
    late = verdicts(succession, as_of)
    assert (late[Monitor.labels].answer, late[Monitor.labels].cause) == (Answer.alarm, "labels")
    assert "of labels are in where 100 % were at that age before" in late[Monitor.labels].text
    # The week before is judged all the same: its labels are in.
    assert late[Monitor.realised].end <= FROM + 3 * WEEK
