"""Processes of their own, and a chain so small that DVC itself is all that takes time."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from configs.project import Project

Start = Callable[..., "subprocess.Popen[str]"]

STAGE = """
import os, sys, time
from pathlib import Path

def log(word):
    with open("stage.log", "a") as file:
        file.write(word + "\\n")

log("begins")
print("the stage says what it did", flush=True)
time.sleep(float(Path("seconds.txt").read_text()))
if Path("fails.txt").is_file():
    sys.stderr.write(Path("fails.txt").read_text())
    sys.exit(3)
out = Path("data/bikes/deliveries")
out.mkdir(parents=True, exist_ok=True)
for name in ("2011-W01", "2011-W02", "2011-W03"):
    (out / f"{name}.parquet").write_text(name)
log("ends")
"""


@pytest.fixture
def started() -> Iterator[Start]:
    """Starts Python code in a process of its own; what is left at the end of the test is killed."""
    processes: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: object, **options: Any) -> "subprocess.Popen[str]":
        command = [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def chain(checkout: Project) -> Project:
    """A checkout whose chain is one stage, `ingest@bikes`, that writes three small deliveries."""
    stage = {
        "cmd": "python stage.py",
        "deps": ["stage.py", "seconds.txt"],
        "outs": [{"data/${item}/deliveries": {"persist": True}}],
    }
    content = {"stages": {"ingest": {"foreach": ["bikes"], "do": stage}}}
    (checkout.root / "dvc.yaml").write_text(yaml.safe_dump(content))
    (checkout.root / "stage.py").write_text(STAGE)
    (checkout.root / "seconds.txt").write_text("0")
    return checkout
