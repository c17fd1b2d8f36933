"""Deposits: money that somebody leaves with the ledger and gets back when what it was paid for is over.

A record of the state is paid for by its bytes, so that state is not free; a dispute is paid for so that nobody opens
one for nothing. What was paid is kept with the record, because the price of a byte may change. A record is paid for as
it is at its fullest, so that what others do to it later costs nobody anything.
"""

from collections.abc import Callable
from typing import Any

from chain.action import Context
from chain.bank import KEY_BYTES, adjust, credit, debit
from chain.parameters import Parameters
from chain.schema import encode_record
from chain.state.tables import Table
from chain.state.view import View

About = tuple[str, bytes]
"""What a deposit is for, as events name it: (role, id)."""


def storage_deposit(parameters: Parameters, record: object, growth: int = 0) -> int:
    """What a record costs while it is in the state, base units.

    Args:
        growth: bytes by which it, or what comes and goes with it, may grow beyond the record given.
    """
    return parameters.storage_deposit_per_byte * (KEY_BYTES + len(encode_record(record)) + growth)


def take(context: Context, payer: bytes, amount: int, about: About | None = None) -> None:
    """Hold an amount of somebody's balance. Raises InsufficientFunds."""
    if amount:
        debit(context.view, payer, amount)
        adjust(context.view, deposits=amount)
        context.emit("deposit.taken", [("payer", payer), *([about] if about else ())], amount=amount)


def give_back(context: Context, payee: bytes, amount: int, about: About | None = None) -> None:
    """Release an amount that is held."""
    if amount:
        adjust(context.view, deposits=-amount)
        credit(context.view, payee, amount)
        context.emit("deposit.returned", [("payer", payee), *([about] if about else ())], amount=amount)


def held_in(*tables: Table[Any]) -> Callable[[View], int]:
    """Counts what the records of these tables hold in their field `deposit`; for `chain.action.Family.deposits`."""
    return lambda view: sum(record.deposit for table in tables for _, record in table.scan(view))
