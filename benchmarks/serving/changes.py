"""Changes of who answers, made by another process while a load runs: what it said, and what the clients then saw."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from benchmarks.serving.instruments import ROOT
from benchmarks.serving.ours import environment
from configs.project import Project


@dataclass(frozen=True)
class Seen:
    """The first answer of a version on one connection."""

    at: float
    port: int
    version: str


def read_seen(changes: Path) -> list[Seen]:
    """What a load wrote down of the versions that answered it."""
    with changes.open() as lines:
        return [Seen(float(at), int(port), version) for at, port, version in map(str.split, lines)]


class Changer:
    """The other process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdin
        assert process.stdout
        self._in: IO[str] = process.stdin
        self._out: IO[str] = process.stdout
        self._hear()

    def change(self, what: str) -> dict[str, Any]:
        """Make a change; says when the registry had it."""
        self._in.write(f"{what}\n")
        self._in.flush()
        return self._hear()

    def _hear(self) -> dict[str, Any]:
        for line in self._out:
            if line.startswith("{"):
                heard: dict[str, Any] = json.loads(line)
                return heard
        raise RuntimeError("the process that makes the changes ended; its errors are above")


@contextmanager
def changer(project: Project, module: str) -> Iterator[Changer]:
    """The module, run in a process of its own in the project, for the length of a block."""
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=ROOT,
        env={**environment(project), "PYTHONPATH": f"{project.root}:{ROOT}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Changer(process)
    finally:
        process.kill()
        process.wait()


def say(what: dict[str, Any]) -> None:
    """What such a process tells whoever started it: one line of JSON."""
    print(json.dumps(what), flush=True)
