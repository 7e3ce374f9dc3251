"""The journal keeps what was said and done, once, in columns that plain SQL reads."""

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sql

from configs.project import Project
from tasks.adapters.incidents import Incidents
from tasks.adapters.journal import Acted, Journal, Trained
from tasks.errors import StoreUnreachable
from tasks.triage.errors import NoSuchIncident
from tasks.triage.incident import Alert, Incident
from tasks.verdicts import Action, Figure, Findings, Monitor, Triaged, Verdict
from tests.adapters.conftest import Start
from tests.adapters.test_history import at_place, postgres  # noqa: F401 - a fixture

NOW = datetime(2011, 4, 11, 2, tzinfo=UTC)
HOUR, WEEK = timedelta(hours=1), timedelta(days=7)


@pytest.fixture(params=["sqlite", "postgres"])
def kept(request: pytest.FixtureRequest, checkout: Project) -> Project:
    """A project whose journal is kept in SQLite, and one that keeps it in PostgreSQL."""
    if request.param == "sqlite":
        return checkout
    return at_place(checkout, request.getfixturevalue("postgres"))


def verdict(monitor: str = "inputs", answer: str = "alarm", at: datetime = NOW, **changes: object) -> Verdict:
    plain = {"version": "1", "rows": 1000, "text": "as it was found", "cause": "temperature", "statistic": 0.25}
    return Verdict.model_validate(
        {"case": "bikes", "monitor": monitor, "answer": answer, "as_of": at, "start": at - WEEK, "end": at}
        | plain
        | changes
    )


def figure(at: datetime = NOW, **changes: object) -> Figure:
    plain = {"kind": "realised", "metric": "mae", "version": "1", "value": 40.5, "low": 38.0, "high": 43.0, "rows": 168}
    return Figure.model_validate({"case": "bikes", "start": at - WEEK, "end": at} | plain | changes)


def triaged(at: datetime = NOW, key: str = "one", **changes: object) -> Triaged:
    plain = {"action": "retrain", "rule": "loss", "reasons": ("realised alarms", "b"), "verdicts": ("realised",)}
    return Triaged.model_validate({"case": "bikes", "as_of": at, "key": key} | plain | changes)


def incident(number: int = 1, **changes: object) -> Incident:
    plain = {"monitor": "inputs", "cause": "inputs: temperature", "version": "1", "action": "block", "rule": "broken"}
    times = {"opened_at": NOW, "seen_at": NOW, "key": "one", "reasons": ("because",)}
    return Incident.model_validate({"id": number, "case": "bikes"} | plain | times | changes)


@pytest.fixture
def journal(kept: Project) -> Journal:
    return Journal(kept)


# A database per test of PostgreSQL would take seconds each: one test keeps to one case and one key there.


def test_what_was_said_comes_back_equal_once_however_often_it_was_written(journal: Journal) -> None:
    case = {"case": "once"}
    findings = Findings(verdicts=(verdict(**case), verdict("score", **case)), figures=(figure(**case),))
    journal.record(findings)
    journal.record(findings)
    assert sorted(journal.verdicts("once"), key=lambda each: each.monitor) == list(findings.verdicts)
    assert journal.figures("once") == list(findings.figures)


def test_a_verdict_computed_again_takes_the_place_of_the_one_before(journal: Journal) -> None:
    case = {"case": "again"}
    journal.record(Findings(verdicts=(verdict(answer="unknown", **case),), figures=(figure(value=1.0, **case),)))
    journal.record(Findings(verdicts=(verdict(answer="clear", **case),), figures=(figure(value=2.0, **case),)))
    assert [each.answer for each in journal.verdicts("again")] == ["clear"]
    assert [each.value for each in journal.figures("again")] == [2.0]


def test_a_verdict_about_no_champion_and_numbers_that_are_not_there_are_kept_as_such(journal: Journal) -> None:
    nobody = verdict(case="none", version=None, statistic=None)
    empty = figure(case="none", version=None, value=None, low=None, high=None)
    journal.record(Findings(verdicts=(nobody,), figures=(empty,)))
    assert journal.verdicts("none") == [nobody]
    assert journal.figures("none") == [empty]


def test_what_stands_is_the_newest_verdict_of_each_monitor_as_of_a_moment(journal: Journal) -> None:
    case = {"case": "stands"}
    said = [
        verdict(at=NOW - HOUR, **case),
        verdict(at=NOW, answer="clear", **case),
        verdict("score", at=NOW - 2 * HOUR, **case),
    ]
    journal.record(Findings(verdicts=tuple(said)))
    assert journal.standing("stands", NOW) == {Monitor.inputs: said[1], Monitor.score: said[2]}
    assert journal.standing("stands", NOW - HOUR) == {Monitor.inputs: said[0], Monitor.score: said[2]}
    assert journal.standing("stands", NOW - 3 * HOUR) == {}


def test_verdicts_are_found_by_moment_monitor_and_version_the_newest_first(journal: Journal) -> None:
    said = [verdict(case="find", at=NOW - place * HOUR) for place in range(4)]
    journal.record(Findings(verdicts=(*said, verdict("score", case="find"), verdict(case="find", version="2"))))
    assert journal.verdicts("find", monitor=Monitor.inputs, version="1") == said
    assert journal.verdicts("find", NOW - HOUR, Monitor.inputs, limit=2) == said[1:3]
    assert [each.version for each in journal.verdicts("find", version="2")] == ["2"]


def test_figures_are_found_by_what_they_are_and_by_their_window_the_oldest_first(journal: Journal) -> None:
    weeks = [figure(NOW - place * WEEK, case="draw") for place in range(3)]
    others = (
        figure(case="draw", slice="weather=clear"),
        figure(case="draw", role="challenger"),
        figure(case="draw", kind="drift", metric="score drift"),
    )
    journal.record(Findings(verdicts=(), figures=(*weeks, *others)))
    found = journal.figures("draw", "realised", "mae", slice="", role="champion")
    assert found == weeks[::-1]
    assert journal.figures("draw", "realised", None, NOW - 2 * WEEK, NOW - WEEK, slice="", role="champion") == [
        weeks[1]
    ]
    assert len(journal.figures("draw")) == 6


def test_an_action_is_kept_by_its_key_and_gets_its_run_later(journal: Journal) -> None:
    one, other = triaged(case="act"), triaged(NOW - HOUR, "two", case="act", action="wait", held_back="retrain")
    journal.act(one, None)
    journal.act(other, None)
    journal.act(one, "a run")
    assert journal.actions("act") == [Acted(triaged=one, run="a run"), Acted(triaged=other)]
    assert journal.actions("act", since=NOW) == [Acted(triaged=one, run="a run")]
    assert journal.actions("act", until=NOW - HOUR) == [Acted(triaged=other)]
    assert journal.action("act", "two") == Acted(triaged=other)
    assert journal.action("act", "three") is None


def test_what_became_of_trainings_is_kept_the_newest_first(journal: Journal) -> None:
    first = Trained(case="train", run="a", as_of=NOW - WEEK, ruling="reject", version=None)
    then = Trained(case="train", run="b", as_of=NOW, ruling="promote", version="2")
    for each in (first, then, then):
        journal.note_training(each)
    assert journal.trainings("train") == [then, first]


def test_what_a_monitor_remembers_is_replaced_by_what_it_keeps_next(journal: Journal) -> None:
    assert journal.state("state", "hourly") is None
    journal.keep_state("state", "hourly", "{}")
    journal.keep_state("state", "hourly", '{"e": 3}')
    journal.keep_state("state", "concept", "other")
    assert journal.state("state", "hourly") == '{"e": 3}'


def test_incidents_and_alerts_are_kept_together(kept: Project) -> None:
    incidents = Incidents(kept)
    with incidents.numbering() as number:
        opened = incident(number, case="ops", blocks=True)
        alert = Alert(incident=number, moment="opened", channel="log", made_at=NOW)
        incidents.keep([opened], [alert])
    with incidents.numbering() as following:
        assert following == number + 1
    assert incidents.one(number) == incidents.blocking("ops") == opened
    assert incidents.alerts(unsent=True) == [alert]

    incidents.keep([opened.model_copy(update={"closed_at": NOW + HOUR, "blocks": False})], [])
    incidents.keep([], [alert.model_copy(update={"sent": True, "tries": 1})])
    assert incidents.blocking("ops") is None
    assert incidents.all("ops", only_open=True) == []
    assert [each.id for each in incidents.all("ops")] == [number]
    assert incidents.alerts(unsent=True) == []
    assert [each.tries for each in incidents.alerts(since=NOW)] == [1]


OPENS = """
import sys
from pathlib import Path
from configs.project import Project
from tasks.adapters.incidents import Incidents
from tests.adapters.test_journal import incident
book, case = Incidents(Project(Path(sys.argv[1]))), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
for turn in range(15):
    with book.numbering() as number:
        book.keep([incident(number, case=case, cause=str(turn))])
"""


def test_incidents_that_several_cases_open_at_once_are_all_kept(kept: Project, tmp_path: Path, started: Start) -> None:
    book = Incidents(kept)
    roots = {"trains": kept.root, "planes": kept.root}
    if kept.place.stores.history.startswith("postgresql"):  # among hosts, no lock on a file would do
        roots["planes"] = tmp_path / "another host"
        shutil.copytree(kept.root / "configs/places", roots["planes"] / "configs/places")
    processes = [started(OPENS, root, case, stdin=subprocess.PIPE) for case, root in roots.items()]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.wait() for process in processes] == [0, 0]
    for case in roots:
        causes = [each.cause for each in book.all(case)]
        assert causes == [str(turn) for turn in reversed(range(15))]


def test_an_incident_nobody_knows_is_named_with_those_that_are_open(checkout: Project) -> None:
    Incidents(checkout).keep([incident(4)])
    with pytest.raises(NoSuchIncident, match=r"There is no incident 9\. Open incidents: 4"):
        Incidents(checkout).one(9)


def test_a_dashboard_reads_plain_columns(checkout: Project) -> None:
    Journal(checkout).record(Findings(verdicts=(verdict(),), figures=(figure(),)))
    Incidents(checkout).keep([incident()])
    Journal(checkout).act(triaged(), "run")
    queries = {
        'SELECT "case", monitor, answer, statistic, as_of FROM verdicts': (
            "bikes",
            "inputs",
            "alarm",
            0.25,
            "2011-04-11 02:00:00.000000",
        ),
        "SELECT metric, value, low, high, rows, window_end FROM figures": (
            "mae",
            40.5,
            38.0,
            43.0,
            168,
            "2011-04-11 02:00:00.000000",
        ),
        "SELECT action, rule, run, reasons FROM actions": ("retrain", "loss", "run", "realised alarms\nb"),
        "SELECT id, cause, action, closed_at FROM incidents": (1, "inputs: temperature", "block", None),
    }
    engine = sql.create_engine(f"sqlite:///{checkout.stores / 'history.db'}", poolclass=sql.NullPool)
    with engine.connect() as connection:
        for query, expected in queries.items():
            assert tuple(connection.execute(sql.text(query)).one()) == expected


def test_a_journal_that_cannot_be_reached_says_where_without_the_password(checkout: Project) -> None:
    with pytest.raises(StoreUnreachable, match=r"(?s)The journal cannot be reached.*stores\.history") as told:
        Journal(at_place(checkout, "postgresql+psycopg://ada:hunter2@127.0.0.1:9/test"))
    assert "hunter2" not in str(told.value)


def test_findings_are_written_whole_or_not_at_all(checkout: Project, tmp_path: Path) -> None:
    journal = Journal(checkout)
    broken = figure().model_copy(update={"kind": None})
    with pytest.raises(StoreUnreachable, match="NOT NULL"):
        journal.record(Findings(verdicts=(verdict(),), figures=(broken,)))
    assert journal.verdicts("bikes") == []


def test_an_action_names_the_runs_that_it_held_back(journal: Journal) -> None:
    held = triaged(case="held", action="wait", held_back="retrain")
    journal.act(held, None)
    [acted] = journal.actions("held")
    assert (acted.triaged.action, acted.triaged.held_back) == (Action.wait, Action.retrain)
