"""Where things lie in a protobuf file: byte spans of nested messages, without copying what they hold.

The protobuf library hands out tensors as copies and forgets their place. The runtime uploads weights straight from
the file, so it needs the place.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from functools import cache

Buffer = bytes | mmap.mmap
Span = tuple[int, int]
Path = Sequence[tuple[int, int]]
"""A message inside the outermost one: (field number, which occurrence) at each depth."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class WireFile:
    """A serialised message whose length-delimited fields can be located by path.

    Raises ValueError where the bytes are no message (the caller has parsed them before, so that is not expected).
    """

    def __init__(self, data: Buffer):
        self._data = data
        self._fields = cache(self._scan)

    def locate(self, path: Path) -> Span | None:
        """The bytes (start, end) of the message or string at `path`; None where there is none."""
        span = (0, len(self._data))
        for number, occurrence in path:
            spans = self._fields(span).get(number, ())
            if occurrence >= len(spans):
                return None
            span = spans[occurrence]
        return span

    def count(self, span: Span, number: int) -> int:
        """How often a length-delimited field stands in the message at `span`."""
        return len(self._fields(span).get(number, ()))

    def read(self, span: Span) -> bytes:
        """The bytes at `span`."""
        return bytes(self._data[span[0] : span[1]])

    def _scan(self, span: Span) -> dict[int, list[Span]]:
        """The length-delimited fields of one message, by number, in order."""
        found: dict[int, list[Span]] = {}
        position, end = span
        data = self._data
        while position < end:
            tag, position = _varint(data, position)
            kind = tag & 7
            if kind == _BYTES:
                length, position = _varint(data, position)
                found.setdefault(tag >> 3, []).append((position, position + length))
                position += length
            elif kind == _VARINT:
                _, position = _varint(data, position)
            elif kind in (_FIXED32, _FIXED64):
                position += 4 if kind == _FIXED32 else 8
            else:
                raise ValueError(f"protobuf wire type {kind} at byte {position}")
        if position != end:
            raise ValueError(f"a protobuf field ends at byte {position}, behind its message's end {end}")
        return found


def _varint(data: Buffer, position: int) -> tuple[int, int]:
    """The variable-length integer at `position`, and the position behind it."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
