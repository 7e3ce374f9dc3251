"""A version's folder becomes an engine that proves itself with its example; rows and tables say the same."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest

from serving.engine.errors import PlanCorrupt
from serving.engine.example import EXAMPLE_FILE, answers_identically, read_example, write_example
from serving.engine.frame import frame_of, rows_of
from serving.engine.load import load_engine
from serving.engine.pipeline import CANDIDATE_FILE
from serving.records import Rows
from tasks.errors import ArtifactAltered
from tasks.features.artifact import MODEL_FILE, save_model, score

from .orchard import Ask, Fitted, apples, fitted

ASK = Ask("hist_gradient_boosting", "binary", (("max_iter", 3), ("min_samples_leaf", 5)))
CLASSES = Ask("random_forest", "multiclass", (("n_estimators", 3),), classes=3)


@dataclass
class Entry:
    engine: Literal["plan", "pipeline"]
    model_sha256: str
    plan_sha256: str | None


@dataclass
class Version:
    """A folder of the local copy, and what the routes would say of it."""

    folder: Path
    model: Fitted
    entry: Entry

    def load(self, kind: Literal["plan", "pipeline"]) -> Any:
        self.entry.engine = kind
        return load_engine(self.folder, self.entry, self.model.case.contract)


@pytest.fixture(params=[ASK, CLASSES], ids=str)
def version(request: pytest.FixtureRequest, tmp_path: Path) -> Version:
    model = fitted(request.param)
    digest = save_model(model.model, tmp_path / MODEL_FILE)
    model.candidate.write(tmp_path / CANDIDATE_FILE)
    rows = model.rows.take(range(5))
    write_example(tmp_path, rows, score(model.model, frame_of(rows, model.case.contract), model.candidate).tolist())
    return Version(tmp_path, model, Entry("plan", digest, model.compiled().write(tmp_path)))


@pytest.mark.parametrize("kind", ["plan", "pipeline"])
def test_an_engine_of_either_kind_gives_the_recorded_answers(
    version: Version, kind: Literal["plan", "pipeline"]
) -> None:
    engine = version.load(kind)
    assert (engine.kind, engine.immediate) == (kind, kind == "plan")
    assert engine.classes == version.model.candidate.classes
    assert engine.waiting == 0
    assert asyncio.run(answers_identically(engine, read_example(version.folder)))
    engine.close()


def test_one_bit_in_a_recorded_answer_is_a_difference(version: Version) -> None:
    example = read_example(version.folder)
    answers = np.array(example.answers)
    answers.flat[-1] = np.nextafter(answers.flat[-1], 2)
    write_example(version.folder, example.rows, answers.tolist())
    assert not asyncio.run(answers_identically(version.load("plan"), read_example(version.folder)))


def test_a_pipeline_whose_file_was_altered_is_not_loaded(version: Version) -> None:
    with (version.folder / MODEL_FILE).open("ab") as file:
        file.write(b"more")
    with pytest.raises(ArtifactAltered, match="is not the file that was recorded"):
        version.load("pipeline")


def test_a_plan_without_a_digest_is_not_loaded(version: Version) -> None:
    version.entry.plan_sha256 = None
    with pytest.raises(PlanCorrupt, match="the routes name a plan without its digest"):
        version.load("plan")


def test_an_example_comes_back_with_its_bits(tmp_path: Path) -> None:
    awkward: list[Any] = [0.1, -0.0, 5e-324, 1.7976931348623157e308, None]
    times: list[Any] = [
        None,
        *map(datetime.fromisoformat, ("2012-02-29T01:02:03.000004", "0001-01-01", "9999-12-31")),
        None,
    ]
    texts: list[Any] = ["", "ÄÖ 🛫", "2012-01-01", None, "\x00"]
    truths: list[Any] = [True, False, None, True, False]
    rows = Rows(5, [awkward, times, texts, truths], ["a", None, "c", "d", "e"], [None] * 5)
    write_example(tmp_path, rows, awkward[:4])
    back = read_example(tmp_path)
    assert repr(back.rows) == repr(rows)
    assert repr(back.answers) == repr(awkward[:4])
    assert [path.name for path in tmp_path.iterdir()] == [EXAMPLE_FILE]


def test_a_delivered_table_as_rows_is_scored_like_the_table_itself() -> None:
    model = fitted(ASK)
    frame = apples(300, 9)
    again = frame_of(rows_of(frame, model.case.contract), model.case.contract)
    expected = score(model.model, frame, model.candidate)
    assert score(model.model, again, model.candidate).tobytes() == expected.tobytes()
    assert np.array(model.plan().score(rows_of(frame, model.case.contract))).tobytes() == expected.tobytes()


def test_rows_are_made_of_plain_values() -> None:
    contract = fitted(ASK).case.contract
    frame = pd.DataFrame(
        {"picked": ["2023-08-01T02:00:00", None], "variety": ["Gala", None], "spots": pd.array([3, None], "Int64"),
         "bruised": pd.array([True, None], "boolean")}
    )  # fmt: skip
    rows = dict(zip(contract.features, rows_of(frame, contract).columns, strict=True))
    assert rows["picked"] == [datetime.fromisoformat("2023-08-01T02:00"), None]
    assert rows["variety"] == ["Gala", None]
    assert repr(rows["spots"]) == "[3.0, None]"
    assert rows["bruised"] == [True, None]
    assert rows["sugar"] == [None, None]
