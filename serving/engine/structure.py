"""`plan.json`: what a plan is made of, beside the arrays in `plan.npz`."""

from typing import Annotated, Literal

from pydantic import Field

from configs.frozen import Frozen
from tasks.records import Record

STRUCTURE_FILE = "plan.json"
ARRAYS_FILE = "plan.npz"

_PAIRWISE = 8
"""From so many numbers on numpy adds up in several strands, if they lie side by side."""


class Number(Frozen):
    """A feature as it is; true is 1, false 0."""

    kind: Literal["number"] = "number"
    feature: str


class Text(Frozen):
    """A feature by a number for each known text; None stands for NaN."""

    kind: Literal["text"] = "text"
    feature: str
    codes: dict[str, float | None]
    missing: float | None
    unknown: float | None


class Calendar(Frozen):
    """A part of a time."""

    kind: Literal["calendar"] = "calendar"
    feature: str
    part: Literal["minute_of_day", "hour", "weekday", "day_of_month", "day_of_year", "month"]


class Constant(Frozen):
    """An input that never had a value."""

    kind: Literal["constant"] = "constant"
    value: float


Input = Annotated[Number | Text | Calendar | Constant, Field(discriminator="kind")]


class Link(Frozen):
    """What C does with a sum: divide it (0: not), then -(slope * sum + offset), then its logistic; each if asked."""

    divide: float = 0.0
    slope: float = 0.0
    offset: float = 0.0
    calibrated: bool = False
    logistic: bool = False


class Sigmoid(Frozen):
    """Platt's calibration."""

    kind: Literal["sigmoid"] = "sigmoid"
    slope: float
    offset: float


class Isotonic(Frozen):
    """A calibration between the points (x, y), level outside."""

    kind: Literal["isotonic"] = "isotonic"
    x: tuple[float, ...] = Field(min_length=1)
    y: tuple[float, ...] = Field(min_length=1)


Calibrator = Annotated[Sigmoid | Isotonic, Field(discriminator="kind")]


class Structure(Record):
    """How rows become inputs, which arrays score them, and how their scores become answers."""

    format: Literal[1] = 1
    classes: tuple[str | int | bool, ...]
    inputs: tuple[Input, ...] = Field(min_length=1)
    method: Literal["scan", "walk", "sum", "product"]
    outputs: int = Field(ge=1)
    link: Link = Link()
    finish: Literal["none", "exponential", "softmax"] = "none"
    by: Literal["row", "output"] = "output"
    """How the pipeline keeps its scores in memory; the order in which a softmax is added up follows from it."""
    calibrators: tuple[Calibrator, ...] = ()
    """One for a binary model, one for each class otherwise."""
    made_with: str
    """Versions of the libraries whose arithmetic this is."""
    arrays_sha256: str = ""

    @property
    def company_matters(self) -> bool:
        """Whether a row's last bits depend on how many rows it is scored with, in the pipeline and so in the plan.

        BLAS adds up otherwise for one row than for several; so does numpy over eight classes and more that lie apart.
        """
        apart = self.finish == "softmax" and self.by == "output" and self.outputs >= _PAIRWISE
        return self.method == "product" or apart
