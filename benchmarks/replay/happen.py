"""A replay in this process, which belongs to its sandbox from then on."""

import os
from collections.abc import Callable
from pathlib import Path

from benchmarks.serving.ours import say
from configs.environment import apply
from configs.project import Project
from tasks.replay.steps import Plan
from tasks.replay.told import Step

ROOT = Path(__file__).resolve().parents[2]


def happen(plan: Plan, name: str, on_step: Callable[[Step], None], *, fresh: bool = False) -> tuple[Step, ...]:
    """Let the plan happen in the sandbox `name`, or go on with it."""
    project = Project(ROOT)
    apply(project)
    os.environ |= {"PREFECT_LOGGING_LEVEL": "CRITICAL", "PREFECT_LOGGING_TO_API_ENABLED": "false"}
    from flows.replay import replay  # noqa: PLC0415 - MLflow reads the environment when it is imported

    return replay(project, plan, name, on_step=on_step, fresh=fresh)


def say_step(step: Step) -> None:
    """One line for a step: who serves, and what it took."""
    spent = ", ".join(f"{what} {seconds:.1f}" for what, seconds in step.seconds.items())
    say(f"{step.at:%Y-%m-%d %H:%M} champion {step.champion}: {spent} {'; '.join(step.failures)}")
