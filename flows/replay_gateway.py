"""Asking the gateway of a replay over HTTP: processes of its own, which can be killed."""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import orjson

from configs.errors import EvergreenError
from configs.project import Project
from tasks.replay.feed import Request

if TYPE_CHECKING:
    from tasks.adapters.registry import Standing  # with MLflow: not before a replay is in its sandbox

log = logging.getLogger(__name__)

START_SECONDS = 120
_ASK_SECONDS = 60
_AT_ONCE = 4
PAUSE_SECONDS = 0.02


class GatewayLost(EvergreenError):
    """The gateway of a replay does not do what it should."""

    def __init__(self, what: str, log: Path) -> None:
        super().__init__(
            f"The gateway of the replay {what}; what it said is in {log}. Run the replay again: it goes on."
        )


@dataclass
class Asked:
    """What became of some requests."""

    answered: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    """Of which not one row keeps the contract: nothing is written down of them."""


class Gateway:
    """The gateway of a sandbox, as processes that end with this one."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._port = _free_port()
        self.output = project.stores / "gateway.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline, self._held = os.pipe()
        self._client = httpx.Client(base_url=self.url, timeout=_ASK_SECONDS)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it, if it does not run; `settle` waits until it answers."""
        if self._process is not None and self._process.poll() is None:
            return
        self.output.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "serving", "--port", str(self._port), "--lifeline", str(self._lifeline)]
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=self._project.root,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(self._lifeline,),
                start_new_session=True,
            )

    def settle(self, case: str, wanted: "Standing") -> None:
        """Wait until it answers as the registry says. Raises GatewayLost."""
        self.start()
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with suppress(httpx.TransportError, KeyError, ValueError):
                if as_wanted(self._client.get("/status").json()["cases"][case], wanted):
                    return
            time.sleep(PAUSE_SECONDS)
        raise GatewayLost(f"did not answer as the registry says ({wanted}) in {START_SECONDS} s", self.output)

    def ask(self, case: str, requests: Sequence[Request], *, kill_at: int | None = None) -> Asked:
        """Send the requests, several at once; with `kill_at`, kill the gateway when so many have been sent.

        A request that got no answer is in no set: whether it was written down, the log tells.
        """
        asked, lock, sent = Asked(), threading.Lock(), iter(range(1, len(requests) + 1))

        def one(request: Request) -> None:
            try:
                answer = self._client.post(
                    f"/predict/{case}?partial=true",
                    content=orjson.dumps(request.rows),
                    headers={"content-type": "application/json", "x-request-id": request.request_id},
                )
            except httpx.TransportError:
                return
            with lock:
                if answer.status_code == httpx.codes.OK:
                    asked.answered.add(request.request_id)
                elif answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY:
                    asked.refused.add(request.request_id)
                if next(sent) == kill_at:
                    self.kill()

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in pool.map(one, requests):
                pass
        return asked

    def kill(self) -> None:
        """End every process of it without a warning, as a power cut would."""
        if self._process is None:
            return
        for pid in (self._process.pid, *_children(self._process.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """End it in order: what was answered is on disk then."""
        self._client.close()
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(START_SECONDS)
        os.close(self._held)
        os.close(self._lifeline)


def as_wanted(told: dict[str, Any], wanted: "Standing") -> bool:
    def version(role: str) -> Any:
        return told.get(role, {}).get("version")

    traffic = wanted.traffic
    needed = bool(traffic.share or traffic.shadow)
    return (
        version("champion") == wanted.champion
        and (not needed or version("challenger") == wanted.challenger)
        and (told["share"], float(told["shadow"])) == ((traffic.share, float(traffic.shadow)) if needed else (0, 0))
    )


def _children(pid: int) -> list[int]:
    """The processes that a process started, as far as the system tells."""
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    except FileNotFoundError:
        return []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
