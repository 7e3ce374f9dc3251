"""The sandbox of a replay: a copy of the project with stores of its own, so that nobody else's are touched."""

import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from configs.case import Case
from configs.environment import apply
from configs.overlay import overlay
from configs.project import Project
from tasks.adapters.locks import Held, acquire
from tasks.replay.errors import AnotherReplay, UnderWay
from tasks.replay.steps import Plan

_FOLDERS = ("configs", "flows", "serving", "tasks", ".dvc")
_FILES = ("params.yaml", "dvc.yaml", "prefect.yaml", "pyproject.toml", "uv.lock", ".dvcignore", ".gitignore")
_LEFT_OUT = ("__pycache__", "cache", "tmp", "config.local")
_FOR_EVER_DAYS = 40_000
_NO_LIMIT = 1e7
_LEAST_ROWS = 10
_DIVERGES = {"learning_rate": 2.5, "max_iter": 6}
"""Each step goes so far beyond what it corrects that the next has more to correct."""
ELSEWHERE = ("EVERGREEN_ROOT", "EVERGREEN_PLACE", "EVERGREEN_GATEWAY_URL", "PREFECT_HOME", "PREFECT_API_URL")
"""What a process says of where it belongs: not for one that is to belong elsewhere."""


class Sandbox:
    """`data/replays/<name>/`: the plan, the steps done, the source as it is shown, and the copy of the project."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = Project(folder / "clone", "local")
        self.plan = folder / "plan.json"
        self.steps = folder / "steps.jsonl"
        self.rows = folder / "source" / "rows"
        self.labels = folder / "source" / "labels"

    @classmethod
    def of(cls, project: Project, name: str) -> "Sandbox":
        return cls(project.root / "data" / "replays" / name)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only process that replays here. Raises UnderWay."""
        try:
            handle = acquire(self.folder.with_suffix(".lock"), wait=False)
        except Held as held:
            raise UnderWay(self.folder.name) from held
        try:
            yield
        finally:
            os.close(handle)

    def furnish(self, project: Project, plan: Plan, *, fresh: bool) -> None:
        """Make the sandbox, or take it as it is where this very plan was begun before. Raises AnotherReplay."""
        if fresh:
            shutil.rmtree(self.folder, ignore_errors=True)
        if self.plan.is_file():
            if Plan.read(self.plan) != plan:
                raise AnotherReplay(self.folder.name, str(self.folder))
            # Killed while something was planted, it would go on with that.
            _git(self.project.root, "checkout", "--quiet", "--", "params.yaml")
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self.rows.mkdir(parents=True)
        self.labels.mkdir(parents=True)
        _copy(project.root, self.project.root)
        self._overlay(plan.case)
        _commit(self.project.root)
        plan.write(self.plan)  # last: a sandbox without it is begun anew

    def enter(self) -> None:
        """Make the sandbox the project of this process and its children, and keep what they say in its log.

        Must come before Prefect and MLflow are imported.
        """
        for name in ELSEWHERE:
            os.environ.pop(name, None)
        apply(self.project)
        kept = logging.FileHandler(self.folder / "replay.log", encoding="utf-8")
        kept.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
        for name in ("tasks", "flows"):
            logging.getLogger(name).addHandler(kept)
            logging.getLogger(name).setLevel(logging.INFO)
            logging.getLogger(name).propagate = False

    @contextmanager
    def badly_trained(self, case: Case, *, gate: bool) -> Iterator[None]:
        """Have what is trained meanwhile be of no use: it knows one column; without `gate` it diverges, and passes.

        A few batches are enough for it to learn nothing from, however few rows they hold.
        """
        params = self.project.root / "params.yaml"
        before = params.read_bytes()
        changes: dict[str, Any] = {"features": {"leave_out": list(case.contract.features[:-1])}}
        if not gate:
            own = self.project.params(case.name).gate
            limits = [{"metric": own.metric, "at_least": -_NO_LIMIT}]
            changes = {"training.estimator": "hist_gradient_boosting", "training.settings": _DIVERGES}
            changes |= {"gate.rule": "non_inferiority", "gate.margin": _NO_LIMIT, "gate.limits": limits}
            changes |= {"gate.slices": {"columns": []}}
        few, window = case.triage.recent_batches, self.project.params(case.name).window
        changes["window.train_batches"] = min(few, window.train_batches or few)
        changes |= {"window.min_train_rows": _LEAST_ROWS, "window.max_left_out": 1}
        overlay(params, {f"{case.name}.{key}": value for key, value in changes.items()})
        try:
            yield
        finally:
            params.write_bytes(before)

    def _overlay(self, case: str) -> None:
        """What differs from the project: where rows and labels come from, stores, and that speed judges nobody.

        What a model takes to answer depends on what else this machine does, and history would come out otherwise.
        """
        root, contract = self.project.root, self.project.case(case).contract
        rows = {"kind": "file", "url": str(self.rows), "format": "parquet"}
        labels = {
            "source": {"kind": "file", "url": str(self.labels), "format": "parquet"},
            "entity": contract.entity,
            "event_time": contract.event_time,
            "target": self.project.case(case).target,
            "labelled_at": "known_at",
        }
        changes = {"source": rows, "labels": labels, "serving.log.retention_days": _FOR_EVER_DAYS}
        overlay(root / "configs" / f"{case}.yaml", {**changes, "serving.timeout_ms": _NO_LIMIT})
        speed = ("gate.max_latency_ms", "rollout.load.latency_ms", "rollout.technical.latency_ratio")
        overlay(root / "params.yaml", {f"{case}.{key}": _NO_LIMIT for key in speed})
        place = root / "configs" / "places" / "local.yaml"
        place.write_text("{}\n", encoding="utf-8")
        overlay(
            place,
            {
                "stores.mlflow": "sqlite:///data/stores/mlflow.db",
                "stores.artifacts": "data/stores/artifacts",
                "stores.history": "sqlite:///data/stores/history.db",
                "stores.prefect_home": "data/stores/prefect",
                "gateway": {"workers": 1, "default_case": case, "clock": "event_time", "log": {"segment_seconds": 5}},
            },
        )


def _copy(source: Path, target: Path) -> None:
    for name in _FOLDERS:
        shutil.copytree(source / name, target / name, ignore=shutil.ignore_patterns(*_LEFT_OUT))
    for name in _FILES:
        shutil.copy(source / name, target / name)


def _commit(root: Path) -> None:
    """Every version names the code it was made with: the sandbox's own revision."""
    who = ("-c", "user.name=replay", "-c", "user.email=replay@localhost")
    for words in (("init", "--quiet"), ("add", "--all"), (*who, "commit", "--quiet", "-m", "as it is replayed")):
        _git(root, *words)


def _git(root: Path, *words: str) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    subprocess.run(["git", *words], cwd=root, check=True, capture_output=True, env=own)
