"""What a worker tells of itself: to the other workers, to Prometheus, and to a person who asks who answers."""

import asyncio
import json
import os
import resource
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from configs.project import Project
from serving import exposition
from serving.exposition import Found, Gauge
from serving.inference import Inference
from serving.ledger.places import segments_folder
from serving.loading import Loading
from serving.routes.local import LocalCopy


class Reporter:
    """Puts together the reports of one worker."""

    def __init__(self, worker: str, inference: Inference, loadings: Mapping[str, Loading], project: Project) -> None:
        self._worker = worker
        self._inference = inference
        self._loadings = loadings
        self._copy = LocalCopy.of(project)
        self._folder = project.worker_reports
        self._compactor_status = segments_folder(project) / "status.json"
        self._price = project.place.gateway.price_per_hour
        self._started = time.time()

    async def publish(self) -> None:
        """Leave this worker's report for the others; a disk that takes its time holds up no request."""
        await asyncio.to_thread(exposition.publish, self._folder, self._worker, self._own())

    def prometheus(self) -> bytes:
        """The page of all workers together."""
        found = Found(
            reports=exposition.reports(self._folder, self._own()),
            gauges=[*self._keeper(), *self._compactor()],
            problems=self._inference.metrics.problems,
            price_per_hour=self._price,
        )
        return exposition.render(found)

    def status(self) -> dict[str, Any]:
        """Who answers, and what stands in the way, for a person."""
        return {
            "worker": self._worker,
            "cases": {name: self._case(name) for name in self._inference.desks},
            "log": {"failing": self._inference.ledger.failing, "unlogged": self._inference.ledger.unlogged},
            "keeper": _read(self._copy.status),
            "alarms": _read(self._copy.alarms),
            "compactor": _read(self._compactor_status),
        }

    @property
    def ready(self) -> bool:
        """Whether some case can be answered, none waits for its champion, and answers can be written down."""
        desks = self._inference.desks
        routed = [name for name, loading in self._loadings.items() if loading.routes and loading.routes.champion]
        all_loaded = all(desks[name].served.arms.champion for name in routed)
        return bool(routed) and all_loaded and not self._inference.ledger.refuses

    def _case(self, name: str) -> dict[str, Any]:
        arms = self._inference.desks[name].served.arms
        named = {"champion": arms.champion, "challenger": arms.challenger, "retired": arms.retired}
        told = {role: {"version": arm.version, "engine": arm.engine.kind} for role, arm in named.items() if arm}
        return {**told, "share": arms.share, "shadow": arms.shadow}

    def _own(self) -> dict[str, Any]:
        return {
            "worker": self._worker,
            "pid": os.getpid(),
            "started": self._started,
            "counts": self._inference.metrics.snapshot(),
            "gauges": self._gauges(),
        }

    def _gauges(self) -> list[Gauge]:
        ledger = self._inference.ledger
        used = resource.getrusage(resource.RUSAGE_SELF)
        versions = [
            [name, arm.version, role, arm.engine.kind, 1]
            for name, desk in self._inference.desks.items()
            for role, arm in (("champion", desk.served.arms.champion), ("challenger", desk.served.arms.challenger))
            if arm
        ]
        return [
            ("evergreen_in_flight", "Requests under way.", (), [[self._inference.metrics.in_flight]]),
            ("evergreen_log_lag_seconds", "Age of the oldest answer not yet on disk.", (), [[ledger.sync_lag]]),
            ("evergreen_log_entries", "Entries written since the worker started.", (), [[ledger.appended]]),
            ("evergreen_log_unlogged", "Answers that could not be written down.", (), [[ledger.unlogged]]),
            ("evergreen_log_sync_errors", "Times the disk did not confirm.", (), [[ledger.sync_errors]]),
            ("evergreen_log_failing", "1 while the log cannot be written.", (), [[int(ledger.failing is not None)]]),
            ("evergreen_memory_bytes", "Resident memory of the worker.", (), [[_resident()]]),
            ("evergreen_cpu_seconds", "Processor time of the worker.", (), [[used.ru_utime + used.ru_stime]]),
            ("evergreen_model", "Versions in service.", ("case", "version", "role", "engine"), versions),
            ("evergreen_share", "Of the entities, answered by the challenger.", ("case",), self._shares()),
            ("evergreen_queue_rows", "Rows waiting for a micro-batch.", ("case", "version"), self._queues()),
            ("evergreen_model_age_seconds", "Since the champion's training data ended.", ("case",), self._ages()),
        ]

    def _shares(self) -> list[list[Any]]:
        return [[name, desk.served.arms.share] for name, desk in self._inference.desks.items()]

    def _queues(self) -> list[list[Any]]:
        return [
            [name, arm.version, arm.engine.waiting]
            for name, desk in self._inference.desks.items()
            for arm in desk.served.arms.all
            if not arm.engine.immediate
        ]

    def _ages(self) -> list[list[Any]]:
        champions = {name: loading.routes and loading.routes.champion for name, loading in self._loadings.items()}
        now = datetime.now(UTC)
        return [
            [name, (now - entry.trained_at).total_seconds()]
            for name, entry in champions.items()
            if entry and entry.trained_at
        ]

    def _keeper(self) -> list[Gauge]:
        status, alarms = _read(self._copy.status), _read(self._copy.alarms) or []
        gauges: list[Gauge] = [
            ("evergreen_alarms", "What the keeper could not put right.", (), [[len(alarms)]]),
        ]
        if status:
            beat = datetime.fromisoformat(status["at"]).timestamp()
            reachable = int(bool(status["registry_reachable"]))
            gauges += [
                ("evergreen_keeper_silent_seconds", "Since the keeper's last sign.", (), [[time.time() - beat]]),
                ("evergreen_registry_reachable", "Whether the keeper reaches MLflow.", (), [[reachable]]),
            ]
        return gauges

    def _compactor(self) -> list[Gauge]:
        status = _read(self._compactor_status)
        names = ("backlog_bytes", "backlog_segments", "oldest_segment_seconds", "corrupt_segments")
        return [
            (f"evergreen_log_{name}", "Of the segments of the prediction log.", (), [[status[name]]])
            for name in names
            if status
        ]


def _resident() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - read each second
            return int(file.read().split()[1]) * resource.getpagesize()
    except FileNotFoundError:  # not Linux: the most it ever was
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _read(path: Any) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
