"""Our gateway, on a clone with two registered flights models; the clone is made once for each state of the code."""

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from benchmarks.serving import bodies
from benchmarks.serving.instruments import CACHE, ROOT, quiet_environment
from benchmarks.serving.processes import Command, DidNotStart, Server, started
from configs.project import Project
from tasks.adapters.locks import exclusive
from tasks.records import Candidate

CASE = "flights"
State = Literal["asked", "approved", "shared"]
"""asked: 1 is champion, 2 waits. approved: 2 is champion, 1 retired. shared: 2 has 10 % and shadows the rest."""
_MADE_FROM = ("tasks", "params.yaml", "dvc.yaml", f"configs/{CASE}.yaml")
_CODE = ("configs", "flows", "serving", "tasks")
_IN_A_ROW = 20
"""Answers of a server with several processes, each on a connection of its own, after which all of them are ready."""
EVERGREEN = (sys.executable, "-m", "flows.cli")
_KINDS = {"serving.worker": "worker", "serving.routes": "keeper", "serving.ledger": "compactor"}
_SIGNED = ("--by", "benchmark", "--reason", "to be measured")
_TO: dict[State, list[str]] = {
    "asked": [],
    "approved": ["approve", "2", *_SIGNED],
    "shared": ["traffic", CASE, "--challenger", "0.1", "--shadow", *_SIGNED],
}


@dataclass(frozen=True)
class Prepared:
    """A folder of the cache with a clone in each state, and the models that are registered in all of them."""

    folder: Path

    def model(self, version: str) -> Path:
        """A registered model as MLflow keeps it (`MLmodel`, `model.skops`), with its `candidate.json`."""
        return self.folder / "models" / version

    @contextmanager
    def clone(self, state: State) -> Iterator[Project]:
        """A clone of one's own in this state, for as long as the block lasts."""
        with tempfile.TemporaryDirectory(prefix="evergreen-clone-", ignore_cleanup_errors=True) as folder:
            yield move_in(self.folder / state, Path(folder) / "clone")


def prepare(cache: Path = CACHE) -> Prepared:
    """Clones in every state, from the committed code; about two minutes when that code has changed."""
    revision = _output(["git", "rev-parse", *(f"HEAD:{name}" for name in _MADE_FROM)])
    key = _output(["git", "hash-object", "--stdin"], given=revision)[:12]
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"clones-{key}"
    with exclusive(cache / "clones.lock"):
        if not (folder / "done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            _make(folder)
            (folder / "done").touch()
    return Prepared(folder)


def _make(folder: Path) -> None:
    say(f"making clones with registered models in {folder}")
    asked = folder / "asked"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(asked)], check=True)
    params = asked / "params.yaml"  # what is measured here is the gateway: an approved model serves at once
    params.write_text(params.read_text(encoding="utf-8").replace("strategy: shadow-canary", "strategy: direct"))
    say("evergreen run flights: two models are trained and registered, about 90 s")
    command(Project(asked), ["run", CASE], timeout=900)
    for state in ("approved", "shared"):
        command(move_in(asked, folder / state), _TO[state], timeout=120)
    _export_models(Project(asked), folder / "models")


def _export_models(project: Project, to: Path) -> None:
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    from tasks.adapters.registry import Registry  # noqa: PLC0415 - MLflow, needed only when clones are made

    registry = Registry(project)
    for version in registry.versions(CASE):
        digest = version.tags["model_sha256"]
        with tempfile.TemporaryDirectory() as fetched:
            kept = registry.download_model(version.source, Path(fetched), digest).parent
            shutil.copytree(kept, to / version.version)
            candidate = Candidate.read(registry.download_file(version.run_id, "model/candidate.json", Path(fetched)))
        # skops writes other bytes at each dump: the digest of the stored file is the registry's, not the chain's.
        stored = candidate.model_copy(update={"model_sha256": digest})
        stored.write(to / version.version / "candidate.json")


def move_in(template: Path, folder: Path) -> Project:
    """Copy a clone to `folder`, with the code of this working tree as it is now.

    MLflow keeps absolute addresses, so they are turned to the new place.
    """
    shutil.copytree(template, folder, symlinks=True)
    for name in _CODE:
        shutil.rmtree(folder / name, ignore_errors=True)
        shutil.copytree(ROOT / name, folder / name)
    with closing(sqlite3.connect(folder / "data/stores/mlflow.db")) as database, database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for _, column, kind, *_ in database.execute(f"PRAGMA table_info('{table}')").fetchall():
                if kind.upper().startswith(("VARCHAR", "TEXT")):
                    turn = f'UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?) WHERE instr("{column}", ?)'
                    database.execute(turn, (f"{template}/", f"{folder}/", f"{template}/"))
    return Project(folder)


def command(project: Project, arguments: list[str], timeout: float = 120) -> str:
    """What `evergreen ARGUMENTS` says in the clone, with the clone's code. Raises RuntimeError."""
    ended = subprocess.run(
        [*EVERGREEN, *arguments],
        cwd=project.root,
        env=environment(project),
        check=False,
        timeout=timeout,
        capture_output=True,
        text=True,
    )
    if ended.returncode:
        raise RuntimeError(f"evergreen {' '.join(arguments)} failed:\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}")
    return ended.stdout


def environment(project: Project) -> dict[str, str]:
    """What a process needs to belong to the clone, and to run its code instead of the installed one."""
    return quiet_environment(EVERGREEN_ROOT=str(project.root), PYTHONPATH=str(project.root))


@contextmanager
def start_gateway(
    project: Project,
    gateway: Mapping[str, Any] | None = None,
    serving: Mapping[str, Any] | None = None,
    port: int | None = None,
) -> Iterator[Server]:
    """`evergreen serve` on the clone, until the block is left; it answers when the block begins.

    `gateway` are settings of the place (dotted keys: `log.durability`), `serving` those of the case.
    Raises DidNotStart.
    """
    port = port or free_port()
    change(project.root / "configs/places/local.yaml", "gateway", {"port": port, "workers": 2} | dict(gateway or {}))
    change(project.root / f"configs/{CASE}.yaml", "serving", serving or {})
    with started(Command("gateway", [*EVERGREEN, "serve"], project.root, environment(project), port)) as server:
        wait_until_ready(server, "/v2/health/ready")
        yield server


def kind_of(command: str) -> str:
    """What a process of the gateway does, by its command line."""
    return next((kind for module, kind in _KINDS.items() if module in command), "supervisor")


def write_flights(project: Project, folder: Path, form: str = "plain", each: int = 1) -> Path:
    """A file of requests for real flights, in the words of a protocol, `each` rows in one request."""
    path, words = bodies.FORMS[form]
    rows = bodies.real_rows(project, CASE)
    built = bodies.build_requests(path.format(case=CASE), words, project.case(CASE).contract, rows, each)
    return bodies.write_requests(folder / f"{form}-{each}.requests", built)


def change(path: Path, section: str, settings: Mapping[str, Any]) -> None:
    """Set values in a section of a YAML file, each named by its dotted key."""
    content = yaml.safe_load(path.read_text())
    for key, value in settings.items():
        *above, last = key.split(".")
        place = content.setdefault(section, {})
        for name in above:
            place = place.setdefault(name, {})
        place[last] = value
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def wait_until_ready(server: Server, path: str, body: bytes | None = None, patience: float = 120) -> None:
    """Wait for the first 200, and then until every process gives one. Raises DidNotStart with what it last wrote."""
    began, in_a_row = time.monotonic(), 0
    while time.monotonic() - began < patience and server.root.poll() is None:
        if _answers(f"{server.url}{path}", body):
            server.start_seconds = server.start_seconds or time.monotonic() - began
            in_a_row += 1
            if in_a_row == _IN_A_ROW:
                return
        else:
            in_a_row = 0
            time.sleep(0.05)
    ended = "ended" if server.root.poll() is not None else f"did not answer {path} within {patience:g} s"
    said = server.tail().strip()
    last = said.splitlines()[-1] if said else "nothing"
    raise DidNotStart(f"{server.name} {ended}; the last it wrote was: {last}\n{said}")


def _answers(url: str, body: bytes | None) -> bool:
    try:
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.HTTPError):
        return False


def free_port() -> int:
    """A port that nobody listens on now."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def say(text: str) -> None:
    """A line of progress, on stderr: tables go to stdout."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _output(words: list[str], given: str | None = None) -> str:
    return subprocess.run(words, cwd=ROOT, check=True, input=given, capture_output=True, text=True).stdout.strip()
