"""`python -m tasks <stage> <case>`: one stage of the chain, as dvc.yaml calls it."""

import argparse
import importlib
import logging
import os
import sys

from tasks.standby import hand_over

STAGES = {
    "ingest": "tasks.ingestion.ingest",
    "validate": "tasks.validation.validate",
    "train": "tasks.training.train",
    "evaluate": "tasks.evaluation.evaluate",
    "refit": "tasks.training.refit",
}
FORKS = {"validate"}
"""Stages that may work in several processes, as this one is theirs alone."""
_AT_MOST = 8
READ_THE_ORDER = {"ingest", "validate"}
REFUSED = 3
"""Exit code of a stage that says in plain words why it stopped; any other is a fault in the code."""


def main(arguments: list[str] | None = None) -> int:
    """Run one stage; a failure meant for people is printed without a traceback."""
    # Not above: a stage that is handed over needs none of it.
    from configs.environment import apply  # noqa: PLC0415
    from configs.errors import EvergreenError  # noqa: PLC0415
    from configs.project import Project  # noqa: PLC0415
    from tasks.errors import NothingOrdered  # noqa: PLC0415

    parser = argparse.ArgumentParser(prog="python -m tasks", description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("case")
    asked = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    try:
        project = Project.here()
        apply(project)
        if asked.stage in READ_THE_ORDER and not project.files(asked.case).order.is_file():
            raise NothingOrdered(asked.case)
        # A stage imports its own room only: Great Expectations takes three seconds that training need not pay.
        stage = getattr(importlib.import_module(STAGES[asked.stage]), asked.stage)
        processes = {"at_once": min(_AT_MOST, _cores())} if asked.stage in FORKS else {}
        stage(project, asked.case, **processes)
    except EvergreenError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return REFUSED
    return 0


def _cores() -> int:
    """Those that this process may use; one where the system does not tell, which is where forks are not safe either."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


if __name__ == "__main__":
    handed_over = hand_over(sys.argv[1:])
    sys.exit(main() if handed_over is None else handed_over)
