"""The part of the `evergreen` command that is about the status page."""

from pathlib import Path
from typing import Annotated

import typer

from configs.project import Project


def page(
    output: Annotated[
        Path | None, typer.Option(help="HTML file to write; left out, the one that the gateway shows at `/`.")
    ] = None,
) -> None:
    """Write the status page: who serves and why, the year in one picture, verdicts, incidents, what waits for you."""
    from configs.environment import apply

    project = Project.here()
    apply(project)
    from flows.status_page import draw_now

    typer.echo(f"The status page: {draw_now(project, output)}")


def draw_anew(project: Project) -> None:
    """Draw the page after a command has changed what it tells."""
    from flows.status_page import draw_now

    draw_now(project)


def place_of_page(project: Project) -> str:
    """Where a person opens the page: at the gateway of a running stack, else as a file."""
    from flows.server import running_stack

    stack = running_stack(project)
    return f"{stack.gateway}/" if stack else f"{project.status_page.relative_to(project.root)} (evergreen page)"
