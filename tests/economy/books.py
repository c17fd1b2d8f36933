"""The ground of the second ledger: money and time in plain dictionaries, and what every family of it needs.

Each family of actions is a file beside this one. A family adds fields to the books, `do_…` for each action (which
returns the name of an error, or nothing after its effects), and says what it holds: collateral, time of GPUs, things
that become due. It looks at everything after each block, so there is no queue and no index to get wrong, and its
arithmetic is in fractions. From `chain/` it takes the actions, the parameters and the derivation of identifiers.
"""

import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from math import floor
from typing import Any

import cbor2

from chain.action import Action
from chain.parameters import Parameters
from tests.ledger import GENESIS_TIME_MS
from tests.market import derived_id

KEY_BYTES, ACCOUNT_BYTES = 40, 108
MOST = (1 << 64) - 1


def size_of(*fields: Any) -> int:
    """Bytes for which a record of these fields is charged."""
    return KEY_BYTES + len(cbor2.dumps([1, *fields]))


@dataclass
class Books:
    """Who owns what, and when it is."""

    parameters: Parameters
    balance: dict[bytes, int]
    stake: dict[bytes, int]
    pot: int = 0
    """Collected for stakers."""
    treasury: int = 0
    burnt: int = 0
    issued: int = 0
    """What there was in the beginning."""
    deposits: dict[tuple[str, bytes], tuple[bytes, int]] = field(default_factory=dict)
    """(payer, amount) by what it was paid for; of an account the payer does not matter."""
    blocks: list[tuple[int, int]] = field(default_factory=lambda: [(GENESIS_TIME_MS, 0)])
    """(block time, live time) of every block."""
    sequences: dict[bytes, int] = field(default_factory=dict)
    txid: bytes = bytes(32)
    """The transaction in progress."""
    ids: int = 0
    """Identifiers that it has made."""
    done: Counter[str] = field(default_factory=Counter)
    """What has succeeded, by the names of the actions, also within proposals and measures."""

    @property
    def now(self) -> int:
        return self.blocks[-1][0]

    @property
    def live(self) -> int:
        return self.blocks[-1][1]

    @property
    def height(self) -> int:
        return len(self.blocks) - 1

    def live_at(self, instant: int, *, resumed: bool = True) -> int:
        """Live time of a past instant; within an outage that of its end, or else of its beginning."""
        for index in range(len(self.blocks) - 1, 0, -1):
            (time, live), (next_time, next_live) = self.blocks[index - 1 : index + 1]
            if time < instant <= next_time:
                if next_time - time > self.parameters.maximum_gap_ms:
                    return next_live if resumed else live
                return live + instant - time
        raise AssertionError(f"{instant} is not past")

    def instant(self, live_past: int) -> int:
        """The last instant of block time whose live time is at most this."""
        last = GENESIS_TIME_MS
        for (time, live), (next_time, next_live) in pairwise(self.blocks):
            if next_time - time > self.parameters.maximum_gap_ms:
                last = next_time if next_live <= live_past else last
            elif live < live_past:
                last = time + min(next_time - time, live_past - live)
        return last

    def operators(self) -> tuple[bytes, ...]:
        """Who operates an authority now."""
        return ()

    def new_id(self, domain: str) -> bytes:
        self.ids += 1
        return derived_id(self.txid, domain, self.ids)

    def pay(self, account: bytes, amount: int) -> None:
        """Move money to a balance, or from it; the first money of an address makes its account."""
        if not amount:
            return
        if account not in self.balance:
            deposit = min(amount, self.price(ACCOUNT_BYTES))
            self.deposits["account", account] = (account, deposit)
            amount -= deposit
        self.balance[account] = self.balance.get(account, 0) + amount

    def price(self, size: int) -> int:
        """What so many bytes of state cost."""
        return size * self.parameters.storage_deposit_per_byte

    def hold(self, payer: bytes, amount: int, what: str, key: bytes) -> None:
        self.pay(payer, -amount)
        self.deposits[what, key] = (payer, amount)

    def give_back(self, what: str, key: bytes) -> None:
        self.pay(*self.deposits.pop((what, key)))

    def forfeit(self, owner: bytes, amount: int, beneficiary: bytes) -> int:
        """Stake goes to somebody else, as far as slashes have left any; returns how much."""
        amount = min(amount, self.stake.get(owner, 0))
        if amount:
            self.stake[owner] -= amount
            self.pay(beneficiary, amount)
        return amount

    def has(self, account: bytes) -> int:
        return self.balance.get(account, 0)

    def collect(self, amount: int, share: int, before: int = 0) -> None:
        """Give a fee to stakers (`share`, all collected for one thing together floored) and treasury."""
        rate = Fraction(share, 10_000)
        stakers = floor((before + amount) * rate) - floor(before * rate)
        self.pot += stakers
        self.treasury += amount - stakers

    def holdings(self) -> Iterator[tuple[bytes, int]]:
        """(account, collateral) of everything live."""
        yield from ()

    def calendar(self, gpu: bytes) -> Iterator[tuple[int, int]]:
        """Every interval [start, end) that a GPU is taken."""
        yield from ()

    def due(self) -> None:
        """Let happen what the clocks have made due."""

    def tidy(self) -> None:
        """What follows from every change."""

    def end_epoch(self) -> None:
        """The last block of an epoch is over."""

    def held(self) -> Iterator[tuple[bytes, tuple[bytes, int, int, int, int]]]:
        """(what for, (payer, locked, paid with the fee, fee, still held)) of all money that waits to be earned."""
        yield from ()

    def amounts(self) -> Iterator[int]:
        """All money that there is, wherever it is."""
        yield from self.balance.values()
        yield from self.stake.values()
        yield from (amount for _, amount in self.deposits.values())
        yield from (left for _, (_, _, _, _, left) in self.held())
        yield from (self.pot, self.treasury)

    def edges(self) -> Iterator[int]:
        """Moments of block time at which something changes, as far as they are known."""
        yield from ()

    def live_edges(self) -> Iterator[int]:
        """Moments of live time at which something changes."""
        yield from ()

    def reserved(self, owner: bytes) -> int:
        """Collateral of an account, counted from what is live."""
        return sum(amount for account, amount in self.holdings() if account == owner)

    def free(self, owner: bytes) -> int:
        """Stake that nothing has reserved; none if a slash took more than was free."""
        return max(0, self.stake.get(owner, 0) - self.reserved(owner))

    def keeps(self, owner: bytes) -> int:
        """Free stake that an account must keep."""
        return 0

    def spare(self, owner: bytes) -> int:
        """Free stake that may become collateral."""
        return max(0, self.free(owner) - self.keeps(owner))

    def taken(self, gpus: Sequence[bytes], start: int, end: int) -> bool:
        return any(begins < end and start < ends for gpu in gpus for begins, ends in self.calendar(gpu))

    def step(self, time: int) -> None:
        """A block begins: the clocks move and everything that is due happens."""
        self.blocks.append((time, self.live + min(time - self.now, self.parameters.maximum_gap_ms)))
        self.due()
        self.tidy()

    def required_fee(self, size: int, weight: int) -> int:
        """The least that a transaction costs."""
        prices = self.parameters
        return prices.base_fee + prices.fee_per_byte * size + prices.fee_per_weight * weight

    def charge(self, sender: bytes, fee: int, required: int, proposer: bytes) -> None:
        """A transaction is included."""
        self.balance[sender] -= fee
        self.sequences[sender] = self.sequences.get(sender, 0) + 1
        self.collect(required, self.parameters.fee_staker_share)
        self.pay(proposer, fee - required)

    def attempt(self, sender: bytes, actions: Sequence[Action], txid: bytes) -> str:
        """Do what the actions say, all or nothing, or name the error for which it cannot be done."""
        self.txid, self.ids = txid, 0
        before = copy.deepcopy(self.__dict__) if self.delicate(actions) else {}
        for action in actions:
            error = self.perform(sender, action)
            if error:
                self.__dict__.update(before)
                return error
        return ""

    def end_block(self) -> None:
        """A block is over."""
        if self.height % self.parameters.epoch_blocks == 0:
            self.end_epoch()

    def delicate(self, actions: Sequence[Action]) -> bool:
        """Whether something may fail after something else has happened."""
        return len(actions) > 1

    def perform(self, sender: bytes, action: Action) -> str | None:
        error: str | None = getattr(self, "do_" + action.name.replace(".", "_"))(sender, action)
        self.tidy()
        if not error:
            self.done[action.name] += 1
        return error
