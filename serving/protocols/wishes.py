"""What a plain request may ask for beside its rows: reasons for each answer, and a partial answer."""

import difflib
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from serving.column import shown
from serving.errors import BadRequest

MOST_REASONS = 20
_KNOWN = ("reasons", "partial")
_TRUTH = {"true": True, "false": False}


class Wishes(NamedTuple):
    reasons: int = 0
    partial: bool = False


NONE = Wishes()


def in_query(query: bytes) -> Wishes:
    """The wishes in such as `reasons=3&partial=true`. Raises BadRequest."""
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=10)
    except ValueError:
        raise BadRequest("The query of the address cannot be read, expected one like reasons=3&partial=true.") from None
    if len(pairs) != len(dict(pairs)):
        raise BadRequest("The query of the address gives a name twice, expected each once.")
    return wishes({name: _number(text) if name == "reasons" else _TRUTH.get(text, text) for name, text in pairs})


def wishes(given: dict[str, Any], otherwise: Wishes = NONE) -> Wishes:
    """The wishes among these keys and values. Raises BadRequest for an unknown key, or a value that makes no sense."""
    for name in given:
        if name not in _KNOWN:
            near = difflib.get_close_matches(name[:60], _KNOWN, 1)
            hint = f"did you mean `{near[0]}`?" if near else f"expected {' or '.join(_KNOWN)}."
            raise BadRequest(f"{shown(name)} cannot be asked for, {hint}")
    reasons, partial = given.get("reasons", otherwise.reasons), given.get("partial", otherwise.partial)
    if type(reasons) not in (int, float) or reasons not in range(MOST_REASONS + 1):
        raise BadRequest(f"`reasons` is {shown(reasons)}, expected a whole number from 0 to {MOST_REASONS}.")
    if type(partial) is not bool:
        raise BadRequest(f"`partial` is {shown(partial)}, expected true or false.")
    return Wishes(int(reasons), partial)


def _number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text
