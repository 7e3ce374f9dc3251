"""The OpenAPI 3.1 document of everything the gateway answers, made from the contracts; and its page for people."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from configs.case import Case
from serving.protocols.body import JSON
from serving.protocols.operations import LOOKING, Operation, media, operation, readiness, refusals
from serving.protocols.page import page
from serving.protocols.paths import Paths, Row, mlflow_paths, oip_paths, plain_paths
from serving.protocols.schemas import row_schema

__all__ = ["document", "page"]

_ABOUT = """\
Predictions of the registered models, by three protocols: plain JSON, the Open Inference Protocol v2 and MLflow's
`/invocations`. Each answer says which model version made it, and is in the prediction log before it leaves."""
_TAGS = {
    "plain": "JSON rows in the contract's names and units.",
    "oip": "The Open Inference Protocol v2, with binary tensors.",
    "mlflow": "MLflow's scoring protocol.",
    "gateway": "Health, figures and documents.",
}
_KEYS = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def document(
    cases: Mapping[str, Case],
    examples: Mapping[str, Mapping[str, Any]],
    version: str,
    default_case: str | None = None,
) -> dict[str, Any]:
    """The document of these cases, with `examples`: a real row of each case that has one.

    `/invocations` is that of `default_case`, or of the only case.
    """
    unnamed = next(iter(cases)) if len(cases) == 1 else default_case
    rows = {name: row_schema(case) for name, case in cases.items()}
    paths: Paths = {}
    for name, case in cases.items():
        row = {"$ref": f"#/components/schemas/{name}-row"}
        example = _as_json(examples[name]) if name in examples else None
        paths |= plain_paths(case, row, example)
        paths |= oip_paths(case, example)
        paths |= mlflow_paths(case, row, example, default=name == unnamed)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Evergreen gateway", "version": version, "description": _ABOUT},
        "tags": [{"name": name, "description": words} for name, words in _TAGS.items()],
        # A gateway on loopback may ask for no key: `{}`.
        "security": [{"bearer": []}, {"key": []}, {}],
        "paths": {**paths, **_pages()},
        "components": {
            "schemas": {f"{name}-row": schema for name, schema in rows.items()},
            "responses": refusals(),
            "securitySchemes": _KEYS,
        },
    }


_TEXT = {"type": "string"}


def _as_json(row: Mapping[str, Any]) -> Row:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}


def _pages() -> Paths:
    anything, live = {"type": "object"}, {"type": "object", "required": ["live"]}
    shown = {
        "/v2": _open("oip", "Name, version and extensions of this server.", {JSON: media(anything)}),
        "/v2/health/live": _open("oip", "Whether this process runs.", {JSON: media(live)}),
        "/v2/health/ready": {**readiness("Whether it can answer for every case."), "security": []},
        "/ping": _open("plain", "Whether it can answer; MLflow and SageMaker ask here.", {JSON: {}}),
        "/health": _open("plain", "Whether it can answer.", {JSON: {}}),
        "/version": _open("plain", "The version of MLflow whose protocol is spoken.", {JSON: {}}),
        "/metrics": operation("plain", "Figures for Prometheus.", {"text/plain": media(_TEXT)}, LOOKING),
        "/openapi.json": operation("plain", "This document.", {JSON: media(anything)}, LOOKING),
        "/docs": operation("plain", "This document, for people.", {"text/html": media(_TEXT)}, LOOKING),
    }
    return {path: {"get": {**asking, "tags": ["gateway"]}} for path, asking in shown.items()}


def _open(protocol: str, summary: str, answer: dict[str, Any]) -> Operation:
    """A page that needs no key."""
    return {**operation(protocol, summary, answer, (503,)), "security": []}
