"""The status page, drawn anew whenever a flow or a command has changed what it tells; knows nothing of Prefect."""

from pathlib import Path
from urllib.parse import urlsplit

from configs.project import Project
from flows.clock import now
from flows.server import running_stack
from tasks.status.story import Addresses
from tasks.status.write import write_page


def redraw(flow: object, flow_run: object, state: object) -> None:  # noqa: ARG001 - what Prefect passes
    """Draw the page; Prefect calls it when a run ends, however it does.

    A page that cannot be drawn is an error in the log of the run, which ends as it would have.
    """
    draw_now(Project.here())


def draw_now(project: Project, output: Path | None = None) -> Path:
    """Write the page, with links to the servers that run for this project; returns the file. Raises DiskFull."""
    return write_page(project, _addresses(project), now(), output)


def _addresses(project: Project) -> Addresses:
    stack, place = running_stack(project), project.place
    prefect = stack.prefect_ui if stack else (place.prefect.api_url or "").removesuffix("/api")
    own = place.stores.mlflow if place.stores.mlflow.startswith("http") else None
    mlflow = own or (stack.mlflow_ui if stack else None)
    return Addresses(prefect=_open(prefect), mlflow=_open(mlflow))


def _open(address: str | None) -> str | None:
    """An address without the password that may be in it."""
    if not address:
        return None
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
