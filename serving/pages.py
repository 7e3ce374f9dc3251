"""Everything that is asked for with GET: health, what is served, the documents, and the figures."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version as installed
from typing import Any
from urllib.parse import unquote

import orjson

from serving.access import Scope
from serving.errors import NotFound, Unavailable
from serving.evidence import Evidence
from serving.inference import Desk, Inference
from serving.protocols import mlflow, oip, openapi
from serving.records import Reply
from serving.report import Reporter

_PROMETHEUS = b"text/plain; version=1.0.0; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Page:
    """What a path shows, and the scope a key needs for it (None: open to all, as health checks are)."""

    render: Callable[[], Reply]
    needs: Scope | None = None


class Pages:
    """The pages of one worker."""

    def __init__(self, inference: Inference, reporter: Reporter, evidence: Evidence, default_case: str | None) -> None:
        self._inference = inference
        self._evidence = evidence
        self._default_case = default_case
        self._made: tuple[frozenset[str], dict[str, Any]] | None = None
        self._reporter = reporter
        self._pages = {
            "/v2/health/live": Page(lambda: _json({"live": True})),
            "/v2/health/ready": Page(self._ready),
            "/ping": Page(self._ping),
            "/health": Page(self._ping),
            "/version": Page(mlflow.version),
            "/v2": Page(lambda: oip.server_metadata(installed("evergreen"))),
            "/metrics": Page(lambda: Reply(200, reporter.prometheus(), _PROMETHEUS), "admin"),
            "/status": Page(lambda: _json(reporter.status()), "admin"),
            "/openapi.json": Page(lambda: _json(self._document()), "predict"),
            "/docs": Page(self._docs, "predict"),
            "/": Page(evidence.status_page, "admin"),
        }

    def find(self, path: str) -> Page | None:
        """The page at a path, or None. Raises NotFound for a case or version that is not served."""
        return self._pages.get(path) or self._model_page(unquote(path).split("/"))

    def _model_page(self, parts: list[str]) -> Page | None:
        match parts:
            case ["", "v2", "models", name, *rest]:
                return self._metadata_or_readiness(name, rest)
            case ["", name, "ping"]:
                return Page(lambda: self._model_ready(name, None))
            case ["", "monitoring", name, "reports", file] | ["", name, "validation", file] if file.endswith(".html"):
                folder = self._evidence.reports if parts[1] == "monitoring" else self._evidence.validations
                return Page(lambda: folder(self._desk(name).case.name, file), "admin")
        return None

    def _metadata_or_readiness(self, name: str, rest: list[str]) -> Page | None:
        match rest:
            case [] | ["versions", _]:
                return Page(lambda: self._model(name, rest[-1] if rest else None), "predict")
            case ["ready"] | ["versions", _, "ready"]:
                return Page(lambda: self._model_ready(name, rest[1] if len(rest) > 1 else None))
        return None

    def _document(self) -> dict[str, Any]:
        """The document, made anew when a case has got a real row to show."""
        shown = {name: desk.example for name, desk in self._inference.desks.items() if desk.example}
        if self._made is None or self._made[0] != shown.keys():
            cases = {name: desk.case for name, desk in self._inference.desks.items()}
            made = openapi.document(cases, shown, installed("evergreen"), self._default_case)
            self._made = (frozenset(shown), made)
        return self._made[1]

    def _docs(self) -> Reply:
        return Reply(200, openapi.page(self._document()).encode(), b"text/html; charset=utf-8")

    def _ready(self) -> Reply:
        return _json({"ready": True}) if self._reporter.ready else _json({"ready": False}, 503)

    def _ping(self) -> Reply:
        if not self._reporter.ready:
            raise Unavailable("No model is ready yet.")
        return mlflow.ping()

    def _model(self, name: str, version: str | None) -> Reply:
        desk = self._desk(name)
        return oip.model_metadata(desk.case, self._versions(desk, version))

    def _model_ready(self, name: str, version: str | None) -> Reply:
        desk = self._desk(name)
        # A challenger without a champion answers nobody.
        ready = bool(self._versions(desk, version)) and desk.served.arms.champion is not None
        return _json({"name": name, "ready": ready}, 200 if ready else 503)

    def _versions(self, desk: Desk, wanted: str | None) -> list[str]:
        arms = desk.served.arms
        found = [arm.version for arm in (arms.champion, arms.challenger) if arm]
        if wanted is not None and wanted not in found:
            raise NotFound(f"Version {wanted[:20]} is not in service; these are: {', '.join(found) or 'none'}.")
        return found

    def _desk(self, name: str) -> Desk:
        desk = self._inference.desks.get(name)
        if desk is None:
            raise NotFound(f"There is no case `{name[:50]}`; there are: {', '.join(self._inference.desks)}.")
        return desk


def _json(value: Any, status: int = 200) -> Reply:
    return Reply(status, orjson.dumps(value))
