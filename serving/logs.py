"""Structured logs: one JSON object a line on standard error, with the request's id where there is one."""

import logging
import sys
import time
from contextvars import ContextVar

import orjson

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The request that is being answered; each runs in the context of its task, or of its connection."""


class JsonLines(logging.Formatter):
    """`{"at": …, "level": …, "process": …, "message": …, "request_id": …}`."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback goes into a field of its own."""
        told = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := REQUEST_ID.get():
            told["request_id"] = request_id
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(told).decode()


def log_as(process: str) -> None:
    """Log warnings of everything, and what Evergreen itself decides, as the process named."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(process))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in ("serving", "tasks"):
        logging.getLogger(name).setLevel(logging.INFO)
