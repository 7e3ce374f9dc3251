"""Where the outcomes of a case lie: a local folder, or beside the predictions at an fsspec URL, with a local copy."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import fsspec

from configs.project import Project
from tasks.errors import StoreUnreachable
from tasks.files import write_text, write_whole
from tasks.outcomes.state import State

STATE = "state.json"


class Shelf:
    """The files of one case's outcomes, by their names relative to `folder`."""

    def __init__(self, project: Project, case: str) -> None:
        self.folder = project.stores / "outcomes" / case
        url = project.place.stores.predictions
        self._url = f"{url}/outcomes/{case}" if "://" in url else None
        if self._url:
            self._files, self._root = fsspec.url_to_fs(self._url)

    @property
    def scratch(self) -> Path:
        """For what is half done; never read by another run."""
        return self.folder / "scratch"

    def state(self) -> State | None:
        """What the store holds; None before the first run. Raises StoreUnreachable."""
        if self._url:
            text = self._remote(STATE)
            return State.model_validate_json(text) if text is not None else None
        path = self.folder / STATE
        return State.read(path) if path.is_file() else None

    def fetch(self, name: str) -> Path:
        """The file, here. Raises StoreUnreachable."""
        path = self.folder / name
        if self._url and not path.is_file():
            content = self._remote(name)
            if content is None:
                raise self._unreachable(f"{name} is not there")
            write_whole(path, lambda part: part.write_bytes(content))
        return path

    def stamp(self, name: str) -> str:
        """Size and moment of the file here, empty if it is not: another content under the same name has another."""
        try:
            found = (self.folder / name).stat()
        except FileNotFoundError:
            return ""
        return f"{found.st_size} {found.st_mtime_ns}"

    def keep(self, made: Path, name: str) -> None:
        """Move a finished file to its place. Raises StoreUnreachable or DiskFull."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        made.replace(path)
        if self._url:
            with self._reaching():
                self._files.makedirs(f"{self._root}/{name}".rpartition("/")[0], exist_ok=True)
                self._files.put_file(str(path), f"{self._root}/{name}")

    def commit(self, state: State) -> None:
        """From here on `state` is what the store holds."""
        write_text(self.folder / STATE, state.model_dump_json() + "\n")
        if self._url:
            with self._reaching():
                self._files.pipe_file(f"{self._root}/{STATE}", state.model_dump_json().encode())

    def sweep(self, state: State | None) -> None:
        """Remove files that do not count: those of a run that was killed, and those that others replaced."""
        counts = state.files if state else frozenset[str]()
        for path in self.folder.rglob("*.parquet"):
            if str(path.relative_to(self.folder)) not in counts:
                path.unlink(missing_ok=True)
                if self._url:
                    self._forget(str(path.relative_to(self.folder)))

    def _forget(self, name: str) -> None:
        with self._reaching(), contextlib.suppress(FileNotFoundError):
            self._files.rm_file(f"{self._root}/{name}")

    def _remote(self, name: str) -> bytes | None:
        with self._reaching(), contextlib.suppress(FileNotFoundError):
            self._files.invalidate_cache()
            return bytes(self._files.cat_file(f"{self._root}/{name}"))
        return None

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # each vendor raises its own
            raise self._unreachable(str(error) or type(error).__name__) from error

    def _unreachable(self, cause: str) -> StoreUnreachable:
        return StoreUnreachable("The store of outcomes", str(self._url), cause, "Nothing was changed; run it again.")
