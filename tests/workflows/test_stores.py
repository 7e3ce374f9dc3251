"""The stores come from one run to the next: only from this branch of this repository, the newest, and whole."""

import io
import json
import os
import shutil
import subprocess
import tarfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / ".github" / "stores.sh"
GH = """#!/usr/bin/env bash
[[ "$*" == *artifacts\\?* ]] && exec cat "$GITHUB/artifacts.json"
[[ "$*" =~ artifacts/([0-9]+)/zip ]] && exec cat "$GITHUB/${BASH_REMATCH[1]}.zip"
exit 1
"""

pytestmark = pytest.mark.skipif(not (shutil.which("jq") and shutil.which("unzip")), reason="needs jq and unzip")


@dataclass
class Runner:
    """A runner's folder with a checkout, and what GitHub keeps for it."""

    root: Path
    variables: dict[str, str] = field(default_factory=dict)
    artifacts: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("clone/.github", "bin", "github"):
            (self.root / name).mkdir(parents=True)
        shutil.copy(SCRIPT, self.root / "clone/.github/stores.sh")
        for name, text in (("gh", GH), ("dvc", '#!/bin/sh\necho "$@" >> "$GITHUB/dvc"\n')):
            (self.root / "bin" / name).write_text(text)
            (self.root / "bin" / name).chmod(0o755)

    @property
    def clone(self) -> Path:
        return self.root / "clone"

    def add(self, name: str, at: str, content: str, **changes: Any) -> None:
        """An artifact whose dvc.lock is `content`."""
        number = 100 + len(self.artifacts)
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            entry = tarfile.TarInfo("dvc.lock")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content.encode()))
        with zipfile.ZipFile(self.root / "github" / f"{number}.zip", "w") as archive:
            archive.writestr("kept.tar.gz", packed.getvalue())
        run = {"head_branch": "main", "repository_id": 1, "head_repository_id": 1, **changes.pop("run", {})}
        entry_ = {"id": number, "name": name, "created_at": at, "expired": False, "workflow_run": run, **changes}
        self.artifacts.append(entry_)

    def call(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        # GitHub answers in pages: one document after the other.
        pages = [json.dumps({"artifacts": self.artifacts[:1]}), json.dumps({"artifacts": self.artifacts[1:]})]
        (self.root / "github" / "artifacts.json").write_text("\n".join(pages))
        return subprocess.run(
            [str(self.clone / ".github/stores.sh"), *arguments],
            cwd=self.root,
            env={
                "PATH": f"{self.root / 'bin'}{os.pathsep}{os.environ['PATH']}",
                "GITHUB": str(self.root / "github"),
                "GITHUB_ENV": str(self.root / "env"),
                "GITHUB_REPOSITORY": "ada/evergreen",
                "GITHUB_REF_NAME": "main",
                "CASE": "flights",
                **variables,
            },
            text=True,
            capture_output=True,
            check=False,
        )

    def restored(self, **variables: str) -> str | None:
        ended = self.call("restore", **{"EVERGREEN_PLACE": "github", "KEPT": "stores", **variables})
        assert ended.returncode == 0, ended.stderr
        lock = self.clone / "dvc.lock"
        return lock.read_text() if lock.exists() else None

    def told(self) -> str:
        return (self.root / "env").read_text()


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


def test_without_secrets_the_place_is_github(runner: Runner) -> None:
    empty = dict.fromkeys(("MLFLOW_TRACKING_URI", "EVERGREEN_HISTORY_URL", "DVC_REMOTE_URL", "PREFECT_API_URL"), "")

    assert runner.call("choose", **empty).returncode == 0
    assert runner.told() == "EVERGREEN_PLACE=github\nKEPT=stores\n"


def test_with_the_secrets_the_place_is_prod_and_what_is_not_set_stays_unset(runner: Runner) -> None:
    given = {"MLFLOW_TRACKING_URI": "http://m", "EVERGREEN_HISTORY_URL": "sqlite:///h", "DVC_REMOTE_URL": "s3://b"}

    assert runner.call("choose", **given, PREFECT_API_URL="").returncode == 0
    assert runner.told().splitlines() == [
        "EVERGREEN_PLACE=prod",
        "KEPT=data-lock",
        "MLFLOW_TRACKING_URI=http://m",
        "EVERGREEN_HISTORY_URL=sqlite:///h",
        "DVC_REMOTE_URL=s3://b",
    ]
    assert (runner.root / "github/dvc").read_text() == "remote add --local --force --quiet remote s3://b\n"


@pytest.mark.parametrize("only", ["MLFLOW_TRACKING_URI", "EVERGREEN_HISTORY_URL", "DVC_REMOTE_URL", "PREFECT_API_URL"])
def test_half_of_the_secrets_is_refused_and_the_others_are_named(runner: Runner, only: str) -> None:
    ended = runner.call("choose", **{only: "x"})

    assert ended.returncode == 1
    wanted = {"MLFLOW_TRACKING_URI", "EVERGREEN_HISTORY_URL", "DVC_REMOTE_URL"} - {only}
    assert all(name in ended.stdout for name in wanted)


def test_the_first_run_begins_with_nothing(runner: Runner) -> None:
    assert runner.restored() is None


def test_the_newest_is_restored(runner: Runner) -> None:
    runner.add("stores-1-train", "2026-11-02T02:05:00Z", "old")
    runner.add("stores-1-promote", "2026-11-09T09:00:00Z", "newest")
    runner.add("stores-1-train", "2026-11-09T02:05:00Z", "older")
    runner.add("evidence-1", "2026-11-10T02:05:00Z", "not a store")

    assert runner.restored() == "newest"


@pytest.mark.parametrize(
    "changes",
    [
        {"run": {"head_repository_id": 2}},
        {"run": {"head_branch": "somebody/tries"}},
        {"expired": True},
    ],
)
def test_what_a_fork_or_a_branch_kept_or_what_expired_is_not_restored(runner: Runner, changes: dict[str, Any]) -> None:
    runner.add("stores-1-train", "2026-11-02T02:05:00Z", "ours")
    runner.add("stores-1-train", "2026-11-09T02:05:00Z", "not ours", **changes)

    assert runner.restored() == "ours"


def test_an_unreachable_github_is_an_error_and_not_a_fresh_start(runner: Runner) -> None:
    (runner.root / "bin/gh").write_text("#!/bin/sh\nexit 4\n")

    ended = runner.call("restore", EVERGREEN_PLACE="github", KEPT="stores")

    assert ended.returncode != 0
    assert "begins with nothing" not in ended.stdout


def test_with_stores_of_ones_own_the_deliveries_come_from_the_remote(runner: Runner) -> None:
    runner.add("data-lock-1-train", "2026-11-02T02:05:00Z", "stages:\n  ingest@flights:\n    cmd: x\n")

    runner.restored(EVERGREEN_PLACE="prod", KEPT="data-lock")

    assert (runner.root / "github/dvc").read_text() == "pull --quiet --remote remote ingest@flights\n"


@pytest.mark.parametrize(
    ("place", "kept"),
    [("github", {"dvc.lock", "data/stores/mlflow.db", ".dvc/cache/files"}), ("prod", {"dvc.lock"})],
)
def test_what_is_kept(runner: Runner, place: str, kept: set[str]) -> None:
    for name in ("dvc.lock", "data/README.md", "data/stores/mlflow.db", ".dvc/cache/files", ".dvc/config.local"):
        (runner.clone / name).parent.mkdir(parents=True, exist_ok=True)
        (runner.clone / name).write_text(name)

    assert runner.call("keep", str(runner.root / "kept/kept.tar.gz"), EVERGREEN_PLACE=place).returncode == 0
    with tarfile.open(runner.root / "kept/kept.tar.gz") as tar:
        assert {entry.name for entry in tar if entry.isfile()} == kept


def test_a_failed_restore_in_a_run_that_has_nothing_keeps_nothing(runner: Runner) -> None:
    assert runner.call("keep", str(runner.root / "kept/kept.tar.gz"), EVERGREEN_PLACE="prod").returncode == 0
    assert not (runner.root / "kept/kept.tar.gz").exists()
