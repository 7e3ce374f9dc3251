"""A worker: one process that answers, out of the local copy, until it is told to end."""

import argparse
import asyncio
import gc
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from configs.errors import ConfigError
from configs.place import Place
from configs.project import Project
from serving.access import Door
from serving.app import Application
from serving.connection import KEEP_ALIVE_SECONDS, Connection, close_idle_ones, close_slow_ones
from serving.evidence import Evidence
from serving.guard import Guard
from serving.inference import Inference
from serving.lane import Lane
from serving.ledger.header import logged_cases
from serving.ledger.ledger import Ledger
from serving.ledger.places import segments_folder
from serving.lifeline import end_with_parent
from serving.loading import Loading
from serving.logs import log_as
from serving.metrics import Metrics
from serving.pages import Pages
from serving.report import Reporter
from serving.routes.local import LocalCopy
from serving.routes.watch import Watch

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.02
_REPORT_SECONDS = 1.0


class Worker:
    """Everything one worker process holds."""

    def __init__(self, project: Project, name: str) -> None:
        place = project.place
        self.params = place.gateway
        self.name = name
        cases = [project.case(case) for case in project.cases]
        self.metrics = Metrics({case.name: case.problem for case in cases})
        self.ledger = Ledger(segments_folder(project), name, logged_cases(cases), self.params.log)
        self.inference = Inference(cases, self.ledger, self.metrics, self.params.limits.rows, self.params.clock)
        copy = LocalCopy.of(project)
        self.loadings = {name: Loading(desk, copy, self.metrics) for name, desk in self.inference.desks.items()}
        self.watch = Watch(copy.root, project.cases)
        self.door = Door(_keys(project, place))
        self.reporter = Reporter(name, self.inference, self.loadings, project)
        pages = Pages(self.inference, self.reporter, Evidence(project), self.params.default_case)
        guard = Guard(self.door, self.params.limits)
        self.application = Application(self.inference, pages, guard, self.params.default_case)
        self._lane = Lane(self.application, self.inference, guard)
        self._server = uvicorn.Server(self._settings())

    async def serve(self, listening: socket.socket) -> None:
        """Answer on the socket until SIGTERM or `stop`; then finish what is under way, and seal the log."""
        await self._follow()
        gc.collect()
        gc.freeze()
        beats = [
            asyncio.create_task(_every(_LOOK_SECONDS, self._follow)),
            asyncio.create_task(_every(_REPORT_SECONDS, self._report)),
            asyncio.create_task(self.inference.shadow.run()),
        ]
        beats.append(asyncio.create_task(_every(_REPORT_SECONDS, partial(self._close_slow, self._server))))
        try:
            await self._server.serve(sockets=[listening])
        finally:
            for beat in beats:
                beat.cancel()
            await asyncio.gather(*beats, return_exceptions=True)
            self.ledger.close()
            await self._report()

    def stop(self) -> None:
        """End `serve` soon, from another thread."""
        self._server.should_exit = True

    def _settings(self) -> uvicorn.Config:
        tls = self.params.tls
        return uvicorn.Config(
            self.application,
            http=partial(Connection, self._lane),  # type: ignore[arg-type] # it is called, whatever it is
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=int(self.params.drain_seconds),
            # Behind a proxy, keys tell clients apart; a header that anybody can send does not.
            proxy_headers=False,
            ssl_certfile=tls.certificate if tls else None,
            ssl_keyfile=tls.key if tls else None,
        )

    async def _follow(self) -> None:
        for routes in self.watch.poll():
            await self.loadings[routes.case].follow(routes)
        for loading in self.loadings.values():
            if loading.due and loading.routes:
                await loading.follow(loading.routes)

    async def _close_slow(self, server: uvicorn.Server) -> None:
        seconds, now = self.params.limits.request_seconds, asyncio.get_running_loop().time()
        connections = list(server.server_state.connections)
        close_idle_ones(connections, now)
        if closed := close_slow_ones(connections, seconds, now):
            self.metrics.refused["", "too_slow"] += closed

    async def _report(self) -> None:
        try:
            self.door.look()
        except ConfigError:
            log.exception("the keys cannot be read; those read before still hold")
        await self.reporter.publish()


def _keys(project: Project, place: Place) -> Path | None:
    return project.root / place.gateway.keys if place.gateway.keys else None


async def _every(seconds: float, beat: Callable[[], Coroutine[Any, Any, None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await beat()
        except Exception:  # a beat that failed is seen, and the next one is tried
            log.exception("a recurring step failed")


def main() -> None:
    """Run a worker on the inherited listening socket."""
    parser = argparse.ArgumentParser(prog="python -m serving.worker")
    parser.add_argument("--socket", type=int, required=True, help="descriptor of the listening socket")
    parser.add_argument("--name", required=True)
    parser.add_argument("--lifeline", type=int, help="descriptor of a pipe that closes when the parent ends")
    given = parser.parse_args()
    log_as(given.name)
    end_with_parent(given.lifeline)
    gc.set_threshold(50_000, 20, 100)
    # uvicorn raises the signal it was stopped by once more when it is done; what comes after it is still ours.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    worker = Worker(Project.here(), given.name)
    started = time.perf_counter()
    uvloop.run(worker.serve(socket.socket(fileno=given.socket)))
    log.info("worker %s (%d) ended after %.0f s", given.name, os.getpid(), time.perf_counter() - started)


if __name__ == "__main__":
    main()
