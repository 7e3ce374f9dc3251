"""File systems that fail, for `fsspec.register_implementation`."""

from typing import Any, ClassVar

from fsspec.implementations.memory import MemoryFileSystem


class Flaky(MemoryFileSystem):  # type: ignore[misc]
    """A store that is no object store, remembers its listings, can be out of reach, and shows half-written files."""

    protocol = "flaky"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    down: ClassVar[bool] = False
    lying: ClassVar[bool] = False
    asked: ClassVar[list[str]] = []
    listings: ClassVar[dict[str, Any]] = {}

    def _reach(self, what: str) -> None:
        type(self).asked.append(what)
        if type(self).down:
            raise ConnectionResetError("the wire is cut")

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(MemoryFileSystem._strip_protocol(path.removeprefix("flaky://")))

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> Any:
        self._reach(f"ls {path}")
        if path not in type(self).listings:
            type(self).listings[path] = super().ls(path, detail=True, **kwargs)
        return type(self).listings[path]

    def invalidate_cache(self, path: str | None = None) -> None:
        type(self).listings.clear()

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        self._reach(f"pipe {path}")
        super().pipe_file(path, value[:-1] if type(self).lying else value, mode=mode, **kwargs)

    def mv(self, path1: str, path2: str, **kwargs: Any) -> None:
        self._reach(f"mv {path1} {path2}")
        super().mv(path1, path2, **kwargs)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        self._reach(f"cat {path}")
        return bytes(super().cat_file(path, start=start, end=end, **kwargs))
