"""The part of the `evergreen` command that looks back: what would another policy have done?"""

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from configs.project import Project
from flows.clock import in_utc, now

if TYPE_CHECKING:
    from rich.table import Table

    from configs.policies import BackTestParams
    from tasks.backtest.result import BackTest, PolicyResult

_DAYS = ["%Y-%m-%d"]
_DEFAULT = Path("configs/backtests/default.yaml")
_WIDE = 120
out = Console()


def backtest(
    case: Annotated[str, typer.Argument(metavar="CASE", help="A case described in configs/.")] = "flights",
    policies: Annotated[Path | None, typer.Option(help=f"A file of policies; {_DEFAULT} if left out.")] = None,
    start: Annotated[datetime | None, typer.Option("--from", help="The first week begins here.", formats=_DAYS)] = None,
    end: Annotated[datetime | None, typer.Option("--to", help="The last week ended by here.", formats=_DAYS)] = None,
    write_best: Annotated[
        bool, typer.Option("--write-best", help="Write the cheapest policy's table into the case's YAML.")
    ] = False,
) -> None:
    """What each policy of retraining would have done over the case's history, and what it would have cost."""
    from configs.environment import apply
    from configs.policies import read_policies
    from flows.parallel import parallel_map
    from tasks.backtest.backtest import Asked, backtest_folder
    from tasks.backtest.backtest import backtest as look_back

    project = Project.here()
    apply(project)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("tasks").setLevel(logging.INFO)
    described = project.case(case)
    params = read_policies(policies or project.root / _DEFAULT)
    recorded = described.source.kind == "recorded"
    as_of = datetime.max.replace(tzinfo=UTC) if recorded else now()
    asked = Asked(params, as_of, in_utc(start) if start else None, in_utc(end) if end else None)
    with parallel_map(project.place.monitoring) as parallel:
        found = look_back(project, case, asked, parallel=parallel)
    folder = backtest_folder(project, case)
    Console(width=max(out.width, _WIDE)).print(table(found))
    out.print(f"Cheapest: [bold]{found.best.policy}[/]. Every week: {folder}/backtest.json; as a picture: "
              f"{folder}/backtest.png", highlight=False, soft_wrap=True)  # fmt: skip
    if write_best:
        _write(project, case, params, found)


def table(found: "BackTest") -> "Table":
    """One line for each policy, the oracle last."""
    from rich.table import Table

    first = found.results[0]
    shown = Table(
        box=None, header_style="bold", title=f"{found.case}, {found.start:%Y-%m-%d} to {found.end:%Y-%m-%d}: means of "
        f"{len(first.weeks)} {found.unit}s", title_justify="left",
    )  # fmt: skip
    figures = ("lost", "trainings", "promoted", "false", "missed", "damaged", "cost")
    for name in ("policy", *first.means, *figures):
        shown.add_column(name, no_wrap=True, justify="left" if name == "policy" else "right")
    for result in found.results:
        style = "bold" if result.policy == found.best.policy else None
        shown.add_row(*_cells(result), style=style)
    return shown


def _cells(result: "PolicyResult") -> list[str]:
    return [
        result.policy + (" (no gate)" if result.gate == "off" else ""),
        *(f"{value:.4f}" for value in result.means.values()),
        f"{result.area_lost:.3f}",
        *(str(number) for number in (result.trainings, result.promotions, result.false_actions)),
        *(str(number) for number in (result.missed_actions, result.weeks_of_damage)),
        f"{result.cost:,.0f}",
    ]


def _write(project: Project, case: str, params: "BackTestParams", found: "BackTest") -> None:
    from configs.section import triage_section, write_section

    (best,) = (policy for policy in params.policies if policy.policy == found.best.policy)
    own = project.case(case).triage
    path = project.root / "configs" / f"{case}.yaml"
    if best.adopted(own) == own:
        out.print(f"{path.name} has the cheapest policy already.")
        return
    section = triage_section(best.adopted(own))
    out.print("Rules that do not train stay, and so do the guards.", end=" ")
    if best.gate != "case":
        out.print("It was compared with another gate than the case's, which stays as params.yaml has it.")
    if write_section(path, section):
        out.print(f"Written into {path}: look at it with `git diff`.", highlight=False, soft_wrap=True)
    else:
        out.print(f"The `triage` section of {path.name} holds comments, so nothing was written. This is the section:")
        out.print(section, highlight=False, markup=False, soft_wrap=True)
