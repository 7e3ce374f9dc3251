"""auditing: looks at the log beside the watch, once a second and one look at a time."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from configs.project import Project
from serving.ledger.places import segments_folder
from serving.routes.audit import Audit, Difference, Plans
from serving.routes.local import CaseRoutes, LocalCopy
from serving.routes.readying import stand_back
from serving.routes.retry import Retry

_EVERY_SECONDS = 1.0


class Auditing:
    """Runs the audit of a project's plans."""

    def __init__(self, project: Project, copy: LocalCopy, wake: Callable[[], object]) -> None:
        self._audit = Audit([project.case(case) for case in project.cases], segments_folder(project), copy.version)
        self._wake = wake
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit", initializer=stand_back)
        self._look: Future[list[Difference]] | None = None
        self._next = Retry(_EVERY_SECONDS, _EVERY_SECONDS)

    def audited(self, case: str) -> int:
        """Rows of the case that were scored again since the keeper started."""
        return self._audit.audited.get(case, 0)

    def look(self, routes: Mapping[str, CaseRoutes]) -> list[Difference] | None:
        """What the last look found, if one ended since this was asked. Raises what it raised."""
        if self._look is None:
            if self._next.due:
                self._next.put_off()
                self._look = self._thread.submit(self._audit.look, _plans(routes))
                self._look.add_done_callback(lambda _: self._wake())
            return None
        if not self._look.done():
            return None
        look, self._look = self._look, None
        return look.result()

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)


def _plans(routes: Mapping[str, CaseRoutes]) -> Plans:
    return {
        (case, entry.version): entry
        for case, found in routes.items()
        for entry in found.entries
        if entry.engine == "plan"
    }
