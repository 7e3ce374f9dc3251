"""Where the log lies before it is Parquet and after, and the files beside it that are made once."""

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

from configs.project import Project


def segments_folder(project: Project) -> Path:
    """Where the workers of this machine write."""
    return project.stores / "ledger"


def predictions_url(project: Project) -> str:
    """Where the Parquet files land."""
    url = project.place.stores.predictions
    return url if "://" in url else str(project.root / url)


def ledger_id(folder: Path) -> str:
    """The name of this folder of segments among all that write to one store."""
    return made_once(folder / "id", 4)


def made_once(path: Path, random_bytes: int) -> str:
    """The text of `path`: random, made by whoever asks first, then the same for all; only its owner may read it."""
    with contextlib.suppress(FileNotFoundError):
        return path.read_text(encoding="ascii").strip()
    handle, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        os.write(handle, secrets.token_hex(random_bytes).encode())
        os.fsync(handle)
        with contextlib.suppress(FileExistsError):
            os.link(part, path)
    finally:
        os.close(handle)
        Path(part).unlink()
    return path.read_text(encoding="ascii").strip()
