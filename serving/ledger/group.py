"""Group commit: those who wait for the disk share its confirmations."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

Waiter = asyncio.Future[None]


class GroupCommit:
    """Runs one sync after another for as long as somebody waits; each covers all who began to wait before it began."""

    def __init__(self, sync: Callable[[], None]) -> None:
        self._sync = sync
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger-commit")
        self._waiting: list[Waiter] = []
        self._busy = False
        self._closed = False

    async def wait(self) -> None:
        """Return when a sync has ended that began after this call. Raises what the sync raised."""
        loop = asyncio.get_running_loop()
        waiter: Waiter = loop.create_future()
        self._waiting.append(waiter)
        if not self._busy:
            self._busy = True
            loop.call_soon(self._begin_round, loop)  # those who come in the same turn of the loop share the round
        await waiter

    def _begin_round(self, loop: asyncio.AbstractEventLoop) -> None:
        covered, self._waiting = self._waiting, []
        if self._closed:
            _release(covered, None)
            return
        ended = loop.run_in_executor(self._thread, self._sync)
        ended.add_done_callback(lambda ended: self._end_round(loop, covered, ended))

    def _end_round(self, loop: asyncio.AbstractEventLoop, covered: list[Waiter], ended: asyncio.Future[None]) -> None:
        _release(covered, ended.exception())
        self._busy = bool(self._waiting)
        if self._busy:
            loop.call_soon(self._begin_round, loop)

    def close(self) -> None:
        """Begin no more rounds; who waits is let go, for all was synced before this."""
        self._closed = True
        self._thread.shutdown()


def _release(covered: list[Waiter], error: BaseException | None) -> None:
    for waiter in covered:
        if waiter.done():  # cancelled: its entry is in the log, and nobody waits for it any more
            continue
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)
