"""A DVC that is imported and waits: each command runs in a copy of it, which starts at once.

`python -m tasks.adapters.dvc_standby SOCKET` imports DVC and waits. Each command comes with the pipes it speaks through
and the lock it holds; a fork of the standby carries it out as `python -m dvc` would, and ends. So no command sees what
another left in memory, and one that is on its way goes on when the standby dies, or whoever asked. The standby itself
ends when the other end of its socket is closed, however that happens.
"""

import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tasks.standby import ADDRESS

_WARM = ("dvc.cli.parser", "dvc.repo", "dvc.repo.reproduce", "dvc.repo.push", "dvc.stage.run", "dvc_data.index")
"""What a command imports on its way; the rest follows from these."""
_LONGEST = 65536
_BEGUN = b"begun "
_KILLED = -signal.SIGKILL


class Ended(NamedTuple):
    """How a command ended, and all it said."""

    code: int
    output: str


class Standby:
    """A waiting DVC and the link to it; beside it wait the libraries of its stages, at the address `stages`."""

    def __init__(self, root: Path, environment: Mapping[str, str], stages: Path) -> None:
        self._link, theirs = socket.socketpair()
        self._stages = root / stages
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tasks.adapters.dvc_standby", str(theirs.fileno())],
                cwd=root,
                env={**environment, ADDRESS: str(stages)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # A group of its own: killing it takes both standbys, the command, and the command's stage.
                start_new_session=True,
                pass_fds=[theirs.fileno()],
            )

    def run(self, arguments: Sequence[str], lock: int, say: Callable[[str], None]) -> Ended | None:
        """Carry out a DVC command that holds on to `lock`; None if the standby died before it began.

        When this is interrupted, everything of it is killed, and the standby with it.
        """
        try:
            return self._run(arguments, lock, say)
        except BaseException:
            self.kill()
            raise

    def end(self) -> None:
        """Let it go; a command that is on its way is not interrupted."""
        self._link.close()
        self._process.wait()
        self._stages.unlink(missing_ok=True)

    def kill(self) -> None:
        """Kill it with all that runs under it."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self.end()

    def _run(self, arguments: Sequence[str], lock: int, say: Callable[[str], None]) -> Ended | None:
        said, their_said = os.pipe()
        ended, their_ended = os.pipe()
        with os.fdopen(said) as lines, os.fdopen(ended, "rb") as last:
            try:
                socket.send_fds(self._link, [json.dumps(arguments).encode()], [their_said, their_ended, lock])
            except BrokenPipeError:
                return None
            finally:
                os.close(their_said)
                os.close(their_ended)
            output = follow(lines, say)
            told = last.read()
        if not told:
            return None
        code = told.removeprefix(_BEGUN)
        return Ended(int(code) if code else _KILLED, output)


def follow(lines: Iterable[str], say: Callable[[str], None]) -> str:
    """Pass on what is said line by line, until nobody is left who could say more; returns all of it."""
    kept = []
    for line in lines:
        kept.append(line)
        say(line.rstrip())
    return "".join(kept)


def _wait_for_commands(link: socket.socket) -> None:
    for module in _WARM:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # a copy that collects garbage would first have to copy the memory it shares
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the copies: their pipes tell how they ended
    while True:
        request, received, *_ = socket.recv_fds(link, _LONGEST, 3)
        if not request:
            return
        if os.fork() == 0:
            link.close()
            _carry_out(json.loads(request), *received)
            return
        for each in received:
            os.close(each)


def _carry_out(arguments: list[str], said: int, ended: int, lock: int) -> None:
    from dvc.cli import main  # type: ignore[import-untyped]  # noqa: PLC0415 - only the standby imports DVC

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.write(ended, _BEGUN)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(said, stream.fileno())
    os.close(said)
    for kept in (ended, lock):
        os.set_inheritable(kept, False)
    code = main(arguments)
    sys.stdout.flush()
    os.write(ended, str(code).encode())


def _main(descriptor: int) -> None:
    address = os.environ[ADDRESS]
    Path(address).unlink(missing_ok=True)
    # The libraries go when nobody has their standard input open: neither this process, nor a command on its way.
    libraries = [sys.executable, "-m", "tasks.standby", address]
    with socket.socket(fileno=descriptor) as link, subprocess.Popen(libraries, stdin=subprocess.PIPE):
        _wait_for_commands(link)


if __name__ == "__main__":
    _main(int(sys.argv[1]))
