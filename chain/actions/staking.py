"""Staking: locking money that collateral can be taken from, and getting it back after the unbonding time."""

from dataclasses import dataclass, replace
from typing import ClassVar

from chain.action import Action, Clock, Context, Family
from chain.bank import account, adjust, credit, debit, totals
from chain.errors import InsufficientFunds, InsufficientStake, InvalidField, LedgerError
from chain.invariants import require
from chain.schedule import Subject, is_scheduled, schedule
from chain.schema import Address, Amount, Seconds, Timestamp, record
from chain.stake import STAKES, stake_of
from chain.state.tables import Table, TableId
from chain.state.view import View

MAXIMUM_LOCK_SECONDS = 4 * 365 * 86_400


class StakeLocked(LedgerError):
    code = 1203
    hint = "Wait until the lock ends."


@record(version=1)
@dataclass(frozen=True, slots=True)
class Unbonding:
    """Money on its way back from a stake to the balance."""

    owner: Address
    amount: Amount
    due_ms: Timestamp
    """Block time at which it is paid out."""


UNBONDINGS: Table[Unbonding] = Table(TableId.UNBONDINGS, Unbonding)


@record(version=1)
@dataclass(frozen=True, slots=True)
class AddStake(Action):
    """Moves money from the balance into the stake."""

    code: ClassVar[int] = 10
    name: ClassVar[str] = "stake.add"
    base_weight: ClassVar[int] = 2

    amount: Amount
    lock_seconds: Seconds = 0
    """The whole stake cannot be unstaked for this long; an earlier, longer lock stays."""

    def validate(self) -> None:
        if self.amount == 0:
            raise InvalidField(record="AddStake", field="amount", reason="must be more than zero")
        if self.lock_seconds > MAXIMUM_LOCK_SECONDS:
            raise InvalidField(record="AddStake", field="lock_seconds", reason="at most four years")

    def check(self, context: Context) -> None:
        available = account(context.view, context.sender).balance
        if available < self.amount:
            raise InsufficientFunds(needed=self.amount, available=available)

    def apply(self, context: Context) -> None:
        old = stake_of(context.view, context.sender)
        locked_until_ms = max(old.locked_until_ms, context.time_ms + self.lock_seconds * 1_000)
        debit(context.view, context.sender, self.amount)
        adjust(context.view, staked=self.amount)
        new = replace(old, amount=old.amount + self.amount, locked_until_ms=locked_until_ms)
        STAKES.put(context.view, context.sender, new)
        context.emit("stake.added", [("account", context.sender)], amount=self.amount, stake=new.amount)


@record(version=1)
@dataclass(frozen=True, slots=True)
class RemoveStake(Action):
    """Starts the unbonding of free stake; it arrives in the balance by itself."""

    code: ClassVar[int] = 11
    name: ClassVar[str] = "stake.remove"
    base_weight: ClassVar[int] = 8

    amount: Amount

    def validate(self) -> None:
        if self.amount == 0:
            raise InvalidField(record="RemoveStake", field="amount", reason="must be more than zero")

    def check(self, context: Context) -> None:
        stake = stake_of(context.view, context.sender)
        if context.time_ms < stake.locked_until_ms:
            raise StakeLocked(until_ms=stake.locked_until_ms)
        if stake.free < self.amount:
            raise InsufficientStake(needed=self.amount, available=stake.free)

    def apply(self, context: Context) -> None:
        old = stake_of(context.view, context.sender)
        STAKES.put(context.view, context.sender, replace(old, amount=old.amount - self.amount))
        adjust(context.view, staked=-self.amount, unbonding=self.amount)
        unbonding_id = context.new_id("unbonding")
        due_ms = context.time_ms + context.parameters.unbonding_seconds * 1_000
        UNBONDINGS.put(context.view, unbonding_id, Unbonding(context.sender, self.amount, due_ms))
        schedule(context, Clock.BLOCK, due_ms, Subject.UNBONDING, unbonding_id)
        subjects = [("account", context.sender), ("unbonding", unbonding_id)]
        context.emit("stake.unbonding", subjects, amount=self.amount, due_ms=due_ms)


def pay_out(context: Context, unbonding_id: bytes) -> None:
    """Due handler: an unbonding arrives in its owner's balance."""
    unbonding = UNBONDINGS.get(context.view, unbonding_id)
    if unbonding is None:
        return
    UNBONDINGS.delete(context.view, unbonding_id)
    adjust(context.view, unbonding=-unbonding.amount)
    credit(context.view, unbonding.owner, unbonding.amount)
    context.emit("stake.released", [("account", unbonding.owner), ("unbonding", unbonding_id)], amount=unbonding.amount)


def check_unbondings(view: View) -> None:
    """Unbondings add up to their total, and each has the deadline at which it is paid out."""
    unbonding = sum(item.amount for _, item in UNBONDINGS.scan(view))
    require(unbonding == totals(view).unbonding, "unbondings add up to their total", counted=unbonding)
    for unbonding_id, item in UNBONDINGS.scan(view):
        waiting = is_scheduled(view, Clock.BLOCK, item.due_ms, Subject.UNBONDING, unbonding_id)
        require(waiting, "an unbonding has its deadline", id=unbonding_id)


FAMILY = Family("staking", (AddStake, RemoveStake), {Subject.UNBONDING: pay_out}, (check_unbondings,))
