"""What becomes of a candidate: kept with its evidence, registered once, and never half."""

from datetime import timedelta
from functools import partial

import pytest

from configs.project import Project
from tasks.adapters import dvc
from tasks.adapters.history import History
from tasks.adapters.registry import Registry
from tasks.errors import ArtifactAltered, ArtifactMissing, StoreUnreachable
from tasks.files import sha256
from tasks.promotion.decide import Why, decide, expire, roll_back
from tasks.promotion.order import place_order
from tasks.promotion.register import known_version, register
from tasks.promotion.traffic import set_traffic
from tasks.records import ChampionRef, Decision, Evaluation, Order, Reason, Registered, Ruling, Status
from tests.conftest import AS_OF, ASKED, Answer, change_params, git

from .conftest import Dies, aliases, events, last_event, standing, stored_model

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("bikes")]

ORDER = Order(case="bikes", as_of=AS_OF)
DAY = timedelta(days=1)
WEEK = timedelta(days=7)


def runs(project: Project) -> list[str]:
    """The runs that are kept, by id."""
    client = Registry(project)._client
    experiment = client.get_experiment_by_name("bikes")
    return [run.info.run_id for run in client.search_runs([experiment.experiment_id])] if experiment else []


def judge(project: Project, ruling: Ruling, *reasons: Reason) -> None:
    """Let the gate have answered otherwise."""
    path = project.files("bikes").evaluation / "evaluation.json"
    decision = Decision(ruling=ruling, reasons=reasons)
    Evaluation.read(path).model_copy(update={"decision": decision}).write(path)


def test_a_version_carries_everything_it_can_be_rebuilt_and_found_by(judged: Project) -> None:
    done = register(judged, ORDER, ASKED)
    assert (done.version, done.status, done.known) == ("1", Status.awaiting, False)
    assert done.reasons[-1].rule == "stored artifact"
    version = Registry(judged).version("bikes", "1")
    assert version
    evaluation = Evaluation.read(judged.files("bikes").evaluation / "evaluation.json")
    expected = {
        "as_of": AS_OF.isoformat(),
        "asked_at": ASKED.isoformat(),
        "champion_then": "none",
        "data_version": dvc.data_version(judged.root, "bikes"),
        "decision": "promote",
        "evaluate_window": "2011-03-14 to 2011-04-11",
        "fingerprint": dvc.fingerprint(judged.root, "bikes"),
        "git_dirty": "false",
        "git_revision": git(judged.root, "rev-parse", "HEAD").strip(),
        "lock_sha256": sha256(judged.root / "uv.lock"),
        "model_sha256": sha256(stored_model(judged, "1")),
        "predictions_sha256": evaluation.predictions_sha256,
        "reasons": "every rule passed",
        "status": "awaiting approval",
    }
    assert {key: version.tags.get(key) for key in expected} == expected
    assert aliases(judged) == {"challenger": "1"}
    assert events(judged) == [("registered", "1")]
    assert "| mae |" in Registry(judged).description("bikes", "1")


def test_registering_the_same_candidate_again_changes_nothing(registered: Project) -> None:
    kept = runs(registered)
    again = register(registered, ORDER, ASKED + DAY)
    assert (again.version, again.status) == ("1", Status.awaiting)
    assert runs(registered) == kept
    assert standing(registered) == {"1": "awaiting approval"}
    assert events(registered) == [("registered", "1")]


def test_a_candidate_is_known_once_it_is_registered(judged: Project) -> None:
    assert known_version(judged, "bikes") is None
    done = register(judged, ORDER, ASKED)
    known = known_version(judged, "bikes")
    assert known
    assert (known.version, known.run_id, known.status, known.known) == ("1", done.run_id, Status.awaiting, True)


def test_a_decided_candidate_is_known_with_what_was_decided(succession: Project, answer: Answer) -> None:
    decide(succession, answer("3", at=ASKED + timedelta(days=14)))
    known = known_version(succession, "bikes")
    assert known
    assert (known.version, known.status) == ("3", Status.champion)


@pytest.mark.parametrize("ruling", [Ruling.reject, Ruling.inconclusive])
def test_a_candidate_that_was_not_let_pass_is_kept_as_a_run_with_its_reasons(judged: Project, ruling: Ruling) -> None:
    against = Reason(rule="mae", passed=False, inconclusive=ruling is Ruling.inconclusive, text="mae is 93, not 60")
    judge(judged, ruling, against, Reason(rule="rows", passed=True, text="672 rows"))
    done = register(judged, ORDER, ASKED)
    assert (done.ruling, done.version, done.status) == (ruling, None, None)
    assert standing(judged) == {}
    assert aliases(judged) == {}
    assert events(judged) == []
    tags = Registry(judged).read_run(done.run_id).data.tags
    assert (tags["decision"], tags["reasons"]) == (ruling.value, "mae is 93, not 60")
    assert known_version(judged, "bikes") is None


def test_a_turned_away_candidate_is_not_logged_twice(judged: Project) -> None:
    judge(judged, Ruling.reject, Reason(rule="mae", passed=False, text="mae is 93, not 60"))
    first, second = register(judged, ORDER, ASKED), register(judged, ORDER, ASKED + DAY)
    assert first.run_id == second.run_id
    assert runs(judged) == [first.run_id]


def test_the_gate_of_params_yaml_turns_a_candidate_away(judged: Project) -> None:
    change_params(judged.root, "bikes", {"gate.limits": [{"metric": "mae", "at_most": 1}]})
    dvc.reproduce_stage(judged, "evaluate", "bikes")
    done = register(judged, ORDER, ASKED)
    assert done.ruling is Ruling.reject
    assert any(not reason.passed and "mae" in reason.text for reason in done.reasons)
    assert standing(judged) == {}


def test_a_model_that_answers_otherwise_once_stored_is_turned_away(judged: Project) -> None:
    answers = judged.files("bikes").model / "input_example_predictions.npy"
    answers.write_bytes(answers.read_bytes()[:-1] + b"\x00")
    done = register(judged, ORDER, ASKED)
    assert done.ruling is Ruling.reject
    assert done.reasons[-1].text == "the model stored in MLflow answers its input example otherwise than trained"
    assert standing(judged) == {}


def test_a_model_altered_after_training_is_not_registered(judged: Project) -> None:
    path = judged.files("bikes").model / "model.skops"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ArtifactAltered, match="is not the file that was recorded"):
        register(judged, ORDER, ASKED)
    assert standing(judged) == {}


def test_a_newer_challenger_supersedes_the_one_that_waits(succession: Project, answer: Answer) -> None:
    registry = Registry(succession)
    registry.tag("bikes", "2", {"status": Status.awaiting.value})
    register(succession, ORDER, ASKED + 14 * DAY)
    assert standing(succession) == {"1": "retired", "2": "superseded", "3": "awaiting approval"}


def test_a_candidate_nobody_answered_for_in_time_is_asked_about_again(registered: Project, answer: Answer) -> None:
    kept, late = runs(registered), ASKED + 2 * WEEK
    assert expire(registered, "bikes", late) == ["1"]
    assert known_version(registered, "bikes") is None
    again = register(registered, ORDER, late + DAY)
    assert (again.version, again.status, runs(registered)) == ("1", Status.awaiting, kept)
    assert aliases(registered) == {"challenger": "1"}
    assert events(registered) == [("registered", "1"), ("rejected", "1"), ("registered", "1")]
    assert last_event(registered).reason == "asked about again; it was rejected: expired"
    assert expire(registered, "bikes", late + DAY + WEEK - timedelta(seconds=1)) == [], "it has its whole time again"
    assert decide(registered, answer("1", at=late + 2 * DAY)).status is Status.champion


def test_a_question_asked_again_expires_again(registered: Project) -> None:
    for times in (1, 2):
        assert expire(registered, "bikes", ASKED + 2 * times * WEEK) == ["1"]
        assert standing(registered) == {"1": "rejected: expired"}
        assert aliases(registered) == {}
        register(registered, ORDER, ASKED + 2 * times * WEEK + DAY)
        assert standing(registered) == {"1": "awaiting approval"}


def test_a_candidate_that_was_superseded_unanswered_is_asked_about_again(succession: Project) -> None:
    registry = Registry(succession)
    registry.tag("bikes", "3", {"status": Status.superseded.value})
    registry.tag("bikes", "1", {"status": Status.awaiting.value})
    assert known_version(succession, "bikes") is None
    register(succession, ORDER, ASKED + 3 * WEEK)
    assert standing(succession) == {"1": "superseded", "2": "champion", "3": "awaiting approval"}
    assert aliases(succession)["challenger"] == "3"
    assert last_event(succession).reason == "asked about again; it was superseded"


def test_a_candidate_that_a_person_rejected_is_not_asked_about_again(registered: Project, answer: Answer) -> None:
    decide(registered, answer("1", approve=False))
    known = known_version(registered, "bikes")
    assert known
    assert (known.version, known.status) == ("1", Status.rejected)
    assert register(registered, ORDER, ASKED + DAY).status is Status.rejected
    assert events(registered) == [("registered", "1"), ("rejected", "1")]


def test_a_challenger_asked_about_again_has_no_share_of_the_traffic(registered: Project) -> None:
    set_traffic(registered, "bikes", "1", share=0.2, shadow=True, why=Why("Ada", "a first look", ASKED))
    expire(registered, "bikes", ASKED + WEEK)
    register(registered, ORDER, ASKED + WEEK + DAY)
    traffic = Registry(registered).traffic("bikes")
    assert (traffic.challenger, traffic.share, traffic.shadow) == ("1", 0, False)
    assert last_event(registered).traffic == traffic


@pytest.mark.parametrize(
    "death", [(History, "append", 1), (Registry, "tag", 1), (Registry, "move_alias", 1)], ids=lambda death: death[1]
)
def test_asking_again_is_finished_by_the_next_try_wherever_it_was_killed(
    registered: Project, dies: Dies, death: tuple[type, str, int]
) -> None:
    expire(registered, "bikes", ASKED + WEEK)
    dies(partial(register, registered, ORDER, ASKED + WEEK + DAY), *death)
    register(registered, ORDER, ASKED + WEEK + DAY)
    assert expire(registered, "bikes", ASKED + WEEK + 2 * DAY) == []
    assert standing(registered) == {"1": "awaiting approval"}
    assert aliases(registered) == {"challenger": "1"}


@pytest.mark.parametrize(
    "death",
    [(Registry, "log_files", 1), (Registry, "end_run", 1), (Registry, "log_model", 1)],
    ids=["before its files", "before its end", "before its model"],
)
def test_a_run_that_was_interrupted_is_logged_anew(judged: Project, dies: Dies, death: tuple[type, str, int]) -> None:
    dies(partial(register, judged, ORDER, ASKED), *death)
    assert len(runs(judged)) == 1
    interrupted = runs(judged)
    done = register(judged, ORDER, ASKED)
    assert (done.version, done.status) == ("1", Status.awaiting)
    assert runs(judged) == [done.run_id]
    if death[1] != "end_run":
        assert done.run_id not in interrupted


def test_a_registration_killed_after_logging_makes_no_second_run(judged: Project, dies: Dies) -> None:
    dies(partial(register, judged, ORDER, ASKED), Registry, "register")
    kept = runs(judged)
    assert standing(judged) == {}
    assert register(judged, ORDER, ASKED).run_id == kept[0]
    assert runs(judged) == kept
    assert standing(judged) == {"1": "awaiting approval"}


@pytest.mark.parametrize("death", [(Registry, "move_alias", 1), (History, "append", 1)], ids=["alias", "history"])
def test_a_registration_killed_after_its_version_was_made_is_not_known_until_it_is_finished(
    judged: Project, dies: Dies, death: tuple[type, str, int]
) -> None:
    dies(partial(register, judged, ORDER, ASKED), *death)
    assert standing(judged) == {"1": "awaiting approval"}
    assert known_version(judged, "bikes") is None
    register(judged, ORDER, ASKED + DAY)
    assert standing(judged) == {"1": "awaiting approval"}
    assert aliases(judged) == {"challenger": "1"}
    assert events(judged) == [("registered", "1")]


def test_finishing_a_registration_that_was_decided_meanwhile_leaves_the_decision(
    judged: Project, dies: Dies, answer: Answer
) -> None:
    dies(partial(register, judged, ORDER, ASKED), Registry, "move_alias")
    decide(judged, answer("1"))
    done: Registered = register(judged, ORDER, ASKED + DAY)
    assert done.status is Status.champion
    assert aliases(judged) == {"champion": "1"}


def test_an_order_puts_the_champion_beside_it(succession: Project) -> None:
    files = succession.files("bikes")
    place_order(succession, "bikes", AS_OF + 7 * DAY)
    there = ChampionRef.read(files.champion_record)
    assert there.version == "2"
    assert sha256(files.champion / "model.skops") == there.model_sha256 == sha256(stored_model(succession, "2"))
    assert Order.read(files.order).as_of == AS_OF + 7 * DAY


def test_an_order_follows_a_rollback(succession: Project) -> None:
    roll_back(succession, "bikes", "2", Why(by="Grace", reason="nonsense", at=ASKED))
    place_order(succession, "bikes", AS_OF)
    assert ChampionRef.read(succession.files("bikes").champion_record).version == "1"


def test_an_order_without_a_champion_says_so(judged: Project) -> None:
    stale = judged.files("bikes").champion / "model.skops"
    stale.write_bytes(b"of another clone")
    place_order(judged, "bikes", AS_OF)
    assert ChampionRef.read(judged.files("bikes").champion_record).version is None
    assert not stale.exists()


def test_a_champion_altered_in_this_clone_is_fetched_again(succession: Project) -> None:
    local = succession.files("bikes").champion / "model.skops"
    local.write_bytes(b"x")
    place_order(succession, "bikes", AS_OF)
    assert sha256(local) == sha256(stored_model(succession, "2"))


@pytest.mark.parametrize(
    ("harm", "error", "words"),
    [
        (lambda path: path.unlink(), ArtifactMissing, "has no file at .* Restore it from a backup"),
        (lambda path: path.write_bytes(b"x"), ArtifactAltered, "is not the file that was recorded"),
    ],
    ids=["missing", "altered"],
)
def test_an_order_is_not_placed_when_the_champions_file_is_not_whole(
    succession: Project, harm: object, error: type[Exception], words: str
) -> None:
    files = succession.files("bikes")
    (files.champion / "model.skops").unlink()
    harm(stored_model(succession, "2"))  # type: ignore[operator]
    before = files.order.read_text()
    with pytest.raises(error, match=words):
        place_order(succession, "bikes", AS_OF + 7 * DAY)
    assert files.order.read_text() == before


def test_without_mlflow_nothing_is_ordered(checkout: Project) -> None:
    local = checkout.root / "configs/places/local.yaml"
    local.write_text(local.read_text().replace("sqlite:///data/stores/mlflow.db", "http://127.0.0.1:9"))
    with pytest.raises(StoreUnreachable, match=r"MLflow cannot be reached at http://127\.0\.0\.1:9"):
        place_order(Project(checkout.root), "bikes", AS_OF)
    assert not checkout.files("bikes").order.exists()
