"""A plan: a fitted pipeline as arrays that C walks, with the pipeline's own bits in every answer."""

import hashlib
import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from serving.engine.errors import PlanCorrupt
from serving.engine.finish import finish
from serving.engine.inputs import Inputs
from serving.engine.product import Product
from serving.engine.scoring import Array, Arrays, Scan, Scorer, Sum, Walk
from serving.engine.structure import ARRAYS_FILE, STRUCTURE_FILE, Structure
from serving.records import Rows, Scores
from tasks.errors import ArtifactAltered, ArtifactMissing

_METHODS: dict[str, Any] = {"scan": Scan, "walk": Walk, "sum": Sum, "product": Product}


class Plan:
    """An engine that answers at once; takes `Rows` whose columns are `features`."""

    kind = "plan"
    immediate = True
    waiting = 0
    on_batch: Callable[[int], None] | None = None

    def __init__(self, structure: Structure, arrays: Arrays, features: Sequence[str]) -> None:
        self.structure = structure
        self.classes = structure.classes
        self._inputs = Inputs(structure.inputs, features)
        method: type[Any] = _METHODS[structure.method]
        self._scorer: Scorer = method(arrays, len(structure.inputs), structure.outputs, structure.link)
        self._finish = finish(structure)
        self._one = None if structure.calibrators or structure.finish != "none" else self._scorer.one

    @classmethod
    def load(cls, folder: Path, plan_sha256: str, features: Sequence[str]) -> "Plan":
        """The plan in `folder`. Raises ArtifactMissing, ArtifactAltered, PlanCorrupt or KernelMissing."""
        structure = _structure(_read(folder / STRUCTURE_FILE, plan_sha256))
        return cls(structure, _arrays(_read(folder / ARRAYS_FILE, structure.arrays_sha256)), features)

    def score(self, rows: Rows, positions: Sequence[int] | None = None) -> Scores:
        """The answers to the rows, or to those at `positions`.

        Raises CannotScore for the first row that the pipeline would refuse too.
        """
        if rows.count == 1 and self._one:
            answer = self._one(self._inputs.one(rows.columns))
            if answer == answer:  # noqa: PLR0124 - not NaN, without a call
                return [answer]
        return self.score_inputs(self._inputs.many(rows, positions))

    def score_inputs(self, x: Array) -> list[float] | list[list[float]]:
        """The answers to rows that are inputs already, shape (inputs, n)."""
        answers: list[float] | list[list[float]] = self._finish(self._scorer.many(x)).tolist()
        return answers

    async def submit(self, rows: Rows, *, patient: bool = False) -> Scores:  # noqa: ARG002 - nothing ever waits here
        return self.score(rows)

    def close(self) -> None:
        """Nothing to let go of."""


def _read(path: Path, expected_sha256: str) -> bytes:
    if not path.is_file():
        raise ArtifactMissing("The plan", str(path))
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != expected_sha256:
        raise ArtifactAltered(f"The plan's {path.name}", found, expected_sha256)
    return content


def _structure(content: bytes) -> Structure:
    try:
        return Structure.model_validate_json(content)
    except ValidationError as error:
        raise PlanCorrupt(f"{STRUCTURE_FILE} is not one: {error.errors()[0]['msg']}") from error


def _arrays(content: bytes) -> dict[str, Array]:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise PlanCorrupt(f"{ARRAYS_FILE} is not one: {error}") from error
