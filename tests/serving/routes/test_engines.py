"""What a version answers with: a plan that gave the pipeline's bits, and in any doubt the pipeline itself."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from configs.project import Project
from serving.engine.compile import CompiledPlan, compile_plan
from serving.engine.example import read_example
from serving.routes import engines
from serving.routes.engines import make_engine
from serving.routes.prepare import Material, fetch, misfits
from serving.routes.recorded import delivered_rows
from tasks.adapters.registry import Registry
from tasks.errors import AnswersDiffer
from tasks.features.artifact import MODEL_FILE, load_model
from tasks.records import Candidate

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("bikes")]


@pytest.fixture
def material(succession: Project, tmp_path: Path) -> Material:
    """Version 3 of the bike model, as it was fetched."""
    registry = Registry(succession)
    version = registry.version("bikes", "3")
    assert version
    folder = tmp_path / "fetched"
    folder.mkdir()
    fetch(registry, version, folder)
    digest = version.tags["model_sha256"]
    candidate = Candidate.read(folder / "candidate.json")
    case, model = succession.case("bikes"), load_model(folder / MODEL_FILE, digest)
    return Material(succession, case, "3", folder, model, digest, candidate)


def test_a_plan_is_compared_on_its_example_on_edge_rows_and_on_what_was_delivered(material: Material) -> None:
    made = make_engine(material)
    assert made.plan_sha256
    assert made.pipeline_because is None
    delivered = delivered_rows(material.project, material.case, 1000)
    assert made.rows == len(read_example(material.folder).answers) + 2000 + delivered.count
    assert delivered.count == 1000
    assert (material.folder / "plan.npz").is_file()


def test_a_plan_that_is_off_by_one_bit_is_not_written_and_the_pipeline_answers(
    material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    def off_by_one_bit(*arguments: Any) -> CompiledPlan:
        compiled = compile_plan(*arguments)
        assert isinstance(compiled, CompiledPlan)
        return replace(compiled, arrays={**compiled.arrays, "baseline": np.nextafter(compiled.arrays["baseline"], 1e9)})

    monkeypatch.setattr(engines, "compile_plan", off_by_one_bit)
    made = make_engine(material)
    assert made.plan_sha256 is None
    assert made.pipeline_because
    assert made.pipeline_because.startswith("its plan differs on its input example, row 0: the plan answers ")
    assert not (material.folder / "plan.npz").exists()
    assert read_example(material.folder).rows.count == 5


def test_whatever_keeps_a_plan_from_being_made_the_pipeline_answers_and_the_log_tells(
    material: Material, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def another_scikit_learn(*_: Any) -> CompiledPlan:
        raise AttributeError("the trees lie elsewhere")

    monkeypatch.setattr(engines, "compile_plan", another_scikit_learn)
    with caplog.at_level(logging.ERROR):
        made = make_engine(material)
    assert (made.plan_sha256, made.pipeline_because) == (None, "no plan could be made of it: the trees lie elsewhere")
    assert caplog.messages == ["bikes: version 3: no plan could be made"]


def test_a_model_that_answers_otherwise_on_the_gateways_way_is_refused(material: Material) -> None:
    answers = material.folder / "input_example_predictions.npy"
    kept = np.load(answers)
    np.save(answers, np.nextafter(kept, 1e9))
    with pytest.raises(AnswersDiffer, match="Version 3 of `bikes` loads, but answers its input example otherwise"):
        make_engine(material)


def test_a_delivery_that_cannot_be_read_is_no_reason_to_refuse_a_model(
    material: Material, caplog: pytest.LogCaptureFixture
) -> None:
    deliveries = material.project.files("bikes").deliveries
    newest = max(deliveries.glob("*.parquet"))
    newest.chmod(0o644)
    newest.write_text("torn")
    with caplog.at_level(logging.WARNING):
        made = make_engine(material)
    assert made.plan_sha256
    assert f"the delivery {newest.name} is not used to prove a plan" in caplog.text


@pytest.mark.parametrize(
    ("column", "values", "problem"),
    [
        ("holiday", [True, None, False], None),
        ("holiday", [1.0, None, 0.0], None),
        ("holiday", ["yes", "no", None], "trained with `holiday` as string, the contract says boolean"),
        ("humidity", [1, 2, 3], None),
        ("humidity", [None, None, None], None),
        ("humidity", ["1", "2", "3"], "trained with `humidity` as string, the contract says number"),
        ("season", [1, 2, 3], "trained with `season` as integer, the contract says string"),
        ("local_hour", [1.5, 2.0, None], "trained with `local_hour` as floating, the contract says timestamp"),
    ],
)
def test_what_a_model_was_trained_with_must_be_what_the_contract_promises(
    material: Material, column: str, values: list[Any], problem: str | None
) -> None:
    example = pd.read_parquet(material.folder / "input_example.parquet").head(3).assign(**{column: values})
    found = misfits(material.candidate, example, material.case.contract)
    assert found == ([] if problem is None else [f"it was {problem}"])


def test_a_feature_that_is_not_promised_any_more_is_named(material: Material) -> None:
    example = pd.read_parquet(material.folder / "input_example.parquet")
    more = material.candidate.model_copy(update={"features": (*material.candidate.features, "moon")})
    assert misfits(more, example.assign(moon=1.0), material.case.contract) == [
        "it needs `moon`, which is no feature of the contract"
    ]
    assert misfits(more, example, material.case.contract) == [
        "it needs `moon`, which is no feature of its own input example"
    ]
