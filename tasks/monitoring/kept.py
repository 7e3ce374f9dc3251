"""Models that monitors fit for themselves, kept with a record of what they are: a damaged one is fitted anew."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from tasks.errors import ArtifactError
from tasks.features.artifact import MODEL_FILE, load_model
from tasks.records import Record

log = logging.getLogger(__name__)


class KeptModel(Record):
    """What a model is that lies beside this record."""

    model_sha256: str


Kept = TypeVar("Kept", bound=KeptModel)


def recall(kind: type[Kept], path: Path, wanted: Callable[[Kept], bool]) -> tuple[Kept, Any] | None:
    """The record at `path`, and its model; None where there is none, it is not `wanted`, or its files are damaged.

    Whoever asks can fit the model again, so damage is said in the log and stops nobody.
    """
    if not path.is_file():
        return None
    try:
        kept = kind.read(path)
        return (kept, load_model(path.with_name(MODEL_FILE), kept.model_sha256)) if wanted(kept) else None
    except (ArtifactError, ValidationError, UnicodeDecodeError) as error:
        log.warning("%s, and the model beside it, cannot be used and are made anew: %s", path, error)
        return None
