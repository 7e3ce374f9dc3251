"""Decides on a rollout from a process of its own, and says when it decided and when the registry had it.

    python -m benchmarks.rollout.decider      in a clone; reads `full`, `promote` and `fail`

For each line one line of JSON: what was done, which version answers everybody now, and times in seconds since 1970.
"""

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from benchmarks.serving.changes import say
from benchmarks.serving.ours import CASE
from configs.environment import apply
from configs.project import Project

CHAMPION, CHALLENGER = "1", "2"


def main() -> None:
    project = Project.here()
    apply(project)
    from tasks.adapters.registry import Registry  # noqa: PLC0415 - MLflow reads the environment when imported
    from tasks.promotion.decide import Desk, Why  # noqa: PLC0415
    from tasks.records import Reason  # noqa: PLC0415
    from tasks.rollout.carry import carry_on, under_way  # noqa: PLC0415
    from tasks.rollout.stages import begin  # noqa: PLC0415

    written: dict[str, float] = {}

    def timed(write: Callable[..., None]) -> Callable[..., None]:
        def run(*given: Any) -> None:
            write(*given)
            written.setdefault("written", time.time())

        return run

    Registry.move_alias = timed(Registry.move_alias)  # type: ignore[method-assign] # a stopwatch at the first write
    Registry.set_traffic = timed(Registry.set_traffic)  # type: ignore[method-assign]

    def look(*, passed: bool) -> None:
        state = under_way(project, CASE)
        assert state is not None
        written.clear()
        written["begun"] = time.time()
        reason = Reason(rule="errors", passed=passed, text="planted")
        carry_on(project, state, CASE, (reason,), datetime.now(UTC))

    say({"ready": True})
    for line in sys.stdin:
        match line.strip():
            case "full":
                # An approval would be refused from the second time on: a version that was rolled back stays so.
                now = datetime.now(UTC)
                state = begin(CHALLENGER, CHAMPION, project.params(CASE).rollout, 1.0, now)
                Desk(project, CASE).move(state, Why("benchmark", "to be measured", now))
                look(passed=True)
                answering = CHALLENGER
            case "promote":
                look(passed=True)
                answering = CHALLENGER
            case "fail":
                look(passed=False)
                answering = CHAMPION
            case _:
                sys.exit(f"not understood: {line!r}; expected full, promote or fail")
        say({"done": line.strip(), "champion": answering, **written})


if __name__ == "__main__":
    main()
