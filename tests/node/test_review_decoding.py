"""Bytes that are cheap to send must not be dear to refuse."""

import time

import pytest

from chain.block import MAXIMUM_BLOCK_TRANSACTIONS, Block
from chain.certificate import Certificate, VoteKind
from chain.codec import decode, encode
from chain.errors import LedgerError, MalformedEncoding
from chain.transaction import MAXIMUM_TRANSACTION_BYTES, Transaction
from genesis.builder import build
from node.network.messages import (
    MAXIMUM_CATCH_UP_BLOCKS,
    MAXIMUM_PROPOSAL_NULLIFICATIONS,
    CatchUpResponse,
    Proposal,
    decode_message,
    encode_message,
)
from tests.ledger import make_specification

MANY = 3 << 20
LARGEST = (1 << 64) - 1


def test_values_are_counted_as_they_are_decoded() -> None:
    value = [0, 23, 24, 255, 256, 1 << 16, 1 << 32, LARGEST, -1, b"", b"x" * 300, "text", None, True, [[], [b"y"]]]
    data = encode(value)
    count = 1 + 15 + 3
    assert decode(data, max_items=count) == decode(data)
    with pytest.raises(MalformedEncoding):
        decode(data, max_items=count - 1)


@pytest.mark.parametrize("head", [b"\x83\x01\x02\x9a", b"\x83\x01\x42hh\x9a", b"\x82\x9a", b"\x9a"])
@pytest.mark.parametrize("item", [b"\x80", b"\x00", b"\x40"])
def test_millions_of_values_are_refused_at_once(head: bytes, item: bytes) -> None:
    data = head + MANY.to_bytes(4, "big") + item * MANY
    small = head + (MAXIMUM_TRANSACTION_BYTES - 10).to_bytes(4, "big") + item * (MAXIMUM_TRANSACTION_BYTES - 10)
    began = time.process_time()
    for refuse, bytes_ in ((decode_message, data), (Block.decode, data), (Transaction.decode, small[: 256 << 10])):
        with pytest.raises(LedgerError):
            refuse(bytes_)
    assert time.process_time() - began < 0.5


def test_the_fullest_messages_pass() -> None:
    block = build(make_specification()).block
    proof = Certificate(VoteKind.NULLIFY, LARGEST, LARGEST, b"", bytes(16), bytes(96))
    fullest = Proposal(1, block, bytes(64), proof, proof, (proof,) * MAXIMUM_PROPOSAL_NULLIFICATIONS)
    answer = CatchUpResponse(0, ((block, proof),) * MAXIMUM_CATCH_UP_BLOCKS)
    for message in (fullest, answer):
        assert decode_message(encode_message(message)) == message
    data = encode([1, block.header_bytes, [b"x"] * MAXIMUM_BLOCK_TRANSACTIONS])
    with pytest.raises(MalformedEncoding, match="belong"):
        Block.decode(data)
