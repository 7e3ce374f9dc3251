"""The part of the `evergreen` command that lets history happen again, and shows how it goes."""

import hashlib
import logging
import os
import warnings
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.prompt import Confirm
from rich.table import Table
from rich.text import Text

from configs.project import Project
from configs.triage import MonitorName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tasks.replay.steps import Plan
    from tasks.replay.told import Estimate, Happened, Step

_DAYS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M"]
_SHOWN = 30
"""Steps that are on the screen at once; all of them are shown at the end."""
_WIDE = 150
_WEEK_HOURS = 168.0
_MARKS = {"clear": ("·", "green"), "alarm": ("!", "bold red"), "waiting": ("…", "dim"), "unknown": ("?", "yellow")}
_MONITORS = get_args(MonitorName)
_QUIET_ACTIONS = {"none", "wait"}
_BEGINNINGS = {"approving", "rolling back"}
out = Console()


class Approvals(StrEnum):
    """Who says yes."""

    auto = "auto"
    ask = "ask"


class Trainings(StrEnum):
    """Who starts them."""

    triage = "triage"
    weekly = "weekly"


def replay(  # noqa: PLR0913, PLR0917 - what is replayed, and how
    case: Annotated[str, typer.Argument(metavar="CASE", help="A case described in configs/.")],
    start: Annotated[
        datetime | None, typer.Option("--from", help="History is replayed from here, in UTC.", formats=_DAYS)
    ] = None,
    end: Annotated[datetime | None, typer.Option("--to", help="To here.", formats=_DAYS)] = None,
    script: Annotated[
        Path | None,
        typer.Option("--script", help="A YAML file that says from when to when, and what goes wrong, instead."),
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            "--fault", help="KIND[:WHAT][=HOW]@FROM[..TO], or a YAML file; may be given again. See docs/replay.md."
        ),
    ] = None,
    approve: Annotated[Approvals, typer.Option(help="Approve what passed the gate, or ask at this terminal.")] = (
        Approvals.auto
    ),
    train: Annotated[Trainings, typer.Option(help="Trainings that triage starts, or one a week besides.")] = (
        Trainings.triage
    ),
    look: Annotated[
        float, typer.Option("--look", min=1, help="Hours between two looks of the monitors.")
    ] = _WEEK_HOURS,
    in_process: Annotated[
        bool, typer.Option("--in-process", help="Answer in this process, through the same core, without HTTP.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn when faults are planted.")] = 0,
    name: Annotated[str, typer.Option(help="Of the sandbox, data/replays/NAME; left out, made from the rest.")] = "",
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin anew, and forget what this name did before.")] = False,
    lifeline: Annotated[int | None, typer.Option(hidden=True, help="A pipe that ends when its starter does.")] = None,
) -> None:
    """Let recorded history happen again, through gateway, monitors, training and rollout, in a sandbox of its own.

    Stopped at any point and run again, it goes on. Nothing outside the sandbox is touched.
    """
    from configs.environment import apply
    from configs.faults import read_faults
    from configs.replays import Script, read_script
    from serving.lifeline import end_with_parent

    end_with_parent(lifeline)
    project = Project.here()
    project.case(case)
    if script is not None:
        if start or end or fault or seed or train is not Trainings.triage or look != _WEEK_HOURS:
            raise typer.BadParameter("a script says from when to when, and what goes wrong: leave out the rest")
        played = read_script(script)
    elif start is None or end is None:
        raise typer.BadParameter("a replay needs `--from` and `--to`, or a `--script`")
    else:
        played = Script(
            start=start.replace(tzinfo=UTC),
            end=end.replace(tzinfo=UTC),
            faults=read_faults(fault or []),
            train=train.value,
            look_hours=look,
            seed=seed,
        )
    apply(project)
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    from flows.replay import replay as happen
    from tasks.replay.steps import Plan

    plan = Plan(case=case, approve=approve.value, in_process=in_process, **dict(played))
    done: list[Step] = []
    with Live("A first model is trained …", console=out, auto_refresh=False) as live:

        def show(step: "Step") -> None:
            done.append(step)
            live.update(table(plan, done[-_SHOWN:]), refresh=True)

        def ask(of: str, version: str) -> bool:
            live.stop()
            yes = Confirm.ask(f"{of}: may version {version} serve?", console=out)
            live.start()
            return yes

        # What the flows log is in the sandbox; the screen shows how it goes.
        logging.basicConfig(handlers=[logging.NullHandler()])
        warnings.simplefilter("ignore", FutureWarning)  # of the libraries, to their own authors
        steps = happen(
            project,
            plan,
            name or named(plan),
            on_step=show,
            approve=ask if approve is Approvals.ask else None,
            fresh=fresh,
        )
    _conclude(project, plan, steps, name or named(plan))


@contextmanager
def weeks_beside(project: Project, case: str, script: Path) -> "Iterator[Callable[[], None]]":
    """Let the weeks of a script happen in a process of their own meanwhile; what is given shows them, to their end."""
    from flows.replay_beside import Beside

    name = f"first-weeks-of-{case}"
    with Beside(project, case, script, name) as weeks:
        out.print(f"Beside it, weeks of {case} happen in a sandbox; they are shown when this is done.", highlight=False)

        def show() -> None:
            with Live(console=out, auto_refresh=False) as live:
                for plan, steps in weeks.watched():
                    live.update(table(plan, steps[-_SHOWN:]), refresh=True)
                live.update("", refresh=True)
            _conclude(project, *weeks.ended(), name)

        yield show


def _conclude(project: Project, plan: "Plan", steps: "Sequence[Step]", name: str) -> None:
    """The whole table, and where to look."""
    Console(width=max(out.width, _WIDE)).print(table(plan, steps))
    folder = project.root / "data" / "replays" / name
    root = f"EVERGREEN_ROOT={folder.relative_to(project.root)}/clone"
    page = Project(folder / "clone").status_page.relative_to(project.root)
    out.print(
        f"The status page of these weeks: {page}",
        f"All commands work in them, such as `{root} evergreen up` or `{root} evergreen history {plan.case}`.",
        sep="\n",
        highlight=False,
        soft_wrap=True,
    )


def named(plan: "Plan") -> str:
    """A name that only this plan has: the same words again go on with the same replay."""
    digest = hashlib.sha256(plan.model_dump_json().encode()).hexdigest()[:6]
    return f"{plan.case}-{plan.start:%Y%m%d}-{plan.end:%Y%m%d}-{digest}"


def table(plan: "Plan", steps: "Sequence[Step]") -> Table:
    """One line for each step: who served, how good it was, what the monitors said, and what was done."""
    shown = Table(
        box=None,
        header_style="bold",
        title=f"{plan.case}, {plan.start:%Y-%m-%d} to {plan.end:%Y-%m-%d}"
        f"{f', {len(plan.faults)} faults planted' if plan.faults else ''}",
        title_justify="left",
        caption="verdicts: " + " ".join(_MONITORS) + "; · clear, ! alarm, … waiting, ? unknown",
        caption_justify="left",
    )
    for column in ("until", "champion", "rows", "realised", "estimated", "verdicts", "what happened"):
        shown.add_column(column, no_wrap=column != "what happened", justify="right" if column == "rows" else "left")
    for step in steps:
        rows = f"{step.rows:,}" + (f" (-{step.refused:,})" if step.refused else "")
        who = (step.champion or "nobody") + (f" ({step.rollout.partition(' (')[0]})" if step.rollout else "")
        shown.add_row(
            f"{step.at:%Y-%m-%d %a}", who, rows, _figure(step.realised), _figure(step.estimated), _verdicts(step),
            _what(step), style=None if step.looked else "dim",
        )  # fmt: skip
    return shown


def _became(event: "Happened") -> str:
    """`canary 5 % (3 of 7), stopped` at `canary 5 %, stopped`; what is going on needs no word for that."""
    stage, _, place = event.standing.partition(" (")
    standing = place.partition("), ")[2]
    return ", ".join([stage or event.what, *([standing] if standing not in {"", "going"} else [])])


def _figure(figure: "Estimate | None") -> str:
    return f"{figure.metric} {figure.value:.4f}" if figure else ""


def _verdicts(step: "Step") -> Text:
    text = Text()
    for monitor in _MONITORS:
        mark, style = _MARKS.get(step.verdicts.get(monitor, ""), (" ", ""))
        text.append(mark, style=style)
    return text


def _what(step: "Step") -> str:
    """Faults that began, actions, what became of versions, and what failed."""
    told = [f"[magenta]planted: {escape(fault)}[/]" for fault in step.planted]
    told += [f"{one.action}: {one.rule}" for one in step.actions if one.action not in _QUIET_ACTIONS]
    told += ["[bold]candidate turned away[/]"] * bool(step.turned_away)
    told += [f"[bold]{event.version} {_became(event)}[/]" for event in step.events if event.what not in _BEGINNINGS]
    told += [f"{step.kills} kills, {step.lost} answers lost"] if step.kills else []
    told += [f"[red]{escape(failure[:100])}[/]" for failure in step.failures]
    return "; ".join(dict.fromkeys(told))
