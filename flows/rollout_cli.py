"""The part of the `evergreen` command that is about rollouts."""

import getpass
import logging
import os
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from configs.project import Project
from flows.clock import now
from flows.embedded import embedded

if TYPE_CHECKING:
    from rich.table import Table

    from tasks.records import Rollout
    from tasks.rollout.carry import Wish


def rollout(  # noqa: PLR0913, PLR0917 - what one may want of a rollout
    case: Annotated[str, typer.Argument(metavar="CASE", help="A case described in configs/.")] = "flights",
    pause: Annotated[bool, typer.Option("--pause", help="Stay in this stage until somebody says otherwise.")] = False,
    go_on: Annotated[bool, typer.Option("--go-on", help="End a pause, or say yes where the rollout asks.")] = False,
    skip: Annotated[bool, typer.Option("--skip", help="Enter the next stage now.")] = False,
    abort: Annotated[bool, typer.Option("--abort", help="Take the challenger away from users.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Look again and again, until it ends or asks.")] = False,
    by: Annotated[str, typer.Option("--by", help="Who decides; kept in the history.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the history.")] = "",
) -> None:
    """Carry a rollout on from the state that was decided last, as far as the evidence goes; or step in."""
    from configs.environment import apply

    project = Project.here()
    apply(project)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("tasks").setLevel(logging.INFO)
    project.case(case)
    given: dict[Wish, bool] = {"pause": pause, "go on": go_on, "skip": skip, "abort": abort}
    wishes = [wish for wish, asked in given.items() if asked]
    if len(wishes) > 1:
        raise typer.BadParameter(f"one wish at a time, not {' and '.join(wishes)}")
    if wishes:
        typer.echo(told(case, _control(project, case, wishes[0], by or getpass.getuser(), reason)))
        tell_people(project, case)
        return
    from flows import server

    if server.connect(project):
        carry_on_server(case)
        return
    # It may wait for days: that a step is tried again, because a store is away, is said by Prefect alone.
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "INFO")
    with embedded():
        from flows.rollout import rollout as carry_here

        typer.echo(f"{case}: {carry_here(case=case, follow=follow)}")
    typer.echo(told(case, _standing(project, case)))


def carry_on_server(case: str) -> None:
    """Start the rollout's run on the server that is connected to."""
    from flows.runs import start_run

    typer.echo(f"{case}: carried on by run {start_run(f'rollout/{case}', {'case': case})} on the server")


def tell_people(project: Project, case: str) -> None:
    """Of a version that was taken back: an incident, and the place's channels where a server runs.

    Without one, the next run of the monitors or of a rollout tells them.
    """
    from flows import server

    if server.connect(project):
        from flows.notifying import tell

        tell(case)
        return
    from tasks.rollout.alert import alert

    alert(project, case, now())


def told(case: str, state: "Rollout | None") -> str:
    """Where the rollout stands, and what it waits for."""
    if state is None:
        return f"{case}: nothing has rolled out yet"
    lines = [f"{case}: version {state.version}: {state}"]
    lines += [f"  {'waits' if r.inconclusive else 'failed'}: {r.rule}: {r.text}" for r in state.reasons if not r.passed]
    return "\n".join(lines)


def shares(project: Project, case: str) -> "Table":
    """Which version answered what share from when to when, who decided it, and why."""
    from rich.table import Table

    from tasks.adapters.history import History
    from tasks.rollout.shares import served

    table = Table("from (UTC)", "to", "who answered", "decided by", "why", box=None, header_style="bold")
    for entry in served(History(project).events(case)):
        until = f"{entry.end:%Y-%m-%d %H:%M:%S}" if entry.end else "now"
        table.add_row(f"{entry.start:%Y-%m-%d %H:%M:%S}", until, str(entry), entry.by, entry.reason)
    return table


def _control(project: Project, case: str, wish: "Wish", by: str, reason: str) -> "Rollout | None":
    from flows import server
    from tasks.promotion.decide import Why
    from tasks.rollout.carry import control

    why = Why(by, reason, now())
    if wish != "pause" and server.connect(project) and (run := _asking_run(project, case)):
        from flows.runs import answer_run, follow_run

        answer_run(run, {"wish": wish, "reviewer": by, "reason": reason})
        follow_run(run, typer.echo)
        return _standing(project, case)
    return control(project, case, wish, why)


def _asking_run(project: Project, case: str) -> UUID | None:
    """The run on the server that is suspended until somebody says how the rollout goes on."""
    from flows.rollout_question import ASKING_RUN
    from flows.runs import waits_for_answer
    from tasks.adapters.registry import Registry

    state = _standing(project, case)
    version = Registry(project).version(case, state.version) if state and not state.over else None
    run = UUID(version.tags[ASKING_RUN]) if version and ASKING_RUN in version.tags else None
    return run if run and waits_for_answer(run) else None


def _standing(project: Project, case: str) -> "Rollout | None":
    from tasks.promotion.decide import Desk

    return Desk(project, case).rollout()
