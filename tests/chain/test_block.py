"""Blocks: one hash for one body, and nothing that is not canonical."""

import dataclasses
import random
from typing import Any

import pytest

from chain.block import (
    MAXIMUM_BLOCK_BYTES,
    MAXIMUM_BLOCK_TRANSACTIONS,
    Block,
    Header,
    hash_header,
    transactions_root,
)
from chain.codec import encode
from chain.crypto.hashing import tagged_hash
from chain.errors import InvalidField, LedgerError, MalformedEncoding, UnknownVersion
from chain.record import decode_record, encode_record, to_plain

ENVELOPES = (b"first", b"second", b"third")


def header(**changes: Any) -> Header:
    plain: dict[str, Any] = {
        "chain_id": "devnet-00000000",
        "height": 9,
        "epoch": 0,
        "view": 12,
        "parent_hash": b"\x01" * 32,
        "time_ms": 1_800_000_000_000,
        "proposer": b"\x00" + b"\x02" * 32,
        "transactions_root": transactions_root(ENVELOPES),
        "results_root": b"\x03" * 32,
        "state_root": b"\x04" * 32,
        "authorities_hash": b"\x05" * 32,
        "next_authorities_hash": None,
    }
    return Header(**{**plain, **changes})


def test_round_trip() -> None:
    block = Block.of(header(), ENVELOPES)
    assert Block.decode(block.encode()) == block
    assert decode_record(Header, block.header_bytes) == block.header
    assert block.hash == hash_header(block.header_bytes) == tagged_hash("aitbc/block/1", block.header_bytes)
    last = Block.of(header(next_authorities_hash=b"\x06" * 32, transactions_root=transactions_root(())), ())
    assert Block.decode(last.encode()) == last


def test_every_field_changes_the_hash() -> None:
    block = Block.of(header(), ENVELOPES)
    others = {
        "chain_id": "devnet-00000001",
        "next_authorities_hash": b"\x07" * 32,
        **{name: getattr(block.header, name) + 1 for name in ("height", "epoch", "view", "time_ms")},
        **{
            field.name: getattr(block.header, field.name)[:-1] + b"\xee"
            for field in dataclasses.fields(Header)
            if isinstance(getattr(block.header, field.name), bytes)
        },
    }
    hashes = {Block.of(header(**{name: value}), ENVELOPES).hash for name, value in others.items()}
    assert len(others) == len(dataclasses.fields(Header))
    assert len(hashes | {block.hash}) == len(others) + 1


def test_one_hash_has_one_body() -> None:
    block = Block.of(header(), ENVELOPES)
    for body in ((), ENVELOPES[:2], ENVELOPES[::-1], (*ENVELOPES, b"third"), (b"firsu", *ENVELOPES[1:])):
        with pytest.raises(MalformedEncoding):
            Block.decode(encode([1, block.header_bytes, body]))


@pytest.mark.parametrize("version", [0, 2, True, None, b"\x01", "1"])
def test_another_version(version: Any) -> None:
    block = Block.of(header(), ENVELOPES)
    with pytest.raises(MalformedEncoding):
        Block.decode(encode([version, block.header_bytes, ENVELOPES]))


def test_a_header_of_another_version() -> None:
    header_bytes = encode([2, *to_plain(header())])
    with pytest.raises(UnknownVersion):
        Block.decode(encode([1, header_bytes, ENVELOPES]))


def test_a_header_out_of_range() -> None:
    for position, value in ((2, -1), (5, b""), (6, 1 << 54), (7, b"\x09" + bytes(32)), (1, "x" * 65), (1, "")):
        plain = [1, *to_plain(header())]
        plain[position] = value
        with pytest.raises(InvalidField):
            Block.decode(encode([1, encode(plain), ENVELOPES]))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        encode([]),
        encode([1, b""]),
        encode([1, encode_record(header()), ENVELOPES, 0]),
        encode([1, encode_record(header()), b"first"]),
        encode([1, encode_record(header()), ["first"]]),
        encode([1, encode_record(header()), [[b"first"]]]),
        encode([1, to_plain(header()), ENVELOPES]),
        encode([1, encode_record(header()), ENVELOPES]) + b"\x00",
    ],
)
def test_what_is_no_block(data: bytes) -> None:
    with pytest.raises(MalformedEncoding):
        Block.decode(data)


def test_too_large_and_too_many() -> None:
    with pytest.raises(MalformedEncoding):
        Block.decode(b"\x00" * (MAXIMUM_BLOCK_BYTES + 1))
    envelopes = (b"",) * (MAXIMUM_BLOCK_TRANSACTIONS + 1)
    with pytest.raises(MalformedEncoding):
        Block.decode(Block.of(header(transactions_root=transactions_root(envelopes)), envelopes).encode())


def test_mutations(rng: random.Random) -> None:
    """No mutation is a second encoding: what decodes encodes to what was received."""
    encoded = Block.of(header(), ENVELOPES).encode()
    for _ in range(3_000):
        data = bytearray(encoded)
        data[rng.randrange(len(data))] = rng.choice((0, 1, 0xF5, 0xF4, rng.randrange(256)))
        try:
            block = Block.decode(bytes(data))
        except LedgerError:
            continue
        assert block.encode() == bytes(data)
