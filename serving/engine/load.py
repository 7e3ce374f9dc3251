"""Loads what a version's folder holds: its plan, or its pipeline."""

from pathlib import Path
from typing import Literal, Protocol

from configs.case import Contract
from serving.engine.engine import Engine
from serving.engine.errors import PlanCorrupt
from serving.engine.plan import Plan


class Entry(Protocol):
    """What the routes say of a version."""

    @property
    def engine(self) -> Literal["plan", "pipeline"]: ...
    @property
    def model_sha256(self) -> str: ...
    @property
    def plan_sha256(self) -> str | None: ...


def load_engine(folder: Path, entry: Entry, contract: Contract) -> Engine:
    """The engine the entry names, not yet asked anything.

    Raises ArtifactMissing, ArtifactAltered, PlanCorrupt or KernelMissing.
    """
    if entry.engine == "plan":
        if entry.plan_sha256 is None:
            raise PlanCorrupt("the routes name a plan without its digest")
        return Plan.load(folder, entry.plan_sha256, contract.features)
    # scikit-learn takes a second and 200 MB, which a worker that serves plans never pays.
    from serving.engine.pipeline import PipelineEngine  # noqa: PLC0415

    return PipelineEngine.load(folder, entry.model_sha256, contract)
