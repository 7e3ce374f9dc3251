"""What is asked of MLflow, and how it is told when MLflow does not answer or answers with another file."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from configs.project import Project
from tasks.adapters.registry import LoggedCandidate, Registry, Standing
from tasks.errors import ArtifactAltered, ArtifactMissing, StoreUnreachable
from tasks.records import Traffic

AWAITING = {"status": "awaiting approval", "fingerprint": "f" * 64}


def at_place(project: Project, uri: str) -> Project:
    place = project.root / "configs/places/local.yaml"
    place.write_text(place.read_text().replace("sqlite:///data/stores/mlflow.db", uri))
    return Project(project.root)


def logged(registry: Registry, **tags: str) -> LoggedCandidate:
    """A finished run, whose model is a name: what MLflow keeps of it is not looked at."""
    run_id = registry.start_run("bikes", "2011-04-11", tags)
    model = registry._client.create_logged_model(registry._experiment("bikes"), name="model", source_run_id=run_id)
    registry.log(run_id, {}, {}, {"model_id": model.model_id, "model_sha256": "0" * 64})
    registry.end_run(run_id)
    return LoggedCandidate(run_id=run_id, model_id=model.model_id, model_sha256="0" * 64)


@pytest.fixture
def registry(clone: Project) -> Registry:
    return Registry(clone)


@pytest.mark.parametrize(
    ("uri", "where"),
    [
        ("http://127.0.0.1:9", r"http://127\.0\.0\.1:9"),
        ("http://ada:hunter2@127.0.0.1:9", r"127\.0\.0\.1:9"),
        ("https://ada:p%40ss:hunter2@127.0.0.1:9/mlflow", r"127\.0\.0\.1:9"),
        ("sqlite:////proc/nowhere/mlflow.db", "/proc/nowhere"),
        ("postgresql+psycopg://ada:hunter2@127.0.0.1:9/mlflow", r"127\.0\.0\.1:9"),
        ("nodatabase://ada:hunter2@127.0.0.1/mlflow", r"127\.0\.0\.1"),
    ],
    ids=["server", "server with password", "https with password", "no such folder", "database", "no such kind"],
)
def test_an_mlflow_that_cannot_be_reached_is_told_soon_with_address_and_remedy_and_no_password(
    checkout: Project, uri: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "hunter2" in uri:  # how soon is seen without a password: with one, it is not asked again
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    began = time.monotonic()
    with pytest.raises(StoreUnreachable, match=f"MLflow cannot be reached at .*{where}") as told:
        Registry(at_place(checkout, uri))
    assert time.monotonic() - began < 20
    assert "Start it, or check `stores.mlflow` of this place, and run the same again" in str(told.value)
    shown = str(told.value)
    assert "hunter2" not in shown
    assert "p%40ss" not in shown


def test_a_file_that_is_no_database_is_an_mlflow_that_cannot_be_reached(checkout: Project) -> None:
    checkout.stores.mkdir(parents=True, exist_ok=True)
    path = checkout.stores / "mlflow.db"
    path.write_text("not a database, and long enough to be looked at" * 40)
    with pytest.raises(StoreUnreachable, match=r"MLflow cannot be reached at .*data/stores/mlflow\.db"):
        Registry(checkout)
    assert path.read_text().startswith("not a database")


def test_an_mlflow_that_goes_away_later_is_told_the_same_way(clone: Project, registry: Registry) -> None:
    registry._client._tracking_client.store.engine.dispose()
    (clone.stores / "mlflow.db").write_text("gone" * 1000)
    said = r"MLflow cannot be reached at .*run the same again: what was begun is finished"
    with pytest.raises(StoreUnreachable, match=said):
        registry.versions("bikes")


def test_a_case_without_a_model_has_no_versions_and_no_champion(registry: Registry) -> None:
    assert registry.versions("bikes") == []
    assert registry.version("bikes", "1") is None
    assert registry.holder("bikes", "champion") is None
    assert registry.finished_run("bikes", {"fingerprint": "f"}) is None


def test_versions_come_newest_first_by_number_with_their_tags(registry: Registry) -> None:
    for number in range(11):
        registry.register("bikes", logged(registry), "", {**AWAITING, "number": str(number)})
    found = registry.versions("bikes")
    assert [entry.version for entry in found] == [str(number) for number in range(11, 0, -1)]
    assert found[0].tags["number"] == "10"
    assert (found[0].status, found[0].fingerprint) == ("awaiting approval", "f" * 64)
    assert registry.version("bikes", "11") == found[0]


def test_a_run_that_is_registered_twice_gives_one_version(registry: Registry) -> None:
    candidate = logged(registry)
    first = registry.register("bikes", candidate, "why", AWAITING)
    second = registry.register("bikes", candidate, "why not", {"status": "champion"})
    assert second == first
    assert [entry.version for entry in registry.versions("bikes")] == ["1"]
    assert registry.description("bikes", "1") == "why"


def test_an_alias_points_to_one_version_moves_and_can_be_removed_twice(registry: Registry) -> None:
    for _ in range(2):
        registry.register("bikes", logged(registry), "", AWAITING)
    assert registry.holder("bikes", "champion") is None
    for version in ("1", "2"):
        registry.move_alias("bikes", "champion", version)
        holder = registry.holder("bikes", "champion")
        assert holder
        assert holder.version == version
        assert holder.tags == AWAITING
    for _ in range(2):
        registry.move_alias("bikes", "champion", None)
        assert registry.holder("bikes", "champion") is None


def test_the_standing_of_a_model_names_who_holds_which_alias_and_how_traffic_is_shared(registry: Registry) -> None:
    assert registry.standing("bikes") is None
    assert registry.traffic("bikes") == Traffic(salt="bikes")
    for _ in range(3):
        registry.register("bikes", logged(registry), "", AWAITING)
    nobody = Standing(case="bikes", champion=None, challenger=None, retired=None, traffic=Traffic(salt="bikes"))
    assert registry.standing("bikes") == nobody
    for alias, version in (("champion", "2"), ("challenger", "3"), ("retired", "1")):
        registry.move_alias("bikes", alias, version)
    decided = Traffic(challenger="3", share=0.1, shadow=True, salt="bikes/3")
    registry.set_traffic("bikes", decided)
    standing = Standing(case="bikes", champion="2", challenger="3", retired="1", traffic=decided)
    assert registry.standing("bikes") == standing
    assert str(standing) == (
        "champion: 2; challenger: 3; retired: 1; the challenger answers 10 %, and shadows the rest"
    )


def test_a_share_counts_for_the_challenger_it_was_decided_for_and_no_other(registry: Registry) -> None:
    for _ in range(2):
        registry.register("bikes", logged(registry), "", AWAITING)
    registry.move_alias("bikes", "challenger", "1")
    registry.set_traffic("bikes", Traffic(challenger="1", share=0.5, salt="bikes/1"))
    registry.move_alias("bikes", "challenger", "2")
    assert registry.traffic("bikes") == Traffic(salt="bikes")
    registry.move_alias("bikes", "challenger", None)
    assert registry.traffic("bikes") == Traffic(salt="bikes")


@pytest.mark.parametrize("tag", ["half", '{"share": 2, "salt": "bikes", "challenger": "1"}', "{}"])
def test_shares_somebody_wrote_by_hand_and_wrong_give_the_challenger_nothing_and_are_told(
    registry: Registry, tag: str
) -> None:
    registry.register("bikes", logged(registry), "", AWAITING)
    registry.move_alias("bikes", "challenger", "1")
    registry._client.set_registered_model_tag("bikes", "traffic", tag)
    standing = registry.standing("bikes")
    assert standing
    assert standing.traffic == Traffic(salt="bikes")
    assert standing.problem
    assert standing.problem.startswith("the tag `traffic` of the model `bikes`: ")
    assert standing.problem in str(standing)


def test_a_tag_is_set_on_its_version_only(registry: Registry) -> None:
    for _ in range(2):
        registry.register("bikes", logged(registry), "", AWAITING)
    registry.tag("bikes", "1", {"status": "champion", "decided_by": "Ada"})
    assert [entry.status for entry in registry.versions("bikes")] == ["awaiting approval", "champion"]


def test_a_finished_run_is_found_by_all_of_its_tags(registry: Registry) -> None:
    candidate = logged(registry, fingerprint="a", judged_by="b")
    found = registry.finished_run("bikes", {"fingerprint": "a", "judged_by": "b"})
    assert found
    assert found.info.run_id == candidate.run_id
    assert registry.finished_run("bikes", {"fingerprint": "a", "judged_by": "c"}) is None


def test_a_run_that_never_ended_is_deleted_and_the_finished_one_kept(registry: Registry) -> None:
    tags = {"fingerprint": "a", "judged_by": "b"}
    candidate = logged(registry, **tags)
    interrupted = registry.start_run("bikes", "2011-04-11", tags)
    found = registry.finished_run("bikes", tags)
    assert found
    assert found.info.run_id == candidate.run_id
    assert registry.read_run(interrupted).info.lifecycle_stage == "deleted"
    assert registry.read_run(candidate.run_id).info.lifecycle_stage == "active"


def test_files_come_back_as_they_were_logged(registry: Registry, tmp_path: Path) -> None:
    run_id = registry.start_run("bikes", "2011-04-11", {})
    (tmp_path / "rebuild.txt").write_text("one")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/two.txt").write_text("two")
    registry.log_files(run_id, [tmp_path / "rebuild.txt", tmp_path / "folder"], "rebuild")
    into = tmp_path / "fetched"
    into.mkdir()
    assert (registry.download_file(run_id, "rebuild", into) / "rebuild.txt").read_text() == "one"
    assert (registry.download_file(run_id, "folder", into) / "two.txt").read_text() == "two"


def test_artifacts_lie_in_the_clone_wherever_the_first_caller_stood(
    clone: Project, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    registry.start_run("bikes", "2011-04-11", {})
    experiment = registry._client.get_experiment_by_name("bikes")
    assert experiment.artifact_location == (clone.stores / "artifacts/bikes").as_uri()


def test_a_file_that_was_never_logged_is_missing(registry: Registry, tmp_path: Path) -> None:
    run_id = registry.start_run("bikes", "2011-04-11", {})
    with pytest.raises(ArtifactMissing, match=rf"model/candidate\.json of run {run_id} has no file at "):
        registry.download_file(run_id, "model/candidate.json", tmp_path)


@pytest.mark.slow
@pytest.mark.xdist_group("bikes")
class TestStoredModel:
    """A model comes back from MLflow as the very file that was registered, or not at all."""

    @pytest.fixture
    def fetch(self, registered: Project, tmp_path: Path) -> Callable[[], Path]:
        registry = Registry(registered)
        version = registry.version("bikes", "1")
        assert version
        (tmp_path / "fetched").mkdir()
        return lambda: registry.download_model(version.source, tmp_path / "fetched", version.tags["model_sha256"])

    @pytest.fixture
    def stored(self, registered: Project) -> Path:
        return next((registered.stores / "artifacts").rglob("models/*/artifacts/model.skops"))

    def test_a_whole_model_comes_back(self, fetch: Callable[[], Path], stored: Path) -> None:
        assert fetch().read_bytes() == stored.read_bytes()

    def test_an_altered_model_is_refused(self, fetch: Callable[[], Path], stored: Path) -> None:
        stored.write_bytes(stored.read_bytes() + b"x")
        with pytest.raises(ArtifactAltered, match=r"The model models:/m-\w+ is not the file that was recorded"):
            fetch()

    def test_a_deleted_model_is_missing(self, fetch: Callable[[], Path], stored: Path) -> None:
        stored.unlink()
        with pytest.raises(ArtifactMissing, match=r"The model models:/m-\w+ has no file at"):
            fetch()

    def test_a_deleted_folder_of_a_model_is_missing(self, fetch: Callable[[], Path], stored: Path) -> None:
        for path in stored.parent.iterdir():
            path.unlink()
        stored.parent.rmdir()
        with pytest.raises(ArtifactMissing, match=r"The model models:/m-\w+ has no file at"):
            fetch()
