"""The short way: a small request for a prediction is answered in the turn of the event loop in which it came.

Without a task and messages of its own for each, and with one write of the log for all of a turn, a request costs half.
Where the disk is to confirm the log first, the answers of a turn wait for that together, behind those of earlier turns.
Everything else goes the long way, through the application: pages, large bodies, queries, and models that need time.
"""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

from serving.app import Application, Target, head_of
from serving.dialects import Request
from serving.guard import Client, Guard, Headers
from serving.inference import Inference, Prepared
from serving.records import Reply

MOST_BYTES = 65_536
"""Of a body. A larger one is worth the care of the long way: its client is made to wait while it is sent."""
_STATUS: dict[int, bytes] = {
    status: f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode() for status in HTTPStatus
}


class Asker(Protocol):
    """A connection that waits for its answer."""

    client: Client

    def answer(self, head: Sequence[bytes], body: bytes, *, last: bool) -> None: ...


class _Waiting(NamedTuple):
    asker: Asker
    path: str
    target: Target
    headers: Headers
    found: Prepared | Reply


class Lane:
    """The short way of one worker."""

    def __init__(self, application: Application, inference: Inference, guard: Guard) -> None:
        self._application = application
        self._inference = inference
        self._guard = guard
        self._metrics = inference.metrics
        self._most_bytes = min(MOST_BYTES, guard.most_bytes)
        self._paths = {path.encode(): (path, target) for path, target in application.targets.items()}
        self._turn: list[_Waiting] = []
        self._confirming: asyncio.Task[None] | None = None
        """The last turn whose answers wait, or waited, for the disk."""

    def takes(self, url: bytes, headers: Headers) -> bool:
        """Whether a POST to this address goes the short way."""
        found = self._paths.get(url)
        length = headers.get(b"content-length", b"")
        return (
            found is not None
            and found[1][1].served.arms.immediate
            and length.isdigit()
            and int(length) <= self._most_bytes
        )

    def take(self, asker: Asker, url: bytes, request: Request) -> None:
        """Prepare the answer; it leaves with all others of this turn."""
        path, target = self._paths[url]
        dialect, desk, version = target
        self._metrics.in_flight += 1
        try:
            self._guard.hold_back(self._metrics.in_flight)
            self._guard.admit(asker.client, request.headers, "predict")
            found = _at_once(self._inference.prepare(dialect, desk, request, version))
        except Exception as error:  # noqa: BLE001 - each becomes an answer
            found = self._application.refusal(error, path, target)
        if not self._turn:
            asyncio.get_running_loop().call_soon(self._end_turn)
        self._turn.append(_Waiting(asker, path, target, request.headers, found))

    def _end_turn(self) -> None:
        turn, self._turn = self._turn, []
        prepared = [waiting.found for waiting in turn if isinstance(waiting.found, Prepared)]
        if self._inference.ledger.waits_for_disk:
            confirming = self._confirm(turn, prepared, self._confirming)
            self._confirming = asyncio.get_running_loop().create_task(confirming)
        else:
            self._answer(turn, self._write_down(prepared))

    def _write_down(self, all_prepared: Sequence[Prepared]) -> Exception | None:
        """Why none of these may leave, or None."""
        try:
            if all_prepared:
                self._inference.write_down(all_prepared)
        except Exception as error:  # noqa: BLE001 - each becomes an answer
            return error
        return None

    async def _confirm(
        self, turn: Sequence[_Waiting], all_prepared: Sequence[Prepared], before: asyncio.Task[None] | None
    ) -> None:
        unwritten = None
        try:
            if all_prepared:
                await self._inference.confirm(all_prepared)
        except Exception as error:  # noqa: BLE001 - each becomes an answer
            unwritten = error
        if before and not before.done():  # a client gets its answers in the order of its requests
            await asyncio.wait([before])
        self._answer(turn, unwritten)

    def _answer(self, turn: Sequence[_Waiting], unwritten: Exception | None) -> None:
        self._metrics.in_flight -= len(turn)
        for asker, path, target, headers, found in turn:
            if isinstance(found, Reply):
                reply = found
            elif unwritten:
                reply = self._application.refusal(unwritten, path, target)
            else:
                reply = found.reply
            self._application.count(target, reply)
            _send(asker, reply, headers)


def _at_once(answering: Coroutine[Any, Any, Prepared | Reply]) -> Prepared | Reply:
    """What a coroutine gives that waits for nothing."""
    try:
        answering.send(None)
    except StopIteration as ended:
        found: Prepared | Reply = ended.value
        return found
    answering.close()
    raise RuntimeError("A model that answers at once would wait.")


def _send(asker: Asker, reply: Reply, headers: Mapping[bytes, bytes]) -> None:
    words = [_STATUS[reply.status]]
    last = False
    for name, value in head_of(reply, headers):
        words += (name, b": ", value, b"\r\n")
        last = last or (name, value) == (b"connection", b"close")
    asker.answer(words, reply.body, last=last)
