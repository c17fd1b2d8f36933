"""Deposits: money that somebody leaves with the ledger and gets back when what it was paid for is over.

A record of the state is paid for by its bytes, so that state is not free; a dispute is paid for so that nobody opens
one for nothing. What was paid is kept with the record, because the price of a byte may change. A record is paid for as
it is at its fullest, so that what others do to it later costs nobody anything.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from chain.action import Context
from chain.bank import KEY_BYTES, adjust, credit, debit
from chain.parameters import Parameters
from chain.record import Nested, encode_record, layout
from chain.schema import Items, Kind, Maybe, Octets, Unsigned
from chain.state.tables import Table
from chain.state.view import View

About = tuple[str, bytes]
"""What a deposit is for, as events name it: (role, id)."""


R = TypeVar("R")


def fullest(record: R) -> R:
    """The record with every number at its largest and every optional number or id there; texts and lists stay."""
    form = layout(type(record))
    changes = {name: _fullest(kind, getattr(record, name)) for name, kind in zip(form.names, form.kinds, strict=True)}
    return replace(record, **changes)  # type: ignore[type-var]


def _fullest(kind: Kind, value: Any) -> Any:
    match kind:
        case Unsigned():
            return kind.maximum
        case Maybe(inner=Octets() as octets) if value is None:
            return bytes(octets.maximum)
        case Maybe() if value is not None or isinstance(kind.inner, Unsigned):
            return _fullest(kind.inner, value)
        case Items():
            return tuple(_fullest(kind.inner, item) for item in value)
        case Nested():
            return fullest(value)
    return value


def size_of(record: object) -> int:
    """Bytes that a record is charged for: its key and itself at its fullest."""
    return KEY_BYTES + len(encode_record(fullest(record)))


def storage_deposit(parameters: Parameters, record: object, growth: int = 0) -> int:
    """What a record costs while it is in the state, base units.

    Args:
        growth: bytes by which its lists may grow, and of what comes and goes with it.
    """
    return parameters.storage_deposit_per_byte * (size_of(record) + growth)


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
