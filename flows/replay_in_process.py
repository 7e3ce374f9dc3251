"""Asking the gateway of a replay in this process: its core as threads."""

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Sequence

import orjson

from configs.project import Project
from flows.replay_gateway import PAUSE_SECONDS, START_SECONDS, Asked, GatewayLost, as_wanted
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
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if as_wanted(self._running.reporter.status()["cases"][case], wanted):
                return
            time.sleep(PAUSE_SECONDS)
        raise GatewayLost(f"did not answer as the registry says ({wanted}) in {START_SECONDS} s", self.output)

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
                thread.join(START_SECONDS)
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
