"""watch: what workers ask every few milliseconds, for next to nothing: whose routes have changed?"""

import logging
from collections.abc import Sequence
from pathlib import Path

from serving.routes.errors import RoutesUnreadable
from serving.routes.local import CaseRoutes, LocalCopy, Look, changed

log = logging.getLogger(__name__)


class Watch:
    """Looks at the routes of some cases; one `stat` for each."""

    def __init__(self, folder: Path, cases: Sequence[str]) -> None:
        self._copy = LocalCopy(folder)
        self._paths = {case: str(self._copy.routes(case)) for case in cases}
        self._last: dict[str, Look] = {}

    def poll(self) -> list[CaseRoutes]:
        """The routes that changed since they were given last; the first time, all there are."""
        found = []
        for case, path in self._paths.items():
            look = changed(path, self._last.get(case))
            if look is not None and (routes := self._read(case, look)):
                found.append(routes)
        return found

    def _read(self, case: str, look: Look) -> CaseRoutes | None:
        self._last[case] = look
        try:
            return self._copy.read_routes(case)
        except RoutesUnreadable:
            log.exception("%s: its routes cannot be read; whoever answers goes on", case)
            return None
