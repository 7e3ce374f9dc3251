"""The load check: the challenger in a gateway process of its own, out of its registered artifact, asked real rows."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from configs.case import Case
from configs.errors import EvergreenError
from configs.place import Place, Stores
from configs.project import Project
from configs.rollout import RolloutParams
from flows.clock import now
from flows.recorded_rows import Row
from serving.routes.engines import make_engine
from serving.routes.local import CaseRoutes, LocalCopy, RouteEntry
from serving.routes.prepare import Preparation
from tasks.adapters.registry import ModelVersion, Registry
from tasks.errors import StoreError
from tasks.records import Reason, Rollout

_START_SECONDS = 60
_STORES = Stores(
    mlflow="sqlite:///data/stores/mlflow.db",
    history="sqlite:///data/stores/history.db",
    prefect_home="data/stores/prefect",
)


def load_check(
    project: Project, case: Case, state: Rollout, rows: Sequence[Row], params: RolloutParams
) -> tuple[Reason, ...]:
    """Load champion and challenger as a gateway does, ask both the same rows, and hold what they need against budgets.

    A challenger that cannot be prepared, or does not answer as it did when it was judged, fails `registered artifact`.
    """
    registry = Registry(project)
    with tempfile.TemporaryDirectory(prefix="evergreen-load-") as folder:
        room = _furnished(project, Path(folder))
        prepared = Preparation(project, LocalCopy.of(room), make_engine)
        champion = prepared.ready(registry, _version(registry, case.name, state.champion))
        try:
            challenger = prepared.ready(registry, _version(registry, case.name, state.version))
        except StoreError:
            raise  # says nothing about the challenger
        except EvergreenError as error:
            return (Reason(rule="registered artifact", passed=False, text=str(error)),)
        with _worker(room, case, champion, challenger) as worker:
            theirs, ours = worker.timed(rows, champion.version), worker.timed(rows, challenger.version)
            return (_loaded(challenger), *_judged(theirs, ours, worker.megabytes, rows, params))


@dataclass(frozen=True)
class _Asked:
    """What became of rows asked one by one."""

    milliseconds: np.ndarray
    failures: tuple[str, ...]


@dataclass(frozen=True)
class _Worker:
    room: Project
    case: Case
    entries: dict[str, RouteEntry]
    client: httpx.Client
    pid: int

    def timed(self, rows: Sequence[Row], version: str) -> _Asked:
        """Ask each row in a request of its own, with `version` as champion."""
        self._serve(version)
        taken, failures = [], []
        for row in rows:
            body = json.dumps(row)
            began = time.perf_counter()
            answer = self.client.post(f"/predict/{self.case.name}", content=body)
            taken.append(1000 * (time.perf_counter() - began))
            said = answer.json()
            if answer.status_code != httpx.codes.OK or said.get("fallback"):
                failures.append(answer.text[:200])
        return _Asked(np.array(taken), tuple(failures))

    @property
    def megabytes(self) -> float:
        """Resident memory of the process; 0 where the system does not tell."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1])
        except FileNotFoundError:
            return 0.0
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def _serve(self, version: str) -> None:
        copy = LocalCopy.of(self.room)
        before = copy.read_routes(self.case.name)
        other = next((entry for name, entry in self.entries.items() if name != version), None)
        routes = CaseRoutes(
            case=self.case.name,
            generation=before.generation + 1 if before else 1,
            written_at=now(),
            salt="load",
            champion=self.entries[version],
            challenger=other,
        )
        copy.write_routes(routes)
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            told = self.client.get("/status").json()["cases"][self.case.name]
            if told.get("champion", {}).get("version") == version:
                return
            time.sleep(0.05)
        raise NotTaken(self.case.name, version)


class NotTaken(EvergreenError):
    """A gateway process does not take a version into service."""

    def __init__(self, case: str, version: str) -> None:
        super().__init__(f"Version {version} of `{case}` was not taken into service within {_START_SECONDS} seconds.")


def _loaded(entry: RouteEntry) -> Reason:
    text = f"loads as a {entry.engine}, with the digest that was judged, and answers its input example bit for bit"
    return Reason(rule="registered artifact", passed=True, text=text)


def _judged(
    theirs: _Asked, ours: _Asked, megabytes: float, rows: Sequence[Row], params: RolloutParams
) -> tuple[Reason, ...]:
    limits = params.load
    failed = f"{len(ours.failures)} of {len(rows):,} recorded rows failed"
    p99 = float(np.quantile(ours.milliseconds, 0.99)) if len(rows) else 0.0
    champions = float(np.quantile(theirs.milliseconds, 0.99)) if len(rows) else 0.0
    return (
        Reason(rule="recorded requests", passed=not ours.failures, text="; ".join((failed, *ours.failures[:1]))),
        Reason(
            rule="latency budget",
            passed=p99 <= limits.latency_ms,
            text=f"p99 {p99:.1f} ms with the client's own time (champion {champions:.1f} ms), "
            f"at most {limits.latency_ms:g}",
        ),
        Reason(
            rule="memory budget",
            passed=megabytes <= limits.memory_mb,
            text=f"{megabytes:.0f} MB with both models loaded, at most {limits.memory_mb:g}",
        ),
    )


def _furnished(project: Project, folder: Path) -> Project:
    """A clone that has this one's configuration and none of its stores; nobody needs a key there, or has to be slow."""
    configs = folder / "configs"
    (configs / "places").mkdir(parents=True)
    for path in (project.root / "configs").iterdir():
        if path.name != "places":
            (configs / path.name).symlink_to(path)
    (folder / "params.yaml").symlink_to(project.root / "params.yaml")
    gateway = project.place.gateway
    limits = gateway.limits.model_copy(update={"requests_per_second": None})
    open_to_all = gateway.model_copy(update={"host": "127.0.0.1", "keys": None, "tls": None, "limits": limits})
    # JSON is YAML.
    place = Place(name="local", stores=_STORES, gateway=open_to_all).model_dump_json(exclude={"name"})
    (configs / "places" / "local.yaml").write_text(place, encoding="utf-8")
    return Project(folder, "local")


def _version(registry: Registry, case: str, number: str) -> ModelVersion:
    found = registry.version(case, number)
    assert found is not None, "a rollout names versions that were registered"
    return found


@contextmanager
def _worker(room: Project, case: Case, champion: RouteEntry, challenger: RouteEntry) -> Iterator[_Worker]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.set_inheritable(True)
        # A check that is killed must not leave its gateway behind: the pipe closes with this process.
        lifeline, held = os.pipe()
        command = [sys.executable, "-m", "serving.worker", "--name", "load", "--lifeline", str(lifeline)]
        command += ["--socket", str(listening.fileno())]
        environment = {**os.environ, "EVERGREEN_ROOT": str(room.root), "EVERGREEN_PLACE": room.place_name}
        process = subprocess.Popen(
            command,
            cwd=room.root,
            env=environment,
            pass_fds=(listening.fileno(), lifeline),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        headers = {"content-type": "application/json"}
        entries = {champion.version: champion, challenger.version: challenger}
        try:
            with httpx.Client(base_url=url, timeout=_START_SECONDS, headers=headers) as client:
                yield _Worker(room, case, entries, client, process.pid)
        finally:
            process.terminate()
            process.wait(_START_SECONDS)
            os.close(held)
            os.close(lifeline)
