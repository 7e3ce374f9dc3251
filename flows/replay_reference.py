"""`python -m flows.replay_reference CASE VERSION LIFELINE`: the reference of a version, built before it is looked at.

The first look at a new champion builds its reference, if nobody did, and a replay would wait for that. In a process of
its own it takes its time from what the replay leaves of the machine, and nothing of it shows in history.
"""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from configs.project import Project
from serving.lifeline import end_with_parent
from tasks.monitoring.reference import is_whole, kept_at, monitoring_folder

_NICENESS = 10


@contextmanager
def references_ahead(project: Project, case: str) -> Iterator[Callable[[Sequence[str]], None]]:
    """Gives what has the reference of versions built, once each; what is not done when the block ends is left undone.

    Only the first that has none is begun: all are counted on the grid that the case's first reference fixes.
    """
    lifeline, held = os.pipe()
    building: dict[str, subprocess.Popen[bytes]] = {}

    def build(versions: Sequence[str]) -> None:
        version = next((one for one in versions if not is_whole(kept_at(project, case, one))), None)
        if version is not None and version not in building:
            building[version] = _start(project, case, version, lifeline)

    try:
        yield build
    finally:
        for process in building.values():
            process.terminate()
            process.wait()
        os.close(held)
        os.close(lifeline)


def _start(project: Project, case: str, version: str, lifeline: int) -> subprocess.Popen[bytes]:
    said = monitoring_folder(project, case) / "references.log"
    said.parent.mkdir(parents=True, exist_ok=True)
    with said.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "flows.replay_reference", case, version, str(lifeline)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(lifeline,),
            start_new_session=True,
        )


def main(case: str, version: str, lifeline: int) -> None:
    """Build it; if that fails, the first look at this champion builds it anew, and tells why it cannot."""
    end_with_parent(lifeline)
    os.nice(_NICENESS)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    from tasks.monitoring.refer import refer  # noqa: PLC0415 - MLflow takes seconds: the lifeline comes first

    refer(Project.here(), case, version)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
