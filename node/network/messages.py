"""What nodes say to each other: one frozen type per message, one canonical byte string per value.

A message is the CBOR array [version, kind, fields ...]. Sizes and counts are bounded before anything is built from the
bytes, and every nested block, vote and certificate is decoded here, so that the rest of the node only meets values of
good shape. Nothing here checks a signature. Votes carry no author: the link they came on says who sent them, and a
vote counts only from its author's own link.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from chain.block import Block
from chain.certificate import Certificate, Vote, VoteKind
from chain.codec import Value, decode, encode
from chain.crypto.ed25519 import SIGNATURE_SIZE
from chain.errors import LedgerError, MalformedEncoding
from chain.schema import U64

WIRE_VERSION = 1
MAXIMUM_MESSAGE_BYTES = 5 << 20
"""No message, encoded, is longer; the links cap their frames at this plus their own overhead."""
MAXIMUM_VOTES = 64
MAXIMUM_CERTIFICATES = 64
MAXIMUM_PROPOSAL_NULLIFICATIONS = 256
MAXIMUM_CATCH_UP_BLOCKS = 256
MAXIMUM_TRANSACTIONS = 1024
HASH_SIZE = 32
_MAXIMUM_ITEMS = 8_192
"""Values in a message, blocks and envelopes counting one each: twice what the fullest message holds."""
_MAXIMUM_ENVELOPE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Proposal:
    """The leader's block for a view, with what opens the view; the certificates lie outside its signature."""

    view: int
    block: Block
    """A new block whose header names this view, or an earlier candidate that is repeated."""
    signature: bytes
    """64 bytes: the leader's node key over the PROPOSAL vote bytes of this view and block."""
    parent_finalization: Certificate | None
    """The finalization of the block's parent; None if the parent is genesis."""
    anchor: Certificate | None
    """The notarization of a repeated candidate, or of the parent in a view above its finalization."""
    nullifications: tuple[Certificate, ...]
    """Those between the anchor (or finalization) and the view, highest last; receivers ask for what does not fit."""

    def as_vote(self) -> Vote:
        """The leader's statement, in the form that evidence uses."""
        return Vote(VoteKind.PROPOSAL, self.block.header.epoch, self.view, self.block.hash, self.signature)


@dataclass(frozen=True, slots=True)
class Votes:
    """Votes by the sender itself."""

    votes: tuple[Vote, ...]


@dataclass(frozen=True, slots=True)
class Certificates:
    certificates: tuple[Certificate, ...]


@dataclass(frozen=True, slots=True)
class CertificatesRequest:
    """Asks for any certificate of each view in [first_view, last_view] of an epoch; answered by Certificates."""

    epoch: int
    first_view: int
    last_view: int


@dataclass(frozen=True, slots=True)
class BlockRequest:
    block_hash: bytes


@dataclass(frozen=True, slots=True)
class BlockResponse:
    block: Block


@dataclass(frozen=True, slots=True)
class CandidateAnnounce:
    """The sender holds this block, which it notarized in the view, and serves it until it is final."""

    epoch: int
    view: int
    block_hash: bytes


@dataclass(frozen=True, slots=True)
class Status:
    """Where the sender stands. A claim, worth nothing until the finalization verifies."""

    height: int
    block_hash: bytes
    """The last final block."""
    epoch: int
    view: int
    """The view it is in."""
    finalization: Certificate | None
    """Of the last final block; None at genesis."""


@dataclass(frozen=True, slots=True)
class CatchUpRequest:
    """Asks for final blocks from a height upwards."""

    first_height: int
    count: int
    """1 to MAXIMUM_CATCH_UP_BLOCKS; the answer may be shorter."""


@dataclass(frozen=True, slots=True)
class CatchUpResponse:
    """Final blocks of consecutive heights, each with its finalization; empty if the sender has none of them."""

    first_height: int
    entries: tuple[tuple[Block, Certificate], ...]


@dataclass(frozen=True, slots=True)
class Transactions:
    """Envelopes for the mempool, as bytes."""

    envelopes: tuple[bytes, ...]


ConsensusMessage: TypeAlias = (
    Proposal | Votes | Certificates | CertificatesRequest | BlockRequest | BlockResponse | CandidateAnnounce | Status
)
"""What the consensus core takes."""

Message: TypeAlias = ConsensusMessage | CatchUpRequest | CatchUpResponse | Transactions

_KINDS: dict[type, int] = {
    Proposal: 1,
    Votes: 2,
    Certificates: 3,
    CertificatesRequest: 4,
    BlockRequest: 5,
    BlockResponse: 6,
    CandidateAnnounce: 7,
    Status: 8,
    CatchUpRequest: 9,
    CatchUpResponse: 10,
    Transactions: 11,
}


def encode_message(message: Message) -> bytes:
    """The bytes of a message. Raises MalformedEncoding if it is larger than a message may be."""
    data = encode([WIRE_VERSION, _KINDS[type(message)], *_fields(message)])
    if len(data) > MAXIMUM_MESSAGE_BYTES:
        raise MalformedEncoding(reason="message too large", size=len(data), maximum=MAXIMUM_MESSAGE_BYTES)
    return data


def decode_message(data: bytes) -> Message:
    """The message of these bytes, of good shape but not verified. Raises MalformedEncoding for anything else."""
    plain = decode(data, max_size=MAXIMUM_MESSAGE_BYTES, max_depth=4, max_items=_MAXIMUM_ITEMS)
    if type(plain) is not tuple or len(plain) < 2 or type(plain[0]) is not int or type(plain[1]) is not int:
        raise MalformedEncoding(reason="not a message")
    if plain[0] != WIRE_VERSION:
        raise MalformedEncoding(reason="another version of the wire format", version=plain[0])
    reader = _READERS.get(plain[1])
    if reader is None:
        raise MalformedEncoding(reason="unknown kind of message", kind=plain[1])
    try:
        return reader(plain[2:])
    except MalformedEncoding:
        raise
    except LedgerError as error:
        raise MalformedEncoding(reason="malformed message", kind=plain[1]) from error


def split_certificates(certificates: tuple[Certificate, ...]) -> list[Certificates]:
    """As many messages as it takes."""
    return [
        Certificates(certificates[at : at + MAXIMUM_CERTIFICATES])
        for at in range(0, len(certificates), MAXIMUM_CERTIFICATES)
    ]


def split_votes(votes: tuple[Vote, ...]) -> list[Votes]:
    """As many messages as it takes."""
    return [Votes(votes[at : at + MAXIMUM_VOTES]) for at in range(0, len(votes), MAXIMUM_VOTES)]


def fit_catch_up(response: CatchUpResponse, maximum_bytes: int = MAXIMUM_MESSAGE_BYTES - 1024) -> CatchUpResponse:
    """The longest beginning of `response` that fits a message; always at least one entry if there is one."""
    size = 0
    kept = 0
    for block, certificate in response.entries[:MAXIMUM_CATCH_UP_BLOCKS]:
        size += len(block.encode()) + len(certificate.encode()) + 32
        if kept and size > maximum_bytes:
            break
        kept += 1
    return replace(response, entries=response.entries[:kept])


def _fields(message: Message) -> list[Value]:
    match message:
        case Proposal():
            return [
                message.view,
                message.block.encode(),
                message.signature,
                _plain(message.parent_finalization),
                _plain(message.anchor),
                [certificate.plain() for certificate in message.nullifications],
            ]
        case Votes():
            return [[vote.plain() for vote in message.votes]]
        case Certificates():
            return [[certificate.plain() for certificate in message.certificates]]
        case CertificatesRequest():
            return [message.epoch, message.first_view, message.last_view]
        case BlockRequest():
            return [message.block_hash]
        case BlockResponse():
            return [message.block.encode()]
        case CandidateAnnounce():
            return [message.epoch, message.view, message.block_hash]
        case Status():
            place: list[Value] = [message.height, message.block_hash, message.epoch, message.view]
            return [*place, _plain(message.finalization)]
        case CatchUpRequest():
            return [message.first_height, message.count]
        case CatchUpResponse():
            entries: list[Value] = [[block.encode(), proof.plain()] for block, proof in message.entries]
            return [message.first_height, entries]
        case Transactions():
            return [list(message.envelopes)]


def _plain(certificate: Certificate | None) -> Value:
    return None if certificate is None else certificate.plain()


Items: TypeAlias = tuple[Value, ...]


def _number(value: Value) -> int:
    if type(value) is not int or not 0 <= value <= U64:
        raise MalformedEncoding(reason="expected an unsigned integer")
    return value


def _octets(value: Value, size: int) -> bytes:
    if type(value) is not bytes or len(value) != size:
        raise MalformedEncoding(reason=f"expected {size} bytes")
    return value


def _block(value: Value) -> Block:
    if type(value) is not bytes:
        raise MalformedEncoding(reason="expected a block")
    return Block.decode(value)


def _items(value: Value, maximum: int) -> Items:
    if type(value) is not tuple or len(value) > maximum:
        raise MalformedEncoding(reason=f"expected a list of at most {maximum} items")
    return value


def _certificate(value: Value) -> Certificate | None:
    return None if value is None else Certificate.from_plain(value)


def _count(fields: Items, expected: int) -> None:
    if len(fields) != expected:
        raise MalformedEncoding(reason=f"expected {expected} fields")


def _read_proposal(fields: Items) -> Proposal:
    _count(fields, 6)
    nullifications = _items(fields[5], MAXIMUM_PROPOSAL_NULLIFICATIONS)
    return Proposal(
        view=_number(fields[0]),
        block=_block(fields[1]),
        signature=_octets(fields[2], SIGNATURE_SIZE),
        parent_finalization=_certificate(fields[3]),
        anchor=_certificate(fields[4]),
        nullifications=tuple(Certificate.from_plain(item) for item in nullifications),
    )


def _read_votes(fields: Items) -> Votes:
    _count(fields, 1)
    return Votes(tuple(Vote.from_plain(item) for item in _items(fields[0], MAXIMUM_VOTES)))


def _read_certificates(fields: Items) -> Certificates:
    _count(fields, 1)
    return Certificates(tuple(Certificate.from_plain(item) for item in _items(fields[0], MAXIMUM_CERTIFICATES)))


def _read_certificates_request(fields: Items) -> CertificatesRequest:
    _count(fields, 3)
    return CertificatesRequest(_number(fields[0]), _number(fields[1]), _number(fields[2]))


def _read_block_request(fields: Items) -> BlockRequest:
    _count(fields, 1)
    return BlockRequest(_octets(fields[0], HASH_SIZE))


def _read_block_response(fields: Items) -> BlockResponse:
    _count(fields, 1)
    return BlockResponse(_block(fields[0]))


def _read_candidate_announce(fields: Items) -> CandidateAnnounce:
    _count(fields, 3)
    return CandidateAnnounce(_number(fields[0]), _number(fields[1]), _octets(fields[2], HASH_SIZE))


def _read_status(fields: Items) -> Status:
    _count(fields, 5)
    return Status(
        height=_number(fields[0]),
        block_hash=_octets(fields[1], HASH_SIZE),
        epoch=_number(fields[2]),
        view=_number(fields[3]),
        finalization=_certificate(fields[4]),
    )


def _read_catch_up_request(fields: Items) -> CatchUpRequest:
    _count(fields, 2)
    count = _number(fields[1])
    if not 1 <= count <= MAXIMUM_CATCH_UP_BLOCKS:
        raise MalformedEncoding(reason=f"expected a count from 1 to {MAXIMUM_CATCH_UP_BLOCKS}")
    return CatchUpRequest(_number(fields[0]), count)


def _read_catch_up_response(fields: Items) -> CatchUpResponse:
    _count(fields, 2)
    entries = []
    for item in _items(fields[1], MAXIMUM_CATCH_UP_BLOCKS):
        pair = _items(item, 2)
        _count(pair, 2)
        entries.append((_block(pair[0]), Certificate.from_plain(pair[1])))
    return CatchUpResponse(_number(fields[0]), tuple(entries))


def _read_transactions(fields: Items) -> Transactions:
    _count(fields, 1)
    envelopes = []
    for item in _items(fields[0], MAXIMUM_TRANSACTIONS):
        if type(item) is not bytes or len(item) > _MAXIMUM_ENVELOPE_BYTES:
            raise MalformedEncoding(reason="expected an envelope")
        envelopes.append(item)
    return Transactions(tuple(envelopes))


_READERS: dict[int, Callable[[Items], Message]] = {
    1: _read_proposal,
    2: _read_votes,
    3: _read_certificates,
    4: _read_certificates_request,
    5: _read_block_request,
    6: _read_block_response,
    7: _read_candidate_announce,
    8: _read_status,
    9: _read_catch_up_request,
    10: _read_catch_up_response,
    11: _read_transactions,
}
