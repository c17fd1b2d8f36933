"""Staking: locking money that collateral can be taken from, and getting it back after the unbonding time."""

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from chain import stake
from chain.action import Action, Clock, Context, Family
from chain.authorities import require_unbound
from chain.bank import debit, require_funds, totals
from chain.clocks import read_clocks
from chain.deposit import held_in
from chain.errors import InsufficientStake, InvalidField, LedgerError
from chain.invariants import require
from chain.record import record
from chain.rewards import EPOCH_SHARES, FRACTION_BITS, end_epoch, read_rewards, settled
from chain.schedule import Subject, is_scheduled
from chain.schema import Amount, Seconds
from chain.stake import STAKES
from chain.state.view import View
from chain.unbonding import (
    MAXIMUM_UNBONDINGS,
    UNBONDINGS,
    id_of,
    open_unbonding,
    open_unbondings,
    release,
    unbonding_key,
)

MAXIMUM_LOCK_SECONDS = 4 * 365 * 86_400


class StakeLocked(LedgerError):
    code = 1203
    hint = "Wait until the lock ends."


class TooManyUnbondings(LedgerError):
    code = 1204
    hint = "Wait until one of them is paid out."


class NothingToClaim(LedgerError):
    code = 1205
    hint = "Fees are shared when an epoch ends, among stake that was locked for all of it."


@record(version=1)
@dataclass(frozen=True, slots=True)
class AddStake(Action):
    """Moves money from the balance into the stake; the first time, a deposit for its record comes on top."""

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
        require_funds(context.view, context.sender, self.amount, stake.missing_deposit(context, context.sender))

    def apply(self, context: Context) -> None:
        debit(context.view, context.sender, self.amount)
        locked_until_ms = context.time_ms + self.lock_seconds * 1_000
        new = stake.add(context, context.sender, self.amount, locked_until_ms)
        context.emit("stake.added", [("account", context.sender)], amount=self.amount, stake=new.amount)


@record(version=1)
@dataclass(frozen=True, slots=True)
class RemoveStake(Action):
    """Starts the unbonding of free stake; it arrives in the balance by itself."""

    code: ClassVar[int] = 11
    name: ClassVar[str] = "stake.remove"
    base_weight: ClassVar[int] = 12  # a due item, and a look through the unbondings that are open already

    amount: Amount

    def validate(self) -> None:
        if self.amount == 0:
            raise InvalidField(record="RemoveStake", field="amount", reason="must be more than zero")

    def check(self, context: Context) -> None:
        held = stake.stake_of(context.view, context.sender)
        if context.time_ms < held.locked_until_ms:
            raise StakeLocked(until_ms=held.locked_until_ms)
        if held.free < self.amount:
            raise InsufficientStake(needed=self.amount, available=held.free)
        left = held.free - self.amount
        require_unbound(context.view, context.parameters, context.block.epoch, context.sender, left)
        if len(open_unbondings(context, context.sender)) >= MAXIMUM_UNBONDINGS:
            raise TooManyUnbondings(maximum=MAXIMUM_UNBONDINGS)

    def apply(self, context: Context) -> None:
        stake.remove(context, context.sender, self.amount)
        due_ms = context.time_ms + context.parameters.unbonding_seconds * 1_000
        unbonding_id = open_unbonding(context, context.sender, self.amount, due_ms)
        subjects = [("account", context.sender), ("unbonding", unbonding_id)]
        context.emit("stake.unbonding", subjects, amount=self.amount, due_ms=due_ms)


@record(version=1)
@dataclass(frozen=True, slots=True)
class ClaimRewards(Action):
    """Moves to the balance what the stake has earned in the epochs that have ended."""

    code: ClassVar[int] = 12
    name: ClassVar[str] = "stake.claim_rewards"
    base_weight: ClassVar[int] = 3

    def check(self, context: Context) -> None:
        if not stake.claimable(context.view, context.sender):
            raise NothingToClaim(account=context.sender)

    def apply(self, context: Context) -> None:
        amount = stake.claim(context, context.sender)
        context.emit("stake.rewards_claimed", [("account", context.sender)], amount=amount)


def check_unbondings(view: View) -> None:
    """Unbondings add up to their total, and each has the deadline at which it is paid out."""
    unbonding = sum(item.amount for _, item in UNBONDINGS.scan(view))
    require(unbonding == totals(view).unbonding, "unbondings add up to their total", counted=unbonding)
    now_ms = read_clocks(view).time_ms
    counted = Counter(item.owner for _, item in UNBONDINGS.scan(view) if item.due_ms > now_ms)
    most = max(counted.values(), default=0)
    require(most <= MAXIMUM_UNBONDINGS, "an account has few open unbondings", most=most)
    for key, item in UNBONDINGS.scan(view):
        require(key == unbonding_key(id_of(key), item), "an unbonding is where its owner finds it", id=id_of(key))
        require(item.amount > 0, "an unbonding holds money", id=id_of(key))
        waiting = is_scheduled(view, Clock.BLOCK, item.due_ms, Subject.UNBONDING, key)
        require(waiting, "an unbonding has its deadline", id=id_of(key))


def check_epoch_shares(view: View) -> None:
    """Where an epoch ended is kept for exactly those stakes that wait for it."""
    now = read_rewards(view)
    waiting: Counter[int] = Counter()
    for address, held in STAKES.scan(view):
        require(held.share.counted <= held.amount, "no more counts than there is", account=address)
        require(held.share.epoch <= now.epoch, "nothing is settled before it is shared", account=address)
        if held.share.counted < held.amount:
            waiting[held.share.epoch] += 1
    require(waiting.pop(now.epoch, 0) == now.raised, "raised stakes are counted", total=now.raised)
    kept = {int.from_bytes(key, "big"): item.waiting for key, item in EPOCH_SHARES.scan(view)}
    require(kept == waiting, "where an epoch ended is kept while somebody waits for it")


def check_rewards(view: View) -> None:
    """What counts adds up, and all that is owed is in the pool, to the last fraction of a base unit."""
    now = read_rewards(view)
    counted, owed = 0, now.carry
    for address, held in STAKES.scan(view):
        share = settled(view, held.share, held.amount)
        require(share.owed >= held.share.owed, "what is owed only grows", account=address)
        left = held.amount or held.collateral or share.claimable
        require(left > 0, "a stake of which nothing is left is gone", account=address)
        counted += share.counted
        owed += share.owed
    require(counted == now.counted, "stake that counts adds up", counted=counted, total=now.counted)
    require(owed == totals(view).rewards << FRACTION_BITS, "what is owed is in the pool")


FAMILY = Family(
    "staking",
    (AddStake, RemoveStake, ClaimRewards),
    {Subject.UNBONDING: release},
    (check_unbondings, check_epoch_shares, check_rewards),
    epoch_end=end_epoch,
    deposits=held_in(STAKES),
)
