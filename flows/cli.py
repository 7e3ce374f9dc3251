"""The `evergreen` command."""

import getpass
import logging
import os
import signal
import sys
import warnings
from contextlib import nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer
from rich.console import Console
from rich.logging import RichHandler

from configs.environment import apply
from configs.errors import EvergreenError
from configs.project import Project
from flows import backtest_cli, gateway_cli, monitor_cli, replay_cli, rollout_cli, status_cli
from flows.clock import not_ahead, now
from flows.embedded import embedded

if TYPE_CHECKING:
    from tasks.records import Registered

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Keeps a machine-learning model good after launch: validate, train, judge, approve, roll back, rebuild.",
)
app.command(epilog="Example: `evergreen serve --workers 4`")(gateway_cli.serve)
app.command(epilog="Example: `evergreen score flights tomorrow.parquet --output answers.parquet`")(gateway_cli.score)
app.add_typer(gateway_cli.keys, name="keys")
app.command(epilog="Example: `evergreen drift flights --as-of 2013-08-19`")(monitor_cli.drift)
app.command(epilog="Example: `evergreen truth flights --as-of 2013-08-19`")(monitor_cli.truth)
app.command(epilog="Example: `evergreen verdicts flights --all`")(monitor_cli.verdicts)
app.command(epilog='Example: `evergreen unblock flights --by ada --reason "new unit, meant so"`')(monitor_cli.unblock)
app.add_typer(monitor_cli.incidents, name="incidents")
app.command(epilog="Example: `evergreen backtest flights --from 2013-04-01`")(backtest_cli.backtest)
app.command(epilog="Example: `evergreen replay flights --from 2013-04-01 --to 2013-05-06`")(replay_cli.replay)
app.command(epilog='Example: `evergreen rollout flights --pause --by ada --reason "the holidays first"`')(
    rollout_cli.rollout
)
app.command(epilog="Example: `evergreen page --output status.html`")(status_cli.page)
_BESIDE = 5
"""Niceness of what is done beside weeks: they take longer, and go first where there are more processes than cores."""
out = Console()
err = Console(stderr=True)

CaseArgument = Annotated[str, typer.Argument(metavar="CASE", help="A case described in configs/.")]
CaseOption = Annotated[str, typer.Option("--case", "-c", metavar="CASE", help="A case described in configs/.")]
VersionArgument = Annotated[str, typer.Argument(metavar="VERSION", help="A registered version, as `status` shows it.")]
By = Annotated[str, typer.Option("--by", help="Who decides; kept with the version and in the history.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept with the version and in the history.")]
AsOf = Annotated[
    datetime | None,
    typer.Option("--as-of", help="The moment the run pretends it is, in UTC.", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"]),
]


@app.command(epilog="Example: `evergreen run flights`")
def run(
    case: CaseArgument = "flights",
    weeks: Annotated[
        Path | None,
        typer.Option("--weeks", help="Replay the weeks of this script beside it, and show them at the end."),
    ] = None,
) -> None:
    """The whole loop once: a first model if there is none, then a candidate that is judged against it."""
    with replay_cli.weeks_beside(Project.here(), case, weeks) if weeks else nullcontext() as show_weeks:
        if show_weeks:
            os.nice(_BESIDE)
        _run_once(_ready(), case)
        if show_weeks:
            show_weeks()


def _run_once(project: Project, case: str) -> None:
    from tasks.adapters.dvc import kept_ready

    described = project.case(case)
    with embedded(), kept_ready(project):
        from flows.summary import run_summary, where_to_look
        from tasks.adapters.registry import Registry

        if Registry(project).holder(case, "champion") is None and described.source.kind == "recorded":
            earlier = described.source.as_of - _until_the_next(project, case)
            out.rule(f"{case}: a first model, as of {earlier:%Y-%m-%d}", align="left")
            out.print(run_summary(project, _train_here(case, earlier, "first model")))
        out.rule(f"{case}: a candidate for it to be judged against", align="left")
        registered = _train_here(case, None, "by hand")
    out.print(run_summary(project, registered), where_to_look(project, registered))


@app.command(epilog='Example: `evergreen train flights --as-of 2013-08-19 --trigger "holiday weekend"`')
def train(
    case: CaseArgument = "flights",
    as_of: AsOf = None,
    trigger: Annotated[str, typer.Option(help="Why now; shown with the run.")] = "by hand",
) -> None:
    """Run the training flow: on the server if one is up, else here."""
    project = _ready()
    from flows import server
    from flows.summary import run_summary, status_panel, where_to_look

    project.case(case)
    moment = not_ahead(as_of) if as_of else None
    if not server.connect(project):
        with embedded():
            registered = _train_here(case, moment, trigger)
        out.print(run_summary(project, registered), where_to_look(project, registered))
        return
    from flows import runs

    parameters = {"case": case, "trigger": trigger} | ({"as_of": moment.isoformat()} if moment else {})
    run_id = runs.start_run(f"training/{case}", parameters)
    url = _run_url(run_id)
    out.print(f"Started on the server: {url}")
    state = runs.follow_run(run_id, out.print)
    out.print(status_panel(project, case, url if state == "Suspended" else None))
    if state in {"Failed", "Crashed", "Cancelled"}:
        raise typer.Exit(1)


@app.command(epilog="Example: `evergreen status`")
def status(
    case: Annotated[str | None, typer.Argument(metavar="[CASE]", help="One case; all if left out.")] = None,
) -> None:
    """Who serves, who waits for approval, and what is in quarantine."""
    project = _ready()
    from flows.summary import status_panel
    from tasks.promotion.decide import expire

    if case:
        project.case(case)
    for name in [case] if case else project.cases:
        expire(project, name, now())
        out.print(status_panel(project, name, None))
    out.print(f"The status page: {status_cli.place_of_page(project)}", highlight=False)


@app.command(epilog="Example: `evergreen history flights --verify`")
def history(
    case: CaseArgument = "flights",
    verify: Annotated[bool, typer.Option("--verify", help="Check that no entry was changed or removed.")] = False,
) -> None:
    """Which version answered what share from when to when, and everything that happened: when, who, why."""
    project = _ready()
    from rich.table import Table

    from tasks.adapters.history import History

    project.case(case)
    book = History(project)
    table = Table("when (UTC)", "what", "version", "by", "why", box=None, header_style="bold")
    for event in book.events(case):
        before = f" (before: {event.before})" if event.before else ""
        table.add_row(f"{event.at:%Y-%m-%d %H:%M:%S}", event.what, event.version + before, event.by, event.reason)
    out.print(table, "", rollout_cli.shares(project, case))
    if verify:
        out.print(f"{book.verify(case)} entries, each sealed with the one before: nothing was changed.")


@app.command(epilog='Example: `evergreen approve 2 --by ada --reason "better in every airport"`')
def approve(
    version: VersionArgument,
    reason: Reason,
    by: By = "",
    case: CaseOption = "flights",
    share: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of traffic to start with; left out, the case's own.")
    ] = None,
) -> None:
    """Let a version that passed the gate serve; what the form in the Prefect UI does."""
    _decide(case, version, {"approve": "yes", "reviewer": by or getpass.getuser(), "reason": reason, "share": share})


@app.command(epilog='Example: `evergreen reject 2 --by ada --reason "the carrier changes its fleet on Monday"`')
def reject(version: VersionArgument, reason: Reason, by: By = "", case: CaseOption = "flights") -> None:
    """Turn a version down; the champion stays."""
    _decide(case, version, {"approve": "no", "reviewer": by or getpass.getuser(), "reason": reason, "share": 0.0})


@app.command(epilog='Example: `evergreen rollback 3 --by ada --reason "complaints from JFK"`')
def rollback(version: VersionArgument, reason: Reason, by: By = "", case: CaseOption = "flights") -> None:
    """Take a version away from users: a challenger that is rolling out, or the champion, for the one before it."""
    project = _ready()
    from flows.summary import print_version
    from tasks.promotion.decide import Why, roll_back

    project.case(case)
    print_version(out, roll_back(project, case, version, Why(by or getpass.getuser(), reason, now())))
    status_cli.draw_anew(project)
    rollout_cli.tell_people(project, case)


@app.command(epilog='Example: `evergreen traffic flights --challenger 0.1 --by ada --reason "a first look"`')
def traffic(
    case: CaseArgument = "flights",
    challenger: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of the entities that the challenger answers.")
    ] = None,
    shadow: Annotated[
        bool | None,
        typer.Option("--shadow/--no-shadow", help="The challenger scores the others too, for the log only."),
    ] = None,
    by: By = "",
    reason: Reason = "",
) -> None:
    """Who answers now; with an option, let the challenger answer a share of the traffic, or shadow it."""
    project = _ready()
    from tasks.adapters.registry import Registry
    from tasks.promotion.decide import Why
    from tasks.promotion.traffic import set_traffic

    project.case(case)
    registry = Registry(project)
    if challenger is not None or shadow is not None:
        why = Why(by or getpass.getuser(), reason, now())
        before, holder = registry.traffic(case), registry.holder(case, "challenger")
        share = before.share if challenger is None else challenger
        shadowed = before.shadow if shadow is None else float(shadow)
        set_traffic(project, case, holder.version if holder else None, share=share, shadow=shadowed, why=why)
    out.print(f"{case}: {registry.standing(case) or 'no model is registered'}", highlight=False)


@app.command(epilog="Example: `evergreen reproduce 2`")
def reproduce(version: VersionArgument, case: CaseOption = "flights") -> None:
    """Rebuild a version from its code, data, parameters and locked libraries, and compare it bit for bit."""
    project = _ready()
    from tasks.promotion.reproduce import reproduce as rebuild

    project.case(case)
    result = rebuild(project, case, version)
    out.print(str(result))
    if not result.identical:
        raise typer.Exit(1)


@app.command(epilog="Example: `evergreen redeliver 2013-W20`")
def redeliver(
    period: Annotated[str, typer.Argument(help="A period until the newest delivery, such as 2013-W20.")],
    case: CaseOption = "flights",
) -> None:
    """Take one period from the source again, mended there, or late; a delivery it replaces is kept."""
    project = _ready()
    from tasks.ingestion.ingest import redeliver as take_again

    project.case(case)
    out.print(f"{case}: delivered {take_again(project, case, period)}; the next training run uses it.")


@app.command(epilog="Example: `evergreen up`")
def up() -> None:
    """Start Prefect's server and worker, MLflow's UI and the gateway on this machine; Ctrl-C stops them all."""
    project = _ready()
    from flows.stack import running

    for number in (signal.SIGINT, signal.SIGTERM):  # set here, they are not ignored in what is started below either
        signal.signal(number, _interrupt)
    with running(project) as stack:
        status_cli.draw_anew(project)  # with links to what has just started
        out.print("\n[bold green]Evergreen is up.[/]")
        out.print(f"  flows and approvals   {stack.prefect_ui}")
        out.print(f"  models and evidence   {stack.mlflow_ui}")
        out.print(f"  the status page       {stack.gateway}/")
        out.print(f"  predictions           {stack.gateway}/docs")
        out.print("  in another terminal   evergreen train flights")
        out.print("  Ctrl-C stops everything.\n")
        _wait_for_interrupt()
        out.print("Stopping.")


def _ready() -> Project:
    project = Project.here()
    apply(project)
    warnings.simplefilter("ignore", FutureWarning)  # of the libraries, to their own authors
    handler = RichHandler(console=err, show_path=False, show_level=False, omit_repeated_times=True)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", datefmt="%H:%M:%S", handlers=[handler])
    for name in ("tasks", "flows"):
        logging.getLogger(name).setLevel(logging.INFO)
    return project


def _until_the_next(project: Project, case: str) -> timedelta:
    """How long after a first model a second one can be judged against it, having learned from more than the first."""
    from tasks.ingestion.batches import period_end, period_start

    every, params = project.case(case).batch_every, project.params(case)
    start = end = period_start(every, now())
    for _ in range(params.window.evaluate_batches * (2 if params.gate.refit else 1)):
        end = period_end(every, end)
    return end - start


def _train_here(case: str, as_of: datetime | None, trigger: str) -> "Registered":
    from flows.training import training

    return training(case=case, as_of=as_of, trigger=trigger)


def _decide(case: str, version: str, answer: dict[str, Any]) -> None:
    project = _ready()
    from flows import server
    from flows.summary import print_version
    from tasks.adapters.registry import Registry
    from tasks.promotion.decide import Why, decide
    from tasks.records import Approval

    project.case(case)
    why = Why(answer["reviewer"], answer["reason"], now())
    if answer["share"] is None:
        answer["share"] = project.params(case).approval.starting_share
    found = Registry(project).version(case, version)
    waiting = found.tags.get("flow_run_id") if found else None
    if waiting and server.connect(project) and _answered_by_run(UUID(waiting), answer):
        left = Registry(project).version(case, version)
        out.print(f"{case}: version {version} is {left.status if left else 'gone'}")
        if not left or left.status not in ({"champion", "rolling out"} if answer["approve"] == "yes" else {"rejected"}):
            raise typer.Exit(1)  # the run refused the answer; its page says why
        return
    approval = Approval(
        case=case,
        version=version,
        approve=answer["approve"] == "yes",
        by=why.by,
        reason=why.reason,
        share=answer["share"],
        channel="cli",
        at=why.at,
    )
    decided = decide(project, approval)
    status_cli.draw_anew(project)
    print_version(out, decided)
    if decided.status == "rolling out":
        if server.connect(project):
            rollout_cli.carry_on_server(case)
        else:
            out.print(
                f"`evergreen rollout {case}` carries it on, stage by stage, while `evergreen serve` answers users."
            )


def _answered_by_run(run_id: UUID, answer: dict[str, Any]) -> bool:
    """Give the answer to the run that waits for it, if it still does, and see it through."""
    from flows import runs

    if not runs.waits_for_answer(run_id):
        return False
    runs.answer_run(run_id, answer)
    runs.follow_run(run_id, out.print)
    return True


def _run_url(run_id: UUID) -> str:
    return f"{os.environ['PREFECT_API_URL'].removesuffix('/api')}/runs/flow-run/{run_id}"


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _wait_for_interrupt() -> None:
    try:
        signal.pause()
    except KeyboardInterrupt:
        return


def main() -> None:
    """Run the command; a failure meant for people is printed without a traceback."""
    try:
        app()
    except EvergreenError as error:
        err.print(f"[bold red]{type(error).__name__}[/]: {error}", highlight=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
