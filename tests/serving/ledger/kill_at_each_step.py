"""Runs a turn of the compactor in one process after another, and kills the n-th before its n-th change on the disk.

`python -m tests.serving.ledger.kill_at_each_step FOLDER STRIDE`: the log in FOLDER/start is copied to FOLDER/<n> for
n = 1, 1 + STRIDE and so on, until a turn ends by itself.
"""

import os
import shutil
import signal
import sys
from datetime import timedelta
from pathlib import Path

from tests.serving.ledger.conftest import NOON, Log

CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def die_before(step: int) -> None:
    """Have this process killed when it is about to change something on the disk for the `step`-th time."""
    seen = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        writes = event == "open" and isinstance(arguments[2], int) and bool(arguments[2] & WRITING)
        if writes or event in CHANGES:
            seen += 1
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def turn(folder: Path, step: int) -> None:
    die_before(step)
    log = Log(folder / "ledger", str(folder / "predictions"), now=NOON + timedelta(days=2))
    log.compactor.turn()


def main(folder: Path, stride: int) -> None:
    step = 1 - stride
    killed = True
    while killed:
        step += stride
        shutil.copytree(folder / "start", folder / f"{step}")
        child = os.fork()
        if child == 0:
            turn(folder / f"{step}", step)
            os._exit(0)
        killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
