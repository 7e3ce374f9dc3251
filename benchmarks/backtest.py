"""What retraining was worth in 2013: flights, weeks 14 to 52, each policy over the same table of models.

    uv run python -m benchmarks.backtest [--quick] [--policies FILE] [--picture docs/pictures/backtest.png]

Models are fitted once a week and kept in `data/stores/backtest/flights` (six minutes on a quiet core the first time);
after that a run takes a minute. `--quick` looks at the weeks 14 to 21 alone; `--picture` draws the headline there.
"""

import argparse
import logging
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from configs.policies import ORACLE, read_policies
from configs.project import Project
from tasks.backtest.backtest import Asked, backtest, backtest_folder
from tasks.backtest.picture import draw
from tasks.backtest.result import BackTest, PolicyResult

ROOT = Path(__file__).resolve().parents[1]
CASE = "flights"
START, END = datetime(2013, 4, 1, tzinfo=UTC), datetime(2013, 12, 30, tzinfo=UTC)
QUICK_END = datetime(2013, 5, 27, tzinfo=UTC)
HEADLINE = ("never", "weekly", "every four weeks", "evergreen", ORACLE)
WITHIN, SHARE = 0.003, 3
"""Evergreen's bar: this near to weekly retraining in AUC, with at most a third of its trainings."""


def main() -> None:
    """Print a line for each policy, and how Evergreen stands to its bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="eight weeks instead of 39")
    parser.add_argument("--policies", type=Path, default=ROOT / "configs/backtests/default.yaml")
    parser.add_argument("--picture", type=Path, help="draw the headline into this file")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    project, began, cpu = Project(ROOT), time.perf_counter(), time.process_time()
    asked = Asked(
        read_policies(given.policies), datetime.max.replace(tzinfo=UTC), START, QUICK_END if given.quick else END
    )
    found = backtest(project, CASE, asked)
    if given.picture:
        draw(_asked_about(found)).savefig(given.picture, format="png")
    print(f"{headline(found)}\n\n{table(found)}\n\n{standing(found)}")
    spent = f"{time.perf_counter() - began:.0f} s, {time.process_time() - cpu:.0f} s of CPU"
    print(f"\n{spent}. The picture: {backtest_folder(project, CASE)}/backtest.png")


def headline(found: BackTest) -> str:
    """The policies that everybody asks about, as Markdown."""
    lines = [
        f"| {_name(result)} | {result.means['auc']:.4f} | {result.means['brier']:.4f} | {result.trainings} |"
        for result in _asked_about(found).results
    ]
    return "\n".join(["| retraining | mean AUC | mean Brier score | trainings |", "|---|---|---|---|", *lines])


def _asked_about(found: BackTest) -> BackTest:
    return found.model_copy(update={"results": tuple(one for one in found.results if one.policy in HEADLINE)})


def table(found: BackTest) -> str:
    """All of them with all that is counted, as Markdown."""
    names = "policy, mean AUC, mean Brier, AUC-weeks lost, trainings, promoted, false, missed, damaged weeks, cost"
    columns = names.split(", ")
    head = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    return "\n".join([*head, *(_line(result) for result in found.results)])


def standing(found: BackTest) -> str:
    """How the policies that keep the case's gate stand to weekly retraining without one."""
    weekly = next((result for result in found.results if result.policy == "weekly"), None)
    if weekly is None:
        return "No policy is called `weekly`: nothing to hold Evergreen against."
    said = []
    for result in found.results:
        if result.policy == ORACLE or result.gate == "off":
            continue
        behind = weekly.means["auc"] - result.means["auc"]
        met = behind <= WITHIN and result.trainings * SHARE <= weekly.trainings
        said.append(
            f"{result.policy}: {behind:.4f} AUC behind weekly (at most {WITHIN} wanted) with {result.trainings} of "
            f"{weekly.trainings} trainings (at most {weekly.trainings // SHARE}): {'met' if met else 'missed'}."
        )
    return "\n".join(said)


def _name(result: PolicyResult) -> str:
    return result.policy + (
        " (no gate)" if result.gate == "off" and result.trainings and result.policy != ORACLE else ""
    )


def _line(result: PolicyResult) -> str:
    figures = f"{result.means['auc']:.4f} | {result.means['brier']:.4f} | {result.area_lost:.3f}"
    actions = f"{result.trainings} | {result.promotions} | {result.false_actions} | {result.missed_actions}"
    return f"| {_name(result)} | {figures} | {actions} | {result.weeks_of_damage} | {result.cost:,.0f} |"


if __name__ == "__main__":
    main()
