"""What is gathered from the stores: all that the flows left there, and the reason where it cannot be read."""

from pathlib import Path

import pytest

from configs.project import Project
from tasks.adapters.journal import Journal
from tasks.status import gather as gathering
from tasks.status.gather import gather
from tasks.status.story import CaseStory
from tasks.status.write import write_page
from tasks.verdicts import Answer, Findings, Monitor, Verdict
from tests.status.conftest import ADDRESSES
from tests.status.year import CASE, ENDED, on


def told(project: Project, page: Path | None = None) -> CaseStory:
    story = gather(project, ADDRESSES, ENDED, page or project.status_page)
    return next(case for case in story.cases if case.case == CASE)


def test_a_year_is_told_from_the_stores(flights: CaseStory) -> None:
    assert flights.troubles == ()
    assert (flights.holders.champion, flights.holders.retired, flights.holders.share) == ("5", "2", 0.0)
    assert [model.version for model in flights.awaiting] == ["6"]
    assert len(flights.standing) == len(Monitor)
    assert flights.looks == (on(4, 3), on(12, 30))
    assert len(flights.performance.realised) == 37
    assert len(flights.performance.estimated) == 117
    assert flights.rollout is None
    assert [incident.id for incident in flights.incidents] == [3, 2, 1]
    assert [blocked.batch_id for blocked in flights.blocked] == ["2013-W27"]
    assert flights.blocked[0].why == "distance: 412 of 5,893 rows outside, expected 0 to 6000"


def test_the_page_of_a_year_is_one_small_file(lived: Project) -> None:
    path = write_page(lived, ADDRESSES, ENDED)
    assert path == lived.status_page
    assert path.stat().st_size < 300_000


def test_another_file_has_links_that_are_right_from_where_it_lies(lived: Project, tmp_path: Path) -> None:
    assert told(lived, tmp_path / "page.html").blocked[0].page == "clone/data/flights/validation/2013-W27.html"


def test_a_project_in_which_nothing_happened_is_told_as_such(clone: Project) -> None:
    story = gather(clone, ADDRESSES, ENDED, clone.status_page)
    assert all(case.empty for case in story.cases)
    assert write_page(clone, ADDRESSES, ENDED).read_text().count("Nothing has happened yet.") == len(clone.cases)


def test_a_registry_that_cannot_be_read_silences_nothing_else(lived: Project) -> None:
    (lived.stores / "mlflow.db").write_text("not a database, and long enough to be looked at" * 40)
    story = told(lived)
    assert [trouble.part for trouble in story.troubles] == ["registry"]
    assert "MLflow cannot be reached" in story.troubles[0].why
    assert story.shares
    assert story.standing


def test_a_history_that_cannot_be_read_leaves_the_registry(lived: Project) -> None:
    (lived.stores / "history.db").write_text("not a database, and long enough to be looked at" * 40)
    story = told(lived)
    assert sorted(trouble.part for trouble in story.troubles) == ["history", "incidents", "journal"]
    assert story.holders.champion == "5"
    assert story.blocked
    assert not story.empty


def test_a_report_of_a_delivery_that_is_damaged_is_named(lived: Project) -> None:
    (lived.files(CASE).validation / "2013-W27.json").write_text("{")
    story = told(lived)
    assert [trouble.part for trouble in story.troubles] == ["deliveries"]
    assert story.standing


def test_a_case_whose_configuration_is_broken_is_named_and_the_other_is_told(lived: Project) -> None:
    (lived.root / "configs/bikes.yaml").write_text("nonsense: true\n")
    story = gather(lived, ADDRESSES, ENDED, lived.status_page)
    bikes, flights = story.cases
    assert [trouble.part for trouble in bikes.troubles] == ["configuration"]
    assert flights.holders.champion == "5"


def test_what_is_too_much_to_tell_is_said(lived: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "_MOST_TAKEN", 5)
    monkeypatch.setattr(gathering, "_MOST_INCIDENTS", 2)
    story = told(lived)
    assert len(story.taken) == 5
    assert [incident.id for incident in story.incidents] == [3, 2]
    assert story.left_out == (
        "Of the incidents only the newest 2 are told here.",
        "Of the actions of triage only the newest 5 are told here.",
    )


def test_a_report_outside_the_data_is_not_linked(lived: Project) -> None:
    report = lived.stores / "monitoring" / CASE / "reports" / "5-20131230T020000Z.html"
    report.parent.mkdir(parents=True)
    report.write_text("<p>pictures")
    for path, link in ((report, f"../monitoring/{CASE}/reports/{report.name}"), (Path("/etc/hostname"), None)):
        verdict = Journal(lived).standing(CASE, ENDED)[Monitor.score]
        Journal(lived).record(Findings(verdicts=(verdict.model_copy(update={"report": str(path)}),)))
        assert told(lived).reports.get("score") == link


def test_looks_in_a_row_that_say_the_same_are_one_turn_with_its_end(clone: Project) -> None:
    journal = Journal(clone)
    answers = ["clear", "alarm", "alarm", "alarm", "clear", "unknown", "alarm"]
    causes = ["", "wet", "wet", "cold", "", "", "cold"]
    said = [
        Verdict.model_validate(
            {"case": "bikes", "monitor": "inputs", "answer": answer, "as_of": on(5, day), "start": on(4, day),
             "end": on(5, day), "version": "1", "rows": 10, "text": f"day {day}", "cause": cause}
        )
        for day, (answer, cause) in enumerate(zip(answers, causes, strict=True), 1)
    ]  # fmt: skip
    other = said[0].model_copy(update={"monitor": Monitor.score})
    journal.record(Findings(verdicts=(*said, other)))
    turns = journal.turns("bikes", on(5, 1), 100)
    found = [(turn.verdict.as_of.day, turn.verdict.answer.value, turn.last.day, turn.looks) for turn in turns]
    assert [one for one in found if one[0] > 1] == [
        (7, "alarm", 7, 1), (6, "unknown", 6, 1), (5, "clear", 5, 1), (4, "alarm", 4, 1), (2, "alarm", 3, 2),
    ]  # fmt: skip
    assert [(turn.verdict.monitor, turn.verdict.answer, turn.looks) for turn in turns[-2:]] == [
        (Monitor.inputs, Answer.clear, 1),
        (Monitor.score, Answer.clear, 1),
    ]
    assert len(journal.turns("bikes", on(5, 1), 3)) == 3
    assert journal.turns("bikes", on(5, 3), 100)[-1].verdict.as_of == on(5, 3)
