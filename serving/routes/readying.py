"""readying: versions are prepared beside the watch, so that a slow one holds up nobody who is ready."""

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from serving.routes.local import RouteEntry
from serving.routes.prepared import as_pipeline
from serving.routes.retry import Retry
from tasks.adapters.registry import ModelVersion

log = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_NICE = 5
"""Workers that answer come before versions that may answer one day."""

Prepare = Callable[[ModelVersion], RouteEntry]
Key = tuple[str, str, str | None]
"""Case, version, and the model's digest: a number can come to mean another model."""


class Readying:
    """Versions that stand ready, those under way, and those that failed."""

    def __init__(self, prepare: Prepare, cases: int, wake: Callable[[], object]) -> None:
        self._prepare = prepare
        self._wake = wake
        # A champion waits for no other version, and for no champion of another case.
        self._champions = ThreadPoolExecutor(cases, thread_name_prefix="champion", initializer=stand_back)
        self._others = ThreadPoolExecutor(1, thread_name_prefix="other", initializer=stand_back)
        self._ready: dict[Key, RouteEntry] = {}
        self._under_way: dict[Key, tuple[ModelVersion, Future[RouteEntry]]] = {}
        self._failed: dict[Key, Retry] = {}

    def entry(self, version: ModelVersion) -> RouteEntry | None:
        """The version as it stands ready, or None."""
        return self._ready.get(_key(version))

    def begin(self, version: ModelVersion, *, champion: bool) -> None:
        """See to it that the version will stand ready, unless it does, is being seen to, or has just failed."""
        key = _key(version)
        if key in self._ready or (key in self._failed and not self._failed[key].due):
            return
        if key in self._under_way:
            _, future = self._under_way[key]
            if not (champion and future.cancel()):
                return
        pool = self._champions if champion else self._others
        future = pool.submit(self._prepare, version)
        self._under_way[key] = (version, future)
        future.add_done_callback(lambda _: self._wake())

    def finished(self) -> Iterator[tuple[ModelVersion, Exception | None]]:
        """Versions that stand ready since the last call, and those that do not, with why."""
        done = [(key, *pair) for key, pair in self._under_way.items() if pair[1].done()]
        for key, version, future in done:
            del self._under_way[key]
            try:
                self._ready[key] = future.result()
            except Exception as error:  # one version's fault, whatever it is; the caller raises the alarm
                self._failed.setdefault(key, Retry(_FIRST_PAUSE, _LONGEST_PAUSE)).put_off()
                log.debug("a version is not ready", exc_info=error)
                yield version, error
            else:
                self._failed.pop(key, None)
                yield version, None

    def due(self) -> set[str]:
        """Cases with a version whose pause is over."""
        return {key[0] for key, retry in self._failed.items() if retry.due and key not in self._under_way}

    def under_way(self, case: str) -> tuple[str, ...]:
        """Versions of the case that are being prepared."""
        return tuple(version for found, version, _ in self._under_way if found == case)

    def distrust(self, case: str, version: str) -> None:
        """From now on the version answers as the pipeline itself."""
        for key, entry in self._ready.items():
            if key[:2] == (case, version):
                self._ready[key] = as_pipeline(entry)

    def forget(self, case: str, version: str) -> None:
        """The version's folder goes."""
        for key in [key for key in self._ready if key[:2] == (case, version)]:
            del self._ready[key]

    def close(self) -> None:
        for pool in (self._champions, self._others):
            pool.shutdown(wait=False, cancel_futures=True)


def _key(version: ModelVersion) -> Key:
    return version.case, version.version, version.tags.get("model_sha256")


def stand_back() -> None:
    """Let whoever answers users go first."""
    if sys.platform == "linux":  # elsewhere a thread's number is not a process's
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
