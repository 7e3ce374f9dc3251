"""The local copy: files that tell the workers who answers, and outlive the registry and the keeper.

data/stores/gateway/
    keeper.lock            held by the one keeper
    keeper.json            how the keeper does
    alarms.json            what a person should look at
    <case>/routes.json     who answers
    <case>/<version>/      a version that was proven: model, plan, example, proof
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, Field, ValidationError

from configs.project import Project
from serving.routes.errors import RoutesUnreadable
from tasks.records import Record

Look = tuple[int, int, int]
"""What `stat` says of a file: when it was modified (ns), its size, its inode."""


class RouteEntry(Record):
    """A version that stands ready in the local copy."""

    version: str
    engine: Literal["plan", "pipeline"]
    model_sha256: str
    plan_sha256: str | None = None
    registered_at: AwareDatetime | None = None
    """When a decision on it was asked for."""
    trained_at: AwareDatetime | None = None
    """Its training cut-off: it has seen nothing later."""


class CaseRoutes(Record):
    """Who answers for one case."""

    case: str
    generation: int = Field(ge=1)
    """One more with every change."""
    written_at: AwareDatetime
    salt: str
    champion: RouteEntry | None = None
    challenger: RouteEntry | None = None
    retired: RouteEntry | None = None
    share: float = Field(0.0, ge=0, le=1)
    """Of the entities, that the challenger answers."""
    shadow: float = Field(0.0, ge=0, le=1)
    """Of the entities that the champion answers, whose rows the challenger scores too."""

    @property
    def entries(self) -> tuple[RouteEntry, ...]:
        """Every version that has a role."""
        return tuple(entry for entry in (self.champion, self.challenger, self.retired) if entry)


@dataclass(frozen=True)
class LocalCopy:
    """Where each file of the local copy lies, under `root`."""

    root: Path

    @classmethod
    def of(cls, project: Project) -> "LocalCopy":
        return cls(project.stores / "gateway")

    @property
    def lock(self) -> Path:
        return self.root / "keeper.lock"

    @property
    def status(self) -> Path:
        return self.root / "keeper.json"

    @property
    def alarms(self) -> Path:
        return self.root / "alarms.json"

    def case(self, case: str) -> Path:
        return self.root / case

    def routes(self, case: str) -> Path:
        return self.root / case / "routes.json"

    def version(self, case: str, version: str) -> Path:
        return self.root / case / version

    def read_routes(self, case: str) -> CaseRoutes | None:
        """Who answers for the case, or None where nobody ever did. Raises RoutesUnreadable."""
        path = self.routes(case)
        try:
            return CaseRoutes.read(path)
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise RoutesUnreadable(path, str(error.errors()[0]["msg"])) from error

    def write_routes(self, routes: CaseRoutes) -> None:
        """Replace the case's routes, whole or not at all."""
        routes.write(self.routes(routes.case))
        sync(self.case(routes.case))


def changed(path: str, last: Look | None) -> Look | None:
    """What `path` looks like, if that is not what it looked like last; None for no change, or for no file."""
    try:
        found = os.stat(path)  # noqa: PTH116 - a Path costs more than the call, and this is asked every 20 ms
    except FileNotFoundError:
        return None
    now = (found.st_mtime_ns, found.st_size, found.st_ino)
    return None if now == last else now


def sync(folder: Path) -> None:
    """Bring the names in `folder` to disk, so that a power cut does not undo a rename."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
