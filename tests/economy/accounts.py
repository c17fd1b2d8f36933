"""Accounts and staking in the second ledger."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from chain.actions.accounts import RotateKey, SetProfile, Transfer
from chain.actions.staking import AddStake, ClaimRewards, RemoveStake
from chain.crypto.address import KEY, key_address
from chain.stake import STAKE_BYTES
from tests.economy.books import ACCOUNT_BYTES, MOST, Books, size_of

BINDING_BYTES = 164
"""Of a key and its address at their fullest: 40 + 47 and 40 + 37."""
MAXIMUM_UNBONDINGS = 32
FRACTIONS = 1 << 64


@dataclass
class Accounts(Books):
    chain_id: str = ""
    rotations: dict[bytes, int] = field(default_factory=dict)
    bound: dict[bytes, bytes] = field(default_factory=dict)
    """Every key that was taken by rotation, and the account that took it."""
    current: dict[bytes, bytes] = field(default_factory=dict)
    """The key of each account that has taken one."""

    def usable(self, address: bytes) -> bool:
        """Whether somebody can sign for an address, now or later."""
        return all(key_address(key) != address for key in self.bound)

    def do_account_transfer(self, sender: bytes, action: Transfer) -> str | None:
        if action.asset != "AITBC":
            return "unknown_asset"
        deposit = 0 if action.to in self.balance else self.price(ACCOUNT_BYTES)
        if self.has(sender) < action.amount + deposit:
            return "insufficient_funds"
        if not self.usable(action.to):
            return "address_not_usable"
        self.pay(sender, -(action.amount + deposit))
        self.pay(action.to, action.amount + deposit)
        return None

    def do_account_set_profile(self, sender: bytes, action: SetProfile) -> str | None:
        said = action.profile
        fields = [said.name, said.contact, said.encryption_key]
        deposit = self.price(size_of([said.name, said.contact, bytes(32)], MOST)) if any(fields) else 0
        _, before = self.deposits.get(("profile", sender), (sender, 0))
        if self.has(sender) + before < deposit:
            return "insufficient_funds"
        if ("profile", sender) in self.deposits:
            self.give_back("profile", sender)
        if any(fields):
            self.hold(sender, deposit, "profile", sender)
        return None

    def do_account_rotate_key(self, sender: bytes, action: RotateKey) -> str | None:
        if sender[0] != KEY:
            return "not_authorized"
        if action.new_key in self.bound or key_address(action.new_key) in self.balance:
            return "key_taken"
        if self.has(sender) < self.price(BINDING_BYTES):
            return "insufficient_funds"
        self.hold(sender, self.price(BINDING_BYTES), "key", action.new_key)
        self.bound[action.new_key] = sender
        self.current[sender] = action.new_key
        self.rotations[sender] = self.rotations.get(sender, 0) + 1
        return None


@dataclass
class Staking(Books):
    locked: dict[bytes, int] = field(default_factory=dict)
    unbonding: dict[bytes, tuple[int, bytes, int]] = field(default_factory=dict)
    """(block time at which it is paid out, owner, amount)."""
    counted: dict[bytes, int] = field(default_factory=dict)
    """Stake that has been locked since the epoch began."""
    owed: dict[bytes, int] = field(default_factory=dict)
    """Rewards, in FRACTIONS of a base unit."""
    rewards: int = 0
    """Shared and not claimed."""
    carry: int = 0
    """What could not be divided, in FRACTIONS; within `rewards`."""

    def found_epoch(self) -> None:
        """All stake that there is counts from now on."""
        self.counted = dict(self.stake)

    def end_epoch(self) -> None:
        total = sum(self.counted.values())
        if total:
            gained, self.carry = divmod(self.pot * FRACTIONS + self.carry, total)
            for owner, amount in self.counted.items():
                self.owed[owner] = self.owed.get(owner, 0) + amount * gained
            self.rewards += self.pot
        else:
            self.treasury += self.pot
        self.pot = 0
        self.found_epoch()

    def tidy(self) -> None:
        """After each action: stake that left counts no more, and of whom nothing is left is forgotten."""
        super().tidy()
        for owner, amount in list(self.stake.items()):
            self.counted[owner] = min(self.counted.get(owner, 0), amount)
            if not amount and not self.reserved(owner) and self.owed.get(owner, 0) < FRACTIONS:
                self.carry += self.owed.pop(owner, 0)
                del self.stake[owner], self.counted[owner]
                if ("stake", owner) in self.deposits:
                    self.give_back("stake", owner)
                self.locked.pop(owner, None)

    def do_stake_claim_rewards(self, sender: bytes, action: ClaimRewards) -> str | None:
        whole, rest = divmod(self.owed.get(sender, 0), FRACTIONS)
        if not whole:
            return "nothing_to_claim"
        self.owed[sender] = rest
        self.rewards -= whole
        self.pay(sender, whole)
        return None

    def do_stake_add(self, sender: bytes, action: AddStake) -> str | None:
        deposit = 0 if sender in self.stake else self.price(STAKE_BYTES)
        if self.has(sender) < action.amount + deposit:
            return "insufficient_funds"
        self.balance[sender] -= action.amount
        if deposit:
            self.hold(sender, deposit, "stake", sender)
        self.stake[sender] = self.stake.get(sender, 0) + action.amount
        self.locked[sender] = max(self.locked.get(sender, 0), self.now + action.lock_seconds * 1_000)
        return None

    def do_stake_remove(self, sender: bytes, action: RemoveStake) -> str | None:
        if self.now < self.locked.get(sender, 0):
            return "stake_locked"
        if self.free(sender) < action.amount:
            return "insufficient_stake"
        if self.free(sender) - action.amount < self.keeps(sender):
            return "authority_stake_locked"
        if sum(owner == sender for _, owner, _ in self.unbonding.values()) == MAXIMUM_UNBONDINGS:
            return "too_many_unbondings"
        self.stake[sender] -= action.amount
        due = self.now + self.parameters.unbonding_seconds * 1_000
        self.unbonding[self.new_id("unbonding")] = (due, sender, action.amount)
        return None

    def due(self) -> None:
        super().due()
        for key, (due, owner, amount) in list(self.unbonding.items()):
            if due <= self.now:
                del self.unbonding[key]
                self.pay(owner, amount)

    def amounts(self) -> Iterator[int]:
        yield from super().amounts()
        yield from (amount for _, _, amount in self.unbonding.values())
        yield self.rewards

    def edges(self) -> Iterator[int]:
        yield from super().edges()
        yield from (due for due, _, _ in self.unbonding.values())
        yield from self.locked.values()
