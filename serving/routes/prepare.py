"""prepare: fetch a registered version, prove that it is what was judged, compile it, and put it into the local copy."""

import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from configs.case import Case, ColumnType, Contract
from configs.errors import EvergreenError
from configs.project import Project
from serving.engine.load import load_engine
from serving.routes.errors import NotRecorded, OutOfContract
from serving.routes.exchange import exchange
from serving.routes.local import LocalCopy, RouteEntry, sync
from serving.routes.prepared import Prepared, distrusted_file, fingerprint, read_ready
from tasks.adapters.locks import Held, acquire, exclusive
from tasks.adapters.registry import ModelVersion, Registry
from tasks.errors import AnswersDiffer
from tasks.features.artifact import MODEL_FILE, load_model
from tasks.features.example import RECORDED_WITH_MODEL, answers_identically, read_example
from tasks.files import sha256
from tasks.records import Candidate

log = logging.getLogger(__name__)

PREPARING = ".preparing-"
"""How the names of folders begin that are being made."""

_TAKES = {
    ColumnType.string: {"string"},
    ColumnType.timestamp: {"datetime64", "datetime", "date"},
}
_NUMBERS = {"integer", "floating", "mixed-integer-float", "boolean", "decimal"}
_NOTHING = {"empty"}
"""A column without a value in the example says nothing about its type."""


@dataclass(frozen=True)
class Material:
    """A fetched and proven model, with what an engine is made from."""

    project: Project
    case: Case
    version: str
    folder: Path
    model: Any
    model_sha256: str
    candidate: Candidate


@dataclass(frozen=True)
class Made:
    """The engine that was made of it."""

    plan_sha256: str | None
    rows: int
    """How many rows plan and pipeline were compared on."""
    pipeline_because: str | None = None


MakeEngine = Callable[[Material], Made]
"""Compiles, compares, and writes into the folder what workers load; see `serving.routes.engines`."""


class Preparation:
    """Brings versions into a local copy; each once, unless its proof was made by other code."""

    def __init__(self, project: Project, copy: LocalCopy, make_engine: MakeEngine) -> None:
        self._project = project
        self._copy = copy
        self._make_engine = make_engine
        self._cases = {name: project.case(name) for name in project.cases}
        self._made_by = {name: fingerprint(case) for name, case in self._cases.items()}

    def ready(self, registry: Registry, version: ModelVersion) -> RouteEntry:
        """The version, standing ready in the local copy.

        Raises NotRecorded, OutOfContract, and what fetching and proving raise: StoreUnreachable, ArtifactMissing,
        ArtifactAltered or AnswersDiffer.
        """
        case = self._cases[version.case]
        target = self._copy.version(case.name, version.version)
        digest = version.tags.get("model_sha256")
        if digest is None:
            raise NotRecorded(case.name, version.version)
        if known := self._known(target, digest, case):
            return known
        with exclusive(_lock(target)):  # batch scoring may want the same version
            if known := self._known(target, digest, case):
                return known
            folder = Path(tempfile.mkdtemp(prefix=f"{PREPARING}{version.version}-", dir=target.parent))
            try:
                self._prepare(registry, version, case, folder)
                move_in(folder, target)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        ready = self._known(target, digest, case)
        assert ready
        return ready

    def _known(self, folder: Path, digest: str, case: Case) -> RouteEntry | None:
        entry = read_ready(folder, digest, self._made_by[case.name])
        if entry is None or entry.engine == "pipeline":
            return entry
        try:
            load_engine(folder, entry, case.contract).close()
        except EvergreenError as error:
            log.warning("%s: version %s is prepared again: %s", case.name, entry.version, error)
            return None
        return entry

    def _prepare(self, registry: Registry, version: ModelVersion, case: Case, folder: Path) -> None:
        digest = version.tags["model_sha256"]
        fetch(registry, version, folder)
        material = _proven(self._project, version, case, folder)
        made = self._make_engine(material)
        if made.pipeline_because:
            log.warning(
                "%s: version %s answers as the pipeline itself: %s", case.name, version.version, made.pipeline_because
            )
        entry = RouteEntry(
            version=version.version,
            engine="plan" if made.plan_sha256 else "pipeline",
            model_sha256=digest,
            plan_sha256=made.plan_sha256,
            registered_at=_time(version.tags.get("asked_at")),
            trained_at=material.candidate.train_end,
        )
        Prepared(
            entry=entry,
            made_by=self._made_by[case.name],
            rows=made.rows,
            pipeline_because=made.pipeline_because,
            at=datetime.now(UTC),
        ).write_in(folder)
        log.info("%s: version %s stands ready as a %s", case.name, version.version, entry.engine)


def fetch(registry: Registry, version: ModelVersion, folder: Path) -> None:
    """Bring a version's model, checked by its digest, and what was recorded with it into `folder`."""
    with tempfile.TemporaryDirectory(dir=folder) as fetched:
        model = registry.download_model(version.source, Path(fetched), version.tags["model_sha256"])
        model.rename(folder / MODEL_FILE)
        for name in RECORDED_WITH_MODEL:
            registry.download_file(version.run_id, f"model/{name}", Path(fetched)).rename(folder / name)


def _proven(project: Project, version: ModelVersion, case: Case, folder: Path) -> Material:
    candidate = Candidate.read(folder / RECORDED_WITH_MODEL[0])
    example, _ = read_example(folder)
    if problems := misfits(candidate, example, case.contract):
        raise OutOfContract(case.name, version.version, case.contract.version, problems)
    digest = version.tags["model_sha256"]
    model = load_model(folder / MODEL_FILE, digest)
    if not answers_identically(model, folder):
        raise AnswersDiffer(case.name, version.version)
    return Material(project, case, version.version, folder, model, digest, candidate)


def misfits(candidate: Candidate, example: pd.DataFrame, contract: Contract) -> list[str]:
    """Why rows that keep the contract cannot be given to the model; empty if they can."""
    problems = []
    for name in candidate.features:
        if name not in contract.features or name not in example:
            where = "the contract" if name in example else "its own input example"
            problems.append(f"it needs `{name}`, which is no feature of {where}")
            continue
        wanted, found = contract.columns[name].type, pd.api.types.infer_dtype(example[name], skipna=True)
        if found not in _TAKES.get(wanted, _NUMBERS) | _NOTHING:
            problems.append(f"it was trained with `{name}` as {found}, the contract says {wanted}")
    return problems


def move_in(made: Path, target: Path) -> None:
    """Put a finished folder where it belongs, in one rename, after its files are on disk."""
    for path in (*made.iterdir(), made):
        sync(path)
    if not target.exists():
        made.rename(target)
    else:
        # Proven anew by other code, or another model under the same number: a worker that starts now must find one.
        if distrusted_file(target).exists() and sha256(target / MODEL_FILE) == sha256(made / MODEL_FILE):
            shutil.copy(distrusted_file(target), distrusted_file(made))
        exchange(made, target)
        shutil.rmtree(made)
    sync(target.parent)


def sweep(copy: LocalCopy, case: str) -> None:
    """Remove what a process that was killed had begun; what is being prepared right now stays."""
    for folder in copy.case(case).glob(f"{PREPARING}*-*"):
        version = folder.name.removeprefix(PREPARING).partition("-")[0]
        try:
            lock = acquire(_lock(copy.version(case, version)), wait=False)
        except Held:
            continue
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _lock(target: Path) -> Path:
    return target.with_name(f".{target.name}.lock")


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
