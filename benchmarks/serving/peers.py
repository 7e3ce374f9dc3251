"""Other servers with the same registered model, each in an environment of its own outside the project.

They are bare: no contract, no log, no shares, no shadow. Each has its own batching switched on where it has one.
mlflow and FastAPI have two processes that answer, as `-2` have; the others have one.
"""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.serving import bodies
from benchmarks.serving.bodies import Words
from benchmarks.serving.instruments import CACHE, ROOT, quiet_environment
from benchmarks.serving.ours import free_port, say, wait_until_ready
from benchmarks.serving.processes import Command, Server, started
from configs.case import Contract

MODEL_LIBRARIES = ("scikit-learn", "skops", "pandas", "numpy", "pydantic", "pyyaml")
"""What the model needs, in the versions that we have."""
_ADAPTERS = "benchmarks.serving.adapters"


@dataclass(frozen=True)
class Seat:
    """Where a peer runs."""

    programs: Path
    """The `bin` of its environment."""
    model: Path
    port: int
    scratch: Path

    def run(self, program: str, *arguments: str | Path) -> list[str]:
        """A command line."""
        return [str(self.programs / program), *map(str, arguments)]


@dataclass(frozen=True)
class Peer:
    """A server and how it is asked."""

    packages: tuple[str, ...]
    command: Callable[[Seat], list[str]]
    path: str = "/predict"
    words: Words = bodies.plain
    read: Callable[[Any], list[Any]] = lambda answer: list(answer["probabilities"])
    """The answers in the JSON it sends; mlflow gives labels, the others probabilities."""
    environment: dict[str, str] = field(default_factory=dict)
    predicts: bool = True
    """Whether its answers are the model's; the floor's are always the same bytes."""


def _mlserver(seat: Seat, workers: int = 0) -> list[str]:
    settings = {
        "host": "127.0.0.1",
        "http_port": seat.port,
        "grpc_port": free_port(),
        "metrics_port": free_port(),
        "parallel_workers": workers,
        "debug": False,
        "max_gzip_size": None,
    }
    batching = {"max_batch_size": 64, "max_batch_time": 0.005}
    model = {"name": "flights", "implementation": f"{_ADAPTERS}.mlserver_app.Flights", **batching}
    (seat.scratch / "settings.json").write_text(json.dumps(settings))
    (seat.scratch / "model-settings.json").write_text(json.dumps(model))
    return seat.run("mlserver", "start", seat.scratch)


def _bare_rows(_: Contract, rows: Any) -> tuple[dict[str, str], bytes]:
    return {}, json.dumps({"rows": list(rows)}, separators=(",", ":")).encode()


_MLSERVER = Peer(
    packages=("mlserver==1.7.1", "uvloop<0.22"),
    command=_mlserver,
    path="/v2/models/flights/infer",
    words=bodies.v2,
    read=lambda answer: list(answer["outputs"][0]["data"]),
)
_LITSERVE = Peer(
    packages=("litserve==0.2.19",),
    command=lambda s: s.run("python", "-m", f"{_ADAPTERS}.litserve_app", str(s.port), "1"),
)
_ASGI = ("uvicorn==0.54.0", "uvloop==0.22.1", "httptools==0.9.0")


def _uvicorn(seat: Seat, adapter: str) -> list[str]:
    app = f"{_ADAPTERS}.{adapter}:app"
    return seat.run("uvicorn", app, "--port", str(seat.port), "--workers", "2", "--no-access-log", "--lifespan", "off")


PEERS: dict[str, Peer] = {
    "floor": Peer(packages=_ASGI, command=lambda s: _uvicorn(s, "floor_app"), predicts=False),
    "mlflow": Peer(
        packages=(f"mlflow=={version('mlflow')}",),
        command=lambda s: s.run(
            "mlflow", "models", "serve", "-m", s.model, "-p", str(s.port), "-w", "2", "--env-manager", "local"
        ),
        path="/invocations",
        words=bodies.split,
        read=lambda answer: list(answer["predictions"]),
    ),
    "mlserver": _MLSERVER,
    "mlserver-2": replace(_MLSERVER, command=lambda s: _mlserver(s, workers=2)),
    "fastapi": Peer(
        packages=(f"fastapi=={version('fastapi')}", *_ASGI),
        command=lambda s: _uvicorn(s, "fastapi_app"),
    ),
    "litserve": _LITSERVE,
    "litserve-2": replace(
        _LITSERVE, command=lambda s: s.run("python", "-m", f"{_ADAPTERS}.litserve_app", str(s.port), "2")
    ),
    "bentoml": Peer(
        packages=("bentoml==1.4.39",),
        command=lambda s: s.run(
            "bentoml", "serve", f"{_ADAPTERS}.bento_app:Flights", "--host", "127.0.0.1", "--port", str(s.port)
        ),
        words=_bare_rows,
        read=list,
        environment={"BENTOML_DO_NOT_TRACK": "True"},
    ),
    "ray": Peer(
        packages=("ray[serve]==2.60.0",),
        command=lambda s: s.run("python", "-m", f"{_ADAPTERS}.ray_app", str(s.port), s.scratch / "ray"),
        path="/",
        # Under `uv run` it would pack the folder it is started in, with all that is below, for its workers.
        environment={"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"},
    ),
}


def install(name: str, cache: Path = CACHE) -> Path:
    """The `bin` of an environment with the peer, made if it is not in the cache. Raises RuntimeError."""
    packages = [*(f"{library}=={version(library)}" for library in MODEL_LIBRARIES), *PEERS[name].packages]
    return install_packages(name.partition("-")[0], packages, cache)


def install_packages(name: str, packages: Sequence[str], cache: Path = CACHE) -> Path:
    """The `bin` of an environment with these packages alone, made if it is not in the cache. Raises RuntimeError."""
    digest = hashlib.sha256("\n".join(packages).encode()).hexdigest()[:12]
    folder = cache / "environments" / f"{name}-{digest}"
    if not (folder / "done").exists():
        say(f"{name}: installing {', '.join(packages)}")
        shutil.rmtree(folder, ignore_errors=True)
        _uv("venv", "--quiet", "--no-project", "--python", "3.11", str(folder))
        _uv("pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), *packages)
        (folder / "done").touch()
    return folder / "bin"


def _uv(*arguments: str) -> None:
    ended = subprocess.run(["uv", *arguments], check=False, capture_output=True, text=True, timeout=1200)
    if ended.returncode:
        raise RuntimeError(f"uv {' '.join(arguments[:2])} failed: {ended.stderr.strip()[-2000:]}")


@contextmanager
def start_peer(name: str, model: Path, body: bytes, cache: Path = CACHE) -> Iterator[Server]:
    """The peer with the model, until the block is left; it has answered `body` when the block begins.

    Raises RuntimeError if it cannot be installed, DidNotStart if it does not answer.
    """
    peer, programs = PEERS[name], install(name, cache)
    with tempfile.TemporaryDirectory(prefix=f"evergreen-{name}-", ignore_cleanup_errors=True) as folder:
        scratch = Path(folder)
        seat = Seat(programs, model, free_port(), scratch)
        environment = quiet_environment(
            PYTHONPATH=str(ROOT),
            PATH=f"{programs}{os.pathsep}{os.environ['PATH']}",
            HOME=folder,
            EVERGREEN_MODEL=str(model),
            **peer.environment,
        )
        with started(Command(name, peer.command(seat), scratch, environment, seat.port)) as server:
            wait_until_ready(server, peer.path, body, patience=300)
            yield server
