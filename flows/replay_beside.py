"""Weeks that are replayed in a process of their own, while this one does something else."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from configs.errors import EvergreenError
from configs.project import Project
from flows.replay_sandbox import ELSEWHERE, Sandbox
from tasks.replay.steps import Plan
from tasks.replay.told import Step, steps_done

_PAUSE_SECONDS = 0.25
_LAST_WORDS = 2000
_END_SECONDS = 60


class WeeksFailed(EvergreenError):
    """A replay beside something else came to no end."""

    def __init__(self, code: int, output: Path) -> None:
        said = output.read_text(encoding="utf-8", errors="replace").strip()[-_LAST_WORDS:]
        super().__init__(f"The weeks that were replayed ended with {code}; what was said last ({output}):\n{said}")


class Beside:
    """`evergreen replay` of a script as a process; it ends with this one, and started again it goes on."""

    def __init__(self, project: Project, case: str, script: Path, name: str) -> None:
        self._project = project
        self._words = ["replay", case, "--script", str(script.absolute()), "--name", name]
        self._sandbox = Sandbox.of(project, name)
        self._output = self._sandbox.folder.with_suffix(".log")
        self._lifeline, self._held = os.pipe()

    def __enter__(self) -> Self:
        self._output.parent.mkdir(parents=True, exist_ok=True)
        own = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
        belongs = {"EVERGREEN_ROOT": str(self._project.root), "EVERGREEN_PLACE": self._project.place_name}
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "flows.cli", *self._words, "--lifeline", str(self._lifeline)],
                env={**own, **belongs},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(self._lifeline,),
                start_new_session=True,  # what ends it is the lifeline alone, once
            )
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._held)
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._lifeline)

    def watched(self) -> Iterator[tuple[Plan, list[Step]]]:
        """The plan and the steps that are done, whenever there is one more, until the replay has ended."""
        shown = -1
        while self._process.poll() is None:
            done = steps_done(self._sandbox.steps)
            if self._sandbox.plan.is_file() and len(done) != shown:
                shown = len(done)
                yield Plan.read(self._sandbox.plan), done
            time.sleep(_PAUSE_SECONDS)

    def ended(self) -> tuple[Plan, list[Step]]:
        """The plan and all its steps. Raises WeeksFailed."""
        if self._process.returncode:
            raise WeeksFailed(self._process.returncode, self._output)
        return Plan.read(self._sandbox.plan), steps_done(self._sandbox.steps)
