"""An alert says what happened, how bad, since when, what was done, and where it says what to do."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tasks.notification.message import body, subject
from tasks.notification.page import incident_table, page, verdict_table
from tasks.triage.incident import Incident
from tasks.verdicts import Action, Monitor, Triaged
from tests.triage.conftest import NOW, found, verdict

ROOT = Path(__file__).parents[2]
AT = datetime(2013, 8, 5, 4, tzinfo=UTC)


def incident(**changes: object) -> Incident:
    plain = {
        "id": 3,
        "case": "flights",
        "monitor": "realised",
        "cause": "realised: auc",
        "version": "7",
        "opened_at": AT,
        "seen_at": AT + timedelta(hours=5),
        "alarms": 6,
        "action": "retrain",
        "rule": "loss that drift explains",
        "key": "k",
        "reasons": ("realised alarms: AUC 0.63 (0.61 to 0.65), the reference has 0.71",),
        "run": "1f0c",
    }
    return Incident.model_validate(plain | changes)


def test_an_alert_says_everything_a_person_needs_on_a_phone() -> None:
    assert subject(incident(), "opened") == "[flights] incident 3 opened: loss that drift explains (realised: auc)"
    assert body(incident(), "opened", "https://example.org/runbook.md").splitlines() == [
        "What happened: realised alarms: AUC 0.63 (0.61 to 0.65), the reference has 0.71",
        "How bad: loss that drift explains; 6 alarms",
        "Since: 2013-08-05 04:00Z",
        "What was done: a training was started (run 1f0c)",
        "About: version 7 of `flights`",
        "What to do: https://example.org/runbook.md#realised",
        "Take it: evergreen incidents ack 3 --by YOU",
    ]


def test_what_is_over_says_how_long_it_took_and_asks_nobody() -> None:
    over = incident(closed_at=AT + timedelta(hours=30))
    told = body(over, "closed", "docs/runbook.md")
    assert "over at 2013-08-06 10:00Z after 30 h" in told
    assert "Take it" not in told


def test_what_was_held_back_is_said() -> None:
    told = body(incident(action="escalate", held_back="retrain", run=None), "worse", "docs/runbook.md")
    assert "What was done: nothing more is done without a person; `retrain` was held back" in told


def test_nothing_is_told_as_done_that_no_run_has_done() -> None:
    decided = {
        "retrain": "a training was decided on, and has not begun",
        "roll_back": "to put the champion before it back was decided on, and has not been done",
    }
    for action, words in decided.items():
        undone = incident(action=action, run=None)
        assert f"What was done: {words}\n" in body(undone, "opened", "docs/runbook.md")
        assert f"| {action} (not done yet) |" in incident_table([undone])
    fallen = incident(action="roll_back", run=None, monitor="rollout")
    assert "What was done: version 7 answers nobody any more" in body(fallen, "opened", "docs/runbook.md")


def test_every_alert_finds_its_section_in_the_runbook() -> None:
    headings = {
        line.removeprefix("### ").strip()
        for line in (ROOT / "docs/runbook.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("### ")
    }
    assert {monitor.value for monitor in Monitor} <= headings


def test_every_action_has_words_for_what_was_done() -> None:
    for action in Action:
        assert "What was done: " in body(incident(action=action), "opened", "docs/runbook.md")


def test_the_page_of_a_run_shows_action_reasons_verdicts_and_incidents() -> None:
    triaged = Triaged(
        case="bikes",
        as_of=NOW,
        action=Action.wait,
        rule="loss",
        reasons=("realised alarms", "cool-down"),
        held_back=Action.retrain,
        key="k",
    )
    said = [
        verdict("concept", "waiting"),
        verdict(
            "inputs", evidence=(found("temperature", alarm=True), found("month")), error_rate=0.05, report="r.html"
        ),
    ]
    shown = page(triaged, said, [incident(acknowledged_by="Ada | Grace", blocks=True)])
    assert shown.startswith("# wait (`retrain` was held back): loss\n\n- realised alarms\n- cool-down")
    rows = verdict_table(said).splitlines()[2:]
    assert rows[0] == (
        "| ✗ | inputs | inputs as it was found [pictures](r.html) | temperature | 1,000 | 5% "
        "| 2011-04-04 02:00 to 2011-04-11 02:00 |"
    )
    assert rows[1].startswith("| … | concept |")
    assert "retrain (blocks training) | 6 | Ada \\| Grace |" in shown
    assert incident_table([]) == ""
