"""What a transaction must be to be included at all, in the second ledger, and what is remembered of those that were."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from chain.crypto.address import key_address
from chain.transaction import Transaction
from tests.economy.accounts import Accounts

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
ID_WEIGHT = 6

Refusal = tuple[str, dict[str, Any]]
"""The name of an error and its data."""


def verifies(transaction: Transaction) -> bool:
    """Whether the key that a transaction names has signed it."""
    try:
        VerifyKey(transaction.body.public_key).verify(b"aitbc/tx/1" + transaction.body_bytes, transaction.signature)
    except BadSignatureError:
        return False
    return True


@dataclass
class Envelopes(Accounts):
    remembered: dict[tuple[bytes, bytes], tuple[bytes, int]] = field(default_factory=dict)
    """(sender, idempotency id) to (transaction that succeeded, block time from which the id is free again)."""

    def due(self) -> None:
        super().due()
        self.remembered = {key: found for key, found in self.remembered.items() if self.now < found[1]}

    def edges(self) -> Iterator[int]:
        yield from super().edges()
        yield from (free for _, free in self.remembered.values())

    def required(self, transaction: Transaction) -> int:
        """The least fee of a transaction."""
        body = transaction.body
        weight = 1 + sum(action.weight() for action in body.actions)
        if body.idempotency_id is not None:
            weight += ID_WEIGHT
        return self.required_fee(len(transaction.envelope), weight)

    def signs_for(self, key: bytes, account: bytes) -> bool:
        """Whether this is the key of an account: the last that it took, or else that of its address."""
        if account in self.current:
            return self.current[account] == key
        return key_address(key) == account and key not in self.bound

    def refusal(self, transaction: Transaction) -> Refusal | None:
        """The first reason why no block may include a transaction now."""
        body = transaction.body
        sequence = self.sequences.get(body.sender, 0)
        latest = self.now + HOUR_MS
        txid, _ = self.remembered.get((body.sender, body.idempotency_id or b""), (None, 0))
        needed, has = self.required(transaction), self.has(body.sender)
        rules: list[tuple[bool, str, dict[str, Any]]] = [
            (verifies(transaction), "bad_signature", {"txid": transaction.txid}),
            (body.chain_id == self.chain_id, "wrong_chain", {"expected": self.chain_id, "got": body.chain_id}),
            (self.signs_for(body.public_key, body.sender), "key_mismatch", {"sender": body.sender}),
            (
                body.valid_until_ms >= self.now,
                "transaction_expired",
                {"valid_until_ms": body.valid_until_ms, "time_ms": self.now},
            ),
            (
                body.valid_until_ms <= latest,
                "validity_too_long",
                {"valid_until_ms": body.valid_until_ms, "maximum": latest},
            ),
            (body.sequence == sequence, "sequence_mismatch", {"expected": sequence, "got": body.sequence}),
            (txid is None, "already_done", {"txid": txid}),
            (body.fee >= needed, "fee_too_low", {"needed": needed, "offered": body.fee}),
            (has >= body.fee, "insufficient_funds", {"needed": body.fee, "available": has}),
        ]
        return next(((name, data) for kept, name, data in rules if not kept), None)

    def include(self, transaction: Transaction, proposer: bytes) -> str:
        """A block includes a transaction: its fee is paid in any case; returns the error of its actions."""
        body = transaction.body
        self.charge(body.sender, body.fee, self.required(transaction), proposer)
        error = self.attempt(body.sender, body.actions, transaction.txid)
        if not error and body.idempotency_id is not None:
            self.remembered[body.sender, body.idempotency_id] = (transaction.txid, self.now + DAY_MS)
        return error
