"""The protocols as the application uses them: each reads a whole request, and words answers and errors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from configs.case import Case
from serving.errors import Refused
from serving.protocols import mlflow, oip, plain
from serving.records import Asked, Outcome, Reply


class Request(NamedTuple):
    """One HTTP request, its body whole."""

    body: bytes
    headers: dict[bytes, bytes]
    query: bytes
    received: float
    """Seconds since 1970, when its head was read."""
    began: float
    """The same moment on a steady clock."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """A protocol: how its requests are read, and its answers and errors worded."""

    name: str
    read: Callable[..., Asked]
    encode: Callable[[Asked, Outcome, Case], Reply]
    encode_error: Callable[[Refused], Reply]

    def decode(self, request: Request, case: Case, max_rows: int) -> Asked:
        """What the client asks for. Raises Refused."""
        content_type = request.headers.get(b"content-type", b"").decode("latin-1")
        return self.read(request.body, content_type, request.headers, case, max_rows=max_rows, query=request.query)


def _dialect(name: str, module: Any) -> Dialect:
    return Dialect(name, module.decode, module.encode, module.encode_error)


PLAIN = _dialect("plain", plain)
OIP = _dialect("oip", oip)
MLFLOW = _dialect("mlflow", mlflow)
