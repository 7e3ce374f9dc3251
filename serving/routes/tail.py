"""tail: entries added to the prediction log since the last look, whoever wrote them; all of them, or some by chance."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from serving.ledger.frames import HEAD, Frames, head_at, next_frame, payload_at
from serving.ledger.header import Header, LoggedCase
from serving.ledger.segment import OPEN, SEALED

_BYTES_AT_ONCE = 32_000_000
"""Of one segment; what is more is read by the next look."""


Draw = Callable[[int], bool]
"""Whether an entry is wanted, by its checksum: as good as a random number, and known without reading the entry."""


class Added(NamedTuple):
    """Entries that were added to one segment, and what it says they need to be read."""

    payloads: Iterator[tuple[int, bytes]]
    """Checksum and payload."""
    cases: Mapping[str, LoggedCase]


@dataclass
class _Place:
    """How far a segment was read."""

    cases: Mapping[str, LoggedCase]
    offset: int


class Tail:
    """Follows every segment in a folder; begins with what is written from now on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._places: dict[str, _Place | None] = {}
        for name, path in self._segments().items():
            self._places[name] = self._first(path, skip=True)

    def new(self, draw: Draw = lambda _: True) -> Iterator[Added]:
        """Entries added since the last look that are drawn; one that is still on its way comes later."""
        segments = self._segments()
        self._places = {name: place for name, place in self._places.items() if name in segments}
        for name, path in segments.items():
            place = self._places.get(name) or self._first(path, skip=False)
            self._places[name] = place
            if place:
                yield Added(self._read(path, place, draw), place.cases)

    def _segments(self) -> dict[str, Path]:
        return {path.stem: path for end in (OPEN, SEALED) for path in self._folder.glob(f"*{end}")}

    def _first(self, path: Path, *, skip: bool) -> _Place | None:
        """Where to begin; None for a segment without a readable header, which is the compactor's to tell."""
        frames = Frames(_bytes(path, 0))
        first = next(iter(frames), None)
        if first is None:
            return None
        try:
            header = Header.model_validate_json(first)
        except ValidationError:
            return None
        return _Place(header.cases, path.stat().st_size if skip else frames.end)

    def _read(self, path: Path, place: _Place, draw: Draw) -> Iterator[tuple[int, bytes]]:
        data = _bytes(path, place.offset)
        read = 0
        while (head := head_at(data, read)) is not None:
            end, checksum = head
            # The last one is always looked at: behind damage the lengths lead anywhere.
            if draw(checksum) or end + HEAD.size > len(data):
                payload = payload_at(data, read)
                if payload is None:
                    break
                yield checksum, payload
            read = end
        # A frame that is not whole is on its way, unless whole ones come after it.
        following = next_frame(data, read + 1) if read < len(data) else None
        if following is None and not read and len(data) == _BYTES_AT_ONCE:
            following = len(data)  # no frame is that long
        place.offset += read if following is None else following


def _bytes(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(_BYTES_AT_ONCE)
    except FileNotFoundError:  # it was sealed, or became Parquet, since it was listed
        return b""
