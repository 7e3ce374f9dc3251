"""One write for each answer: uvicorn writes head and body apart, and each write on its own wakes the client."""

import asyncio
from collections.abc import Iterable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

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

    def close(self) -> None:
        """Write what was held, then close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held)


class Connection(HttpToolsProtocol):
    """uvicorn's protocol on such a transport; when the worker ends, it tells its client before it closes."""

    _ending = False
    sending_since: float | None = None
    """Since when (the loop's time) the client sends its request; None when it is whole, or there is none."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(JoinedTransport(transport, self.loop))  # type: ignore[arg-type]
        self.sending_since = self.loop.time()

    def on_message_begin(self) -> None:
        """The first byte of a request was read."""
        super().on_message_begin()
        self.sending_since = self.loop.time()

    def on_headers_complete(self) -> None:
        """The head of a request was read."""
        super().on_headers_complete()
        if self._ending:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """The last byte of a request was read."""
        super().on_message_complete()
        self.sending_since = None

    def shutdown(self) -> None:
        """The worker ends: the answer to the next request says so; a client that sends none is left after a while.

        Closed at once, the connection would break the request that its client is sending this moment.
        """
        self._ending = True
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(_LAST_REQUEST_SECONDS, super().shutdown)
        else:
            super().shutdown()


def close_slow_ones(connections: Iterable[Any], seconds: float, now: float) -> int:
    """Close the connections whose client takes longer than `seconds` to send a request; returns how many.

    One look at all of them now and then costs less than a timer for each request.
    """
    slow = [one for one in connections if one.sending_since is not None and now - one.sending_since > seconds]
    for connection in slow:
        connection.transport.write(_TOO_SLOW)
        connection.transport.close()
    return len(slow)
