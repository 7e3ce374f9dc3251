"""Files are written whole or not at all: when the writer fails, when the disk is full, when it is done again."""

import errno
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.__main__ import REFUSED
from tasks.errors import DiskFull
from tasks.files import sha256, write_text, write_whole

from .conftest import Library, loans

ROOT = Path(__file__).parents[2]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_with_the_folders_it_needs_and_can_be_read_by_others(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.txt"
    write_text(path, "grün\n")
    assert path.read_bytes() == "grün\n".encode()
    assert path.stat().st_mode & 0o777 == 0o644
    assert names(path.parent) == ["file.txt"]


def test_a_writer_that_fails_leaves_the_file_of_before_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "before")

    def half(part: Path) -> None:
        part.write_text("hal")
        raise ValueError("the writer gave up")

    with pytest.raises(ValueError, match="the writer gave up"):
        write_whole(path, half)
    assert path.read_text() == "before"
    assert names(tmp_path) == ["file.txt"]


def test_a_reader_sees_the_file_of_before_until_the_other_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "before")
    seen = []

    def slowly(part: Path) -> None:
        part.write_text("aft")
        seen.append(path.read_text())
        part.write_text("after")

    write_whole(path, slowly)
    assert (seen, path.read_text()) == (["before"], "after")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_every_way_of_having_no_room_is_a_full_disk(tmp_path: Path, number: int) -> None:
    def refuse(part: Path) -> None:
        raise OSError(number, os.strerror(number))

    with pytest.raises(DiskFull, match=rf"file\.txt could not be written: {os.strerror(number)}.*is as it was before"):
        write_whole(tmp_path / "file.txt", refuse)
    assert names(tmp_path) == []


def test_another_failure_of_the_system_is_not_called_a_full_disk(tmp_path: Path) -> None:
    def refuse(part: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with pytest.raises(PermissionError, match="Permission denied"):
        write_whole(tmp_path / "file.txt", refuse)
    assert names(tmp_path) == []


def test_the_digest_of_a_file_is_the_sha256_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert sha256(tmp_path / "empty") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def run_ingest(library: Library, most_bytes: int | None) -> subprocess.CompletedProcess[str]:
    """`python -m tasks ingest loans` in a process whose files may not grow beyond `most_bytes`."""

    def limit() -> None:
        if most_bytes is not None:
            # Python ignores SIGXFSZ of its own accord, so that a write answers EFBIG as a full disk answers ENOSPC.
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    return subprocess.run(
        [sys.executable, "-B", "-m", "tasks", "ingest", "loans"],
        cwd=ROOT,
        env={**os.environ, "EVERGREEN_ROOT": str(library.root), "EVERGREEN_PLACE": "local"},
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_full_disk_stops_ingestion_in_plain_words_and_another_run_completes_it(library: Library) -> None:
    (library.root / "params.yaml").touch()
    (library.root / "configs" / "places").mkdir()
    place = Path("configs") / "places" / "local.yaml"
    (library.root / place).write_bytes((ROOT / place).read_bytes())
    # The second week is a hundred times as large as the first: one fits under the limit, the other does not.
    library.exports(loans("2012-12-17", 7), "first")
    library.exports(loans("2012-12-24", 7, a_day=400), "second")
    (library.export / "all.parquet").unlink()
    library.order("2012-12-31")

    stopped = run_ingest(library, most_bytes=12_000)
    assert stopped.returncode == REFUSED, stopped.stderr
    assert stopped.stderr.startswith("DiskFull: ")
    assert "2012-W52.parquet could not be written" in stopped.stderr
    assert "run the same command again" in stopped.stderr
    assert len(stopped.stderr.splitlines()) == 1
    assert names(library.files.deliveries) == ["2012-W51.parquet"]
    before = library.state()

    completed = run_ingest(library, most_bytes=None)
    assert completed.returncode == 0, completed.stderr
    assert names(library.files.deliveries) == ["2012-W51.parquet", "2012-W52.parquet"]
    assert library.state()["2012-W51.parquet"] == before["2012-W51.parquet"]
    assert len(library.batch("2012-W52")) == 2800
