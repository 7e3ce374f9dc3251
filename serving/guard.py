"""The gateway's limits: who may ask how often, and how much a request may hold and take."""

import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from configs.serving import GatewayLimits
from serving.access import Door, Pace, Scope
from serving.errors import BadRequest, TooLarge, Unavailable

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Headers = Mapping[bytes, bytes]
Client = tuple[str, int] | None
"""Address and port."""


class Guard:
    """Holds the gateway's limits, in one worker."""

    def __init__(self, door: Door, limits: GatewayLimits) -> None:
        self.door = door
        self._limits = limits
        self._pace = Pace(limits.requests_per_second)
        self.most_bytes = int(limits.body_mb * 1024 * 1024)

    def hold_back(self, in_flight: int) -> None:
        """Raises Unavailable when more requests are under way than a worker should hold."""
        if in_flight > self._limits.in_flight:
            raise Unavailable(f"More than {self._limits.in_flight} requests are under way; try again in a moment.")

    def admit(self, client: Client, headers: Headers, needed: Scope) -> None:
        """Raises NotAllowed, OutOfScope or TooMany."""
        name = self.door.let_in(headers, needed)
        if self._pace.per_second is not None:
            self._pace.take(name or (client[0] if client else "unknown"), time.monotonic())

    async def body(self, receive: Receive, headers: Headers) -> bytes:
        """The whole body. Raises TooLarge; a client that takes too long is disconnected (`serving.connection`)."""
        announced = headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self.most_bytes:
            raise self._too_large()
        message = await receive()
        body: bytes = message.get("body", b"")
        return await self._rest(body, receive) if message.get("more_body") else body

    async def _rest(self, first: bytes, receive: Receive) -> bytes:
        parts, size, more = [first], len(first), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise BadRequest("The client went away before its request was whole.")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self.most_bytes:
                raise self._too_large()
            more = message.get("more_body", False)
        return b"".join(parts)

    def _too_large(self) -> TooLarge:
        return TooLarge(f"The body is larger than {self._limits.body_mb:g} MiB; send fewer rows at once.")
