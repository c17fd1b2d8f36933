"""What a transaction is, and what can be said about it without any state.

    body      = [version, chain_id, sender, public_key, sequence, valid_until_ms, idempotency_id, fee, actions, memo]
    envelope  = [body bytes, signature]      signature over "aitbc/tx/1" ‖ body
    txid      = sha256(body bytes)

The signature is no part of the id, so nobody can change an id by signing again. What is hashed is what was
received: the decoder accepts one byte string per value.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any

import chain.actions  # noqa: F401 - the registry must be filled before a body can be decoded
from chain.action import MAXIMUM_ACTIONS, Action, ActionList, describe_action
from chain.block import ChainId
from chain.codec import decode, encode, encode_trusted
from chain.crypto import ed25519
from chain.crypto.hashing import sha256
from chain.errors import BadSignature, MalformedEncoding, TransactionTooLarge
from chain.record import decode_record, encode_record, record, to_json
from chain.schema import Address, Amount, Hash, PublicKey, String, Timestamp, Unsigned64, format_amount

TRANSACTION_DOMAIN = b"aitbc/tx/1"
MAXIMUM_TRANSACTION_BYTES = 256 << 10
MAXIMUM_TRANSACTION_VALUES = 24_576
"""Values of a body, arrays counted: more than a thousand actions of the usual kinds have. It bounds what it costs to
refuse a body of a quarter of a megabyte that holds nothing but tiny values."""
MAXIMUM_VALIDITY_MS = 3_600_000
"""`valid_until_ms` is at most one hour ahead of block time, so that a client knows when a transaction is dead."""
BASE_WEIGHT = 1
"""Weight of a transaction beside its actions."""

IDEMPOTENCY_WEIGHT = 6
"""Weight of remembering an idempotency id, and of forgetting it a day later."""


@record(version=1)
@dataclass(frozen=True, slots=True)
class Body:
    """What the sender signs."""

    chain_id: ChainId
    sender: Address
    public_key: PublicKey
    """The sender's current Ed25519 key."""
    sequence: Unsigned64
    """The number of transactions of this sender before this one."""
    valid_until_ms: Timestamp
    """The last block time at which it may be included."""
    idempotency_id: Hash | None
    """Chosen by the client; a second transaction of the sender with an id that has succeeded is refused for 24 h."""
    fee: Amount
    """The most the sender pays for inclusion; what exceeds the required fee is the tip."""
    actions: Annotated[tuple[Action, ...], ActionList(MAXIMUM_ACTIONS)]
    """1 to 1,000 actions, applied atomically in order."""
    memo: Annotated[str, String(256)] = ""


@dataclass(frozen=True, slots=True)
class Transaction:
    """A decoded envelope: well-formed, but its signature and the state are still to be checked."""

    body: Body
    signature: bytes
    body_bytes: bytes = field(repr=False)
    envelope: bytes = field(repr=False)
    txid: bytes

    @staticmethod
    def decode(envelope: bytes) -> "Transaction":
        """Raises MalformedEncoding, InvalidField, UnknownAction, UnknownVersion or TransactionTooLarge."""
        if len(envelope) > MAXIMUM_TRANSACTION_BYTES:
            raise TransactionTooLarge(size=len(envelope), maximum=MAXIMUM_TRANSACTION_BYTES)
        match decode(envelope, max_size=MAXIMUM_TRANSACTION_BYTES, max_items=3):
            case (bytes() as body_bytes, bytes() as signature) if len(signature) == 64:
                limits = {"max_size": MAXIMUM_TRANSACTION_BYTES, "max_items": MAXIMUM_TRANSACTION_VALUES}
                body = decode_record(Body, body_bytes, **limits)
            case _:
                raise MalformedEncoding(reason="expected [body bytes, signature of 64 bytes]")
        return Transaction(body, signature, body_bytes, envelope, sha256(body_bytes))

    @staticmethod
    def sign(body: Body, key: ed25519.PrivateKey) -> "Transaction":
        """The signed transaction of a body."""
        for action in body.actions:
            action.validate()
        body_bytes = encode_record(body)
        signature = key.sign(signing_bytes(body_bytes))
        return Transaction(body, signature, body_bytes, encode([body_bytes, signature]), sha256(body_bytes))

    def verify_signature(self) -> None:
        """Raises BadSignature."""
        if not ed25519.verify(self.body.public_key, signing_bytes(self.body_bytes), self.signature):
            raise BadSignature(txid=self.txid)

    @property
    def weight(self) -> int:
        """Work in units of one transfer; what fee and block budget count."""
        return body_weight(self.body)

    @property
    def size(self) -> int:
        """Bytes of the envelope."""
        return len(self.envelope)

    def to_json(self, prefix: str) -> dict[str, Any]:
        return {"txid": self.txid.hex(), **to_json(self.body, prefix), "signature": self.signature.hex()}

    def describe(self, prefix: str) -> list[tuple[str, str]]:
        """Every field as (name, text) in human units, for a person who is about to sign."""
        return describe_body(self.body, prefix)


def body_weight(body: Body) -> int:
    """Weight of a transaction with this body, what it schedules included."""
    remembered = 0 if body.idempotency_id is None else IDEMPOTENCY_WEIGHT
    return BASE_WEIGHT + remembered + sum(action.weight() for action in body.actions)


def signing_bytes(body_bytes: bytes) -> bytes:
    """The bytes an Ed25519 signature of a transaction covers."""
    return TRANSACTION_DOMAIN + body_bytes


def encode_envelope(body_bytes: bytes, signature: bytes) -> bytes:
    """The envelope of a body that was signed elsewhere."""
    return encode_trusted([body_bytes, signature])


def describe_body(body: Body, prefix: str) -> list[tuple[str, str]]:
    """Every field of an unsigned body as (name, text) in human units."""
    plain = to_json(body, prefix)
    lines = [
        ("network", body.chain_id),
        ("from", plain["sender"]),
        ("sequence", str(body.sequence)),
        ("fee at most", format_amount(body.fee)),
        ("memo", body.memo or "none"),
    ]
    for index, action in enumerate(body.actions, 1):
        lines += [(f"{index}. {name}", text) for name, text in describe_action(action, prefix)]
    return lines
