"""The keeper on a real registry: what it says is soon in the local copy, proven; what goes wrong changes nothing."""

import asyncio
import json
import logging
import shutil
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from configs.project import Project
from serving.engine.example import answers_identically, read_example
from serving.engine.load import load_engine
from serving.routes.engines import make_engine
from serving.routes.keeper import Keeper
from serving.routes.local import LocalCopy
from serving.routes.prepare import Made, Material
from serving.routes.status import KeeperStatus, read_alarms
from tasks.adapters.registry import Registry
from tasks.promotion.decide import Why, decide, roll_back
from tasks.promotion.traffic import set_traffic
from tasks.records import Status
from tests.conftest import ASKED, Answer
from tests.promotion.conftest import run_folder, stored_model

from .conftest import KeeperProcess, keeping, roles, routes, settled, until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("bikes")]

WHY = Why(by="Grace", reason="complaints", at=ASKED + timedelta(days=30))
AT = ASKED + timedelta(days=14)

Start = Callable[[Project], KeeperProcess]


def alarms(project: Project) -> list[str]:
    return [alarm.what for alarm in read_alarms(LocalCopy.of(project).alarms)]


def promote(project: Project, answer: Answer) -> None:
    decide(project, answer("3", at=AT))


def test_versions_with_a_role_stand_ready_and_answer_as_they_did_when_they_were_judged(
    succession: Project, fresh: Keeper
) -> None:
    settled(fresh, succession, "2", "3", "1")
    found, copy, case = routes(succession), LocalCopy.of(succession), succession.case("bikes")
    assert found
    for entry in found.entries:
        folder = copy.version("bikes", entry.version)
        assert {"model.skops", "candidate.json", "example.json"} < {path.name for path in folder.iterdir()}
        engine = load_engine(folder, entry, case.contract)
        assert engine.kind == entry.engine == "plan"
        assert asyncio.run(answers_identically(engine, read_example(folder)))
        engine.close()
    assert found.champion
    assert found.champion.registered_at == ASKED + timedelta(days=6)
    assert found.champion.trained_at
    assert alarms(succession) == []


def test_an_approval_and_a_rollback_are_followed(served: Project, keeper: Keeper, answer: Answer) -> None:
    settled(keeper, served, "2", "3", "1")
    before = routes(served)
    promote(served, answer)
    settled(keeper, served, "3", None, "2")
    roll_back(served, "bikes", "3", WHY)
    settled(keeper, served, "2", None, "1")
    after = routes(served)
    assert before
    assert after
    assert after.generation > before.generation
    assert after.champion == before.champion


def test_a_version_is_fetched_and_proven_once(served: Project, keeper: Keeper, answer: Answer) -> None:
    settled(keeper, served, "2", "3", "1")
    copy = LocalCopy.of(served)
    before = {v: copy.version("bikes", v).stat().st_ino for v in ("1", "2", "3")}
    shutil.rmtree(served.stores / "artifacts")
    promote_without_proof(served)
    settled(keeper, served, "3", None, "2")
    with keeping(served) as another:
        settled(another, served, "3", None, "2")
        another.turn()
        assert another.alarms.listed() == []
    assert {v: copy.version("bikes", v).stat().st_ino for v in ("1", "2", "3")} == before


def promote_without_proof(project: Project) -> None:
    registry = Registry(project)
    registry.move_alias("bikes", "champion", "3")
    registry.move_alias("bikes", "retired", "2")
    registry.move_alias("bikes", "challenger", None)


def test_the_challengers_share_is_followed_and_ends_with_the_challenger(
    served: Project, keeper: Keeper, answer: Answer
) -> None:
    settled(keeper, served, "2", "3", "1")
    set_traffic(served, "bikes", "3", share=0.25, shadow=True, why=WHY)

    def shared() -> bool:
        keeper.turn()
        found = routes(served)
        return bool(found and (found.share, found.shadow, found.salt) == (0.25, True, "bikes/3"))

    until(shared, "a share of a quarter")
    decide(served, answer("3", approve=False, at=AT))
    settled(keeper, served, "2", None, "1")
    found = routes(served)
    assert found
    assert (found.share, found.shadow) == (0.0, False)


def test_a_keeper_that_starts_again_moves_nobody_to_another_version(served: Project, keeper: Keeper) -> None:
    set_traffic(served, "bikes", "3", share=0.25, shadow=True, why=WHY)
    until(lambda: keeper.turn() or getattr(routes(served), "share", 0) == 0.25, "a share of a quarter")
    settled(keeper, served, "2", "3", "1")
    before = LocalCopy.of(served).routes("bikes").read_bytes()
    proving, go_on = threading.Event(), threading.Event()

    def slow(material: Material) -> Made:
        proving.set()
        assert go_on.wait(60)
        return make_engine(material)

    shutil.rmtree(LocalCopy.of(served).version("bikes", "3"))  # it has to be fetched and proven anew
    another = Keeper(served, slow)
    until(lambda: another.turn() or proving.is_set(), "3 under way")
    another.turn()
    assert LocalCopy.of(served).routes("bikes").read_bytes() == before
    go_on.set()
    settled(another, served, "2", "3", "1")
    another.close()
    assert LocalCopy.of(served).routes("bikes").read_bytes() == before


def test_shares_somebody_wrote_by_hand_and_wrong_raise_an_alarm_until_they_are_mended(
    served: Project, keeper: Keeper
) -> None:
    registry = Registry(served)
    registry._client.set_registered_model_tag("bikes", "traffic", "half")
    settled(keeper, served, "2", "3", "1")
    assert [what for what in alarms(served) if what.startswith("The challenger gets no traffic: the tag `traffic`")]
    set_traffic(served, "bikes", "3", share=0.1, shadow=False, why=WHY)
    until(lambda: keeper.turn() or not alarms(served), "the alarm is off")


@pytest.mark.parametrize("spoilt", ["altered", "gone", "answers", "digest"])
def test_a_champion_that_is_not_what_was_judged_is_refused_and_the_old_one_goes_on(
    succession: Project, fresh: Keeper, spoilt: str
) -> None:
    model = stored_model(succession, "3")
    answers = {v: run_folder(succession, v) / "model/input_example_predictions.npy" for v in ("2", "3")}
    kept = {path: path.read_bytes() for path in (model, answers["3"])}
    said = {
        "altered": (lambda: model.write_bytes(kept[model] + b"x"), "is not the file that was recorded"),
        "gone": (model.unlink, "has no file at"),
        "answers": (lambda: answers["3"].write_bytes(answers["2"].read_bytes()), "answers its input example otherwise"),
        "digest": (lambda: drop_digest(succession), "carries no digest of its model"),
    }
    spoil, why = said[spoilt]
    spoil()
    settled(fresh, succession, "2", None, "1")
    promote_without_proof(succession)
    until(lambda: fresh.turn() or alarms(succession), "an alarm")
    for _ in range(50):
        fresh.turn()
    assert roles(succession) == ("2", None, "1")
    (alarm,) = read_alarms(LocalCopy.of(succession).alarms)
    assert (alarm.case, alarm.version) == ("bikes", "3")
    assert why in alarm.what
    for path, content in kept.items():
        path.write_bytes(content)
    if spoilt == "digest":
        Registry(succession).tag("bikes", "3", {"model_sha256": DIGESTS[0]})
    settled(fresh, succession, "3", None, "2")
    assert alarms(succession) == []


DIGESTS: list[str] = []


def drop_digest(project: Project) -> None:
    registry = Registry(project)
    version = registry.version("bikes", "3")
    assert version
    DIGESTS[:] = [version.tags["model_sha256"]]
    registry._client.delete_model_version_tag("bikes", "3", "model_sha256")


def test_a_version_that_needs_what_the_contract_does_not_promise_is_refused(succession: Project) -> None:
    described = succession.root / "configs/bikes.yaml"
    content = yaml.safe_load(described.read_text())
    columns = content["contract"]["columns"]
    columns["wind"] = columns.pop("wind_speed")
    columns["season"] = {"type": "integer", "role": "feature"}
    described.write_text(yaml.safe_dump(content, sort_keys=False))
    with keeping(Project(succession.root)) as keeper:
        until(lambda: keeper.turn() or len(alarms(succession)) == 3, "an alarm for each version")
    assert routes(succession) is None
    for what in alarms(succession):
        assert "it needs `wind_speed`, which is no feature of the contract" in what
        assert "it was trained with `season` as string, the contract says integer" in what


def test_a_registry_that_is_gone_changes_nothing_is_told_once_and_followed_when_it_is_back(
    served: Project, keeper: Keeper, caplog: pytest.LogCaptureFixture
) -> None:
    settled(keeper, served, "2", "3", "1")
    before = LocalCopy.of(served).routes("bikes").read_bytes()
    database = served.stores / "mlflow.db"
    database.rename(served.stores / "away.db")
    with caplog.at_level(logging.ERROR):
        for _ in range(100):
            keeper.turn()
    (told,) = [record.message for record in caplog.records]
    assert "MLflow cannot be reached" in told
    assert alarms(served) == [told]
    assert LocalCopy.of(served).routes("bikes").read_bytes() == before
    assert not database.exists(), "MLflow would make an empty one"
    (served.stores / "away.db").rename(database)
    promote_without_proof(served)
    settled(keeper, served, "3", None, "2")
    assert alarms(served) == []


def test_a_keeper_that_starts_without_a_registry_leaves_the_local_copy_as_it_is(
    served: Project, keeper: Keeper
) -> None:
    settled(keeper, served, "2", "3", "1")
    before = LocalCopy.of(served).routes("bikes").read_bytes()
    (served.stores / "mlflow.db").rename(served.stores / "away.db")
    with keeping(served) as another:
        for _ in range(20):
            another.turn()
        (alarm,) = another.alarms.listed()
        assert "MLflow cannot be reached" in alarm.what
    with keeping(served) as third:
        third.turn()
        assert third.alarms.listed() == [alarm], "since when is not forgotten"
    assert LocalCopy.of(served).routes("bikes").read_bytes() == before
    assert not (served.stores / "mlflow.db").exists()


def test_an_empty_registry_does_not_stop_a_champion_that_serves(
    served: Project, keeper: Keeper, empty_mlflow: Path
) -> None:
    settled(keeper, served, "2", "3", "1")
    before = LocalCopy.of(served).routes("bikes").read_bytes()
    shutil.copy(empty_mlflow, served.stores / "restored.db")
    (served.stores / "restored.db").replace(served.stores / "mlflow.db")
    until(lambda: keeper.turn() or alarms(served), "an alarm")
    assert "The registry knows no model `bikes` any more; version 2 goes on answering" in alarms(served)[0]
    assert LocalCopy.of(served).routes("bikes").read_bytes() == before


def test_a_champion_that_is_taken_away_in_the_registry_is_taken_away(served: Project, keeper: Keeper) -> None:
    settled(keeper, served, "2", "3", "1")
    Registry(served).move_alias("bikes", "champion", None)
    settled(keeper, served, None, "3", "1")


def test_a_slow_challenger_delays_no_champion(succession: Project) -> None:
    go_on = threading.Event()

    def slow(material: Material) -> Made:
        if material.candidate.settings["max_iter"] == 100:
            assert go_on.wait(60)
        return make_engine(material)

    keeper = Keeper(succession, slow)
    until(lambda: keeper.turn() or roles(succession) == ("2", None, None), "the champion")
    until(lambda: keeper.turn() or "3" in under_way(succession), "3 under way", 5)
    Registry(succession).move_alias("bikes", "champion", "1")
    until(lambda: keeper.turn() or roles(succession) == ("1", None, None), "another champion")
    assert "3" in keeper._readying.under_way("bikes")
    go_on.set()
    settled(keeper, succession, "1", "3", None)
    keeper.close()


def under_way(project: Project) -> tuple[str, ...]:
    cases = status(project).cases
    return cases["bikes"].preparing if cases else ()


def status(project: Project) -> KeeperStatus:
    return KeeperStatus.read(LocalCopy.of(project).status)


def test_the_keeper_says_every_second_how_it_does(served: Project, keeper: Keeper) -> None:
    settled(keeper, served, "2", "3", "1")
    first = status(served)
    until(lambda: keeper.turn() or status(served).at > first.at, "another sign of life", 5)
    told = status(served)
    assert told.registry_reachable
    assert told.alarms == 0
    assert told.cases["bikes"].generation == getattr(routes(served), "generation", None)
    since = [each.cases["bikes"].seconds_since_change for each in (first, told)]
    assert since[0] >= 0
    assert since[1] - since[0] == pytest.approx((told.at - first.at).total_seconds(), abs=0.1), "nothing changed since"
    assert json.loads(LocalCopy.of(served).status.read_text())["at"]


def test_a_pipeline_no_plan_is_made_of_answers_as_it_is_and_the_log_says_why(
    succession: Project, caplog: pytest.LogCaptureFixture
) -> None:
    def unrecognised(material: Material) -> Made:
        return Made(None, 0, f"it is made of {type(material.model).__name__}")

    keeper = Keeper(succession, unrecognised)
    with caplog.at_level(logging.WARNING):
        settled(keeper, succession, "2", "3", "1")
    keeper.close()
    found = routes(succession)
    assert found
    assert {(entry.engine, entry.plan_sha256) for entry in found.entries} == {("pipeline", None)}
    assert "bikes: version 2 answers as the pipeline itself: it is made of Pipeline" in caplog.messages


def test_a_damaged_plan_or_model_in_the_local_copy_is_made_anew(served: Project, keeper: Keeper) -> None:
    settled(keeper, served, "2", "3", "1")
    copy = LocalCopy.of(served)
    for version, name in (("2", "plan.npz"), ("3", "model.skops")):
        path = copy.version("bikes", version) / name
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    before = {v: copy.version("bikes", v).stat().st_ino for v in ("1", "2", "3")}
    with keeping(served) as another:
        until(lambda: another.turn() or changed_folders(copy, before) == {"2", "3"}, "2 and 3 are made anew")
        settled(another, served, "2", "3", "1")
    assert [path.name for path in copy.case("bikes").glob(".preparing-*")] == []


def changed_folders(copy: LocalCopy, before: dict[str, int]) -> set[str]:
    return {v for v, inode in before.items() if (p := copy.version("bikes", v)).exists() and p.stat().st_ino != inode}


def test_versions_without_a_role_are_removed_but_for_the_last_three(served: Project, keeper: Keeper) -> None:
    copy = LocalCopy.of(served)
    for version in ("10", "11", "12", "13", "14"):
        copy.version("bikes", version).mkdir(parents=True)
    Registry(served).move_alias("bikes", "challenger", None)
    settled(keeper, served, "2", None, "1")
    found = {path.name for path in copy.case("bikes").glob("*/")}
    assert found == {"1", "2", "12", "13", "14"}


def test_routes_that_cannot_be_written_raise_an_alarm_and_are_written_later(succession: Project, fresh: Keeper) -> None:
    copy = LocalCopy.of(succession)
    copy.routes("bikes").mkdir(parents=True)
    until(lambda: fresh.turn() or alarms(succession), "an alarm")
    assert "The routes of `bikes` could not be written" in alarms(succession)[0]
    copy.routes("bikes").rmdir()
    settled(fresh, succession, "2", "3", "1")
    assert alarms(succession) == []


def test_a_second_keeper_waits_until_the_first_is_gone(succession: Project, started: Start) -> None:
    first = started(succession)
    first.until(lambda: roles(succession) == ("2", "3", "1"), "the first keeper's routes")
    second = started(succession)
    second.until(lambda: "waiting for keeper.lock" in second.said.read_text(), "it waits")
    assert status(succession).pid == first.process.pid
    first.kill()
    promote_without_proof(succession)
    second.until(lambda: roles(succession) == ("3", None, "2"), "the second keeper takes over")
    second.until(lambda: status(succession).pid == second.process.pid, "its sign of life")
    assert second.stop() == 0


def test_a_keeper_killed_in_the_middle_of_preparing_leaves_nothing_half_made(
    succession: Project, started: Start
) -> None:
    copy = LocalCopy.of(succession)
    for _ in range(3):
        doomed = started(succession)
        until(lambda: list(copy.case("bikes").glob(".preparing-*")), "it is preparing")
        doomed.kill()
        assert all((folder / "prepared.json").is_file() for folder in copy.case("bikes").glob("[0-9]*"))
        shutil.rmtree(copy.version("bikes", "3"), ignore_errors=True)
        copy.routes("bikes").unlink(missing_ok=True)
    last = started(succession)
    last.until(lambda: roles(succession) == ("2", "3", "1"), "routes")
    assert list(copy.case("bikes").glob(".preparing-*")) == []
    assert last.stop() == 0


def test_a_rollback_in_another_process_is_in_the_routes_at_once(succession: Project, started: Start) -> None:
    keeper = started(succession)
    keeper.until(lambda: roles(succession) == ("2", "3", "1"), "routes")
    registry = Registry(succession)
    for version in ("1", "2", "1", "2", "1"):
        registry.move_alias("bikes", "champion", version)
        until(lambda v=version: roles(succession)[0] == v, "the champion's change", 2)  # 0.05 s on a quiet machine
    assert keeper.stop() == 0


def test_a_case_without_a_model_has_no_routes_and_no_alarm(clone: Project) -> None:
    with keeping(clone) as keeper:
        until(lambda: keeper.turn() or keeper._asking.reachable, "an answer")
        keeper.turn()
        assert routes(clone) is None
        assert alarms(clone) == []


def test_the_status_of_who_serves_is_not_the_keepers_to_change(served: Project, keeper: Keeper) -> None:
    settled(keeper, served, "2", "3", "1")
    found = {entry.version: entry.status for entry in Registry(served).versions("bikes")}
    assert found == {"1": Status.retired, "2": Status.champion, "3": Status.awaiting}


def test_a_promise_about_a_column_changes_what_a_proof_is_worth(served: Project, keeper: Keeper) -> None:
    settled(keeper, served, "2", "3", "1")
    copy = LocalCopy.of(served)
    before = {v: copy.version("bikes", v).stat().st_ino for v in ("1", "2", "3")}
    described = served.root / "configs/bikes.yaml"
    content = yaml.safe_load(described.read_text())
    content["contract"]["version"] = 2
    described.write_text(yaml.safe_dump(content, sort_keys=False))
    with keeping(Project(served.root)) as another:
        until(lambda: another.turn() or changed_folders(copy, before) == {"1", "2", "3"}, "all are proven anew")
