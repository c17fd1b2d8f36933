"""What a block is: a header that commits everything, and the transaction envelopes it names.

The header carries the state root *after* executing the block. The transactions root is over whole envelopes, so a
block hash has exactly one body: a body with an exchanged signature is a different block and not an invalid one.
Certificates lie outside the header and outside every hash.
"""

from dataclasses import dataclass, field
from typing import Annotated

from chain.codec import decode, encode
from chain.crypto.hashing import merkle_root, sha256, tagged_hash
from chain.errors import MalformedEncoding
from chain.record import decode_record, encode_record, record
from chain.schema import Address, Hash, String, Timestamp, Unsigned64

MAXIMUM_BLOCK_BYTES = 4 << 20
"""No block, encoded, is longer than this."""

MAXIMUM_BLOCK_TRANSACTIONS = 20_000

ChainId = Annotated[str, String(64, 1)]
BLOCK_DOMAIN = "aitbc/block/1"


@record(version=1)
@dataclass(frozen=True, slots=True)
class Header:
    """The signed summary of a block."""

    chain_id: ChainId
    height: Unsigned64
    """1 for the first block; 0 is the genesis header."""
    epoch: Unsigned64
    view: Unsigned64
    """The view of the epoch in which it was first proposed."""
    parent_hash: Hash
    time_ms: Timestamp
    """Block time, strictly greater than the parent's."""
    proposer: Address
    """Operator account of the authority that first proposed it; receives the tips."""
    transactions_root: Hash
    results_root: Hash
    state_root: Hash
    """The state after this block."""
    authorities_hash: Hash
    """The authority set whose certificates finalise this block."""
    next_authorities_hash: Hash | None
    """The set of the next epoch; present exactly at the last block of an epoch."""


def hash_header(header_bytes: bytes) -> bytes:
    """The block hash: 32 bytes over the header's canonical bytes."""
    return tagged_hash(BLOCK_DOMAIN, header_bytes)


def transactions_root(envelopes: tuple[bytes, ...]) -> bytes:
    """Merkle root over the SHA-256 of each envelope, in order."""
    return merkle_root([sha256(envelope) for envelope in envelopes])


@dataclass(frozen=True, slots=True)
class Block:
    """A header with its body. Build with `Block.of` or `Block.decode`; both leave root and body consistent."""

    header: Header
    envelopes: tuple[bytes, ...]
    header_bytes: bytes = field(repr=False)
    hash: bytes

    @staticmethod
    def of(header: Header, envelopes: tuple[bytes, ...]) -> "Block":
        header_bytes = encode_record(header)
        return Block(header, envelopes, header_bytes, hash_header(header_bytes))

    def encode(self) -> bytes:
        return encode([1, self.header_bytes, list(self.envelopes)])

    @staticmethod
    def decode(data: bytes) -> "Block":
        """The block of these bytes. Raises MalformedEncoding if malformed or if the body is not the header's."""
        plain = decode(data, max_size=MAXIMUM_BLOCK_BYTES, max_items=MAXIMUM_BLOCK_TRANSACTIONS + 4)
        match plain:
            case (int() as version, bytes() as header_bytes, tuple() as body) if (
                type(version) is int and version == 1 and len(body) <= MAXIMUM_BLOCK_TRANSACTIONS
            ):
                if not all(type(envelope) is bytes for envelope in body):
                    raise MalformedEncoding(reason="envelopes must be byte strings")
            case _:
                raise MalformedEncoding(reason="not a block of version 1")
        header = decode_record(Header, header_bytes)
        envelopes: tuple[bytes, ...] = body
        if header.transactions_root != transactions_root(envelopes):
            raise MalformedEncoding(reason="the body does not belong to the header")
        return Block(header, envelopes, header_bytes, hash_header(header_bytes))
