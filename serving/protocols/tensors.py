"""Tensors of the Open Inference Protocol: from JSON or raw little-endian bytes, and back.

Everything a client claims about sizes is checked against what it sent before memory is taken for it.
"""

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from serving.column import shown
from serving.errors import BadRequest
from serving.protocols.rows import must_be_few

Values = Sequence[Any]
_NONE = type(None)
_PREFIX = struct.Struct("<I")


class _Kind(NamedTuple):
    """What a datatype of the protocol is in JSON and in raw bytes."""

    json: frozenset[type]
    array: np.dtype[Any] = np.dtype("O")
    one: struct.Struct = _PREFIX
    """For a single value, where making an array takes longer than reading it."""
    limits: tuple[int, int] | None = None


def _integers(letter: str) -> _Kind:
    array = np.dtype(f"<{letter}")
    limits = np.iinfo(array)
    return _Kind(frozenset({int, _NONE}), array, struct.Struct(f"<{letter}"), (int(limits.min), int(limits.max)))


def _floats(letter: str) -> _Kind:
    return _Kind(frozenset({float, int, _NONE}), np.dtype(f"<{letter}"), struct.Struct(f"<{letter}"))


_KINDS = {
    "BOOL": _Kind(frozenset({bool, _NONE}), np.dtype("?"), struct.Struct("<?")),
    **{f"INT{8 * 2**power}": _integers(letter) for power, letter in enumerate("bhiq")},
    **{f"UINT{8 * 2**power}": _integers(letter) for power, letter in enumerate("BHIQ")},
    **{f"FP{16 * 2**power}": _floats(letter) for power, letter in enumerate("efd")},
    "BYTES": _Kind(frozenset({str, _NONE})),
}
BYTES = "BYTES"
DATATYPES = tuple(_KINDS)


class Tensors:
    """The inputs of one request, read from front to back."""

    def __init__(self, body: bytes, offset: int, max_rows: int) -> None:
        """Read the raw parts from `body`, where they begin at `offset`."""
        self.columns: dict[str, Values] = {}
        """NaN, null and empty BYTES stand for a missing value."""
        self.datatypes: dict[str, str] = {}
        self.rows = 0
        self._shape: list[int] | None = None
        self._body = body
        self._offset = offset
        self._max_rows = max_rows

    def read(self, inputs: Any) -> None:
        """Take in all inputs. Raises BadRequest or TooLarge."""
        if type(inputs) is not list or not inputs:
            raise BadRequest(f"`inputs` is {shown(inputs)}, expected a list with a tensor for each column.")
        for described in inputs:
            if type(described) is not dict:
                raise BadRequest(f"An input is {shown(described)}, expected an object with name, shape and datatype.")
            name, datatype = described.get("name"), described.get("datatype")
            if type(name) is not str or name in self.columns:
                raise BadRequest(f"An input has the name {shown(name)}, expected a column, each of them once.")
            if type(datatype) is not str or datatype not in _KINDS:
                raise _refused(name, f"has datatype {shown(datatype)}, expected one of {', '.join(_KINDS)}")
            if self._shape is None or described.get("shape") != self._shape:
                self._take_shape(name, described.get("shape"))
            self.datatypes[name] = datatype
            parameters = described.get("parameters")
            if parameters:
                self.columns[name] = self._with_parameters(name, datatype, described, parameters)
            else:
                self.columns[name] = _from_json(name, datatype, described.get("data"), self.rows)
        if self._offset != len(self._body):
            raise BadRequest(f"The body goes on for {len(self._body) - self._offset} bytes after its last input.")

    def _take_shape(self, name: str, shape: Any) -> None:
        if type(shape) is not list or not _is_column(shape):
            raise _refused(name, f"has shape {_shown_shape(shape)}, expected [rows] or [rows, 1]: it is one column")
        must_be_few(shape[0], self._max_rows)
        if self._shape is not None and shape[0] != self.rows:
            raise _refused(name, f"has {shape[0]} rows, expected {self.rows} as the inputs before it")
        self._shape, self.rows = shape, shape[0]

    def _with_parameters(self, name: str, datatype: str, described: dict[str, Any], parameters: Any) -> Values:
        if type(parameters) is not dict:
            raise _refused(name, f"has as parameters {shown(parameters)}, expected an object")
        if "shared_memory_region" in parameters:
            raise _refused(name, "lies in shared memory, which is not read here; send it in the body")
        size = parameters.get("binary_data_size")
        if size is None:
            return _from_json(name, datatype, described.get("data"), self.rows)
        if "data" in described:
            raise _refused(name, "has both `data` and `binary_data_size`, expected one of them")
        left = len(self._body) - self._offset
        if type(size) is not int or not 0 <= size <= left:
            raise _refused(
                name,
                f"says `binary_data_size` is {shown(size)}, but {left} bytes are left in the body (the header "
                "Inference-Header-Content-Length says where the JSON part ends)",
            )
        self._offset += size
        part = self._body[self._offset - size : self._offset]
        return _texts(name, part, self.rows) if datatype == BYTES else _numbers(name, datatype, part, self.rows)


def to_bytes(data: Sequence[Any], datatype: str) -> bytes:
    """Values as the protocol's raw bytes."""
    if datatype == BYTES:
        return b"".join(_PREFIX.pack(len(text)) + text for text in (value.encode() for value in data))
    return np.array(data, dtype=_KINDS[datatype].array).tobytes()


def _refused(name: str, why: str) -> BadRequest:
    return BadRequest(f"Input {shown(name)} {why}.")


def _is_column(shape: list[Any]) -> bool:
    if len(shape) not in (1, 2) or type(shape[0]) is not int or shape[0] < 0:
        return False
    return len(shape) == 1 or (type(shape[1]) is int and shape[1] == 1)


def _shown_shape(shape: Any) -> str:
    return f"[{', '.join(map(shown, shape[:5]))}]" if type(shape) is list else shown(shape)


def _from_json(name: str, datatype: str, data: Any, rows: int) -> Values:
    if type(data) is not list:
        raise _refused(name, f"has as data {shown(data)}, expected a list of {rows} values")
    if data and type(data[0]) is list:
        data = _flat(name, data)
    if len(data) != rows:
        raise _refused(name, f"has {len(data)} values, expected {rows} as its shape says")
    allowed, _, _, limits = _KINDS[datatype]
    if not allowed.issuperset(map(type, data)):
        wrong = next(value for value in data if type(value) not in allowed)
        raise _refused(name, f"of datatype {datatype} holds {shown(wrong)}")
    if limits is not None:
        for value in data:
            if value is not None and not limits[0] <= value <= limits[1]:
                raise _refused(name, f"holds {value}, which is no {datatype}")
    return [value or None for value in data] if datatype == BYTES and "" in data else data


def _flat(name: str, data: list[Any]) -> list[Any]:
    for row in data:
        if type(row) is not list or len(row) != 1:
            raise _refused(name, "has nested data, expected one value in each row of it")
    return [value for (value,) in data]


def _numbers(name: str, datatype: str, part: bytes, rows: int) -> Values:
    _, array, one, _ = _KINDS[datatype]
    if len(part) != rows * array.itemsize:
        expected = f"expected {rows * array.itemsize}: {rows} values of {datatype}"
        raise _refused(name, f"has {len(part)} bytes, {expected}")
    if datatype == "BOOL" and max(part, default=0) > 1:
        raise _refused(name, "of datatype BOOL holds a byte that is neither 0 nor 1")
    if rows != 1:
        return np.frombuffer(part, array)  # type: ignore[return-value] # an array is as good as a sequence
    (value,) = one.unpack(part)
    return [None if value != value else value]  # noqa: PLR0124 - NaN is not itself


def _texts(name: str, part: bytes, rows: int) -> list[str | None]:
    if rows > 1 and part.isascii():
        plain = _alike(part, rows) or _ascii(part, rows)
        if plain is not None:
            return plain
    texts: list[str | None] = []
    end = 0
    for _ in range(rows):
        begin = end + _PREFIX.size
        end = begin + _PREFIX.unpack_from(part, end)[0] if begin <= len(part) else begin
        if end > len(part):
            raise _refused(name, f"ends within its value {len(texts)}, expected {rows} values")
        try:
            texts.append(part[begin:end].decode() or None)
        except UnicodeDecodeError:
            raise _refused(name, f"is not text in UTF-8 in its value {len(texts)}") from None
    if end != len(part):
        raise _refused(name, f"goes on for {len(part) - end} bytes after its {rows} values")
    return texts


def _alike(part: bytes, rows: int) -> list[str | None] | None:
    """Texts in ASCII that are all of one length, such as codes and times; None if they are not."""
    size = len(part) // rows - _PREFIX.size
    if size < 1 or rows * (_PREFIX.size + size) != len(part):
        return None
    table = np.frombuffer(part, np.uint8).reshape(rows, _PREFIX.size + size)
    if not (table[:, : _PREFIX.size] == np.frombuffer(_PREFIX.pack(size), np.uint8)).all():
        return None
    text = table[:, _PREFIX.size :].tobytes().decode("ascii")
    return [text[begin : begin + size] for begin in range(0, len(text), size)]


def _ascii(part: bytes, rows: int) -> list[str | None] | None:
    """Texts in ASCII; None if they do not end where the bytes do."""
    text, texts, size_at, prefix, end = part.decode("ascii"), [], _PREFIX.unpack_from, _PREFIX.size, 0
    try:
        for _ in range(rows):
            begin = end + prefix
            end = begin + size_at(part, end)[0]
            texts.append(text[begin:end] or None)
    except struct.error:
        return None
    return texts if end == len(part) else None
