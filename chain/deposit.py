"""Deposits: money that somebody leaves with the ledger and gets back when what it was paid for is over.

A record of the state is paid for by its bytes, so that state is not free; a dispute is paid for so that nobody opens
one for nothing. What was paid is kept with the record, because the price of a byte may change.
"""

from chain.action import Context
from chain.bank import adjust, credit, debit
from chain.parameters import Parameters
from chain.schema import encode_record

KEY_BYTES = 40
"""Charged for the key of a record and its place in the trie."""


def storage_deposit(parameters: Parameters, record: object, growth: int = 0) -> int:
    """What a record costs while it is in the state, base units.

    Args:
        growth: bytes by which it may grow; whoever creates it pays for them too, so that what others do later is free.
    """
    return parameters.storage_deposit_per_byte * (KEY_BYTES + len(encode_record(record)) + growth)


def take(context: Context, payer: bytes, amount: int) -> None:
    """Hold an amount of somebody's balance. Raises InsufficientFunds."""
    debit(context.view, payer, amount)
    adjust(context.view, deposits=amount)


def give_back(context: Context, payee: bytes, amount: int) -> None:
    """Release an amount that is held."""
    adjust(context.view, deposits=-amount)
    credit(context.view, payee, amount)
