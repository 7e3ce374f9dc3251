"""What the loop left for people, as files: the status page, and the pages its marks lead to."""

import re
from pathlib import Path

from configs.project import Project
from serving.errors import NotFound
from serving.records import Reply
from tasks.status.assets import policy

_HTML = b"text/html; charset=utf-8"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.html")
_REPORT_POLICY = (
    b"sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    b"img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Evidently's pages are made of scripts: they run, as if they came from nowhere, and reach nothing."""


class Evidence:
    """Pages of a project that others write, read again when they change."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._policy = f"{policy()}; frame-ancestors 'none'".encode()
        self._seen: tuple[bytes, bytes] | None = None
        """The status page as it was read last: its tag, and its content."""

    def status_page(self) -> Reply:
        """The status page; until there is one, the way to the gateway's paths."""
        path = self._project.status_page
        try:
            stat = path.stat()
            tag = f'"{stat.st_mtime_ns:x}-{stat.st_size:x}-{stat.st_ino:x}"'.encode()
            if self._seen is None or self._seen[0] != tag:
                self._seen = (tag, path.read_bytes())
        except FileNotFoundError:
            return Reply(307, b"", headers=((b"location", b"/docs"), (b"cache-control", b"no-cache")))
        return _page(self._seen[1], self._policy, tag)

    def reports(self, case: str, name: str) -> Reply:
        """A report of the monitors. Raises NotFound."""
        return self._file(self._project.monitoring(case) / "reports", name)

    def validations(self, case: str, name: str) -> Reply:
        """The validation page of a delivery. Raises NotFound."""
        return self._file(self._project.files(case).validation, name)

    def _file(self, folder: Path, name: str) -> Reply:
        path = folder / name
        if not _NAME.fullmatch(name) or not path.is_file():
            raise NotFound(f"There is no page `{name[:80]}` here.")
        return _page(path.read_bytes(), _REPORT_POLICY, None)


def _page(content: bytes, policy: bytes, tag: bytes | None) -> Reply:
    headers = [
        (b"content-security-policy", policy),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cache-control", b"no-cache"),
    ]
    return Reply(200, content, _HTML, (*headers, *([(b"etag", tag)] if tag else [])))
