"""keeper: the one process that follows the registry and brings what it says into the local copy."""

import gc
import logging
import os
import shutil
import threading
import time
from datetime import UTC, datetime
from typing import Any

from configs.errors import EvergreenError
from configs.project import Project
from serving.routes.asking import Asking, Known
from serving.routes.auditing import Auditing
from serving.routes.compose import compose, still_answering, without_plan
from serving.routes.errors import RoutesUnreadable
from serving.routes.local import CaseRoutes, LocalCopy, RouteEntry
from serving.routes.prepare import MakeEngine, Preparation, sweep
from serving.routes.prepared import Distrusted, read_distrusted
from serving.routes.readying import Readying
from serving.routes.retry import Retry
from serving.routes.status import Alarms, CaseStatus, KeeperStatus, put
from tasks.adapters.registry import ModelVersion

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.02
_BEAT_SECONDS = 1.0
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_KEPT_WITHOUT_ROLE = 3
"""Versions that left their roles are kept, the highest numbers first: a rollback may want one."""


class Keeper:
    """Brings each change of the registry into the local copy; the caller holds the copy's lock."""

    def __init__(self, project: Project, make_engine: MakeEngine) -> None:
        self._cases = project.cases
        self._copy = LocalCopy.of(project)
        self._wake = threading.Event()
        self.alarms = Alarms(self._copy.alarms, _now)
        self._asking = Asking(project, self._cases, self.alarms)
        self._preparation = Preparation(project, self._copy, make_engine)
        self._readying = Readying(self._ready, len(self._cases), self._wake.set)
        self._known: dict[str, Known] = {}
        self._routes = {case: self._read(case) for case in self._cases}
        self._unwritten: dict[str, Retry] = {}
        self._auditing = Auditing(project, self._copy, self._wake.set)
        self._next_beat = 0.0
        for case in self._cases:
            sweep(self._copy, case)

    def run(self, stop: threading.Event) -> None:
        """Follow the registry until `stop` is set."""
        gc.collect()
        gc.freeze()  # a full collection over MLflow and scikit-learn would hold up a swap for a fifth of a second
        while not stop.is_set():
            self.turn()
            self._wake.wait(_LOOK_SECONDS)
            self._wake.clear()
        self.close()

    def close(self) -> None:
        """Let go of the threads; what they are at is thrown away."""
        for beside in (self._asking, self._readying, self._auditing):
            beside.close()

    def turn(self) -> None:
        """Take what is new, and bring it into the routes."""
        new = self._learn() | self._take_finished() | self._readying.due()
        new |= {case for case, retry in self._unwritten.items() if retry.due}
        for case in new & set(self._known):
            self._settle(case)
        self._take_audited()
        if time.monotonic() >= self._next_beat:
            self._beat()

    def _learn(self) -> set[str]:
        """Cases the registry says something new about."""
        answer = self._asking.look()
        if answer is None:
            return set()
        for case, known in answer.items():
            self._tell_missing(case, known)
        found = {case: known for case, known in answer.items() if known and known != self._known.get(case)}
        self._known |= found
        return set(found)

    def _tell_missing(self, case: str, known: Known | None) -> None:
        """A registry without the model of a case that is served is a wrong one sooner than an order to stop."""
        routes = self._routes[case]
        if known:
            self.alarms.turn_off("model", case)
        elif routes and routes.champion:
            self.alarms.turn_on(
                "model",
                f"The registry knows no model `{case}` any more; version {routes.champion.version} goes on answering. "
                "Check `stores.mlflow` of this place, or restore the registry from a backup.",
                case,
            )

    def _take_finished(self) -> set[str]:
        """Cases of which a version stands ready, or does not."""
        found = set()
        for version, error in self._readying.finished():
            found.add(version.case)
            if error is None:
                self.alarms.turn_off("version", version.case, version.version)
                continue
            self._asking.forget(version)
            what = f"Version {version.version} of `{version.case}` is not taken into service: {error}"
            self.alarms.turn_on("version", what, version.case, version.version, fault=error)
        return found

    def _take_audited(self) -> None:
        """Where a plan gave another answer than its pipeline, the pipeline answers from now on."""
        try:
            found = self._auditing.look({case: routes for case, routes in self._routes.items() if routes})
        except Exception as error:  # noqa: BLE001 - an audit that cannot be made is told; who answers goes on
            self.alarms.turn_on("audit", f"The answers of plans are not audited: {error}", fault=error)
            return
        for case, version, what in found or ():
            Distrusted(what=what, at=_now()).write_in(self._copy.version(case, version))
            self._readying.distrust(case, version)
            self._alarm_of(case, version)
            if routes := self._routes[case]:
                self._write(case, without_plan(routes, version))
        if found is not None:
            self.alarms.turn_off("audit")

    def _alarm_of(self, case: str, version: str) -> None:
        if distrusted := read_distrusted(self._copy.version(case, version)):
            what = (
                f"Version {version} of `{case}` answers as the pipeline itself, because its plan answered otherwise: "
                f"{distrusted.what}. Its folder in the local copy holds the plan."
            )
            self.alarms.turn_on("plan", what, case, version)

    def _settle(self, case: str) -> None:
        """Have ready what has a role, and write who answers now if that changed."""
        known, before = self._known[case], self._routes[case]
        self._tell(case, known)
        for version in _by_role(known):
            self._readying.begin(version, champion=version.version == known.standing.champion)
        under_way = self._readying.under_way(case)
        proving = {v.version: v.tags.get("model_sha256") for v in _by_role(known) if v.version in under_way}
        proven = {v.version: entry for v in _by_role(known) if (entry := self._readying.entry(v))}
        ready = still_answering(known.standing, proving, before) | proven
        fields = compose(known.standing, ready, before)
        if ready if before is None else any(getattr(before, name) != value for name, value in fields.items()):
            self._write(case, fields)
        self._tidy(case, set(known.versions))

    def _tell(self, case: str, known: Known) -> None:
        if known.standing.problem:
            self.alarms.turn_on("traffic", f"The challenger gets no traffic: {known.standing.problem}", case)
        else:
            self.alarms.turn_off("traffic", case)
        for version in known.versions:
            self._alarm_of(case, version)
        for topic in ("version", "plan"):
            for about, number in self.alarms.topics(topic):
                if about == case and number not in known.versions:
                    self.alarms.turn_off(topic, case, number)

    def _write(self, case: str, fields: dict[str, Any]) -> None:
        before = self._routes[case]
        routes = CaseRoutes(generation=before.generation + 1 if before else 1, written_at=_now(), **fields)
        try:
            self._copy.write_routes(routes)
        except (EvergreenError, OSError) as error:
            self._unwritten.setdefault(case, Retry(_FIRST_PAUSE, _LONGEST_PAUSE)).put_off()
            self.alarms.turn_on("routes", f"The routes of `{case}` could not be written: {error}", case)
            return
        self._routes[case] = routes
        self._unwritten.pop(case, None)
        self.alarms.turn_off("routes", case)
        nobody = before and before.champion and not routes.champion
        log.log(logging.WARNING if nobody else logging.INFO, "%s: %s", case, _worded(routes))

    def _tidy(self, case: str, wanted: set[str]) -> None:
        """Remove versions that left their roles, but for the last few."""
        routes = self._routes[case]
        kept = wanted | {entry.version for entry in (routes.entries if routes else ())}
        kept |= set(self._readying.under_way(case))
        found = {path.name for path in self._copy.case(case).glob("*/") if path.name.isdigit()}
        for version in sorted(found - kept, key=int)[:-_KEPT_WITHOUT_ROLE]:
            self._readying.forget(case, version)
            shutil.rmtree(self._copy.version(case, version))
            log.info("%s: version %s has had no role for long and was removed here", case, version)

    def _read(self, case: str) -> CaseRoutes | None:
        try:
            return self._copy.read_routes(case)
        except RoutesUnreadable as error:
            log.warning("%s", error)
            return None

    def _ready(self, version: ModelVersion) -> RouteEntry:
        return self._preparation.ready(self._asking.registry, version)

    def _beat(self) -> None:
        self._next_beat = time.monotonic() + _BEAT_SECONDS
        now = _now()
        status = KeeperStatus(
            at=now,
            pid=os.getpid(),
            registry_reachable=self._asking.reachable,
            alarms=len(self.alarms),
            cases={
                case: CaseStatus(
                    generation=routes.generation,
                    seconds_since_change=(now - routes.written_at).total_seconds(),
                    preparing=self._readying.under_way(case),
                    audited=self._auditing.audited(case),
                )
                for case, routes in self._routes.items()
                if routes
            },
        )
        try:
            put(self._copy.status, status.model_dump_json(indent=2) + "\n")
        except OSError:
            log.exception("the sign of life cannot be written")
            self._next_beat += _LONGEST_PAUSE


def _by_role(known: Known) -> list[ModelVersion]:
    """Versions with a role, those first that users wait for."""
    standing = known.standing
    order = dict.fromkeys((standing.champion, standing.challenger, standing.retired))
    return [known.versions[version] for version in order if version and version in known.versions]


def _worded(routes: CaseRoutes) -> str:
    named = {"champion": routes.champion, "challenger": routes.challenger, "retired": routes.retired}
    who = ", ".join(f"{role} {entry.version} ({entry.engine})" for role, entry in named.items() if entry)
    shadow = f", shadowing {routes.shadow:g}" if routes.shadow else ""
    return f"generation {routes.generation}: {who or 'nobody'}; challenger's share {routes.share:g}{shadow}"


def _now() -> datetime:
    return datetime.now(UTC)
