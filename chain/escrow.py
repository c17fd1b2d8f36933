"""Money that is promised but not yet earned: the service that bookings, jobs and requests share.

An escrow holds what a payer locked for one subject. Payments are given as cumulative gross totals and the
difference to what was already paid moves, so that settling often never changes a total. At every moment
locked = net + fee + refunded + remaining.
"""

from dataclasses import dataclass, replace

from chain.action import Context
from chain.bank import adjust, checked, credit, debit, share_fee
from chain.deposit import size_of
from chain.errors import NotFound
from chain.record import record
from chain.schema import Address, Amount, BasisPoints
from chain.state.tables import Table, TableId
from chain.state.view import View


@record(version=1)
@dataclass(frozen=True, slots=True)
class Escrow:
    """The money of one booking, job or request."""

    payer: Address
    fee_rate: BasisPoints
    """Market fee, as it was when the escrow opened; taken from the earner's side."""
    locked: Amount
    net: Amount = 0
    """Paid to whoever earned it so far."""
    fee: Amount = 0
    """Paid as market fee so far."""
    refunded: Amount = 0
    staker_share: BasisPoints = 0
    """Share of the fee that goes to the stakers' pot, as it was when the escrow opened."""

    @property
    def gross(self) -> int:
        """Earned and paid out so far, fee included, in base units."""
        return self.net + self.fee

    @property
    def remaining(self) -> int:
        """Still held, in base units."""
        return self.locked - self.net - self.fee - self.refunded


ESCROWS: Table[Escrow] = Table(TableId.ESCROWS, Escrow)
ESCROW_BYTES = size_of(Escrow(bytes(33), 0, 0))
"""Part of what its subject leaves as a deposit."""


def open_escrow(context: Context, subject: bytes, payer: bytes, amount: int) -> None:
    """Lock an amount of the payer's balance for a subject. Raises InsufficientFunds."""
    debit(context.view, payer, amount)
    adjust(context.view, escrow=amount)
    parameters = context.parameters
    escrow = Escrow(payer, parameters.market_fee, amount, staker_share=parameters.market_fee_staker_share)
    ESCROWS.put(context.view, subject, escrow)


def add(context: Context, subject: bytes, amount: int) -> None:
    """Lock more of the payer's balance for the same subject. Raises InsufficientFunds."""
    old = escrow_of(context.view, subject)
    debit(context.view, old.payer, amount)
    adjust(context.view, escrow=amount)
    ESCROWS.put(context.view, subject, replace(old, locked=checked(old.locked + amount)))


def escrow_of(view: View, subject: bytes) -> Escrow:
    """The escrow of a subject, also after it was settled. Raises NotFound."""
    escrow = ESCROWS.get(view, subject)
    if escrow is None:
        raise NotFound(kind="escrow", id=subject)
    return escrow


def pay(context: Context, subject: bytes, payee: bytes, gross: int) -> tuple[int, int]:
    """Bring what was paid up to a cumulative gross, the rest to `payee`; returns what moved now as (net, fee).

    The fee is floor(gross · rate / 10,000) of the cumulative gross, so the provider takes each remainder.
    """
    old = escrow_of(context.view, subject)
    gross = min(max(gross, old.gross), old.locked - old.refunded)
    fee = gross * old.fee_rate // 10_000
    net_now, fee_now = gross - fee - old.net, fee - old.fee
    ESCROWS.put(context.view, subject, replace(old, net=old.net + net_now, fee=old.fee + fee_now))
    adjust(context.view, escrow=-(net_now + fee_now))
    credit(context.view, payee, net_now)
    share_fee(context.view, fee_now, old.staker_share, before=old.fee)
    return net_now, fee_now


def refund(context: Context, subject: bytes, amount: int) -> int:
    """Return part of what is still held to the payer; returns the amount, which is at most what remains."""
    old = escrow_of(context.view, subject)
    amount = min(amount, old.remaining)
    if not amount:
        return 0
    ESCROWS.put(context.view, subject, replace(old, refunded=old.refunded + amount))
    adjust(context.view, escrow=-amount)
    credit(context.view, old.payer, amount)
    return amount


def refund_rest(context: Context, subject: bytes) -> int:
    """Return everything that is still held to the payer; returns the amount."""
    return refund(context, subject, escrow_of(context.view, subject).remaining)


def close(context: Context, subject: bytes) -> int:
    """Return everything that is still held to the payer and forget the escrow; returns the amount."""
    amount = refund_rest(context, subject)
    ESCROWS.delete(context.view, subject)
    return amount
