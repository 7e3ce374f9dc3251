"""The part of the `evergreen` command that is about the monitors, what they found, and what was done about it."""

import getpass
import logging
import os
import warnings
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from configs.project import Project
from flows.clock import in_utc, not_ahead
from flows.embedded import embedded

if TYPE_CHECKING:
    from tasks.triage.incident import Incident
    from tasks.verdicts import Verdict

incidents = typer.Typer(
    invoke_without_command=True,
    help="What needs somebody's attention, and who takes care of it.",
    epilog="Example: `evergreen incidents`, `evergreen incidents ack 3 --by ada`",
)
CaseArgument = Annotated[str, typer.Argument(metavar="CASE", help="A case described in configs/.")]
AsOf = Annotated[
    datetime | None,
    typer.Option("--as-of", help="The moment the run pretends it is, in UTC.", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"]),
]
By = Annotated[str, typer.Option("--by", help="Your name; kept with the incident.")]


def drift(case: CaseArgument = "flights", as_of: AsOf = None) -> None:
    """Watch the inputs, scores and answers of a window now, and do what the verdicts ask for."""
    _run("drift", case, as_of)


def truth(case: CaseArgument = "flights", as_of: AsOf = None) -> None:
    """Take the labels that came in, judge the champion by them, and do what the verdicts ask for."""
    _run("ground_truth", case, as_of)


def verdicts(
    case: CaseArgument = "flights",
    as_of: AsOf = None,
    all_: Annotated[bool, typer.Option("--all", help="Every verdict, not only the newest of each monitor.")] = False,
) -> None:
    """What each monitor says now: its answer, why, and the error rate it holds."""
    project = _ready(case)
    from tasks.adapters.journal import Journal

    journal, moment = Journal(project), in_utc(as_of) if as_of else None
    if all_:
        said = journal.verdicts(case, moment)
    else:
        said = list(journal.standing(case, moment or datetime.max.replace(tzinfo=UTC)).values())
    _show(said)
    for acted in journal.actions(case, until=moment)[:1]:
        typer.echo(f"\n{acted.triaged.as_of:%Y-%m-%d %H:%M}Z  {acted.triaged.action}: {acted.triaged.rule}")
        for reason in acted.triaged.reasons:
            typer.echo(f"  - {reason}")
        if acted.run:
            typer.echo(f"  run {acted.run}")


@incidents.callback()
def list_incidents(
    context: typer.Context,
    case: Annotated[str | None, typer.Option("--case", "-c", metavar="CASE", help="One case; all if left out.")] = None,
    closed: Annotated[bool, typer.Option("--closed", help="Those that are over, too.")] = False,
) -> None:
    """What is open: since when, why, what was done, and who was not told."""
    if context.invoked_subcommand:
        return
    project = _ready(case)
    from tasks.adapters.incidents import Incidents

    book = Incidents(project)
    found = book.all(case, only_open=not closed)
    if not found:
        typer.echo("No incident is open.")
    for incident in found:
        typer.echo(_incident_line(incident))
        typer.echo(f"    {'; '.join(incident.reasons)}")
        for alert in book.alerts(unsent=True):
            if alert.incident == incident.id and alert.tries:
                typer.echo(f"    not told: {alert.channel} ({alert.tries} tries; {alert.error})")


@incidents.command(epilog="Example: `evergreen incidents ack 3 --by ada`")
def ack(number: Annotated[int, typer.Argument(metavar="ID", help="An open incident.")], by: By = "") -> None:
    """Say that you take care of an incident."""
    project = _ready(None)
    from tasks.triage.block import acknowledge

    typer.echo(_incident_line(acknowledge(project, number, by or getpass.getuser())))


@incidents.command(
    epilog='Example: `evergreen incidents close 3 --by ada --reason "the next candidate is in training"`'
)
def close(
    number: Annotated[int, typer.Argument(metavar="ID", help="An open incident about a rollout.")],
    reason: Annotated[str, typer.Option("--reason", help="Why nobody is needed any more; kept with the incident.")],
    by: By = "",
) -> None:
    """Close an incident about a version that was taken back; the others close when their verdict clears."""
    project = _ready(None)
    from flows.clock import now
    from tasks.triage.block import close as close_incident

    typer.echo(_incident_line(close_incident(project, number, by or getpass.getuser(), reason, now())))


def unblock(
    case: CaseArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why training may go on; kept with the incident.")],
    by: By = "",
) -> None:
    """Let a case be trained again although the verdict that blocked it has not cleared."""
    project = _ready(case)
    from tasks.triage.block import unblock as lift

    for incident in lift(project, case, by or getpass.getuser(), reason):
        typer.echo(_incident_line(incident))


def _run(flow: str, case: str, as_of: datetime | None) -> None:
    project = _ready(case)
    from flows import server

    moment = not_ahead(as_of) if as_of else None
    try:
        if server.connect(project):
            _run_there(flow, case, moment)
        else:
            _run_here(flow, case, moment)
    finally:
        verdicts(case)  # what was found is shown, whatever failed


def _run_there(flow: str, case: str, moment: datetime | None) -> None:
    from flows import runs

    run_id = runs.start_run(f"{flow}/{case}", {"case": case} | ({"as_of": moment.isoformat()} if moment else {}))
    typer.echo(f"Started on the server: {os.environ['PREFECT_API_URL'].removesuffix('/api')}/runs/flow-run/{run_id}")
    if runs.follow_run(run_id, typer.echo) != "Completed":
        raise typer.Exit(1)


def _run_here(flow: str, case: str, moment: datetime | None) -> None:
    with embedded():
        if flow == "drift":
            from flows.drift import drift as run
        else:
            from flows.ground_truth import ground_truth as run
        run(case=case, as_of=moment)


def _ready(case: str | None) -> Project:
    from configs.environment import apply

    project = Project.here()
    if case:
        project.case(case)
    apply(project)
    warnings.simplefilter("ignore", FutureWarning)  # of the libraries, to their own authors
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for name in ("tasks", "flows"):
        logging.getLogger(name).setLevel(logging.INFO)
    return project


def _show(said: "list[Verdict]") -> None:
    if not said:
        typer.echo("No monitor has said anything yet; `evergreen drift` and `evergreen truth` ask them.")
    for verdict in said:
        rate = f", holding {100 * verdict.error_rate:g} % false alarms" if verdict.error_rate is not None else ""
        about = f"version {verdict.version}" if verdict.version else "no champion"
        window = f"{verdict.start:%Y-%m-%d %H:%M} to {verdict.end:%Y-%m-%d %H:%M}"
        typer.echo(f"{verdict.answer:<8} {verdict.monitor:<10} {window}, {about}, {verdict.rows:,} rows{rate}")
        typer.echo(f"    {verdict.text}")


def _incident_line(incident: "Incident") -> str:
    state = f"closed {incident.closed_at:%Y-%m-%d %H:%M}Z" if incident.closed_at else "open"
    taken = f", taken by {incident.acknowledged_by}" if incident.acknowledged_by else ""
    blocks = ", blocks training" if incident.blocks else ""
    return (
        f"{incident.id:>4}  {incident.case}  {incident.cause}  {incident.action} ({incident.rule}), {state} since "
        f"{incident.opened_at:%Y-%m-%d %H:%M}Z, {incident.alarms} alarms{blocks}{taken}"
    )
