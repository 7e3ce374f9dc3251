"""`kill -9` at any moment: every entry whose writing returned is there, and nothing torn is read."""

import os
import random
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serving.ledger.entry import decode_entry
from serving.ledger.header import Header
from serving.ledger.recovery import recover
from serving.ledger.segment import SEALED, Segment
from tests.serving.ledger.conftest import CASES, Log

ROOT = Path(__file__).parents[3]
WRITER = """
import os, struct, sys
from pathlib import Path
from configs.serving import GatewayLog
from serving.ledger.entry import encode_entry
from serving.ledger.header import Header
from serving.ledger.ledger import Ledger
from serving.records import Part, Role, Rows

folder, worker, header = Path(sys.argv[1]), sys.argv[2], Header.model_validate_json(sys.argv[3])
ledger = Ledger(folder, worker, header.cases, GatewayLog(segment_mb=0.3, sync_ms=10))
number = 0
while True:
    count = 1 if number % 200 else 2000
    rows = Rows(count, [[0.5 + number] * count], [None] * count, [None] * count)
    part = Part(None, "1", Role.champion, [1.5] * count, ())
    ledger.record(encode_entry("tides", 1, f"{worker}-{number}", 1.0, 2.0, rows, [part], None))
    os.write(1, struct.pack("<I", number))  # the answer leaves
    number += 1
"""


class Writer:
    """A process that answers as fast as it can, and what it has answered so far."""

    def __init__(self, log: Log, name: str) -> None:
        self._name = name
        command = [
            sys.executable,
            "-c",
            WRITER,
            str(log.folder),
            name,
            Header(ledger="", cases=CASES).model_dump_json(),
        ]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert self._process.stdout
        self._answers = self._process.stdout
        os.set_blocking(self._answers.fileno(), False)
        self._sent = bytearray()

    def listen(self) -> bool:
        """Take what it answered meanwhile; tells whether it has begun."""
        self._sent += self._answers.read() or b""
        return bool(self._sent)

    def kill(self) -> set[str]:
        """The requests it answered in its life."""
        self._process.send_signal(signal.SIGKILL)
        assert self._process.wait(10) == -signal.SIGKILL
        self.listen()
        self._answers.close()
        return {f"{self._name}-{number}" for (number,) in struct.iter_unpack("<I", self._sent)}


def kill_and_count(log: Log, workers: int, seconds: float) -> int:
    """Run writers, kill them, and compare what they answered with what is in the log; gives the answers."""
    writers = [Writer(log, f"w{number}") for number in range(workers)]
    while not all(writer.listen() for writer in writers):
        time.sleep(0.001)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for writer in writers:
            writer.listen()
        time.sleep(0.001)
    answered = set[str]().union(*(writer.kill() for writer in writers))
    logged = whole_ids(log)
    assert len(logged) == len(set(logged))
    assert answered <= set(logged), "an answered entry is missing"
    assert len(set(logged) - answered) <= workers, "more was logged than was under way"
    return len(answered)


def whole_ids(log: Log) -> list[str]:
    recover(log.folder)
    ids = []
    for sealed in sorted(log.folder.glob(f"*{SEALED}")):
        segment = Segment(sealed)
        ids += [decode_entry(payload, CASES).request_id for payload in segment]
        assert segment.left_out == 0, "something torn is left"
    return ids


def test_a_killed_writer_loses_nothing_that_it_answered(tmp_path: Path) -> None:
    chance = random.Random(7)
    for trial in range(3):
        log = Log(tmp_path / f"{trial}", "")
        assert kill_and_count(log, workers=1, seconds=chance.uniform(0.05, 0.3)) > 100


@pytest.mark.slow
def test_writers_killed_again_and_again_lose_nothing(tmp_path: Path) -> None:
    chance = random.Random(11)
    answered = 0
    for trial in range(12):
        answered += kill_and_count(Log(tmp_path / f"{trial}", ""), workers=2, seconds=chance.uniform(0.01, 0.4))
    assert answered > 20_000
