"""Ends a process when whoever started this one was killed: `python -m flows.guard PID`.

A starter that ends in order says a word on its standard input.
It waits beside every embedded flow, and imports next to nothing.
"""

import os
import signal
import sys
from contextlib import suppress


def main() -> None:
    """Wait until the standard input ends; it does with the starter, however that ended."""
    if not sys.stdin.buffer.read():
        with suppress(ProcessLookupError):
            os.kill(int(sys.argv[1]), signal.SIGTERM)


if __name__ == "__main__":
    main()
