"""A plan's files: read back equal, and never taken when they are altered, spoilt or would lead C out of its arrays."""

import dataclasses
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.engine.compile import CompiledPlan
from serving.engine.errors import KernelMissing, PlanCorrupt
from serving.engine.kernel import Kernel
from serving.engine.plan import Plan
from serving.engine.scoring import CATEGORY
from serving.engine.structure import ARRAYS_FILE, STRUCTURE_FILE
from tasks.errors import ArtifactAltered, ArtifactMissing
from tasks.features.artifact import MODEL_FILE, load_model, save_model
from tasks.files import sha256

from .orchard import Ask, Fitted, fitted

SMALL = (("max_iter", 4), ("min_samples_leaf", 5))
SCAN = Ask("hist_gradient_boosting", "binary", SMALL)
WALK = Ask("hist_gradient_boosting", "binary", (*SMALL[:1], ("min_samples_leaf", 2), ("max_leaf_nodes", 200)))
FOREST = Ask("random_forest", "multiclass", (("n_estimators", 3),), classes=3)
SUM = Ask("linear", "multiclass", classes=3, growers=25, without=("picked",))
PRODUCT = Ask("linear", "binary")

Spoil = Callable[[dict[str, Any]], None]


def changed(name: str, place: Any, value: Any) -> Spoil:
    def spoil(arrays: dict[str, Any]) -> None:
        arrays[name][place] = value

    return spoil


def replaced(name: str, make: Callable[[Any], Any]) -> Spoil:
    def spoil(arrays: dict[str, Any]) -> None:
        arrays[name] = make(arrays[name])

    return spoil


def of_node(field: str, place: Any, value: Any) -> Spoil:
    def spoil(arrays: dict[str, Any]) -> None:
        nodes = arrays["nodes"]
        nodes[field][(nodes["test"] & CATEGORY) != 0 if place == CHOSEN else place] = value

    return spoil


CHOSEN = "the nodes that test for categories"


def of_term(field: str, value: int) -> Spoil:
    def spoil(arrays: dict[str, Any]) -> None:
        arrays["term"][field][0] = value

    return spoil


def lost(name: str) -> Spoil:
    def spoil(arrays: dict[str, Any]) -> None:
        del arrays[name]

    return spoil


SPOILT: list[tuple[Ask, Spoil, str]] = [
    (SCAN, changed("column", 0, 99), "a column lies outside"),
    (SCAN, changed("column", 0, -1), "a column lies outside"),
    (SCAN, changed("category", 0, 10**9), "lost lines"),
    (SCAN, changed("category", 0, -1), "categories below 0"),
    (SCAN, changed("first_cut", -1, 10**6), "lost cuts"),
    (SCAN, changed("first_cut", 1, -5), "`first_cut` goes back"),
    (SCAN, changed("first_line", 1, 10**6), "`first_line` goes back"),
    (SCAN, replaced("table", lambda table: table[:-1].copy()), "not a line for each value"),
    (SCAN, replaced("table", lambda table: table[:, :-1].copy()), "lines of 127 bytes"),
    (SCAN, replaced("leaves", lambda leaves: np.tile(leaves, (99, 1))), "for 396 trees"),
    (SCAN, replaced("leaves", lambda leaves: leaves[:, :31].copy()), "trees of 31 leaves"),
    (SCAN, replaced("leaves", lambda leaves: leaves[:0].copy()), "no trees"),
    (SCAN, replaced("baseline", lambda one: np.zeros(0)), "no baseline for each output"),
    (
        SCAN,
        replaced("cuts", lambda cuts: cuts.astype("float32")),
        "`cuts` is float32 in 1 dimensions, expected float64",
    ),
    (SCAN, lost("cuts"), "`cuts` is missing"),
    (WALK, changed("root", 0, 10**9), "a root lies outside"),
    (WALK, of_node("left", 0, 2**32 - 1), "a child lies before its parent, or outside"),
    (WALK, of_node("left", 5, 2), "a child lies before its parent, or outside"),
    (WALK, of_node("test", 0, 999), "a tested column lies outside"),
    (WALK, of_node("cut", CHOSEN, 10.0**6), "a set of categories lies outside"),
    (WALK, of_node("cut", CHOSEN, 0.5), "a set of categories lies outside"),
    (WALK, of_node("cut", -1, 0.0), "a leaf that leads on"),
    (WALK, replaced("sets", lambda sets: sets[:0].copy()), "a set of categories lies outside"),
    (WALK, replaced("values", lambda values: values[:-1].copy()), "not a value for each node"),
    (WALK, replaced("nodes", lambda nodes: nodes["cut"].copy()), "`nodes` is float64"),
    (FOREST, replaced("values", lambda values: values[:, :2].copy()), "not a value for each node"),
    (FOREST, replaced("flags", lambda flags: flags[:1].copy()), "no baseline"),
    (SUM, of_term("column", 50), "a column lies outside"),
    (SUM, of_term("kind", 3), "a kind of term lies outside"),
    (SUM, of_term("kind", 1), "a number with several coefficients"),
    (SUM, of_term("first", 10**6), "a coefficient lies outside"),
    (SUM, of_term("count", 2**63 - 1), "a coefficient lies outside"),
    (SUM, replaced("coefficients", lambda found: found[:, :2].copy()), "not all coefficients"),
    (PRODUCT, of_term("column", 50), "a term of a linear model lies outside"),
    (PRODUCT, of_term("first", 10**6), "a term of a linear model lies outside"),
    (PRODUCT, lost("by_column"), "a part of a linear model is missing"),
]


@pytest.mark.parametrize(("ask", "spoil", "why"), SPOILT)
def test_arrays_that_lead_outside_are_refused(ask: Ask, spoil: Spoil, why: str) -> None:
    model = fitted(ask)
    compiled = model.compiled()
    arrays: dict[str, Any] = {name: array.copy() for name, array in compiled.arrays.items()}
    spoil(arrays)
    with pytest.raises(PlanCorrupt, match=why):
        Plan(compiled.structure, arrays, model.features)


@pytest.mark.parametrize("ask", [SCAN, WALK, FOREST, SUM, PRODUCT], ids=str)
def test_a_plan_read_back_gives_the_same_bits(ask: Ask, tmp_path: Path) -> None:
    model = fitted(ask)
    digest = model.compiled().write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [STRUCTURE_FILE, ARRAYS_FILE]
    back = Plan.load(tmp_path, digest, model.features)
    assert back.structure.model_copy(update={"arrays_sha256": ""}) == model.compiled().structure
    assert np.array(back.score(model.rows)).tobytes() == np.array(model.plan().score(model.rows)).tobytes()


@pytest.mark.parametrize(
    "ask", [SCAN, FOREST, SUM, PRODUCT, dataclasses.replace(SCAN, calibration="isotonic")], ids=str
)
def test_a_model_read_back_makes_the_same_plan(ask: Ask, tmp_path: Path) -> None:
    model = fitted(ask)
    digest = save_model(model.model, tmp_path / MODEL_FILE)
    back = dataclasses.replace(model, model=load_model(tmp_path / MODEL_FILE, digest)).compiled()
    assert back.structure == model.compiled().structure
    for name, array in model.compiled().arrays.items():
        assert back.arrays[name].tobytes("A") == array.tobytes("A")
        assert back.arrays[name].flags.c_contiguous == array.flags.c_contiguous


@pytest.mark.parametrize("name", [STRUCTURE_FILE, ARRAYS_FILE])
def test_an_altered_file_is_not_even_read(name: str, tmp_path: Path) -> None:
    model = fitted(SCAN)
    digest = model.compiled().write(tmp_path)
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ArtifactAltered, match=f"The plan's {name}"):
        Plan.load(tmp_path, digest, model.features)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    model = fitted(SCAN)
    digest = model.compiled().write(tmp_path)
    (tmp_path / ARRAYS_FILE).unlink()
    with pytest.raises(ArtifactMissing, match=r"The plan has no file at .*plan\.npz"):
        Plan.load(tmp_path, digest, model.features)


def rewritten(folder: Path, model: Fitted, arrays: bytes | None = None, **changes: Any) -> str:
    """The plan's files with other contents and right digests; returns the plan's own."""
    model.compiled().write(folder)
    if arrays is not None:
        (folder / ARRAYS_FILE).write_bytes(arrays)
        changes["arrays_sha256"] = sha256(folder / ARRAYS_FILE)
    structure = json.loads((folder / STRUCTURE_FILE).read_text())
    (folder / STRUCTURE_FILE).write_text(json.dumps(structure | changes))
    return sha256(folder / STRUCTURE_FILE)


@pytest.mark.parametrize("change", [{"method": "guess"}, {"format": 2}, {"outputs": 0}, {"inputs": []}, {"more": 1}])
def test_a_structure_of_another_shape_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    model = fitted(SCAN)
    with pytest.raises(PlanCorrupt, match=r"plan\.json is not one"):
        Plan.load(tmp_path, rewritten(tmp_path, model, **change), model.features)


def test_arrays_that_are_no_arrays_are_refused(tmp_path: Path) -> None:
    model = fitted(SCAN)
    pickled = io.BytesIO()
    np.savez(pickled, cuts=np.array([{}], dtype=object), allow_pickle=True)
    for content in (b"nonsense", b"", pickled.getvalue()):
        with pytest.raises(PlanCorrupt, match=r"plan\.npz is not one"):
            Plan.load(tmp_path, rewritten(tmp_path, model, content), model.features)


def test_a_plan_for_a_feature_the_contract_lacks_is_refused(tmp_path: Path) -> None:
    model = fitted(SCAN)
    digest = model.compiled().write(tmp_path)
    with pytest.raises(PlanCorrupt, match="it takes `sugar`, which is no feature of the contract"):
        Plan.load(tmp_path, digest, [name for name in model.features if name != "sugar"])


def test_features_are_found_by_name_in_a_contract_of_another_order(tmp_path: Path) -> None:
    model = fitted(SCAN)
    digest = model.compiled().write(tmp_path)
    turned = Plan.load(tmp_path, digest, [*reversed(model.features), "another"])
    rows = model.rows.take(range(100))
    rows.columns = [*reversed(rows.columns), [None] * 100]
    assert turned.score(rows) == model.plan().score(model.rows.take(range(100)))


SPOIL_AT_RANDOM = """
import sys
import numpy as np
from serving.engine.errors import CannotScore, PlanCorrupt
from serving.engine.plan import Plan
from tests.serving.engine.test_plan_files import FOREST, SCAN, SUM, WALK, fitted

draw, refused = np.random.default_rng(int(sys.argv[1])), 0
for ask in (SCAN, WALK, FOREST, SUM):
    model = fitted(ask)
    compiled, rows = model.compiled(), model.rows.take(range(70))
    for trial in range(250):
        arrays = {name: array.copy() for name, array in compiled.arrays.items()}
        for _ in range(draw.integers(1, 4)):
            name = draw.choice([name for name in arrays if arrays[name].size])
            octets = arrays[name].reshape(-1).view("u1")
            octets[draw.integers(len(octets))] = draw.integers(256)
        try:
            plan = Plan(compiled.structure, arrays, model.features)
            plan.score(rows)
            plan.score(rows.take([0]))
        except PlanCorrupt:
            refused += 1
        except CannotScore:
            pass
print(refused)
"""


def test_whatever_byte_is_spoilt_c_stays_inside_its_arrays() -> None:
    """In a process of its own, which a wrong read would end."""
    command = [sys.executable, "-W", "ignore", "-c", SPOIL_AT_RANDOM, "7"]
    ended = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert 100 < int(ended.stdout) < 1000


def test_a_library_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(KernelMissing, match=r"it was not compiled\. Compile it with `uv sync"):
        Kernel(tmp_path / "libwalk.so")


def test_a_file_that_is_no_library_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "libwalk.so").write_text("nonsense")
    with pytest.raises(KernelMissing, match=r"The compiled scorer libwalk\.so cannot be used"):
        Kernel(tmp_path / "libwalk.so")


LIGHT = """
import resource, sys
import serving.engine.load, serving.engine.example, serving.engine.plan
heavy = {"pandas", "sklearn", "scipy", "pyarrow", "mlflow", "prefect", "sqlalchemy", "fsspec", "threadpoolctl"}
print(sorted(heavy & set(sys.modules)))
"""


def test_serving_a_plan_imports_nothing_heavy() -> None:
    told = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True, env={**os.environ})
    assert told.stdout.strip() == "[]"


def test_the_plan_tells_which_libraries_its_bits_are_from() -> None:
    compiled: CompiledPlan = fitted(SCAN).compiled()
    assert f"numpy {np.__version__}" in compiled.structure.made_with
