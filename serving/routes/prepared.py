"""What the keeper leaves in a version's folder: what was proven of it, by which code, and what came to light later."""

import hashlib
import importlib.metadata
import platform
from pathlib import Path

from pydantic import AwareDatetime, ValidationError

from configs.case import Case
from serving.routes.local import RouteEntry
from tasks.features.artifact import MODEL_FILE
from tasks.files import sha256
from tasks.records import Record

_ROOT = Path(__file__).parents[2]
_PROVEN_BY = ("serving/engine/*.py", "serving/engine/*.c", "serving/engine/*.so", "serving/records.py")
_READ_BY = ("tasks/features/*.py", "serving/routes/prepare.py", "serving/routes/engines.py")
_LIBRARIES = ("numpy", "pandas", "scikit-learn", "scipy", "skops")


class Prepared(Record):
    """A version stands ready: it answered its input example, and its plan gave the pipeline's bits."""

    entry: RouteEntry
    made_by: str
    """Fingerprint of code, libraries and contract it was proven with; see `fingerprint`."""
    rows: int
    """How many rows plan and pipeline were compared on."""
    pipeline_because: str | None = None
    """Why no plan answers."""
    at: AwareDatetime

    def write_in(self, folder: Path) -> None:
        self.write(folder / "prepared.json")


class Distrusted(Record):
    """A plan that gave another answer than its pipeline while it served; kept until a person removes the file."""

    what: str
    at: AwareDatetime

    def write_in(self, folder: Path) -> None:
        self.write(distrusted_file(folder))


def distrusted_file(folder: Path) -> Path:
    return folder / "distrusted.json"


def read_distrusted(folder: Path) -> Distrusted | None:
    """Why the plan in `folder` is not trusted, if it is not."""
    path = distrusted_file(folder)
    return Distrusted.read(path) if path.exists() else None


def read_ready(folder: Path, model_sha256: str, made_by: str) -> RouteEntry | None:
    """The version in `folder`, if it is the very model and was proven by the very same code; checks the file itself."""
    try:
        prepared = Prepared.read(folder / "prepared.json")
    except (FileNotFoundError, ValidationError):
        return None
    entry = prepared.entry
    if (entry.model_sha256, prepared.made_by) != (model_sha256, made_by):
        return None
    if not (folder / MODEL_FILE).is_file() or sha256(folder / MODEL_FILE) != model_sha256:
        return None
    return as_pipeline(entry) if distrusted_file(folder).exists() else entry


def as_pipeline(entry: RouteEntry) -> RouteEntry:
    """The same version, answering as the pipeline itself."""
    return entry.model_copy(update={"engine": "pipeline", "plan_sha256": None})


def fingerprint(case: Case) -> str:
    """Digest of everything but the model that a proof depends on."""
    digest = hashlib.sha256(case.contract.model_dump_json().encode())
    for pattern in (*_PROVEN_BY, *_READ_BY):
        for path in sorted(_ROOT.glob(pattern)):
            digest.update(f"{path.name} {sha256(path)}\n".encode())
    versions = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    digest.update(f"{versions} {platform.python_version()} {platform.machine()}".encode())
    return digest.hexdigest()
