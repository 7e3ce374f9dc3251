"""draw: which side of a split an entity is on; the same on every machine, and for good; pure."""

import math
from collections.abc import Iterable
from hashlib import blake2b

_WHOLE = 2**64


def to_challenger(salt: str, unit: str, share: float) -> bool:
    """Whether the challenger, who has `share` (0 to 1) of all units, answers this one: an entity, or a request id.

    Raising the share only ever adds units; another `salt` (at most 64 bytes) draws them anew.
    """
    # JSON can carry half a surrogate pair: an odd name, and an entity all the same.
    digest = blake2b(unit.encode("utf-8", "surrogatepass"), key=salt.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * _WHOLE


def each_to_challenger(salt: str, units: Iterable[str], share: float) -> list[bool]:
    """`to_challenger` for many units, in half the time."""
    if share >= 1:
        return [True for _ in units]
    begun = blake2b(key=salt.encode(), digest_size=8).copy
    below = math.ceil(share * _WHOLE).to_bytes(8, "big")
    drawn = []
    for unit in units:
        one = begun()
        one.update(unit.encode("utf-8", "surrogatepass"))
        drawn.append(one.digest() < below)
    return drawn


def in_shadow(salt: str, unit: str, share: float) -> bool:
    """Whether the challenger scores in the shadow what this unit asks; drawn apart from whom it answers."""
    return share == 1 or to_challenger(salt, f"shadow {unit}", share)
