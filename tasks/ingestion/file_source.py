"""Rows from files: CSV or Parquet, one or a folder of them, at any fsspec URL."""

from collections.abc import Callable
from functools import partial
from typing import IO, Any

import fsspec
import pandas as pd

from configs.errors import EvergreenError
from configs.sources import FileSource
from tasks.errors import SourceUnreadable


def read_files(source: FileSource, texts: tuple[str, ...]) -> pd.DataFrame:
    """All rows of all files; the columns `texts` stay text. Raises SourceUnreadable."""
    # A CSV has no types: without being told, pandas would make the number 7 of the text 007.
    as_csv = partial(pd.read_csv, dtype=dict.fromkeys(texts, "str"))
    read = pd.read_parquet if source.format == "parquet" else as_csv
    try:
        found = _paths(source)
        frames = []
        for file in fsspec.open_files(found, mode="rb"):
            with file as content:
                frames.append(_named(read, content, file.path))
        return pd.concat(frames, ignore_index=True)
    except EvergreenError:
        raise
    except Exception as error:
        # Each kind of store has its own errors; botocore's are not even OSErrors.
        raise SourceUnreadable(source.url, str(error), "Check the address and the credentials.") from error


def _paths(source: FileSource) -> list[str]:
    filesystem, path = fsspec.url_to_fs(source.url)
    found = sorted(filesystem.glob(f"{path}/**/*.{source.format}")) if filesystem.isdir(path) else filesystem.glob(path)
    if not found:
        raise SourceUnreadable(source.url, f"there is no {source.format} file", "Check the address, or export first.")
    return [filesystem.unstrip_protocol(name) for name in sorted(found)]


def _named(read: Callable[..., Any], content: IO[bytes], path: str) -> pd.DataFrame:
    try:
        frame: pd.DataFrame = read(content)
    except (ValueError, OSError) as error:
        # pandas' and pyarrow's parse errors are ValueErrors that do not say which file they are about.
        raise SourceUnreadable(path, f"it is damaged or of another format ({error})", "Export it again.") from error
    return frame
