"""retry: when something that failed is tried again, later each time."""

import time


class Retry:
    """Pauses between tries, each twice the one before."""

    def __init__(self, first: float, longest: float) -> None:
        self._pause = first
        self._longest = longest
        self._at = 0.0

    @property
    def due(self) -> bool:
        """Whether the pause is over."""
        return time.monotonic() >= self._at

    def put_off(self) -> None:
        """It failed once more."""
        self._at = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, self._longest)
