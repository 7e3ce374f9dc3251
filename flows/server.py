"""Whether a Prefect server is there for this clone; knows nothing of Prefect, because it decides how that is set up."""

import os
import urllib.request
from contextlib import suppress
from pathlib import Path

from configs.frozen import Frozen
from configs.project import Project
from tasks.errors import StoreUnreachable


class Stack(Frozen):
    """What `evergreen up` is running, as it wrote it down."""

    pid: int
    """The process that stops it all; an address without it belongs to somebody else."""
    prefect_api: str
    prefect_ui: str
    mlflow_ui: str
    gateway: str


def stack_file(project: Project) -> Path:
    """Where a running stack notes its addresses."""
    return project.stores / "up.json"


def running_stack(project: Project) -> Stack | None:
    """The stack `evergreen up` runs for this clone, if it is alive."""
    path = stack_file(project)
    if not path.is_file():
        return None
    stack = Stack.model_validate_json(path.read_text(encoding="utf-8"))
    return stack if _alive(stack.pid) and healthy(stack.prefect_api) else None


def connect(project: Project) -> bool:
    """Use the place's Prefect server, or the one of a running stack; says whether there is one.

    Must come before Prefect is imported. Raises StoreUnreachable if the place names a server that does not answer.
    """
    configured = project.place.prefect.api_url
    if configured:
        if not healthy(configured):
            raise StoreUnreachable(
                "The Prefect server", configured, "no answer to /health", "Start it, or check PREFECT_API_URL."
            )
        return True
    stack = running_stack(project)
    if stack:
        os.environ["PREFECT_API_URL"] = stack.prefect_api
    return stack is not None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's, who has the number since
    return True


def healthy(api: str, path: str = "/health") -> bool:
    """Whether a server answers at this address."""
    with suppress(OSError), urllib.request.urlopen(f"{api}{path}", timeout=5) as answer:  # noqa: S310 - an address of ours
        return bool(answer.status == 200)
    return False
