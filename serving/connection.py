"""A connection: uvicorn's own, with one write for each answer, and a short way for what is asked most.

uvicorn writes head and body apart, and each write on its own wakes the client.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.dialects import Request
from serving.guard import Client
from serving.lane import Lane

KEEP_ALIVE_SECONDS = 75
_HEAD = b"HTTP/1."
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_LAST_REQUEST_SECONDS = 1.0
"""Within which a busy client sends its next request."""


class JoinedTransport:
    """A transport that holds the head of an answer until its body comes, or the loop turns."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write what was held and `data` at once; a head alone waits."""
        if self._held:
            data, self._held = self._held + data, b""
        elif data.startswith(_HEAD):
            self._held = data
            self._loop.call_soon(self._flush)  # an answer to HEAD has no body
            return
        self._transport.write(data)

    def write_whole(self, data: bytes) -> None:
        """Write what was held, then an answer with head and body."""
        self._flush()
        self._transport.write(data)

    def close(self) -> None:
        """Write what was held, then close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held)


@dataclass(slots=True)
class _Short:
    """A request on the short way."""

    headers: dict[bytes, bytes]
    body: bytes = b""
    received: float = field(default_factory=time.time)
    began: float = field(default_factory=time.perf_counter)


class _Unanswered:
    """Stands where uvicorn looks for the request before while the short way owes an answer: the next one waits."""

    response_complete = False


class Connection(HttpToolsProtocol):
    """uvicorn's protocol on such a transport; when the worker ends, it tells its client before it closes."""

    transport: JoinedTransport  # type: ignore[assignment]
    client: Client
    sending_since: float | None = None
    """Since when (the loop's time) the client sends its request; None when it is whole, or there is none."""
    idle_since: float | None = None
    """Since when it waits for a request after one that went the short way; None while uvicorn's own timer runs."""
    _ending = False
    _short: _Short | None = None
    """The request that is being read, if it goes the short way."""
    _unanswered = 0
    """Requests that went the short way and have no answer yet."""

    def __init__(self, lane: Lane, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._lane = lane

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(JoinedTransport(transport, self.loop))  # type: ignore[arg-type]
        self.sending_since = self.loop.time()

    def on_message_begin(self) -> None:
        """The first byte of a request was read."""
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self.sending_since = self.loop.time()
        self.idle_since = None

    def on_headers_complete(self) -> None:
        """The head of a request was read."""
        headers = dict(self.headers)
        if self._lane.takes(self.url, headers) and self._is_plain_post():
            self._short = _Short(headers)
            return
        read = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()  # makes what only the long way needs, and forgets what was read
        self.url, self.headers, self.expect_100_continue = read
        self.scope["headers"] = self.headers
        if self._unanswered and (self.cycle is None or self.cycle.response_complete):
            self.cycle = _Unanswered()  # type: ignore[assignment]
        super().on_headers_complete()
        if self._ending:
            self.cycle.keep_alive = False

    def _is_plain_post(self) -> bool:
        """Whether nothing has to be minded but the body, and no earlier request of this client is under way."""
        parser = self.parser
        return (
            parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
            and not self.expect_100_continue
            and (self.cycle is None or self.cycle.response_complete)
            and not self.flow.write_paused
        )

    def on_body(self, body: bytes) -> None:
        """More of a request was read."""
        if self._short is None:
            super().on_body(body)
        else:
            self._short.body += body

    def on_message_complete(self) -> None:
        """The last byte of a request was read."""
        short, self._short = self._short, None
        if short is None:
            super().on_message_complete()
            self.sending_since = None
            return
        self.sending_since, self.idle_since = None, self.sending_since
        self._unanswered += 1
        self._lane.take(self, self.url, Request(short.body, short.headers, b"", short.received, short.began))

    def answer(self, head: Sequence[bytes], body: bytes, *, last: bool) -> None:
        """Send the answer to a request that went the short way."""
        self._unanswered -= 1
        if self.transport.is_closing():
            return
        always = [word for name, value in self.server_state.default_headers for word in (name, b": ", value, b"\r\n")]
        told = b"connection: close\r\n" if self._ending and not last else b""
        self.transport.write_whole(b"".join((*head, *always, told, b"\r\n", body)))
        if last or self._ending:
            self.transport.close()
        elif self.pipeline and not self._unanswered:
            self.on_response_complete()

    def shutdown(self) -> None:
        """The worker ends: the answer to the next request says so; a client that sends none is left after a while.

        Closed at once, the connection would break the request that its client is sending this moment.
        """
        self._ending = True
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(_LAST_REQUEST_SECONDS, self._leave)
        else:
            super().shutdown()

    def _leave(self) -> None:
        if self._short is None and not self._unanswered:  # else there is an answer to come, which will be the last
            super().shutdown()


def close_idle_ones(connections: Iterable[Any], now: float) -> None:
    """Close the connections whose client has asked for nothing in a while."""
    for connection in connections:
        if connection.idle_since is not None and now - connection.idle_since > KEEP_ALIVE_SECONDS:
            connection.transport.close()


def close_slow_ones(connections: Iterable[Any], seconds: float, now: float) -> int:
    """Close the connections whose client takes longer than `seconds` to send a request; returns how many.

    One look at all of them now and then costs less than a timer for each request.
    """
    slow = [one for one in connections if one.sending_since is not None and now - one.sending_since > seconds]
    for connection in slow:
        connection.transport.write(_TOO_SLOW)
        connection.transport.close()
    return len(slow)
