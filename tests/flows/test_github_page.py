"""What the workflows on GitHub show of a run, and the smoke test after a promotion."""

from pathlib import Path

import pytest

from configs.errors import EvergreenError
from configs.project import Project
from flows import github_page
from tasks.adapters.registry import Registry
from tasks.errors import ArtifactAltered
from tasks.promotion.decide import decide
from tests.conftest import Answer


@pytest.fixture(autouse=True)
def _nothing_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(github_page, "expire", lambda *_: [])


def test_the_newest_version_that_waits_is_named(succession: Project) -> None:
    waiting = github_page.waiting_version(succession, "bikes")

    assert waiting is not None
    assert waiting.version == "3"


def test_nothing_waits_once_it_is_answered(registered: Project, answer: Answer) -> None:
    decide(registered, answer())

    assert github_page.waiting_version(registered, "bikes") is None


def test_what_nobody_answered_in_time_does_not_wait(registered: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()

    assert github_page.waiting_version(registered, "bikes") is None


def test_the_page_of_a_registered_version_has_figures_and_reasons(succession: Project) -> None:
    text = github_page.ruling(succession, "bikes")

    assert text.startswith("# bikes: version 3 is awaiting approval\n")
    assert "| mae |" in text
    assert "**comparison**" in text


def test_the_page_of_a_candidate_that_is_not_registered_has_them_too(judged: Project) -> None:
    text = github_page.ruling(judged, "bikes")

    assert text.startswith("# bikes: promote\n")
    assert "| mae |" in text


def test_without_files_here_the_page_is_about_what_waits(succession: Project) -> None:
    succession.files("bikes").windows.unlink()

    assert github_page.ruling(succession, "bikes").startswith("# bikes: version 3 is awaiting approval\n")


def test_the_page_says_who_serves(succession: Project) -> None:
    assert "**Serving:** version 2" in github_page.standing(succession, "bikes")


def test_the_page_of_a_failed_run_ends_with_what_the_run_said_last(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text("\n".join([*map(str, range(100)), "\x1b[1;31mBatchRejected\x1b[0m: ``` 412 rows"]))

    text = github_page.failure("bikes", log)

    assert "the champion stays" in text
    assert text.endswith("BatchRejected: ''' 412 rows\n```")
    assert "\n69\n" not in text


def test_a_run_that_said_nothing_has_a_page(tmp_path: Path) -> None:
    assert "it said nothing" in github_page.failure("bikes", tmp_path / "none.log")


def test_the_champion_answers_from_the_registry(succession: Project) -> None:
    assert "bit for bit" in github_page.try_approved(succession, "bikes", "2")


def test_another_champion_fails_the_smoke_test(succession: Project) -> None:
    with pytest.raises(EvergreenError, match="version 3 should serve, or roll out; it is awaiting approval"):
        github_page.try_approved(succession, "bikes", "3")


def test_an_altered_model_fails_the_smoke_test(succession: Project) -> None:
    champion = Registry(succession).holder("bikes", "champion")
    assert champion is not None
    Registry(succession).tag("bikes", champion.version, {"model_sha256": "0" * 64})

    with pytest.raises(ArtifactAltered):
        github_page.try_approved(succession, "bikes", champion.version)
