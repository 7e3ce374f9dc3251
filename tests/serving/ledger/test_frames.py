"""A reader tells a whole frame from a torn one, wherever it was torn."""

import zlib

import pytest

from serving.ledger.frames import HEAD, Frames, frame, next_frame

THREE = [b'{"id":"a"}', b'{"id":"bb"}', b'{"id":"ccc"}']
DATA = b"".join(map(frame, THREE))
LAST = len(frame(THREE[0]) + frame(THREE[1]))


def test_a_frame_is_its_length_and_its_crc_32_in_little_endian_and_then_the_payload() -> None:
    assert frame(b"abc") == b"\x03\x00\x00\x00" + zlib.crc32(b"abc").to_bytes(4, "little") + b"abc"


def test_whole_frames_come_back_in_their_order() -> None:
    frames = Frames(DATA)
    assert list(frames) == THREE
    assert frames.left_out == 0


@pytest.mark.parametrize("length", range(LAST, len(DATA)))
def test_a_frame_cut_anywhere_is_left_out_and_those_before_it_are_not(length: int) -> None:
    frames = Frames(DATA[:length])
    assert list(frames) == THREE[:2]
    assert frames.left_out == length - LAST


@pytest.mark.parametrize("bit", range(8 * (len(DATA) - LAST)))
def test_a_frame_with_any_one_bit_flipped_is_left_out(bit: int) -> None:
    data = bytearray(DATA)
    data[LAST + bit // 8] ^= 1 << bit % 8
    frames = Frames(bytes(data))
    assert list(frames) == THREE[:2]
    assert frames.left_out == len(DATA) - LAST


def test_zeros_that_a_power_cut_left_are_no_empty_frames() -> None:
    frames = Frames(DATA + bytes(4096))
    assert list(frames) == THREE
    assert frames.left_out == 4096


def test_whole_frames_behind_damage_are_found() -> None:
    data = bytearray(DATA)
    data[len(frame(THREE[0])) + HEAD.size + 3] ^= 0x10
    frames = Frames(bytes(data))
    assert list(frames) == THREE[:1]
    assert frames.skip_damage()
    assert list(frames) == THREE[2:]
    assert frames.left_out == 0


def test_behind_a_torn_end_nothing_is_found() -> None:
    frames = Frames(DATA[:-1])
    assert list(frames) == THREE[:2]
    assert not frames.skip_damage()
    assert frames.left_out == 0


def test_text_inside_an_entry_does_not_pass_for_a_frame() -> None:
    forged = frame(b'{"id":"forged"}')
    assert next_frame(forged, 0) == 0
    # JSON escapes the zero bytes that every length has.
    assert next_frame(forged.replace(b"\x00", b"\\u0000"), 0) is None
