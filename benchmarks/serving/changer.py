"""Changes the champion from a process of its own, as a person's command would, and says when the registry had it.

    python -m benchmarks.serving.changer      in a clone; reads lines such as `approve 2`, `roll back 2`, `champion 1`

For each line one line of JSON: what was done, which version is champion now, and the times between which its alias was
written, in seconds since 1970.
"""

import sys
import time
from datetime import UTC, datetime
from typing import Any

from benchmarks.serving.changes import say
from benchmarks.serving.ours import CASE
from configs.environment import apply
from configs.project import Project


def main() -> None:
    project = Project.here()
    apply(project)
    from tasks.adapters.registry import Registry  # noqa: PLC0415 - MLflow reads the environment when imported
    from tasks.promotion.decide import Why, decide, roll_back  # noqa: PLC0415
    from tasks.records import Approval  # noqa: PLC0415

    registry = Registry(project)
    told: dict[str, Any] = {}
    move_alias = Registry.move_alias

    def timed(self: Registry, case: str, alias: Any, version: str | None) -> None:
        before = time.time()
        move_alias(self, case, alias, version)
        if alias == "champion":
            told.update(champion=version, begun=before, written=time.time())

    Registry.move_alias = timed  # type: ignore[method-assign] # a stopwatch around the one write that counts
    say({"ready": True})
    for line in sys.stdin:
        signed, now = {"by": "benchmark", "reason": "to be measured"}, datetime.now(UTC)
        match line.split():
            case ["approve", version]:
                decide(project, Approval(case=CASE, version=version, approve=True, channel="cli", at=now, **signed))
            case ["roll", "back", version]:
                roll_back(project, CASE, version, Why(at=now, **signed))
            case ["champion", version]:
                registry.move_alias(CASE, "champion", version)
            case _:
                sys.exit(f"not understood: {line!r}; expected approve VERSION, roll back VERSION, or champion VERSION")
        say({"done": line.strip(), **told})


if __name__ == "__main__":
    main()
