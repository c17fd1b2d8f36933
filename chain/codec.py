"""Canonical CBOR: exactly one byte string for each value, and nothing else is accepted.

Everything that is signed, hashed or stored passes through here, so two encodings of one value would be two
identities for one thing. The library accepts far more than the canonical form even with its strict flags
(trailing bytes, long integers, tags that build regular expressions or cyclic lists), so decoding is: size cap,
strict flags, a walk over the types, then encode again and compare with what was received.

Values are integers in [-2^63, 2^64), byte strings, text, booleans, None, and arrays of these (RFC 8949, section
4.2.1). There are no maps and no floats.
"""

from collections.abc import Sequence
from typing import TypeAlias

import cbor2

from chain.errors import MalformedEncoding

Value: TypeAlias = "int | bytes | str | bool | Sequence[Value] | None"

MAXIMUM_SIZE = 1 << 20
MAXIMUM_DEPTH = 16

_SMALLEST = -(1 << 63)
_LARGEST = (1 << 64) - 1


def encode(value: Value) -> bytes:
    """The canonical bytes of a value. Raises MalformedEncoding for a type or range outside the format."""
    _walk(value, MAXIMUM_DEPTH)
    try:
        return cbor2.dumps(value)
    except UnicodeEncodeError as error:
        raise MalformedEncoding(reason="text is not Unicode") from error


def encode_trusted(value: Value) -> bytes:
    """The same bytes without the walk, for values whose fields a schema has already checked one by one."""
    return cbor2.dumps(value)


def decode(
    data: bytes, *, max_size: int = MAXIMUM_SIZE, max_depth: int = MAXIMUM_DEPTH, max_items: int | None = None
) -> Value:
    """The value whose canonical encoding is `data`; arrays come back as tuples.

    Raises MalformedEncoding if the bytes are longer than `max_size`, nest deeper than `max_depth`, hold more than
    `max_items` values (an array and each item in it count one), hold a type outside the format, or are not the
    canonical encoding of what they hold. Where large data comes from strangers, give `max_items`: a megabyte of
    empty arrays takes a second to decode.
    """
    if len(data) > max_size:
        raise MalformedEncoding(reason="too large", size=len(data), maximum=max_size)
    if max_items is not None and len(data) > max_items and _exceeds(data, max_items):
        raise MalformedEncoding(reason="too many values", maximum=max_items)
    try:
        value: Value = cbor2.loads(
            data, allow_indefinite=False, allow_duplicate_keys=False, max_depth=max_depth, immutable=True
        )
    except Exception as error:  # the library raises many kinds for hostile input; all mean the same here
        raise MalformedEncoding(reason="not valid CBOR") from error
    _walk(value, max_depth)
    if cbor2.dumps(value) != data:
        raise MalformedEncoding(reason="not canonical")
    return value


def _exceeds(data: bytes, max_items: int) -> bool:
    """Whether more than `max_items` heads follow each other, found without building anything (RFC 8949, section 3).

    Stops at a head that the format does not allow, because the library refuses it there.
    """
    position, end = 0, len(data)
    while position < end:
        if max_items == 0:
            return True
        max_items -= 1
        head = data[position]
        position += 1
        argument = head & 0x1F
        if argument >= 28:
            return False
        if argument >= 24:
            width = 1 << (argument - 24)
            argument = int.from_bytes(data[position : position + width], "big")
            position += width
        if 0x40 <= head < 0x80:
            position += argument
    return False


def _walk(value: object, depth: int) -> None:
    kind = type(value)
    if kind is bytes or kind is str or kind is bool or value is None:
        return
    if kind is int:
        if not _SMALLEST <= value <= _LARGEST:  # type: ignore[operator]
            raise MalformedEncoding(reason="integer out of range")
    elif kind is tuple or kind is list:
        if depth == 0:
            raise MalformedEncoding(reason="nested too deep")
        for item in value:  # type: ignore[attr-defined]
            _walk(item, depth - 1)
    else:
        raise MalformedEncoding(reason="type not allowed", type=kind.__name__)
