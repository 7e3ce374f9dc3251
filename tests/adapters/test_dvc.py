"""What DVC is asked, and what is made of its answers; what it overlooks is looked at again."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from configs.project import Project
from tasks.adapters import dvc
from tasks.errors import ArtifactAltered, ArtifactMissing, StageFailed, StoreUnreachable
from tests.conftest import AS_OF, STAGES, change_params, run_chain

from .conftest import Start

RUN = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts tests with & has it ignored
from configs.project import Project
from tasks.adapters import dvc
dvc.reproduce_stage(Project.here(), "ingest", "bikes")
"""


def log(project: Project) -> list[str]:
    path = project.root / "stage.log"
    return path.read_text().split() if path.is_file() else []


def wait_for(project: Project, words: list[str]) -> None:
    until = time.monotonic() + 30
    while log(project) != words:
        assert time.monotonic() < until, log(project)
        time.sleep(0.05)


def alter(path: Path, content: bytes) -> None:
    """Change a file so that DVC, which looks at size and time, believes it is the same."""
    times = path.stat()
    assert len(content) == times.st_size
    path.chmod(0o644)
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_a_stage_runs_once_and_again_only_when_what_it_depends_on_has_changed(chain: Project) -> None:
    assert dvc.reproduce_stage(chain, "ingest", "bikes")
    assert not dvc.reproduce_stage(chain, "ingest", "bikes")
    (chain.root / "seconds.txt").touch()
    assert not dvc.reproduce_stage(chain, "ingest", "bikes")
    (chain.root / "seconds.txt").write_text("0.0")
    assert dvc.reproduce_stage(chain, "ingest", "bikes")
    assert log(chain) == ["begins", "ends"] * 2


def test_a_failed_stage_is_told_in_its_own_words(chain: Project) -> None:
    words = "BatchRejected: Batch 2011-W02 rejected, nothing after it was run. `rentals`: 3 of 168 rows outside"
    (chain.root / "fails.txt").write_text(f"Loading: a moment\n{words}\n")
    with pytest.raises(StageFailed, match=r"^BatchRejected: Batch 2011-W02 rejected") as told:
        dvc.reproduce_stage(chain, "ingest", "bikes")
    assert str(told.value) == words
    assert told.value.stage == "ingest@bikes"


def test_an_error_of_several_lines_is_told_whole(chain: Project) -> None:
    words = "SourceUnreadable: The source cannot be read: no such table\n[SQL: SELECT 1]. Check the query."
    (chain.root / "fails.txt").write_text(f"{words}\n")
    with pytest.raises(StageFailed) as told:
        dvc.reproduce_stage(chain, "ingest", "bikes")
    assert "Check the query." in str(told.value)
    assert str(told.value).startswith("SourceUnreadable: The source")


def test_a_fault_in_a_stages_code_is_told_too(chain: Project) -> None:
    (chain.root / "fails.txt").write_text("Traceback (most recent call last):\n  File \"x.py\"\nKeyError: 'rentals'\n")
    with pytest.raises(StageFailed, match="KeyError: 'rentals'"):
        dvc.reproduce_stage(chain, "ingest", "bikes")


def test_a_stage_nobody_described_is_an_error(chain: Project) -> None:
    with pytest.raises(StageFailed, match="deliver"):
        dvc.reproduce_stage(chain, "deliver", "bikes")


def test_a_failed_stage_runs_again_once_its_cause_is_gone(chain: Project) -> None:
    (chain.root / "fails.txt").write_text("EmptyDelivery: nothing there\n")
    with pytest.raises(StageFailed, match="EmptyDelivery"):
        dvc.reproduce_stage(chain, "ingest", "bikes")
    (chain.root / "fails.txt").unlink()
    assert dvc.reproduce_stage(chain, "ingest", "bikes")


def test_the_data_version_is_dvcs_own_digest_of_the_deliveries(chain: Project) -> None:
    dvc.reproduce_stage(chain, "ingest", "bikes")
    names = ("2011-W01", "2011-W02", "2011-W03")
    listing = [{"md5": hashlib.md5(name.encode()).hexdigest(), "relpath": f"{name}.parquet"} for name in names]
    expected = hashlib.md5(json.dumps(listing).encode()).hexdigest() + ".dir"
    assert dvc.data_version(chain.root, "bikes") == expected
    dvc.verify_deliveries(chain, "bikes")


def test_an_altered_delivery_is_found_and_named_although_dvc_believes_it_unchanged(chain: Project) -> None:
    dvc.reproduce_stage(chain, "ingest", "bikes")
    alter(chain.files("bikes").deliveries / "2011-W02.parquet", b"2011-W99")
    subprocess.run([sys.executable, "-m", "dvc", "repro", "--quiet"], cwd=chain.root, check=True)
    assert log(chain) == ["begins", "ends"]
    with pytest.raises(ArtifactAltered, match=r"Delivery 2011-W02\.parquet is not the file that was recorded"):
        dvc.verify_deliveries(chain, "bikes")


def test_an_altered_delivery_is_not_recorded_as_if_it_had_been_delivered_so(chain: Project) -> None:
    dvc.reproduce_stage(chain, "ingest", "bikes")
    version = dvc.data_version(chain.root, "bikes")
    path = chain.files("bikes").deliveries / "2011-W02.parquet"
    path.chmod(0o644)
    path.write_text("other rows")
    with pytest.raises(ArtifactAltered, match=r"Delivery 2011-W02\.parquet is not the file that was recorded"):
        dvc.reproduce_stage(chain, "ingest", "bikes")
    path.unlink()
    with pytest.raises(ArtifactMissing, match=r"Delivery 2011-W02\.parquet has no file"):
        dvc.reproduce_stage(chain, "ingest", "bikes")
    assert dvc.data_version(chain.root, "bikes") == version
    subprocess.run([sys.executable, "-m", "dvc", "checkout", "--quiet", "--force"], cwd=chain.root, check=True)
    assert not dvc.reproduce_stage(chain, "ingest", "bikes")
    dvc.verify_deliveries(chain, "bikes")


def test_a_new_delivery_beside_the_old_ones_is_recorded(chain: Project) -> None:
    dvc.reproduce_stage(chain, "ingest", "bikes")
    (chain.files("bikes").deliveries / "2011-W02.2.parquet").write_text("the week again")
    assert dvc.reproduce_stage(chain, "ingest", "bikes")
    dvc.verify_deliveries(chain, "bikes")


def test_a_delivery_that_is_gone_is_named(chain: Project) -> None:
    dvc.reproduce_stage(chain, "ingest", "bikes")
    (chain.files("bikes").deliveries / "2011-W02.parquet").unlink()
    with pytest.raises(ArtifactMissing, match=r"Delivery 2011-W02\.parquet has no file at .*data/bikes/deliveries"):
        dvc.verify_deliveries(chain, "bikes")


def test_deliveries_that_are_gone_altogether_are_missing(chain: Project) -> None:
    dvc.reproduce_stage(chain, "ingest", "bikes")
    shutil.rmtree(chain.files("bikes").deliveries)
    with pytest.raises(ArtifactMissing, match=r"has no file at .*data/bikes/deliveries"):
        dvc.verify_deliveries(chain, "bikes")


def test_a_file_that_was_never_delivered_is_found(chain: Project) -> None:
    dvc.reproduce_stage(chain, "ingest", "bikes")
    (chain.files("bikes").deliveries / "2011-W04.parquet").write_text("forged")
    with pytest.raises(ArtifactAltered, match=r"Delivery 2011-W04\.parquet, which was never taken from the source"):
        dvc.verify_deliveries(chain, "bikes")


def test_what_a_killed_ingest_left_unfinished_is_not_a_delivery(chain: Project) -> None:
    dvc.reproduce_stage(chain, "ingest", "bikes")
    (chain.files("bikes").deliveries / ".2011-W04.parquet.x1y2.part").write_text("half a fi")
    dvc.verify_deliveries(chain, "bikes")


def test_a_pushed_delivery_can_be_fetched_after_the_local_ones_are_lost(chain: Project) -> None:
    dvc.reproduce_stage(chain, "ingest", "bikes")
    dvc.push(chain, ["bikes"])
    shutil.rmtree(chain.root / ".dvc/cache")
    shutil.rmtree(chain.files("bikes").deliveries)
    dvc.pull(chain, "ingest@bikes")
    dvc.verify_deliveries(chain, "bikes")


@pytest.mark.parametrize("harm", ["in the way", "not configured"])
def test_a_remote_that_cannot_be_written_is_told_with_a_remedy_and_costs_nothing(chain: Project, harm: str) -> None:
    dvc.reproduce_stage(chain, "ingest", "bikes")
    if harm == "in the way":
        (chain.stores / "dvc-remote").write_text("a file where the folder should be")
        cause = "dvc-remote"
    else:
        (chain.root / ".dvc/config").write_text("[core]\n    analytics = false\n")
        cause = "remote 'local' doesn't exist|remote .*local"
    with pytest.raises(StoreUnreachable, match=rf"The DVC remote cannot be reached at `local`: .*({cause})") as told:
        dvc.push(chain, ["bikes"])
    assert "Deliveries are safe on this machine. Mend it (`dvc remote modify local url" in str(told.value)
    dvc.verify_deliveries(chain, "bikes")


def test_a_delivery_that_is_nowhere_cannot_be_fetched_and_says_why(chain: Project) -> None:
    dvc.reproduce_stage(chain, "ingest", "bikes")
    shutil.rmtree(chain.root / ".dvc/cache")
    shutil.rmtree(chain.files("bikes").deliveries)
    with pytest.raises(StoreUnreachable, match=r"The DVC remote cannot be reached at `ingest@bikes`: \w+"):
        dvc.pull(chain, "ingest@bikes")


def test_a_stage_goes_with_the_process_that_is_stopped_waiting_for_it(chain: Project, started: Start) -> None:
    (chain.root / "seconds.txt").write_text("3")
    run = started(RUN, cwd=chain.root)
    wait_for(chain, ["begins"])
    run.send_signal(signal.SIGINT)
    run.wait(20)
    time.sleep(3.5)
    assert log(chain) == ["begins"]
    (chain.root / "seconds.txt").write_text("0")
    assert dvc.reproduce_stage(chain, "ingest", "bikes")


def test_a_run_waits_for_a_stage_that_outlived_its_killed_flow(chain: Project, started: Start) -> None:
    (chain.root / "seconds.txt").write_text("3")
    run = started(RUN, cwd=chain.root)
    wait_for(chain, ["begins"])
    run.send_signal(signal.SIGKILL)
    run.wait(20)
    dvc.reproduce_stage(chain, "ingest", "bikes")
    seen = log(chain)
    assert seen[:2] == ["begins", "ends"], "the second began beside the first"
    assert seen in (["begins", "ends"], ["begins", "ends", "begins", "ends"])


def test_two_runs_at_once_take_turns(chain: Project, started: Start) -> None:
    (chain.root / "seconds.txt").write_text("1")
    runs = [started(RUN, cwd=chain.root) for _ in range(2)]
    assert [run.wait(60) for run in runs] == [0, 0]
    assert log(chain) == ["begins", "ends"]  # the second found nothing to do


@pytest.mark.slow
@pytest.mark.xdist_group("bikes")
class TestFingerprint:
    """What names a candidate; dvc.lock is brought up to date by DVC, without training anew."""

    def again(self, project: Project) -> str:
        command = [sys.executable, "-m", "dvc", "commit", "--quiet", "--force", "train@bikes"]
        subprocess.run(command, cwd=project.root, check=True)
        return dvc.fingerprint(project.root, "bikes")

    def test_it_is_the_same_when_everything_is_the_same_whatever_the_time(self, judged: Project) -> None:
        before = dvc.fingerprint(judged.root, "bikes")
        for path in (judged.root / "tasks").rglob("*.py"):
            path.touch()
        run_chain(judged, AS_OF)
        assert dvc.fingerprint(judged.root, "bikes") == before

    @pytest.mark.parametrize("what", ["parameters", "code", "lock", "contract"])
    def test_it_changes_with(self, judged: Project, what: str) -> None:
        before = dvc.fingerprint(judged.root, "bikes")
        if what == "parameters":
            change_params(judged.root, "bikes", {"training.settings.max_iter": 6})
        else:
            name = {"code": "tasks/training/rows.py", "lock": "uv.lock", "contract": "configs/bikes.yaml"}[what]
            path = judged.root / name
            old, new = ("version: 1", "version: 2") if what == "contract" else ("", "# changed\n")
            path.write_text(path.read_text().replace(old, new, 1))
        assert self.again(judged) != before

    def test_it_does_not_change_with_the_gate_or_another_case(self, judged: Project) -> None:
        before = dvc.fingerprint(judged.root, "bikes")
        change_params(judged.root, "bikes", {"gate.confidence": 0.9})
        change_params(judged.root, "flights", {"seed": 1})
        assert self.again(judged) == before

    def test_an_unchanged_chain_runs_nothing(self, judged: Project) -> None:
        assert [dvc.reproduce_stage(judged, stage, "bikes") for stage in STAGES] == [False] * len(STAGES)
