"""What a server costs: its processes, their CPU time and memory, and what the rest of the machine was doing (Linux)."""

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

MARK = "EVERGREEN_BENCHMARK"
"""Environment variable by which all that a server started is found again, also when it has left the family."""
_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")
_ESTABLISHED = "01"


class DidNotStart(RuntimeError):
    """A server ended, or was not ready in time; says what it last wrote."""


@dataclass(frozen=True)
class Memory:
    """MiB; of a page that n processes share, `pss` counts one nth for each."""

    rss: float
    pss: float


@dataclass
class Server:
    """A running server with everything it started."""

    name: str
    root: subprocess.Popen[bytes]
    port: int
    output: Path
    mark: str
    stop_seconds: float = 60.0
    start_seconds: float = 0.0
    _known: set[int] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def processes(self) -> set[int]:
        """All living processes of the server: its descendants, and whoever carries its mark."""
        parents = dict(_parents())
        found = {self.root.pid, *(pid for pid in parents if self._carries_mark(pid))}
        while more := {child for child, parent in parents.items() if parent in found} - found:
            found |= more
        return found & parents.keys()

    def _carries_mark(self, pid: int) -> bool:
        if pid not in self._known:
            with suppress(OSError):
                if f"{MARK}={self.mark}".encode() in (_PROC / str(pid) / "environ").read_bytes().split(b"\0"):
                    self._known.add(pid)
        return pid in self._known

    def cpu(self) -> dict[int, float]:
        """CPU seconds of each living process, with those of its dead children."""
        return {pid: seconds for pid in self.processes() if (seconds := _cpu_seconds(pid)) is not None}

    def memory(self) -> Memory:
        both = [memory_of(pid) for pid in self.processes()]
        return Memory(sum(one.rss for one in both), sum(one.pss for one in both))

    def tail(self) -> str:
        """The end of what it wrote."""
        return self.output.read_text(errors="replace")[-3000:] if self.output.exists() else ""

    def stop(self) -> None:
        """End it as a person would, then whatever is left of it."""
        family = self.processes()
        if self.root.poll() is None:
            self.root.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.root.wait(self.stop_seconds)
        for _ in range(50):
            family = (family & dict(_parents()).keys()) | self.processes()
            for pid in family:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.root.poll()
            if not {pid for pid in family if alive(pid)}:
                return
            time.sleep(0.1)
        raise RuntimeError(f"{self.name}: processes {sorted(family)} would not end")


@dataclass(frozen=True)
class Command:
    """How a server is started; what it writes goes to `server.log` in its folder."""

    name: str
    words: list[str]
    folder: Path
    environment: Mapping[str, str]
    port: int


@contextmanager
def started(command: Command) -> Iterator[Server]:
    """Start a server, and end all of it when the block is left. Its processes carry a mark of their own."""
    mark, output = uuid.uuid4().hex, command.folder / "server.log"
    with output.open("wb") as log:
        root = subprocess.Popen(
            command.words,
            cwd=command.folder,
            env={**command.environment, MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(command.name, root, command.port, output, mark)
    try:
        yield server
    finally:
        server.stop()


def alive(pid: int) -> bool:
    """Whether the process runs; one that is dead and not yet asked for its answer does not."""
    with suppress(OSError):
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def command_of(pid: int) -> str:
    """What the process calls itself."""
    with suppress(OSError):
        return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""


def machine_cpu() -> float:
    """CPU seconds that all cores have spent on anything but waiting."""
    user, nice, system, _idle, _wait, irq, soft = (int(v) for v in Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + soft) / _TICKS


def owners_of_connections(server: Server) -> dict[int, int]:
    """For each client's port connected to the server: the process that holds the other end."""
    sockets = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, here, there, state, *rest = line.split()
        if state == _ESTABLISHED and int(here.split(":")[1], 16) == server.port:
            sockets[rest[5]] = int(there.split(":")[1], 16)
    return {sockets[inode]: pid for pid in server.processes() for inode in _sockets_of(pid) if inode in sockets}


def _sockets_of(pid: int) -> Iterator[str]:
    with suppress(OSError):
        for descriptor in (_PROC / str(pid) / "fd").iterdir():
            with suppress(OSError):
                target = str(descriptor.readlink())
                if target.startswith("socket:["):
                    yield target[8:-1]


def _parents() -> Iterator[tuple[int, int]]:
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                yield int(folder.name), int((folder / "stat").read_text().rpartition(")")[2].split()[1])


def _cpu_seconds(pid: int) -> float | None:
    with suppress(OSError):
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return sum(int(value) for value in fields[11:15]) / _TICKS
    return None


def memory_of(pid: int) -> Memory:
    sizes = {"Rss": 0.0, "Pss": 0.0}
    with suppress(OSError):
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in sizes:
                sizes[name] = int(rest.split()[0]) / 1024
    return Memory(sizes["Rss"], sizes["Pss"])
