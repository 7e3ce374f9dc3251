"""Stages that do not wait for their imports: a process that has imported the libraries, and runs each stage in a copy.

`python -m tasks.standby ADDRESS` listens beside a flow. `python -m tasks STAGE CASE`, which DVC runs, finds the address
in its environment and hands itself over: arguments, folder, environment, streams. It ends as the copy ends, and the
copy ends with it. The first stage that is run finds nothing imported, and starts the imports for those after it: a
chain in which nothing has changed pays nothing. Libraries alone are imported ahead. This project's own code is read
when a stage begins, as DVC has just seen it.
"""

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import threading
from pathlib import Path

ADDRESS = "EVERGREEN_STAGES"
"""The environment variable that tells a stage where the standby listens."""
_BY_ITSELF = "ingest"
"""The stage that comes first and needs little: it runs by itself until the standby has imported what others need."""
_AHEAD = (
    "great_expectations.expectations",
    "skops.io",
    "sklearn.ensemble",
    "sklearn.compose",
    "sklearn.calibration",
    "sklearn.metrics",
    "scipy.stats",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "jinja2",
)
_OURS = ("configs", "tasks")
_BEGUN = b"begun "
_FAULT = 1
_SOME = 65536


def hand_over(arguments: list[str]) -> int | None:
    """Have a stage run in a copy of the standby; its exit code, or None if there is no standby and it must run here."""
    address = os.environ.get(ADDRESS)
    if not address:
        return None
    with socket.socket(socket.AF_UNIX) as link:
        try:
            link.connect(address)
            asked = {"arguments": arguments, "folder": str(Path.cwd()), "environment": dict(os.environ)}
            socket.send_fds(link, [json.dumps(asked).encode()], [0, 1, 2])
            link.shutdown(socket.SHUT_WR)
            told = _rest(link)
        except OSError:
            return None
    if not told:
        return None
    code = told.removeprefix(_BEGUN)
    return int(code) if code else _FAULT


def main(address: str) -> int:
    """Listen until standard input is closed; in a copy, run the stage that called, and return its exit code."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the copies: they answer for themselves
        link, warm = _next_call(listener)
    if link is None:
        Path(address).unlink(missing_ok=True)
        return 0
    return _run(link, warm=warm)


def _next_call(listener: socket.socket) -> tuple[socket.socket | None, bool]:
    """In each copy: the link to the stage that called. In the standby itself: None, when its lifeline is closed.

    And whether everything was imported by then.
    """
    called, ahead = False, list(_AHEAD)
    while True:
        importing = called and bool(ahead)
        ready, _, _ = select.select([listener, sys.stdin], [], [], 0 if importing else None)
        if listener in ready:
            link, _ = listener.accept()
            gc.freeze()  # a copy that collects garbage would first have to copy the memory it shares
            if os.fork() == 0:
                return link, not ahead
            link.close()
            called = True
        elif ready:
            return None, not ahead
        else:
            importlib.import_module(ahead.pop(0))


def _run(link: socket.socket, *, warm: bool) -> int:
    # Our own modules are read anew: what a stage runs must be the code that DVC has just looked at.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    asked, streams, *_ = socket.recv_fds(link, _SOME, 3)
    asked += _rest(link)
    if not asked:
        return 0
    request = json.loads(asked)
    if request["arguments"][:1] == [_BY_ITSELF] and not warm:
        return 0  # that it called is enough
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for name in [name for name in sys.modules if name.partition(".")[0] in _OURS]:
        del sys.modules[name]
    threading.Thread(target=_end_with, args=(link,), daemon=True).start()
    link.sendall(_BEGUN)
    code = int(importlib.import_module("tasks.__main__").main(request["arguments"]))
    sys.stdout.flush()
    link.sendall(str(code).encode())
    return code


def _end_with(link: socket.socket) -> None:
    """End this process as soon as the one that handed its stage over is gone."""
    poll = select.poll()
    poll.register(link, 0)  # hanging up is told unasked
    poll.poll()
    os._exit(_FAULT)


def _rest(link: socket.socket) -> bytes:
    return b"".join(iter(lambda: link.recv(_SOME), b""))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
