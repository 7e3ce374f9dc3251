"""The compactor may be killed at any moment: whoever reads then, and whoever compacts next, finds every row once."""

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from serving.ledger.segment import Segment
from tests.serving.ledger.conftest import NOON, Log, bird, tide

ROOT = Path(__file__).parents[3]
AFTERWARDS = NOON + timedelta(days=2)


def rows(log: Log, *, fresh: bool) -> Counter[str]:
    return Counter(log.ids("birds", fresh=fresh) + log.ids("tides", fresh=fresh))


def prepare(log: Log) -> Counter[str]:
    """A day with parts to merge, two segments to compact, one of them damaged, and one that a dead worker left."""
    log.write("w0-1-000001", bird("early-1"), tide("early-2"))
    log.write("w0-1-000002", bird("early-3"))
    log.compact()
    log.write("w0-1-000003", bird("a"), bird("b", NOON + timedelta(days=1)), tide("c"))
    damaged = log.write("w0-1-000004", bird("d"), bird("lost"), bird("e"))
    data = bytearray(damaged.read_bytes())
    data[data.index(b"lost")] ^= 1
    damaged.write_bytes(data)
    dead = log.begin("w1-1-000001")
    dead.append(bird("f"))
    os.write(dead._handle, b"\x40\x00\x00\x00torn")
    os.close(dead._handle)
    return Counter(["early-1", "early-2", "early-3", "a", "b", "c", "d", "e", "f"])


@pytest.mark.parametrize("stride", [11, pytest.param(1, marks=pytest.mark.slow)])
def test_a_compactor_killed_before_any_of_its_steps_loses_nothing_and_repeats_nothing(
    tmp_path: Path, stride: int
) -> None:
    start = Log(tmp_path / "start" / "ledger", str(tmp_path / "start" / "predictions"))
    wanted = prepare(start)
    command = [sys.executable, "-m", "tests.serving.ledger.kill_at_each_step", str(tmp_path), str(stride)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120, capture_output=True)

    steps = sorted(int(path.name) for path in tmp_path.iterdir() if path.name != "start")
    assert steps[-1] > 30, "the compactor was expected to change more on the disk"
    for step in steps:
        folder = tmp_path / f"{step}"
        log = replace(start, folder=folder / "ledger", url=str(folder / "predictions"), now=AFTERWARDS)
        assert rows(log, fresh=True) == wanted, f"a reader, killed before step {step}"
        assert log.compact() == 2
        assert rows(log, fresh=False) == wanted, f"killed before step {step}"
        assert log.segments() == []
        assert [path.name for path in (log.folder / "corrupt").iterdir()] == ["w0-1-000004.sealed"]
        assert [Path(file).name.split("-")[0] for file in log.files()] == ["merged", "part", "merged"]


def test_the_damaged_segment_of_this_scene_has_lost_one_entry(log: Log) -> None:
    prepare(log)
    segment = Segment(log.folder / "w0-1-000004.sealed")
    assert len(list(segment.all_whole())) == 2
