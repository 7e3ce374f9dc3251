"""What of an entry may be kept: columns that are only hashed, and requests that are sampled."""

import hashlib
import os
from pathlib import Path
from typing import Any

import orjson

from serving.ledger.errors import KeyUnusable
from serving.ledger.places import made_once

KEY_VARIABLE = "EVERGREEN_LOG_HASH_KEY"
_LEAST_CHARACTERS = 16
_DIGEST_BYTES = 16


def hash_key(folder: Path) -> bytes:
    """The key from the environment, which several machines can share, or that of `folder`. Raises KeyUnusable."""
    given = os.environ.get(KEY_VARIABLE)
    where = str(folder / "hash.key") if given is None else f"the environment variable {KEY_VARIABLE}"
    text = made_once(folder / "hash.key", 32) if given is None else given
    if len(text) < _LEAST_CHARACTERS:
        raise KeyUnusable(where, f"{len(text)} characters long")
    return hashlib.blake2b(text.encode(), digest_size=32).digest()


def pseudonym(key: bytes, value: Any) -> str | None:
    """A keyed hash of `value`, in hex: the same for the same value, and of no use to whoever lacks the key."""
    if value is None:
        return None
    text = value.encode() if isinstance(value, str) else orjson.dumps(value)
    return hashlib.blake2b(text, key=key, digest_size=_DIGEST_BYTES).hexdigest()


def is_sampled(request_id: str, share: float) -> bool:
    """Whether the rows of a request are kept; the same for all its answers, on every machine."""
    if share >= 1:
        return True
    drawn = hashlib.blake2b(request_id.encode(), digest_size=8).digest()
    return int.from_bytes(drawn, "big") < share * 2**64
