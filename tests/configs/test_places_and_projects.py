"""Where it runs: overlays, values from the environment, and the folder that is the project."""

from pathlib import Path

import pytest

from configs.errors import ConfigError, NotAProject
from configs.project import Project
from configs.read import case_names, read_case, read_params, read_place

ROOT = Path(__file__).parents[2]
PROD = {
    "MLFLOW_TRACKING_URI": "https://mlflow.example",
    "EVERGREEN_HISTORY_URL": "postgresql+psycopg://history",
    "PREFECT_API_URL": "https://prefect.example/api",
}


def test_both_shipped_cases_are_found() -> None:
    assert case_names(ROOT) == ["bikes", "flights"]


@pytest.mark.parametrize("name", case_names(ROOT))
def test_every_shipped_case_and_its_parameters_can_be_read(name: str) -> None:
    assert read_case(ROOT, name).name == name
    assert read_params(ROOT, name).gate.limits


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "places").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_place_can_be_read(path: Path) -> None:
    assert read_place(ROOT, path.stem, PROD).name == path.stem


def test_a_value_from_the_environment_is_put_where_it_is_asked_for() -> None:
    place = read_place(ROOT, "prod", PROD)
    assert (place.stores.mlflow, place.stores.history, place.prefect.api_url) == tuple(PROD.values())


@pytest.mark.parametrize("name", ["MLFLOW_TRACKING_URI", "EVERGREEN_HISTORY_URL"])
@pytest.mark.parametrize("value", [None, ""])
def test_a_value_the_environment_does_not_hold_is_an_error_and_never_a_default(name: str, value: str | None) -> None:
    environment = {key: kept for key, kept in {**PROD, name: value}.items() if kept is not None}
    with pytest.raises(
        ConfigError, match=rf"prod\.yaml takes a value from the environment variable {name}, which is not set"
    ):
        read_place(ROOT, "prod", environment)


@pytest.mark.parametrize("value", [None, ""])
def test_a_value_marked_with_a_question_mark_may_be_missing(value: str | None) -> None:
    environment = {key: kept for key, kept in {**PROD, "PREFECT_API_URL": value}.items() if kept is not None}
    assert read_place(ROOT, "prod", environment).prefect.api_url is None


def test_places_on_one_machine_need_nothing_from_the_environment() -> None:
    assert read_place(ROOT, "local", {}).when_busy == "wait"
    assert read_place(ROOT, "ci", {}).when_busy == "refuse"


def test_an_unknown_place_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        ConfigError, match=r"no place `moon` \(EVERGREEN_PLACE\); known places: ci, github, local, prod"
    ):
        read_place(ROOT, "moon", {})


def test_a_misspelt_key_of_a_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "configs" / "places").mkdir(parents=True)
    text = (ROOT / "configs" / "places" / "local.yaml").read_text(encoding="utf-8")
    (tmp_path / "configs" / "places" / "local.yaml").write_text(text + "when_bussy: wait\n")
    with pytest.raises(ConfigError, match=r"local\.yaml: unknown key `when_bussy`; did you mean `when_busy`"):
        read_place(tmp_path, "local", {})


def test_a_project_is_found_from_any_folder_inside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVERGREEN_ROOT", raising=False)
    monkeypatch.delenv("EVERGREEN_PLACE", raising=False)
    monkeypatch.chdir(ROOT / "tasks" / "training")
    assert Project.here() == Project(ROOT, "local")


def test_a_project_and_a_place_can_be_named_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVERGREEN_ROOT", str(ROOT))
    monkeypatch.setenv("EVERGREEN_PLACE", "ci")
    assert Project.here() == Project(ROOT, "ci")
    assert Project.here().place.name == "ci"


def test_outside_of_a_project_one_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVERGREEN_ROOT", raising=False)
    (tmp_path / "params.yaml").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotAProject, match="not inside an Evergreen project: no parent folder has both"):
        Project.here()
    (tmp_path / "configs").mkdir()
    assert Project.here().root == tmp_path


def test_the_files_of_a_case_lie_in_a_folder_of_its_own() -> None:
    bikes, flights = (Project(ROOT).files(case) for case in ("bikes", "flights"))
    assert bikes.folder == ROOT / "data" / "bikes"
    made = ("order", "champion", "champion_record", "deliveries", "validation", "windows", "quarantine")
    inside = (*made, "model", "evaluation", "refit")
    assert all(bikes.folder in getattr(bikes, name).parents for name in inside)
    assert not {getattr(bikes, name) for name in inside} & {getattr(flights, name) for name in inside}
