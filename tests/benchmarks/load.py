"""Pre-signed transfers between many accounts: the load of every throughput benchmark.

Each transfer has a sender and a recipient of its own as far as the accounts go, so that a block touches two accounts
for each transaction. Paying the same few accounts again and again would make the state root cheaper than it is.
"""

import random
from collections.abc import Sequence

from chain.actions.accounts import Transfer
from chain.bank import NATIVE_ASSET
from chain.transaction import Body, Transaction
from tests.ledger import DEFAULT_FEE, Person

SEED = 20_261_121


def people(count: int) -> list[Person]:
    """Account holders, the same ones each time."""
    return [Person(f"benchmark {number}") for number in range(count)]


def transfers(
    chain_id: str, senders: Sequence[Person], count: int, valid_until_ms: int, *, first: int = 0
) -> list[Transaction]:
    """Numbers `first` to `first + count` of an endless list in which all pay in turn, each to somebody drawn by lot."""
    lots = random.Random(SEED + first)
    signed = []
    for number in range(first, first + count):
        sequence, turn = divmod(number, len(senders))
        sender, recipient = senders[turn], senders[lots.randrange(len(senders))]
        body = Body(
            chain_id=chain_id,
            sender=sender.address,
            public_key=sender.key.public_key,
            sequence=sequence,
            valid_until_ms=valid_until_ms,
            idempotency_id=None,
            fee=DEFAULT_FEE,
            actions=(Transfer(recipient.address, NATIVE_ASSET, 1 + lots.randrange(1_000)),),
        )
        signed.append(Transaction.sign(body, sender.key))
    return signed
