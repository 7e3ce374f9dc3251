"""Asking the gateway of a replay: processes of its own over HTTP, or the same core in this process."""

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson

from configs.errors import EvergreenError
from configs.project import Project
from serving.dialects import PLAIN
from serving.dialects import Request as Received
from serving.errors import ContractBroken, Refused
from serving.ledger.__main__ import run as compact_until
from serving.routes.engines import make_engine
from serving.routes.keeper import Keeper
from serving.routes.local import LocalCopy
from serving.worker import Worker
from tasks.adapters.locks import exclusive
from tasks.adapters.registry import Standing
from tasks.replay.errors import NotToBeKilled
from tasks.replay.feed import Request

log = logging.getLogger(__name__)

_START_SECONDS = 120
_ASK_SECONDS = 60
_AT_ONCE = 4
_PAUSE_SECONDS = 0.02


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

    def settle(self, case: str, wanted: Standing) -> None:
        """Wait until it answers as the registry says. Raises GatewayLost."""
        self.start()
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            with suppress(httpx.TransportError, KeyError, ValueError):
                if _as_wanted(self._client.get("/status").json()["cases"][case], wanted):
                    return
            time.sleep(_PAUSE_SECONDS)
        raise GatewayLost(f"did not answer as the registry says ({wanted}) in {_START_SECONDS} s", self.output)

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
            self._process.wait(_START_SECONDS)
        os.close(self._held)
        os.close(self._lifeline)


class InProcess:
    """The same core in this process: keeper, worker and compactor as threads; it listens for smoke tests alone."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.output = project.stores / "gateway.log"
        self._end = threading.Event()
        self._worker: Worker | None = None
        self._loop = asyncio.new_event_loop()
        self._threads = [threading.Thread(target=one) for one in (self._keep, self._serve, self._compact)]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def start(self) -> None:
        """Start its threads, if they do not run."""
        if self._worker is None:
            self._project.worker_reports.mkdir(parents=True, exist_ok=True)
            self._worker = Worker(self._project, "replay")
            for thread in self._threads:
                thread.start()

    def settle(self, case: str, wanted: Standing) -> None:
        """Wait until it answers as the registry says. Raises GatewayLost."""
        self.start()
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if _as_wanted(self._running.reporter.status()["cases"][case], wanted):
                return
            time.sleep(_PAUSE_SECONDS)
        raise GatewayLost(f"did not answer as the registry says ({wanted}) in {_START_SECONDS} s", self.output)

    def ask(self, case: str, requests: Sequence[Request], *, kill_at: int | None = None) -> Asked:
        """Have the requests answered one after the other. Raises NotToBeKilled."""
        if kill_at is not None:
            raise NotToBeKilled
        return asyncio.run_coroutine_threadsafe(self._ask(case, requests), self._loop).result()

    def stop(self) -> None:
        """End it in order: what was answered is on disk then."""
        if self._worker is not None:
            self._end.set()
            self._worker.stop()
            for thread in self._threads:
                thread.join(_START_SECONDS)
        self._listening.close()

    @property
    def _running(self) -> Worker:
        assert self._worker is not None, "whoever asks has settled it"
        return self._worker

    async def _ask(self, case: str, requests: Sequence[Request]) -> Asked:
        asked, inference = Asked(), self._running.inference
        desk = inference.desks[case]
        for request in requests:
            headers = {b"content-type": b"application/json", b"x-request-id": request.request_id.encode()}
            body = orjson.dumps(request.rows)
            wanted = Received(body, headers, b"partial=true", time.time(), time.perf_counter())
            try:
                await inference.predict(PLAIN, desk, wanted)
                asked.answered.add(request.request_id)
            except ContractBroken:
                asked.refused.add(request.request_id)
            except Refused as error:
                log.info("request %s: %s", request.request_id, error)
            await asyncio.sleep(0)  # the shadow has its turn
        return asked

    def _keep(self) -> None:
        with exclusive(LocalCopy.of(self._project).lock):
            Keeper(self._project, make_engine).run(self._end)

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._running.serve(self._listening))

    def _compact(self) -> None:
        compact_until(self._project, self._end)


@contextmanager
def gateway_of(project: Project, *, in_process: bool) -> Iterator[Gateway | InProcess]:
    """A gateway of the project; it is ended with the block, and started by whoever needs it."""
    gateway = InProcess(project) if in_process else Gateway(project)
    try:
        yield gateway
    finally:
        gateway.stop()


def _as_wanted(told: dict[str, Any], wanted: Standing) -> bool:
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
