"""`python -m serving.routes`: the keeper of this project's local copy, until SIGTERM."""

import argparse
import os
import signal
import threading

from configs.environment import apply
from configs.project import Project
from serving.lifeline import end_with_parent
from serving.logs import log_as
from serving.routes.local import LocalCopy
from tasks.adapters.locks import exclusive


def main() -> None:
    """Wait until no other keeper holds the local copy, then keep it."""
    parser = argparse.ArgumentParser(prog="python -m serving.routes", description=__doc__)
    parser.add_argument("--lifeline", type=int, help="descriptor of a pipe that closes when the parent ends")
    given = parser.parse_args()
    log_as("keeper")
    end_with_parent(given.lifeline)
    project = Project.here()
    apply(project)
    # A pooled connection would go on reading a database file that another one has taken the place of.
    os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
    with exclusive(LocalCopy.of(project).lock):
        keep(project)


def keep(project: Project) -> None:
    """Follow the registry until SIGTERM or Ctrl-C."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    # MLflow reads the environment when it is imported, and takes seconds that a keeper in waiting need not pay.
    from serving.routes.engines import make_engine  # noqa: PLC0415
    from serving.routes.keeper import Keeper  # noqa: PLC0415

    Keeper(project, make_engine).run(stop)


if __name__ == "__main__":
    main()
