"""What is replayed of a case's history, from when to when, with which faults: words of a command, or a YAML file."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from configs.faults import Fault, Moment
from configs.frozen import Frozen
from configs.read import build, mapping


class Script(Frozen):
    """The weeks that are replayed, and what goes wrong in them."""

    start: Moment
    end: Moment
    """History is replayed in `[start, end)`."""
    faults: tuple[Fault, ...] = ()
    train: Literal["triage", "weekly"] = "triage"
    """Trainings that triage starts; or one every week besides."""
    look_hours: float = Field(168, gt=0)
    """How often the monitors look."""
    rollout_hours: float = Field(24, gt=0)
    """How often a rollout, and the labels that judge it, are looked at while one is under way."""
    seed: int = Field(0, ge=0)
    """Of what is drawn when faults are planted."""


def read_script(path: Path) -> Script:
    """The script in a YAML file. Raises ConfigError."""
    return build(Script, mapping(path), path)
