"""The door to where the prediction log lies as Parquet: a local folder, or any fsspec URL."""

import contextlib
import io
import os
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import IO

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from serving.ledger.segment import sync_folder
from tasks.errors import StoreUnreachable

_WHOLE = {"abfs", "abfss", "adl", "az", "gcs", "gs", "memory", "oci", "oss", "s3", "s3a"}
"""Protocols of object stores: a file is there whole when it is there at all."""
_SMALL_BYTES = 1_000_000
"""A file up to this size is kept in memory while it is read, a larger one on disk."""


class Store:
    """`<url>/case=<case>/date=<YYYY-MM-DD>/<file>`; a file appears whole, and one of the log is never changed."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._files, self._root = fsspec.url_to_fs(url)
        protocol = self._files.protocol
        self._whole = not _WHOLE.isdisjoint((protocol,) if isinstance(protocol, str) else protocol)

    def beside(self, folder: str) -> "Store":
        """The same in a folder of this one."""
        return Store(f"{self._url.rstrip('/')}/{folder}")

    def cases(self) -> list[str]:
        """Cases that have rows."""
        return sorted(name.removeprefix("case=") for name in self._list(self._root) if name.startswith("case="))

    def days(self, case: str) -> list[date]:
        """Days on which `case` has rows."""
        names = [name for name in self._list(f"{self._root}/case={case}") if name.startswith("date=")]
        return sorted(date.fromisoformat(name.removeprefix("date=")) for name in names)

    def files(self, case: str, day: date) -> dict[str, int]:
        """The Parquet files of a day and their sizes."""
        listed = self._list(self._folder(case, day))
        return {name: size for name, size in sorted(listed.items()) if name.endswith(".parquet")}

    def put(self, case: str, day: date, name: str, data: bytes) -> None:
        """Write a file, whole or not at all, and read it back. Raises StoreUnreachable."""
        path = f"{self._folder(case, day)}/{name}"
        with self._reaching():
            if isinstance(self._files, LocalFileSystem):
                _write_local(Path(path), Path(self._root), data)
            elif self._whole:
                self._files.pipe_file(path, data)
            else:
                self._write_and_move(path, data)
        if self.get(case, day, name) != data:
            raise self._unreachable(f"{path} is not what was written there")

    def _write_and_move(self, path: str, data: bytes) -> None:
        folder, name = path.rsplit("/", 1)
        self._files.makedirs(folder, exist_ok=True)
        self._files.pipe_file(f"{folder}/.{name}.part", data)
        self._files.mv(f"{folder}/.{name}.part", path)

    def get(self, case: str, day: date, name: str) -> bytes:
        """The content of a file. Raises FileNotFoundError or StoreUnreachable."""
        with self._reaching():
            return bytes(self._files.cat_file(f"{self._folder(case, day)}/{name}"))

    def open(self, case: str, day: date, name: str) -> IO[bytes]:
        """A file to read from, which stays whole if it is removed meanwhile. Raises as `get` does."""
        path = f"{self._folder(case, day)}/{name}"
        with self._reaching():
            if isinstance(self._files, LocalFileSystem) and self._files.size(path) > _SMALL_BYTES:
                return Path(path).open("rb")
            data = self._files.cat_file(path)
        if len(data) <= _SMALL_BYTES:
            return io.BytesIO(data)
        spooled = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        spooled.write(data)
        spooled.seek(0)
        return spooled

    def schema(self, case: str, day: date, name: str) -> pa.Schema:
        """The columns of a file. Raises FileNotFoundError or StoreUnreachable."""
        with self._reaching(), self._files.open(f"{self._folder(case, day)}/{name}", "rb") as file:
            return pq.read_schema(file)

    def rows(self, case: str, day: date, name: str) -> int:
        """How many rows a file says it has. Raises FileNotFoundError or StoreUnreachable."""
        with self._reaching(), self._files.open(f"{self._folder(case, day)}/{name}", "rb") as file:
            return int(pq.read_metadata(file).num_rows)

    def metadata(self, case: str, day: date, name: str) -> dict[bytes, bytes]:
        """What a file says about itself. Raises FileNotFoundError or StoreUnreachable."""
        return dict(self.schema(case, day, name).metadata or {})

    def remove(self, case: str, day: date, name: str) -> None:
        """Remove a file, if it is still there."""
        with self._reaching(), contextlib.suppress(FileNotFoundError):
            self._files.rm_file(f"{self._folder(case, day)}/{name}")

    def remove_day(self, case: str, day: date) -> None:
        """Remove all of a day."""
        with self._reaching(), contextlib.suppress(FileNotFoundError):
            self._files.rm(self._folder(case, day), recursive=True)

    def _folder(self, case: str, day: date) -> str:
        return f"{self._root}/case={case}/date={day.isoformat()}"

    def _list(self, folder: str) -> dict[str, int]:
        with self._reaching():
            self._files.invalidate_cache()
            try:
                listed = self._files.ls(folder, detail=True)
            except FileNotFoundError:
                return {}
        return {found["name"].rstrip("/").rsplit("/", 1)[-1]: found["size"] or 0 for found in listed}

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except Exception as error:  # each vendor raises its own
            raise self._unreachable(str(error) or type(error).__name__) from error

    def _unreachable(self, cause: str) -> StoreUnreachable:
        remedy = "Nothing is lost: segments wait where they were written, and are tried again."
        return StoreUnreachable("The store of the prediction log", self._url, cause, remedy)


def _write_local(path: Path, root: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    for folder in path.parents:
        sync_folder(folder)
        if folder == root.parent:
            break
