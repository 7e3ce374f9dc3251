"""asking: what the registry says, in a thread of its own, so that a server that hangs holds nobody up."""

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from configs.project import Project
from serving.routes.pulse import pulse_of
from serving.routes.retry import Retry
from serving.routes.status import Alarms
from tasks.adapters.addresses import absolute
from tasks.adapters.registry import ModelVersion, Registry, Standing
from tasks.errors import StoreUnreachable

_PATIENCE_SECONDS = 0.05
"""How long a look waits for an answer; one that takes longer is taken by a later look."""
_LONGEST_PAUSE = 5.0
_TOPIC = "registry"
_ADDRESSES = re.compile(r" object at 0x[0-9a-f]+")


@dataclass(frozen=True)
class Known:
    """What the registry said about one case."""

    standing: Standing
    versions: Mapping[str, ModelVersion]
    """Those that hold an alias, by number."""


Answer = dict[str, Known | None]
"""By case; None for one the registry knows no model of."""


class Asking:
    """Follows the registry of a project."""

    def __init__(self, project: Project, cases: Sequence[str], alarms: Alarms) -> None:
        self.reachable = False
        self._project = project
        self._cases = cases
        self._alarms = alarms
        gateway = project.place.gateway
        self._pulse = pulse_of(absolute(project, project.place.stores.mlflow), gateway.registry_poll_seconds)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="registry")
        self._question: Future[Answer] | None = None
        self._retry = Retry(gateway.registry_poll_seconds, _LONGEST_PAUSE)
        self._due = True
        self._registry: Registry | None = None
        self._versions: dict[str, dict[str, ModelVersion]] = {}

    @property
    def registry(self) -> Registry:
        """The registry, after it has answered once."""
        assert self._registry
        return self._registry

    def look(self) -> Answer | None:
        """What the registry says, if it may be something new; None if not, or if it cannot be reached."""
        try:
            self._due |= self._pulse.changed()
        except StoreUnreachable as error:
            self._lost(error)
            return None
        if self._question is None and self._due and self._retry.due:
            self._due = False
            self._question = self._thread.submit(self._ask)
        return self._answer() if self._question else None

    def forget(self, version: ModelVersion) -> None:
        """Ask about the version anew: something is wrong with what is known of it."""
        self._versions.get(version.case, {}).pop(version.version, None)
        self._due = True

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _answer(self) -> Answer | None:
        assert self._question
        wait([self._question], _PATIENCE_SECONDS)
        if not self._question.done():
            return None
        question, self._question = self._question, None
        try:
            answer = question.result()
        except Exception as error:  # noqa: BLE001 - whatever MLflow raises, who answers goes on and a person is told
            self._retry.put_off()
            self._lost(error)
            return None
        self.reachable = True
        self._retry = Retry(self._project.place.gateway.registry_poll_seconds, _LONGEST_PAUSE)
        self._alarms.turn_off(_TOPIC)
        return answer

    def _lost(self, error: Exception) -> None:
        self.reachable = False
        self._due = True
        # What comes back may be another registry, with other models under the same numbers.
        self._versions = {}
        said = _ADDRESSES.sub("", str(error))  # that differ each time, as if it were told for the first time
        self._alarms.turn_on(_TOPIC, f"Who answers goes on answering, and nothing new is learnt. {said}", fault=error)

    def _ask(self) -> Answer:
        if self._registry is None:
            self._registry = Registry(self._project)
        return {case: self._known(self._registry, case) for case in self._cases}

    def _known(self, registry: Registry, case: str) -> Known | None:
        standing = registry.standing(case)
        if standing is None:
            return None
        held = {version for version in (standing.champion, standing.challenger, standing.retired) if version}
        known = self._versions.setdefault(case, {})
        if held - set(known):
            known.update({entry.version: entry for entry in registry.versions(case)})
        return Known(standing, {version: entry for version in held if (entry := known.get(version))})
