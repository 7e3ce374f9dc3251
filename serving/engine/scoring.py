"""The arrays of a plan, checked so that C cannot read outside of them, and the scoring of rows with them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from ctypes import Structure as CStructure
from ctypes import byref
from functools import partial
from typing import Any

import numpy as np

from serving.engine.errors import CannotScore, PlanCorrupt
from serving.engine.kernel import MOST_COLUMNS, CLink, CScan, CSum, CWalk, kernel
from serving.engine.structure import Link

Array = np.ndarray[Any, np.dtype[Any]]
Arrays = Mapping[str, Array]
One = Callable[[bytes], float]

NODE = np.dtype([("cut", "<f8"), ("left", "<u4"), ("test", "<u4")])
TERM = np.dtype(
    [
        *((name, "<i8") for name in ("kind", "column", "first", "count")),
        *((n, "<f8") for n in ("fill", "mean", "scale")),
    ]
)
BLOCK = 128
"""Bytes that `scan` intersects at once."""
MISSING_RIGHT, CATEGORY, COLUMN = 1 << 31, 1 << 30, (1 << 30) - 1
HOT, NUMBER, MISSING = 0, 1, 2
"""Kinds of terms: one coefficient for each category, a scaled number, and whether the number is missing."""


class Scorer(ABC):
    """Sums for rows that are given as inputs."""

    def __init__(self, outputs: int) -> None:
        self.outputs = outputs
        self.one: One | None = None
        """One packed row to its answer, where there is one output; NaN also for a row that may not be scored."""

    @abstractmethod
    def many(self, x: Array) -> Array:
        """Answers (outputs, n) to rows (inputs, n). Raises CannotScore for the first row that may not be scored."""


class Compiled(Scorer):
    """Scores in C."""

    method: str

    def __init__(self, arrays: Arrays, outputs: int, link: Link) -> None:
        super().__init__(outputs)
        self._arrays = arrays  # C has only their addresses
        self._link = CLink(*link.model_dump().values())
        self._plan = self._struct()
        self._reference = byref(self._plan)
        if outputs == 1:
            self.one = partial(kernel().one[self.method], self._reference)

    def many(self, x: Array) -> Array:
        out = np.empty((self.outputs, x.shape[1]))
        refused = kernel().many[self.method](self._reference, x.ctypes.data, x.shape[1], out.ctypes.data)
        if refused >= 0:
            raise CannotScore(refused)
        return out

    @abstractmethod
    def _struct(self) -> CStructure: ...


class Scan(Compiled):
    """Trees of up to 64 leaves, as the leaves that each value of each column leaves over."""

    method = "scan"

    def __init__(self, arrays: Arrays, inputs: int, outputs: int, link: Link) -> None:
        _vectors(arrays, {"column": "<i8", "category": "<i8", "first_cut": "<i8", "first_line": "<i8", "cuts": "<f8"})
        _matrices(arrays, {"table": "|u1", "leaves": "<f8"})
        columns, (trees, bits) = len(arrays["column"]), arrays["leaves"].shape
        _must(bits in (32, 64), f"trees of {bits} leaves")
        _must(trees >= 1 and arrays["baseline"].shape == (outputs,), "no trees, or no baseline for each output")
        _must(columns <= MOST_COLUMNS and len(arrays["category"]) == columns, "the columns do not fit one another")
        _within(arrays["column"], inputs, "a column")
        _must((arrays["category"] >= 0).all(), "a number of categories below 0")
        lines = np.where(arrays["category"] > 0, arrays["category"] + 1, np.diff(_starts(arrays, "first_cut")) + 2)
        _must(len(arrays["first_cut"]) == columns + 1 and arrays["first_cut"][-1] == len(arrays["cuts"]), "lost cuts")
        _must(np.array_equal(_starts(arrays, "first_line"), np.concatenate([[0], np.cumsum(lines)])), "lost lines")
        _must(arrays["first_line"][-1] == len(arrays["table"]), "the table has not a line for each value")
        line = arrays["table"].shape[1]
        _must(line % BLOCK == 0 and line * 8 >= trees * bits, f"lines of {line} bytes for {trees} trees")
        super().__init__(arrays, outputs, link)

    def _struct(self) -> CScan:
        held = self._arrays
        trees, bits = held["leaves"].shape
        named = ("column", "category", "first_cut", "first_line", "cuts", "table", "leaves", "baseline")
        sizes = (trees, self.outputs, len(held["column"]), bits, held["table"].shape[1])
        return CScan(*sizes, *(held[name].ctypes.data for name in named), self._link)


class Walk(Compiled):
    """Trees of any size, from the root down."""

    method = "walk"

    def __init__(self, arrays: Arrays, inputs: int, outputs: int, link: Link) -> None:
        _vectors(arrays, {"root": "<i8", "nodes": NODE, "baseline": "<f8", "flags": "<i8"})
        _matrices(arrays, {"sets": "|u1", "values": "<f8"})
        nodes, count = arrays["nodes"], len(arrays["nodes"])
        _must(arrays["flags"].shape == (2,) and arrays["baseline"].shape == (outputs,), "no baseline for each output")
        _must(inputs <= MOST_COLUMNS and len(arrays["root"]) >= 1, "no trees, or too many inputs")
        _within(arrays["root"], count, "a root")
        _must(arrays["values"].shape in ((count, 1), (count, outputs)), "not a value for each node")
        _must(arrays["sets"].shape[1] == 32, "sets of another size")
        self._must_end(nodes, len(arrays["sets"]), inputs)
        self._inputs = inputs
        super().__init__(arrays, outputs, link)

    @staticmethod
    def _must_end(nodes: Array, sets: int, inputs: int) -> None:
        """Children lie behind their parents, so every way through the nodes ends, and at a leaf that is one."""
        left, here = nodes["left"].astype("i8"), np.arange(len(nodes))
        leaf = left == here
        _must((leaf | ((left > here) & (left + 1 < len(nodes)))).all(), "a child lies before its parent, or outside")
        _must((nodes["test"][leaf] == 0).all() and (nodes["cut"][leaf] == np.inf).all(), "a leaf that leads on")
        _within((nodes["test"] & COLUMN).astype("i8"), inputs, "a tested column")
        chosen = nodes["cut"][(nodes["test"] & CATEGORY) != 0]
        _must(np.isin(chosen, np.arange(sets)).all(), "a set of categories lies outside")

    def _struct(self) -> CWalk:
        held = self._arrays
        sizes = (len(held["root"]), self.outputs, self._inputs, held["values"].shape[1], *held["flags"].tolist())
        return CWalk(
            *sizes, *(held[name].ctypes.data for name in ("root", "nodes", "sets", "values", "baseline")), self._link
        )


class Sum(Compiled):
    """A linear model over sparse inputs, added up in their order."""

    method = "sum"

    def __init__(self, arrays: Arrays, inputs: int, outputs: int, link: Link) -> None:
        _vectors(arrays, {"term": TERM, "intercept": "<f8"})
        _matrices(arrays, {"coefficients": "<f8"})
        term, coefficients = arrays["term"], arrays["coefficients"]
        _must(coefficients.shape[1] == outputs and arrays["intercept"].shape == (outputs,), "not all coefficients")
        _within(term["column"], inputs, "a column")
        _within(term["kind"], 3, "a kind of term")
        _must(((term["kind"] == HOT) | (term["count"] == 1)).all(), "a number with several coefficients")
        last = term["first"] + term["count"]
        _must(
            ((term["first"] >= 0) & (term["count"] >= 0) & (last <= len(coefficients)) & (last >= 0)).all(),
            "a coefficient lies outside",
        )
        super().__init__(arrays, outputs, link)

    def _struct(self) -> CSum:
        held = self._arrays
        named = ("term", "coefficients", "intercept")
        return CSum(len(held["term"]), self.outputs, *(held[name].ctypes.data for name in named), self._link)


def _must(kept: Any, otherwise: str) -> None:
    if not kept:
        raise PlanCorrupt(otherwise)


def _within(values: Array, end: int, what: str) -> None:
    _must(((values >= 0) & (values < end)).all(), f"{what} lies outside")


def _vectors(arrays: Arrays, wanted: Mapping[str, Any]) -> None:
    for name, kind in wanted.items():
        _must_be(arrays, name, kind, 1)


def _matrices(arrays: Arrays, wanted: Mapping[str, Any]) -> None:
    for name, kind in wanted.items():
        _must_be(arrays, name, kind, 2)


def _must_be(arrays: Arrays, name: str, kind: Any, dimensions: int) -> None:
    _must(name in arrays, f"`{name}` is missing")
    found = arrays[name]
    fits = found.dtype == kind and found.ndim == dimensions and found.flags.c_contiguous and found.flags.aligned
    _must(fits, f"`{name}` is {found.dtype} in {found.ndim} dimensions, expected {np.dtype(kind)} in {dimensions}")


def _starts(arrays: Arrays, name: str) -> Array:
    starts = arrays[name]
    _must(len(starts) >= 1 and starts[0] == 0 and (np.diff(starts) >= 0).all(), f"`{name}` goes back")
    return starts
