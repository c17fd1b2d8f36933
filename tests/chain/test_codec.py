"""The canonical encoding: every value has one byte string, and every other byte string is refused."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain import codec
from chain.codec import MAXIMUM_DEPTH, MAXIMUM_SIZE, decode, encode, encode_trusted
from chain.errors import MalformedEncoding
from tests.conftest import EXTENDED

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "cbor_appendix_a.json").read_text())
MUTATIONS = 300_000 if EXTENDED else 20_000

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.binary(max_size=40)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=6),
    max_leaves=30,
)


def as_tuples(value: Any) -> Any:
    return tuple(as_tuples(item) for item in value) if isinstance(value, list | tuple) else value


def inside(value: Any) -> bool:
    """Whether a decoded JSON value of the published vectors is one that the format has."""
    if isinstance(value, list):
        return all(inside(item) for item in value)
    if type(value) is int:
        return -(1 << 63) <= value < 1 << 64
    return value is None or isinstance(value, str | bool)


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["hex"][:24] for vector in VECTORS])
def test_rfc_8949_appendix_a(vector: dict[str, Any]) -> None:
    """What the format has and is encoded canonically round-trips; everything else in the appendix is refused."""
    data = bytes.fromhex(vector["hex"])
    byte_string = data[0] >> 5 == 2 and data[0] != 0x5F
    value = data[1:] if byte_string else vector.get("decoded", vector)
    if (inside(value) and vector["roundtrip"]) or byte_string:
        assert decode(data) == as_tuples(value)
        assert encode(as_tuples(value)) == data
    else:
        with pytest.raises(MalformedEncoding):
            decode(data)


def test_the_vectors_hold_both_kinds() -> None:
    accepted = 0
    for vector in VECTORS:
        try:
            decode(bytes.fromhex(vector["hex"]))
            accepted += 1
        except MalformedEncoding:
            pass
    assert 25 <= accepted <= len(VECTORS) - 40


@given(VALUES)
def test_round_trip(value: Any) -> None:
    data = encode(value)
    assert decode(data) == as_tuples(value)
    assert encode(decode(data)) == data
    assert encode_trusted(value) == data


@given(VALUES, VALUES)
def test_different_values_have_different_bytes(first: Any, second: Any) -> None:
    """Also true and 1, which Python takes for equal."""
    same = repr(as_tuples(first)) == repr(as_tuples(second))
    assert (encode(first) == encode(second)) is same


@pytest.mark.parametrize(
    "data",
    [
        "",
        "00 00",
        "18 17",
        "19 00ff",
        "1a 0000ffff",
        "1b 00000000ffffffff",
        "3b 8000000000000000",
        "3b ffffffffffffffff",
        "c2 49 010000000000000000",
        "5f 41 00 ff",
        "7f 61 61 ff",
        "9f ff",
        "58 01 00",
        "98 01 00",
        "f8 14",
        "f8 15",
        "f7",
        "e0",
        "f9 0000",
        "fa 00000000",
        "fb 0000000000000000",
        "a0",
        "a1 00 00",
        "c0 61 61",
        "d8 23 61 61",
        "d9 d9f7 00",
        "61 ff",
        "62 c3 28",
        "63 ed a080",
        "82 00",
        "41",
        "5b ffffffffffffffff",
        "9b ffffffffffffffff",
        "9a ffffffff",
        "d8 1c 81 d8 1d 00",
        "81 f4 00",
        "ff",
        "1c",
    ],
)
def test_what_is_not_canonical_is_refused(data: str) -> None:
    with pytest.raises(MalformedEncoding):
        decode(bytes.fromhex(data))


@pytest.mark.parametrize(
    "value",
    [1.0, float("nan"), {}, {1: 2}, {1}, 1 << 64, -(1 << 63) - 1, object(), bytearray(b"x"), memoryview(b"x"), 1j],
    ids=["float", "nan", "map", "filled map", "set", "large", "small", "object", "bytearray", "memoryview", "complex"],
)
def test_what_the_format_does_not_have_is_not_encoded(value: Any) -> None:
    for wrapped in (value, [value], (1, [value])):
        with pytest.raises(MalformedEncoding):
            encode(wrapped)


def test_text_that_is_no_unicode_is_not_encoded() -> None:
    with pytest.raises(MalformedEncoding):
        encode("\ud800")


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def test_depth() -> None:
    assert decode(encode(nested(MAXIMUM_DEPTH))) == as_tuples(nested(MAXIMUM_DEPTH))
    with pytest.raises(MalformedEncoding):
        encode(nested(MAXIMUM_DEPTH + 1))
    for depth in (MAXIMUM_DEPTH + 1, 1_000, 100_000):
        with pytest.raises(MalformedEncoding):
            decode(b"\x81" * depth + b"\x00")
    with pytest.raises(MalformedEncoding):
        decode(encode(nested(3)), max_depth=2)
    assert decode(encode(nested(2)), max_depth=2) == ((0,),)


def test_size() -> None:
    data = encode(b"x" * (MAXIMUM_SIZE - 5))
    assert len(data) == MAXIMUM_SIZE
    assert decode(data) == b"x" * (MAXIMUM_SIZE - 5)
    with pytest.raises(MalformedEncoding):
        decode(data, max_size=MAXIMUM_SIZE - 1)


def test_mutations_are_refused_or_canonical(rng: random.Random) -> None:
    """However valid bytes are damaged, what is still accepted is the one encoding of what it decodes to."""
    seeds = [encode(value) for value in (1, -1, 500, b"bytes", "text", [1, [b"a" * 30, "z"], None, True], [[[]]] * 5)]
    accepted = 0
    for _ in range(MUTATIONS):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(1, 4)):
            match rng.randrange(4):
                case 0 if data:
                    data[rng.randrange(len(data))] = rng.randrange(256)
                case 1:
                    data.insert(rng.randint(0, len(data)), rng.randrange(256))
                case 2 if data:
                    del data[rng.randrange(len(data))]
                case _:
                    at = rng.randint(0, len(data))
                    data[at:at] = data[at : at + rng.randint(0, 8)]
        received = bytes(data)
        try:
            value = decode(received)
        except MalformedEncoding:
            continue
        accepted += 1
        assert codec.encode(value) == received
    assert accepted > MUTATIONS // 100, "the mutations must reach valid encodings too"
