"""The ASGI application: finds who a request is for, and turns every refusal into HTTP in one place."""

import logging
import time
from collections.abc import Awaitable, Callable
from urllib.parse import unquote

from serving.dialects import MLFLOW, OIP, PLAIN, Dialect, Request
from serving.errors import NotAllowed, NotFound, Refused, TooLarge, Unavailable, WrongMethod
from serving.guard import Guard, Headers, Message, Receive
from serving.inference import Desk, Inference
from serving.pages import Pages
from serving.records import Reply

log = logging.getLogger(__name__)

Send = Callable[[Message], Awaitable[None]]
Target = tuple[Dialect, Desk, str | None]
"""The protocol, the case, and the version the path insists on."""


class Application:
    """Plain ASGI: `/predict/{case}`, the Open Inference Protocol, MLflow's scoring protocol, and the pages."""

    def __init__(self, inference: Inference, pages: Pages, guard: Guard, default_case: str | None) -> None:
        self._inference = inference
        self._metrics = inference.metrics
        self._pages = pages
        self._guard = guard
        self.targets = _prediction_paths(inference, default_case)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        began, received = time.perf_counter(), time.time()
        headers = dict(scope["headers"])
        path = scope["path"]
        target = self.targets.get(path)
        self._metrics.in_flight += 1
        try:
            target = target or self._versioned(path)
            if target is None:  # whoever asks whether it lives, or what it counts, is told under any load
                reply = self._page(scope, headers)
            else:
                self._guard.hold_back(self._metrics.in_flight)
                dialect, desk, version = target
                _must_be(scope, "POST")
                self._guard.admit(scope.get("client"), headers, "predict")
                body = await self._guard.body(receive, headers)
                request = Request(body, headers, scope["query_string"], received, began)
                reply = await self._inference.predict(dialect, desk, request, version)
        except Exception as error:  # noqa: BLE001 - each becomes an answer
            reply = self.refusal(error, path, target)
        finally:
            self._metrics.in_flight -= 1
        self.count(target, reply)
        await _send(send, reply, headers)

    def count(self, target: Target | None, reply: Reply) -> None:
        """Count a request that is answered."""
        case, protocol = (target[1].case.name, target[0].name) if target else ("", "pages")
        self._metrics.requests[case, protocol, str(reply.status)] += 1

    def refusal(self, error: Exception, path: str, target: Target | None) -> Reply:
        """What is said instead of an answer, in the words of the path's protocol."""
        if not isinstance(error, Refused):
            log.error("%s failed", path, exc_info=error)
            return _dialect_of(path).encode_error(Unavailable("Something went wrong here; it was written down."))
        self._metrics.refused[target[1].case.name if target else "", error.code] += 1
        reply = _dialect_of(path).encode_error(error)
        if error.retry_after is not None:
            retry = str(max(1, round(error.retry_after))).encode()
            reply.headers = (*reply.headers, (b"retry-after", retry))
        if isinstance(error, WrongMethod):
            reply.headers = (*reply.headers, (b"allow", error.allowed.encode()))
        if isinstance(error, NotAllowed):
            reply.headers = (*reply.headers, (b"www-authenticate", b"Bearer"))
        if isinstance(error, TooLarge):
            reply.headers = (*reply.headers, (b"connection", b"close"))  # the rest of its body is not read
        return reply

    def _page(self, scope: Message, headers: Headers) -> Reply:
        page = self._pages.find(scope["path"])
        if page is None:
            raise NotFound("There is nothing at this path; /docs lists what there is.")
        _must_be(scope, "GET", "HEAD")
        if page.needs is not None:
            self._guard.admit(scope.get("client"), headers, page.needs)
        return _unless_known(page.render(), headers)

    def _versioned(self, path: str) -> Target | None:
        """The target of a path that names a version or an unknown case; None for pages. Raises NotFound."""
        match unquote(path).split("/"):
            case ["", "v2", "models", name, "versions", version, "infer"]:
                return OIP, self._desk(name), version
            case ["", "v2", "models", name, "infer"]:
                return OIP, self._desk(name), None
            case ["", "predict", name]:
                return PLAIN, self._desk(name), None
            case ["", name, "invocations"]:
                return MLFLOW, self._desk(name), None
            case ["", "invocations"]:
                raise NotFound("`/invocations` names no case: use `/CASE/invocations`, or set `gateway.default_case`.")
        return None

    def _desk(self, name: str) -> Desk:
        desk = self._inference.desks.get(name)
        if desk is None:
            raise NotFound(f"There is no case `{name[:50]}`; there are: {', '.join(self._inference.desks)}.")
        return desk


def _prediction_paths(inference: Inference, default_case: str | None) -> dict[str, Target]:
    """The paths that need no taking apart: what almost every request asks for."""
    found: dict[str, Target] = {}
    for name, desk in inference.desks.items():
        found[f"/predict/{name}"] = (PLAIN, desk, None)
        found[f"/v2/models/{name}/infer"] = (OIP, desk, None)
        found[f"/{name}/invocations"] = (MLFLOW, desk, None)
    only = next(iter(inference.desks)) if len(inference.desks) == 1 else default_case
    if only is not None:
        found["/invocations"] = (MLFLOW, inference.desks[only], None)
    return found


def _dialect_of(path: str) -> Dialect:
    """The protocol whose clients ask for such a path, to word an error for them."""
    if path.startswith("/v2"):
        return OIP
    return MLFLOW if path.endswith("/invocations") else PLAIN


def _unless_known(reply: Reply, headers: Headers) -> Reply:
    """The reply; without its body where the client has that already."""
    tag = dict(reply.headers).get(b"etag")
    known = headers.get(b"if-none-match", b"")
    if tag is None or (known != b"*" and tag not in [each.strip().removeprefix(b"W/") for each in known.split(b",")]):
        return reply
    return Reply(304, b"", reply.content_type, reply.headers)


def head_of(reply: Reply, headers: Headers) -> list[tuple[bytes, bytes]]:
    """The headers of an answer to a request that had `headers`."""
    head = [(b"content-type", reply.content_type), *reply.headers]
    if reply.status != 304:  # its length would be that of the page the client has
        head.append((b"content-length", b"%d" % len(reply.body)))
    if b"traceparent" in headers:
        head.append((b"traceparent", headers[b"traceparent"]))
    return head


async def _send(send: Send, reply: Reply, headers: Headers) -> None:
    await send({"type": "http.response.start", "status": reply.status, "headers": head_of(reply, headers)})
    await send({"type": "http.response.body", "body": reply.body})


def _must_be(scope: Message, *methods: str) -> None:
    if scope["method"] not in methods:
        raise WrongMethod(", ".join(methods))
