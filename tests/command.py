"""The command `evergreen`, as a user runs it: a process of its own, in the folder of a project."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from configs.project import Project

_PATIENCE = 240


def evergreen(project: Project, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """The command, ended: well or not."""
    asked = _asked(project, words, environment)
    return subprocess.run(**asked, check=False, capture_output=True, text=True, timeout=_PATIENCE)


def told(project: Project, *words: str, **environment: str) -> str:
    """What the command says in the end, in one line; it has to end well."""
    ended = evergreen(project, *words, **environment)
    assert ended.returncode == 0, ended.stderr
    return " ".join(ended.stdout.split())


def begun(project: Project, *words: str, output: Path | None = None, **environment: str) -> "subprocess.Popen[bytes]":
    """The command under way; what it says goes to `output`, or nowhere."""
    with (output or Path(os.devnull)).open("wb") as where:
        return subprocess.Popen(**_asked(project, words, environment), stdout=where, stderr=where)


def _asked(project: Project, words: tuple[str, ...], environment: dict[str, str]) -> dict[str, Any]:
    return {
        "args": [sys.executable, "-m", "flows.cli", *words],
        "cwd": project.root,
        "env": {**os.environ, "PYTHONPATH": str(project.root), **environment},
    }
