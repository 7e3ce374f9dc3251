"""What several files say about the same thing must be the same: cases, stages, parameters, schedules, versions."""

import ast
import importlib.util
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from configs.case import Case, ColumnType
from configs.params import Params
from configs.project import CaseFiles, Project
from configs.read import case_names
from tasks.__main__ import STAGES
from tasks.records import Order, Record, Windows

ROOT = Path(__file__).parents[2]
CASES = case_names(ROOT)
PROJECT = Project(ROOT)


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


DVC = read("dvc.yaml")["stages"]
DEPLOYMENTS = read("prefect.yaml")["deployments"]
PACKAGE = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCKED = {
    package["name"]: package["version"]
    for package in tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    if "version" in package
}
MADE: dict[str, type[Record]] = {"data/${item}/order.json": Order, "data/${item}/windows.json": Windows}
"""Files of parameters that the loop itself writes, and the records in them."""
TRAINING = [each for each in DEPLOYMENTS if each["entrypoint"] == "flows/training.py:training"]


def named_parameters(stage: str) -> list[tuple[str, str]]:
    """File and key of each parameter a stage depends on, with `${item}` still in them."""
    found = []
    for entry in DVC[stage]["do"].get("params", []):
        where = entry if isinstance(entry, dict) else {"params.yaml": [entry]}
        found += [(file, key) for file, keys in where.items() for key in keys]
    return found


def written_by(stage: str) -> list[str]:
    return [next(iter(out)) if isinstance(out, dict) else out for out in DVC[stage]["do"]["outs"]]


# Cases


@pytest.mark.parametrize("stage", DVC)
def test_every_stage_of_the_chain_runs_for_every_case_and_no_other(stage: str) -> None:
    assert sorted(DVC[stage]["foreach"]) == CASES


def test_every_case_has_parameters_and_there_are_no_parameters_without_a_case() -> None:
    assert sorted(read("params.yaml")) == CASES


def test_every_case_has_one_training_deployment_of_its_name() -> None:
    assert sorted(each["parameters"]["case"] for each in TRAINING) == CASES
    assert [each["name"] for each in TRAINING] == [each["parameters"]["case"] for each in TRAINING]


# Stages


def test_the_chain_has_the_stages_that_can_be_called() -> None:
    assert list(DVC) == list(STAGES)


@pytest.mark.parametrize("stage", DVC)
def test_the_command_of_a_stage_calls_the_verb_of_its_name(stage: str) -> None:
    assert DVC[stage]["do"]["cmd"] == f"python -m tasks {stage} ${{item}}"
    spec = importlib.util.find_spec(STAGES[stage])
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    assert stage in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("stage", DVC)
@pytest.mark.parametrize("case", CASES)
def test_what_a_stage_depends_on_is_in_the_project_or_made_by_the_loop(case: str, stage: str) -> None:
    files = PROJECT.files(case)
    made = {ROOT / out.replace("${item}", case) for earlier in DVC for out in written_by(earlier)} | {files.champion}
    for dependency in DVC[stage]["do"]["deps"]:
        path = ROOT / dependency.replace("${item}", case)
        assert path in made or path.exists(), dependency


def test_a_stage_writes_where_the_project_says_its_files_are() -> None:
    files = CaseFiles(ROOT / "data" / "${item}")
    expected = {
        "ingest": [files.deliveries],
        "validate": [files.validation, files.windows],
        "train": [files.model],
        "evaluate": [files.evaluation],
        "refit": [files.refit],
    }
    assert {stage: [ROOT / out for out in written_by(stage)] for stage in DVC} == expected


def test_deliveries_and_reports_outlive_a_run_because_stages_add_to_them() -> None:
    kept = [out for stage in DVC for out in DVC[stage]["do"]["outs"] if isinstance(out, dict)]
    persistent = {name for out in kept for name, options in out.items() if options.get("persist")}
    assert persistent == {"data/${item}/deliveries", "data/${item}/validation"}


# Parameters


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stage", DVC)
def test_every_parameter_the_chain_names_exists(stage: str, case: str) -> None:
    for file, key in named_parameters(stage):
        if file in MADE:
            assert key in MADE[file].model_fields
            continue
        value = read(file.replace("${item}", case))
        for part in key.replace("${item}", case).split("."):
            assert part in value, f"{file}: {key}"
            value = value[part]


def test_every_parameter_that_changes_a_model_or_its_gate_makes_some_stage_run_again() -> None:
    named = {key.split(".")[1] for stage in DVC for file, key in named_parameters(stage) if file == "params.yaml"}
    assert named == set(Params.model_fields) - {"approval", "monitoring", "rollout"}


def test_every_key_of_a_case_that_changes_data_or_model_makes_some_stage_run_again() -> None:
    tracked = {key for stage in DVC for file, key in named_parameters(stage) if file == "configs/${item}.yaml"}
    assert tracked <= set(Case.model_fields)
    assert {"source", "batch_every", "contract", "problem"} <= tracked
    assert "configs/${item}.yaml" in DVC["validate"]["do"]["deps"]


def test_a_change_of_what_makes_a_label_positive_trains_and_judges_again() -> None:
    for stage in ("train", "evaluate", "refit"):
        deps, named = DVC[stage]["do"]["deps"], named_parameters(stage)
        assert ("configs/${item}.yaml", "positive") in named or "configs/${item}.yaml" in deps, stage


@pytest.mark.parametrize("name", CASES)
def test_every_column_named_in_the_parameters_is_in_the_contract(name: str) -> None:
    case, params = PROJECT.case(name), PROJECT.params(name)
    columns = case.contract.columns
    times = {column for column in case.contract.features if columns[column].type is ColumnType.timestamp}
    assert {entry.column for entry in params.features.calendar} <= times
    assert set(params.features.leave_out) <= set(case.contract.features)
    assert set(params.gate.slices.columns) <= set(columns)
    assert set(params.monitoring.reference.expected) <= set(case.contract.features)
    assert {*params.monitoring.inputs.text, *params.monitoring.outcomes.slices} <= set(columns)


@pytest.mark.parametrize("name", CASES)
def test_every_column_named_in_an_extra_expectation_is_in_the_contract(name: str) -> None:
    case = PROJECT.case(name)
    named = {check.arguments["column"] for check in case.expectations if "column" in check.arguments}
    assert named <= set(case.contract.columns)


# Schedules


@pytest.mark.parametrize("deployment", TRAINING, ids=lambda deployment: deployment["name"])
def test_training_starts_on_monday_at_two_in_utc_and_never_twice_at_once(deployment: dict[str, Any]) -> None:
    assert deployment["schedules"] == [{"cron": "0 2 * * 1", "timezone": "UTC", "slug": "weekly"}]
    assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["name"])
def test_a_deployment_starts_a_flow_that_takes_its_parameters(deployment: dict[str, Any]) -> None:
    file, _, name = deployment["entrypoint"].partition(":")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    functions = {node.name: node.args for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    taken = {argument.arg for argument in (*functions[name].args, *functions[name].kwonlyargs)}
    assert set(deployment.get("parameters", {})) <= taken


def test_every_deployment_works_in_the_pool_of_this_machine() -> None:
    assert {each["work_pool"]["name"] for each in DEPLOYMENTS} == {PROJECT.place.prefect.work_pool}


# Commands and versions


def test_the_makefile_has_the_two_commands() -> None:
    rules = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert {"run", "test"} <= set(rules)


def test_the_two_commands_use_the_locked_environment() -> None:
    rules = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipes = dict(re.findall(r"^(run|test):.*\n((?:\t.+\n)+)", rules, flags=re.MULTILINE))
    (in_env,) = re.findall(r"^IN_ENV := (.+)$", rules, flags=re.MULTILINE)
    assert "evergreen run" in recipes["run"]
    assert "pytest" in recipes["test"]
    assert "--frozen" in in_env
    assert all("$(IN_ENV)" in recipe for recipe in recipes.values())


def test_the_command_line_starts_where_the_package_says() -> None:
    module, _, function = PACKAGE["scripts"]["evergreen"].partition(":")
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(
    ("package", "version"), [("prefect", "3.8.8"), ("fastapi", "0.141.1"), ("sqlalchemy", "2.0.45")]
)
def test_a_package_we_promised_a_version_of_is_pinned_and_locked_at_it(package: str, version: str) -> None:
    assert f"{package}=={version}" in PACKAGE["dependencies"]
    assert LOCKED[package] == version


def test_pandas_stays_below_3_1() -> None:
    (pandas,) = [Requirement(text) for text in PACKAGE["dependencies"] if Requirement(text).name == "pandas"]
    assert pandas.specifier.contains("3.0.9")
    assert not pandas.specifier.contains("3.1.0")
    assert Version(LOCKED["pandas"]) < Version("3.1")


@pytest.mark.parametrize("text", PACKAGE["dependencies"], ids=lambda text: Requirement(text).name)
def test_the_lock_file_holds_every_dependency_in_a_version_it_allows(text: str) -> None:
    wanted = Requirement(text)
    assert wanted.specifier.contains(LOCKED[wanted.name.lower()])
