"""Who may ask, and how often: keys kept as hashes, and a token bucket for each client."""

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime

from configs.errors import ConfigError
from configs.frozen import Frozen
from serving.errors import NotAllowed, OutOfScope, TooMany
from tasks.files import write_text

Scope = Literal["predict", "admin"]

_PREFIX = "evg_"
_MOST_CLIENTS = 10_000


class Key(Frozen):
    """A key as it is kept: the key itself cannot be made from it."""

    name: str
    sha256: str
    """Of the key. It has 256 random bits, so that no slow hash is needed against guessing."""
    scopes: tuple[Scope, ...]
    created_at: AwareDatetime


class Keys(Frozen):
    """Every key of a gateway, as its file holds them."""

    keys: tuple[Key, ...] = ()

    @classmethod
    def read(cls, path: Path) -> "Keys":
        """The keys in `path`; none if there is no such file yet. Raises ConfigError."""
        if not path.exists():
            return cls()
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ConfigError(f"{path.name} holds no keys as `evergreen keys` writes them; restore it.") from error

    def with_new(self, name: str, scopes: tuple[Scope, ...], at: AwareDatetime) -> tuple["Keys", str]:
        """These keys and one more, and the key itself, which is shown once. Raises ConfigError for a name in use."""
        if any(key.name == name for key in self.keys):
            raise ConfigError(f"There is a key named `{name}` already; remove it first, or choose another name.")
        key = _PREFIX + secrets.token_urlsafe(32)
        kept = Key(name=name, sha256=_digest(key.encode()), scopes=scopes, created_at=at)
        return Keys(keys=(*self.keys, kept)), key

    def without(self, name: str) -> "Keys":
        """These keys less one. Raises ConfigError if it is not among them."""
        if all(key.name != name for key in self.keys):
            known = ", ".join(key.name for key in self.keys) or "none"
            raise ConfigError(f"There is no key named `{name}`; there are: {known}.")
        return Keys(keys=tuple(key for key in self.keys if key.name != name))

    def write(self, path: Path) -> None:
        """Write the keys to `path`, whole, for its owner alone."""
        write_text(path, self.model_dump_json(indent=2) + "\n")
        path.chmod(0o600)


class Door:
    """Lets a request in by its key, or anybody where no key is asked for."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._by_digest: dict[str, Key] = {}
        self._seen: tuple[int, int] | None = None
        self.look()

    @property
    def locked(self) -> bool:
        return self._path is not None

    def look(self) -> None:
        """Read the keys again if their file has changed; called once a second."""
        if self._path is None:
            return
        stat = self._path.stat() if self._path.exists() else None
        seen = (stat.st_mtime_ns, stat.st_size) if stat else None
        if seen != self._seen:
            self._by_digest = {key.sha256: key for key in Keys.read(self._path).keys}
            self._seen = seen

    def let_in(self, headers: Mapping[bytes, bytes], scope: Scope) -> str | None:
        """The name of the key that was shown; None where none is asked for. Raises NotAllowed or OutOfScope."""
        if self._path is None:
            return None
        shown = headers.get(b"x-api-key") or _bearer(headers.get(b"authorization", b""))
        key = self._by_digest.get(_digest(shown)) if shown else None
        if key is None:
            raise NotAllowed
        if scope not in key.scopes and "admin" not in key.scopes:
            raise OutOfScope(scope)
        return key.name


def _bearer(header: bytes) -> bytes:
    scheme, _, token = header.partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else b""


def _digest(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Pace:
    """A token bucket for each client: `per_second` on average, twice that at once."""

    def __init__(self, per_second: float | None) -> None:
        self.per_second = per_second
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, client: str, now: float) -> None:
        """Take one token of `client` at `now` (seconds of a steady clock). Raises TooMany."""
        if self.per_second is None:
            return
        burst = max(1.0, 2 * self.per_second)
        bucket = self._buckets.get(client)
        if bucket is None:
            bucket = self._buckets[client] = _Bucket(burst, now)
            if len(self._buckets) > _MOST_CLIENTS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(client)
        bucket.tokens = min(burst, bucket.tokens + (now - bucket.at) * self.per_second)
        bucket.at = now
        if bucket.tokens < 1:
            raise TooMany(self.per_second, (1 - bucket.tokens) / self.per_second)
        bucket.tokens -= 1
