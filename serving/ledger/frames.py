"""The form of a segment: frames of length, CRC-32 and payload, so that a torn frame is told from a whole one."""

import struct
from collections.abc import Iterator
from zlib import crc32

HEAD = struct.Struct("<II")
_START_OF_AN_ENTRY = b'{"'
"""How every payload begins. JSON escapes control characters, so no text inside an entry can pass for a frame: the
last byte of a length below 16 MiB is zero, and longer lengths that are printable exceed any segment."""


def frame(payload: bytes) -> bytes:
    """`payload` as it is written."""
    return HEAD.pack(len(payload), crc32(payload)) + payload


def payload_at(data: bytes, start: int) -> bytes | None:
    """The payload of the frame at `start`; None if no whole one is there."""
    body = start + HEAD.size
    if body > len(data):
        return None
    length, checksum = HEAD.unpack_from(data, start)
    # Blocks that a power cut left unwritten are zeros, and the CRC of nothing is zero.
    if not length or body + length > len(data):
        return None
    payload = data[body : body + length]
    return payload if crc32(payload) == checksum else None


def head_at(data: bytes, start: int) -> tuple[int, int] | None:
    """Where the frame at `start` ends, and its checksum; None if it reaches beyond `data`.

    Whether the payload is the one it was written for is not looked at.
    """
    body = start + HEAD.size
    if body > len(data):
        return None
    length, checksum = HEAD.unpack_from(data, start)
    return (body + length, checksum) if length and body + length <= len(data) else None


class Frames:
    """The payloads from the start of `data` to the first frame that is not whole; `left_out` bytes come after it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.end = 0
        """Where the whole frames end that were given so far."""

    def __iter__(self) -> Iterator[bytes]:
        while (payload := payload_at(self._data, self.end)) is not None:
            self.end += HEAD.size + len(payload)
            yield payload

    @property
    def left_out(self) -> int:
        return len(self._data) - self.end

    def skip_damage(self) -> bool:
        """Go on to the next whole frame behind the damage; False if there is none."""
        following = next_frame(self._data, self.end + 1)
        self.end = len(self._data) if following is None else following
        return following is not None


def next_frame(data: bytes, start: int) -> int | None:
    """Where the first whole frame at or after `start` begins."""
    found = data.find(_START_OF_AN_ENTRY, start + HEAD.size)
    while found >= 0:
        if payload_at(data, found - HEAD.size) is not None:
            return found - HEAD.size
        found = data.find(_START_OF_AN_ENTRY, found + 1)
    return None
