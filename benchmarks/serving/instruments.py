"""Puts load on a server, from a process of its own, and says what each answered request cost."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.serving.processes import Server, command_of, machine_cpu

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(tempfile.gettempdir()) / "evergreen-benchmarks"
"""What is made once and used by many runs: the load generator, a clone with models, environments of other servers."""
_SOURCE = Path(__file__).with_name("load.c")


@dataclass(frozen=True)
class Load:
    """What is sent: options of the load generator, see load.c."""

    requests: Path
    connections: int = 1
    seconds: float | None = None
    count: int | None = None
    rate: float | None = None
    poisson: bool = False
    timeout: float = 30.0
    ids: Path | None = None
    changes: Path | None = None
    contains: str | None = None
    per_second: bool = False
    slow: int = 0
    die: int = 0
    seed: int = 0

    def options(self) -> list[str]:
        """As words of a command line."""
        words = []
        for name, value in asdict(self).items():
            flag = f"--{name.replace('_', '-')}"
            if isinstance(value, bool):
                words += [flag] if value else []
            elif value is not None:
                words += [flag, str(value)]
        return words


@dataclass(frozen=True)
class Result:
    """What came of it; latencies in ms. Only answers with a status of 2xx count as answered."""

    requests: int
    answered: int
    errors: int
    """Requests that got no answer at all, and connections that were refused."""
    kinds: dict[str, int]
    statuses: dict[str, int]
    unsent: int
    """Of the open loop: requests whose moment had come and that nobody was free to send."""
    seconds: float
    rate: float
    """Answered a second."""
    p50: float
    p95: float
    p99: float
    p999: float
    max: float
    containing: int
    reopened: int
    slow_ended: int
    died: int
    answered_in: list[float] = field(default_factory=list)
    worst_ms_in: list[float] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """Requests that were due and did not get a good answer."""
        return self.errors + self.unsent + sum(self.statuses.values()) - self.answered


@dataclass(frozen=True)
class Measured:
    """A load, and what the server and the rest of the machine spent in the meantime."""

    result: Result
    cpu_us: float
    """CPU microseconds of all processes of the server for each answered request."""
    cpu_seconds: dict[str, float]
    """CPU seconds of each process, by its number and command."""
    rss: float
    pss: float
    others: float
    """Cores that were busy with neither the server nor the load."""


class Running:
    """A load on its way; `result` waits for its end."""

    def __init__(self, port: int, load: Load) -> None:
        self._patience = (load.seconds or 0) + load.timeout + 30 if load.count is None else None
        self.process = subprocess.Popen(
            [str(build()), "--port", str(port), *load.options()], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def result(self, patience: float | None = None) -> Result:
        """What came of it. Raises RuntimeError if the load generator failed or hangs."""
        try:
            out, err = self.process.communicate(timeout=patience or self._patience)
        except subprocess.TimeoutExpired:
            self.stop()
            raise RuntimeError(f"the load generator did not end within {patience or self._patience} s") from None
        if self.process.returncode:
            raise RuntimeError(f"the load generator failed: {err.decode(errors='replace').strip()}")
        said: dict[str, Any] = json.loads(out)
        return Result(**{name.replace("p99.9", "p999"): value for name, value in said.items()})

    def end(self) -> Result:
        """End it now; what came of it so far."""
        self.process.terminate()
        return self.result(patience=60)

    def stop(self) -> None:
        """End it, whatever it was doing."""
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()


def run_load(port: int, load: Load) -> Result:
    """Put the load on a port and wait for its end."""
    running = Running(port, load)
    try:
        return running.result()
    finally:
        running.stop()


def measure(server: Server, load: Load) -> Measured:
    """Put the load on the server; raises RuntimeError if it answered nothing."""
    before, machine, times = server.cpu(), machine_cpu(), os.times()
    began = time.monotonic()
    result = run_load(server.port, load)
    spent = {pid: seconds - before.get(pid, 0.0) for pid, seconds in server.cpu().items()}
    own = sum(os.times()[:4]) - sum(times[:4])
    others = (machine_cpu() - machine - own - sum(spent.values())) / (time.monotonic() - began)
    if not result.answered:
        raise RuntimeError(f"{server.name} answered nothing: {result.statuses or result.kinds}. {server.tail()}")
    memory = server.memory()
    return Measured(
        result=result,
        cpu_us=sum(spent.values()) / result.answered * 1e6,
        cpu_seconds={f"{pid} {command_of(pid)[:80]}": round(seconds, 2) for pid, seconds in spent.items()},
        rss=memory.rss,
        pss=memory.pss,
        others=max(0.0, others),
    )


def build() -> Path:
    """The load generator, compiled if this source has not been compiled before."""
    digest = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:16]
    program = CACHE / f"load-{digest}"
    if not program.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        part = program.with_suffix(f".{os.getpid()}")
        command = [os.environ.get("CC", "cc"), "-O2", "-Wall", "-Wextra", "-o", str(part), str(_SOURCE), "-lm"]
        subprocess.run(command, check=True)
        part.replace(program)
    return program


def end_cleanly() -> None:
    """From now on SIGTERM (of `timeout`, say) ends what was started too, as Ctrl-C does."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))


def quiet_environment(**more: str) -> dict[str, str]:
    """The environment without what belongs to a project or a person: one thread a process, no telemetry."""
    theirs = ("EVERGREEN_", "MLFLOW_", "PREFECT_", "DVC_", "PYTHON", "VIRTUAL_ENV", "UV_", "RAY_", "BENTOML_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
    return {**kept, "DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **more}


def as_json(measured: Mapping[str, Any]) -> str:
    """For the raw file beside a table."""
    return json.dumps(measured, indent=1, default=asdict)
