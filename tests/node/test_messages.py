"""Wire messages: one byte string each, bounded, and nothing but well-formed values behind the decoder."""

import hashlib
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.block import Block, Header, transactions_root
from chain.certificate import Certificate, Vote, VoteKind
from chain.codec import decode, encode
from chain.crypto.address import key_address
from chain.errors import MalformedEncoding
from node.network import messages as m

BLOCK_HASH = hashlib.sha256(b"block").digest()


def block(envelopes: tuple[bytes, ...] = (b"envelope",), height: int = 5) -> Block:
    header = Header(
        chain_id="test-00000000",
        height=height,
        epoch=0,
        view=7,
        parent_hash=bytes(32),
        time_ms=1_800_000_000_000,
        proposer=key_address(bytes(32)),
        transactions_root=transactions_root(envelopes),
        results_root=bytes(32),
        state_root=bytes(32),
        authorities_hash=bytes(32),
        next_authorities_hash=None,
    )
    return Block.of(header, envelopes)


FINALIZATION = Certificate(VoteKind.FINALIZE, 0, 4, BLOCK_HASH, b"\x0d", bytes(range(96)))
NULLIFICATION = Certificate(VoteKind.NULLIFY, 0, 6, b"", b"\x07", bytes(96))
VOTE = Vote(VoteKind.NOTARIZE, 0, 7, BLOCK_HASH, bytes(96))
MESSAGES: dict[str, m.Message] = {
    "proposal": m.Proposal(7, block(), bytes(64), FINALIZATION, None, (NULLIFICATION,)),
    "first proposal": m.Proposal(1, block((), 1), bytes(64), None, None, ()),
    "repeat": m.Proposal(8, block(), bytes(64), FINALIZATION, replace(FINALIZATION, kind=VoteKind.NOTARIZE), ()),
    "votes": m.Votes((VOTE, replace(VOTE, kind=VoteKind.NULLIFY, block_hash=b""))),
    "no votes": m.Votes(()),
    "certificates": m.Certificates((FINALIZATION, NULLIFICATION)),
    "certificates request": m.CertificatesRequest(0, 3, 9),
    "block request": m.BlockRequest(BLOCK_HASH),
    "block response": m.BlockResponse(block()),
    "candidate": m.CandidateAnnounce(0, 7, BLOCK_HASH),
    "status": m.Status(4, BLOCK_HASH, 0, 7, FINALIZATION),
    "status at genesis": m.Status(0, BLOCK_HASH, 0, 1, None),
    "catch-up request": m.CatchUpRequest(5, 256),
    "catch-up response": m.CatchUpResponse(5, ((block(), FINALIZATION), (block((), 6), FINALIZATION))),
    "transactions": m.Transactions((b"one", b"two")),
}
GOLDEN = {
    "proposal": "6255af3db91132b4faff38a6f750d2ab",
    "first proposal": "800567711ee9bd005d48138ed483a7a1",
    "repeat": "d1a65cd2944d018ebe9338a4c1942c4d",
    "votes": "88bd7af6b94de1c97b33b48f12580bf4",
    "no votes": "3a4abd61bd3739b2426d28046ca636cf",
    "certificates": "c7006c77a4befd3cc99d90d844ec9fb2",
    "certificates request": "859ccf3fae38113b64001419620ea4f6",
    "block request": "5d4f5f892193b19518b3e535a95c4b72",
    "block response": "3e9fba5801e83804d6ceaaaf1981e512",
    "candidate": "f9fed4797ded7904cdf65cdb10a8e6a0",
    "status": "d606626d9f26f6c0842de4f79365ddbb",
    "status at genesis": "cbbe5aaf61f59a48586c3f8e2895362b",
    "catch-up request": "d9817408f771989651a56325a90b01f1",
    "catch-up response": "2c924991b7aca38c525b1867c407e089",
    "transactions": "122b2f056cba8c483c84bef2be7253a1",
}


@pytest.mark.parametrize("name", MESSAGES)
def test_there_and_back(name: str) -> None:
    data = m.encode_message(MESSAGES[name])
    assert m.decode_message(data) == MESSAGES[name]
    assert m.encode_message(m.decode_message(data)) == data


@pytest.mark.parametrize("name", MESSAGES)
def test_golden(name: str) -> None:
    """Wire version 1, as digests of the bytes."""
    assert hashlib.sha256(m.encode_message(MESSAGES[name])).hexdigest()[:32] == GOLDEN[name]


def test_golden_bytes_in_full() -> None:
    assert m.encode_message(MESSAGES["certificates request"]).hex() == "850104000309"
    assert m.encode_message(MESSAGES["block request"]).hex() == "8301055820" + BLOCK_HASH.hex()
    assert m.encode_message(MESSAGES["catch-up request"]).hex() == "84010905190100"
    assert m.encode_message(MESSAGES["no votes"]).hex() == "83010280"


@pytest.mark.parametrize("name", MESSAGES)
def test_fields_are_counted(name: str) -> None:
    plain = decode(m.encode_message(MESSAGES[name]))
    assert isinstance(plain, tuple)
    for changed in (plain[:-1], (*plain, 0)):
        with pytest.raises(MalformedEncoding):
            m.decode_message(encode(changed))


@pytest.mark.parametrize(
    "plain",
    [
        [],
        [1],
        [2, 5, BLOCK_HASH],
        [True, 5, BLOCK_HASH],
        [1, 0, BLOCK_HASH],
        [1, 12, BLOCK_HASH],
        [1, "5", BLOCK_HASH],
        [1, 5, BLOCK_HASH[:31]],
        [1, 5, "text"],
        [1, 4, -1, 0, 0],
        [1, 4, True, 0, 0],
        [1, 9, 1, 0],
        [1, 9, 1, 257],
        [1, 2, [VOTE.plain()] * 65],
        [1, 3, [FINALIZATION.plain()] * 65],
        [1, 11, [b"x"] * 1_025],
        [1, 11, [1]],
        [1, 6, b"not a block"],
        [1, 6, [1]],
        [1, 10, 5, [[block().encode()]]],
        [1, 10, 5, [[block().encode(), None]]],
        [1, 8, 0, BLOCK_HASH, 0, 1, [1, 2]],
        "text",
    ],
)
def test_malformed(plain: object) -> None:
    with pytest.raises(MalformedEncoding):
        m.decode_message(encode(plain))  # type: ignore[arg-type]


def test_a_body_that_is_not_the_header_s() -> None:
    honest = block()
    swapped = encode([1, honest.header_bytes, [b"another envelope"]])
    with pytest.raises(MalformedEncoding):
        m.decode_message(encode([1, 6, swapped]))


def test_sizes() -> None:
    with pytest.raises(MalformedEncoding):
        m.encode_message(m.Transactions((bytes(1 << 20),) * 6))
    with pytest.raises(MalformedEncoding):
        m.decode_message(encode([1, 11, [bytes(1 << 20)] * 6]))
    with pytest.raises(MalformedEncoding):
        m.decode_message(encode([1, 11, [bytes((1 << 20) + 1)]]))


def test_the_largest_proposal_fits() -> None:
    largest = block(tuple(bytes(65_536) for _ in range(63)))
    assert len(largest.encode()) > 4_000_000
    proposal = m.Proposal(7, largest, bytes(64), FINALIZATION, FINALIZATION, (NULLIFICATION,) * 256)
    assert m.decode_message(m.encode_message(proposal)) == proposal


def test_catch_up_is_cut_to_what_fits() -> None:
    large = block(tuple(bytes(65_536) for _ in range(30)))
    response = m.CatchUpResponse(5, ((large, FINALIZATION),) * 4)
    fitted = m.fit_catch_up(response)
    assert len(fitted.entries) == 2
    m.encode_message(fitted)
    assert len(m.fit_catch_up(response, 10).entries) == 1
    assert m.fit_catch_up(m.CatchUpResponse(5, ())).entries == ()


def test_splitting() -> None:
    assert [len(part.votes) for part in m.split_votes((VOTE,) * 130)] == [64, 64, 2]
    assert [len(part.certificates) for part in m.split_certificates((FINALIZATION,) * 64)] == [64]
    assert m.split_votes(()) == []


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    try:
        message = m.decode_message(data)
    except MalformedEncoding:
        return
    assert m.encode_message(message) == data


def test_mutations(rng: random.Random) -> None:
    """What is accepted is canonical: it encodes to the very bytes that came."""
    originals = [m.encode_message(message) for message in MESSAGES.values()]
    for _ in range(3_000):
        data = bytearray(rng.choice(originals))
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            message = m.decode_message(bytes(data))
        except MalformedEncoding:
            continue
        assert m.encode_message(message) == bytes(data)
