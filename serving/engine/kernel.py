"""The C library of `walk.c`: found beside its source, where the installation compiled it."""

import ctypes
import sys
from ctypes import POINTER, Structure, c_char_p, c_double, c_int64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from serving.engine.errors import KernelMissing

ABI = 1
MOST_COLUMNS = 512
"""The widest plan; ABI and this are also written in walk.c."""

LIBRARY = Path(__file__).with_name({"win32": "walk.dll", "darwin": "libwalk.dylib"}.get(sys.platform, "libwalk.so"))


class CLink(Structure):
    _fields_: ClassVar = [
        ("divide", c_double),
        ("slope", c_double),
        ("offset", c_double),
        ("calibrated", c_int64),
        ("logistic", c_int64),
    ]


class CScan(Structure):
    _fields_: ClassVar = [
        *((name, c_int64) for name in ("trees", "outputs", "columns", "leaf_bits", "line")),
        *(
            (name, c_void_p)
            for name in ("column", "category", "first_cut", "first_line", "cuts", "table", "leaves", "baseline")
        ),
        ("link", CLink),
    ]


class CWalk(Structure):
    _fields_: ClassVar = [
        *((name, c_int64) for name in ("trees", "outputs", "columns", "width", "single", "takes_missing")),
        *((name, c_void_p) for name in ("root", "nodes", "sets", "values", "baseline")),
        ("link", CLink),
    ]


class CSum(Structure):
    _fields_: ClassVar = [
        *((name, c_int64) for name in ("terms", "outputs")),
        *((name, c_void_p) for name in ("term", "coefficients", "intercept")),
        ("link", CLink),
    ]


PLANS: dict[str, type[Structure]] = {"scan": CScan, "walk": CWalk, "sum": CSum}


class Kernel:
    """The functions of the library.

    One row is scored without letting go of the interpreter: another thread that took it could keep the row waiting for
    milliseconds. Many rows are scored beside it.
    """

    def __init__(self, path: Path = LIBRARY) -> None:
        if not path.is_file():
            raise KernelMissing(path, "it was not compiled")
        try:
            held, free = ctypes.PyDLL(str(path)), ctypes.CDLL(str(path))
        except OSError as error:
            raise KernelMissing(path, str(error)) from error
        self._must_fit(path, held)
        self.one = {method: _declared(held, f"{method}_one", [c_void_p, c_char_p], c_double) for method in PLANS}
        """From a plan and a packed row to its answer; NaN also for a row that may not be scored."""
        many = [c_void_p, c_void_p, c_int64, c_void_p]
        self.many = {method: _declared(free, f"{method}_many", many, c_int64) for method in PLANS}
        """From a plan, rows by column, their count and room for the answers to the first row refused, or -1."""
        self.answer_all = _declared(free, "answer_all", [POINTER(CLink), c_void_p, c_int64], None)
        """Turns sums into answers where they stand."""

    def _must_fit(self, path: Path, library: ctypes.CDLL) -> None:
        found = _declared(library, "abi", [], c_int64)()
        if found != ABI:
            raise KernelMissing(path, f"it is of version {found}, expected {ABI}")


def _declared(library: ctypes.CDLL, name: str, arguments: list[Any], result: Any) -> Any:
    function = getattr(library, name)
    function.argtypes, function.restype = arguments, result
    return function


@cache
def kernel() -> Kernel:
    """The library, opened once. Raises KernelMissing."""
    return Kernel()
