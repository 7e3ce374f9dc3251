"""A segment: one append-only file of a living worker, sealed when it is large or old."""

import errno
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

from serving.ledger.errors import LogUnsynced, LogUnwritable, SegmentAltered
from serving.ledger.frames import HEAD, Frames, frame
from serving.ledger.header import Header

log = logging.getLogger(__name__)

_pack = HEAD.pack

BEGUN, OPEN, SEALED = ".begun", ".open", ".sealed"
"""Being made and not yet used; being written; whole, and waiting to become Parquet."""


class SegmentWriter:
    """Appends entries to one file, which it holds locked for as long as it lives."""

    def __init__(self, folder: Path, name: str, header: Header) -> None:
        """Begin the segment `name` in `folder`. Raises LogUnwritable."""
        self.path = folder / f"{name}{OPEN}"
        self.begun = time.monotonic()
        self.usable = True
        """Whether every failed entry could be cut off."""
        first = frame(header.model_dump_json().encode())
        try:
            self._handle = _begin(self.path, first)
        except OSError as error:
            raise LogUnwritable(_worded(error)) from error
        self.size = self._empty = len(first)
        self._synced = 0

    @property
    def has_entries(self) -> bool:
        return self.size > self._empty

    @property
    def is_gone(self) -> bool:
        """Whether somebody removed the file: what is appended to it is lost."""
        return os.fstat(self._handle).st_nlink == 0

    @property
    def sync_needed(self) -> bool:
        """Whether the disk has not been asked about all of it."""
        return self.size > self._synced

    def append(self, *payloads: bytes) -> None:
        """Hand `payloads` to the kernel before returning. Raises LogUnwritable, and then nothing of them is kept."""
        # As `frame` does; a call is a tenth of the cost.
        data = b"".join([part for payload in payloads for part in (_pack(len(payload), crc32(payload)), payload)])
        try:
            written = os.write(self._handle, data)
        except OSError as error:
            self._take_back()
            raise LogUnwritable(_worded(error)) from error
        if written != len(data):
            self._take_back()
            raise LogUnwritable(f"only {written} of {len(data)} bytes found room")
        self.size += written

    def _take_back(self) -> None:
        try:
            os.ftruncate(self._handle, self.size)
        except OSError:
            log.exception("%s: a torn entry could not be cut off; the segment is not used any more", self.path.name)
            self.usable = False

    def sync(self) -> None:
        """Have the disk confirm what was appended. Raises LogUnsynced."""
        self._synced = self.size
        try:
            os.fdatasync(self._handle)
        except OSError as error:
            raise LogUnsynced(self.path.name, _worded(error)) from error

    def seal(self) -> None:
        """End the segment: compaction may take it. One without entries is removed. Raises LogUnsynced."""
        try:
            if self.has_entries and self.sync_needed:
                self.sync()
        finally:
            try:
                finish(self.path, empty=not self.has_entries)
            except OSError:
                log.exception("%s could not be renamed; it is recovered like that of a dead worker", self.path.name)
            os.close(self._handle)


def _begin(path: Path, first: bytes) -> int:
    """A locked file with its first frame; it gets its name last, so that whoever sees the name finds the lock held."""
    begun = path.with_suffix(BEGUN)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(begun, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _write_all(handle, first)
        begun.rename(path)
        sync_folder(path.parent)
    except OSError:
        os.close(handle)
        begun.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise
    return handle


def _write_all(handle: int, data: bytes) -> None:
    written = os.write(handle, data)
    if written != len(data):
        raise OSError(errno.ENOSPC, f"only {written} of {len(data)} bytes found room")


def finish(path: Path, *, empty: bool) -> None:
    """Seal the open segment at `path`, or remove it."""
    if empty:
        path.unlink()
    else:
        path.rename(path.with_suffix(SEALED))


def sync_folder(folder: Path) -> None:
    """Have the disk confirm the names in `folder`."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _worded(error: OSError) -> str:
    return error.strerror or str(error)


class Segment:
    """A segment as it is read: its header, and its entries to the first frame that is not whole."""

    def __init__(self, path: Path) -> None:
        """Raises FileNotFoundError, or SegmentAltered if it has no readable header."""
        self.name = path.stem
        data = path.read_bytes()
        self._frames = Frames(data)
        first = next(iter(self._frames), None)
        if first is None:
            raise SegmentAltered(path.name, "its first frame is not whole")
        try:
            self.header = Header.model_validate_json(first)
        except ValueError as error:
            raise SegmentAltered(path.name, "its first frame is not a header of format 1") from error
        self.damaged = False

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._frames)

    @property
    def left_out(self) -> int:
        """Bytes after the last entry that was given."""
        return self._frames.left_out

    def all_whole(self) -> Iterator[bytes]:
        """Every whole entry, those behind damage too; afterwards `damaged` says if there was any."""
        yield from self._frames
        while self.left_out:
            self.damaged = True
            self._frames.skip_damage()
            yield from self._frames


def read_frames(path: Path) -> Frames:
    """The payloads of the file, header first; stops at the first that is torn or altered, and says how much it left."""
    return Frames(path.read_bytes())
