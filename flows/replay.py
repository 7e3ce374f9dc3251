"""A replay: recorded history through the real components, moment by moment, on a clock that history sets."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from configs.project import Project
from flows.embedded import embedded
from flows.replay_gateway import Gateway
from flows.replay_sandbox import Sandbox
from tasks.adapters.dvc import kept_ready
from tasks.replay.source import history_of
from tasks.replay.steps import Plan
from tasks.replay.told import Step, Told, told

if TYPE_CHECKING:
    from flows.replay_in_process import InProcess

Approve = Callable[[str, str], bool]
"""Asked about a case and a version."""
Progress = Callable[[Step], None]


def replay(  # noqa: PLR0913 - what is replayed, where, and who is told and asked
    project: Project,
    plan: Plan,
    name: str,
    *,
    on_step: Progress = lambda _: None,
    approve: Approve | None = None,
    fresh: bool = False,
) -> tuple[Step, ...]:
    """Let the plan happen in the sandbox `name`, or go on with it where it was stopped; returns every step.

    This process belongs to the sandbox from then on; it must not have imported Prefect before. Without `approve`, every
    version that waits is approved. Raises ReplayError and ConfigError before anything starts.
    """
    history = history_of(project, plan)
    sandbox = Sandbox.of(project, name)
    with sandbox.alone():
        sandbox.furnish(project, plan, fresh=fresh)
        sandbox.enter()
        with embedded(), kept_ready(sandbox.project):
            # It takes seconds to import, in which Prefect's server gets ready.
            from flows.replay_moments import Replay  # noqa: PLC0415

            gateway = _gateway(sandbox.project, in_process=plan.in_process)
            try:
                return Replay(sandbox, plan, history, approve).run(gateway, on_step)
            finally:
                gateway.stop()


def _gateway(project: Project, *, in_process: bool) -> "Gateway | InProcess":
    """A gateway of the project, to be started by whoever needs it."""
    if in_process:
        from flows.replay_in_process import InProcess  # noqa: PLC0415 - with all that a gateway imports

        return InProcess(project)
    return Gateway(project)


def what_happened(project: Project, name: str) -> Told:
    """All that happened in a replay: two replays of one plan are equal in it."""
    from tasks.adapters.history import History  # noqa: PLC0415
    from tasks.adapters.journal import Journal  # noqa: PLC0415

    sandbox = Sandbox.of(project, name)
    case, journal = Plan.read(sandbox.plan).case, Journal(sandbox.project)
    acted = [(one.triaged.as_of, one.triaged.action.value, one.triaged.rule) for one in journal.actions(case)]
    return told(History(sandbox.project).events(case), journal.verdicts(case, limit=None), acted)
