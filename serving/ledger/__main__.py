"""`python -m serving.ledger`: turns what the workers of this machine wrote into Parquet, until SIGTERM."""

import argparse
import os
import signal
import sys
import threading
from datetime import UTC, datetime

import pyarrow as pa

from configs.environment import apply
from configs.errors import EvergreenError
from configs.project import Project
from serving.ledger.compactor import Compactor
from serving.ledger.places import predictions_url, segments_folder
from serving.ledger.store import Store
from serving.lifeline import end_with_parent
from serving.logs import log_as
from tasks.adapters.locks import exclusive

_NICE = 10


def main() -> None:
    """Work turn after turn; when told to end, once more for what the workers sealed last."""
    parser = argparse.ArgumentParser(prog="python -m serving.ledger", description=__doc__)
    parser.add_argument("--once", action="store_true", help="work one turn and end")
    parser.add_argument("--lifeline", type=int, help="descriptor of a pipe that closes when the parent ends")
    given = parser.parse_args()
    log_as("compactor")
    end = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: end.set())
    if given.once:
        end.set()
    end_with_parent(given.lifeline)
    os.nice(_NICE)
    pa.set_cpu_count(1)
    try:
        project = Project.here()
        apply(project)
        run(project, end)
    except EvergreenError as error:
        sys.exit(f"{type(error).__name__}: {error}")


def run(project: Project, end: threading.Event) -> None:
    """Work until `end` is set, and one turn after it. Waits while another compactor works on the same folder."""
    folder = segments_folder(project)
    retention_days = {name: project.case(name).serving.log.retention_days for name in project.cases}
    with exclusive(folder / "compactor.lock"):
        compactor = Compactor(folder, Store(predictions_url(project)), retention_days, lambda: datetime.now(UTC))
        while not end.wait(compactor.turn()):
            pass
        compactor.turn()


if __name__ == "__main__":
    main()
