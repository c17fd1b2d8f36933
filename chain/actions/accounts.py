"""Accounts: paying, and saying who one is."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from chain.action import Action, Context, Family
from chain.bank import ACCOUNTS, NATIVE_ASSET, account, credit, debit, missing_deposit, require_funds
from chain.codec import encode
from chain.crypto import ed25519
from chain.crypto.address import KEY, MODULE
from chain.deposit import give_back, held_in, storage_deposit, take
from chain.errors import BadSignature, InvalidField, LedgerError, NotAuthorized
from chain.idempotency import forget
from chain.keys import KEYS, bind, binding_deposit, is_bound, require_usable, retire
from chain.record import record
from chain.schedule import Subject
from chain.schema import U64, Address, Amount, Octets, PublicKey, String
from chain.state.tables import Table, TableId


class UnknownAsset(LedgerError):
    code = 1107
    hint = "The only asset of this network is AITBC."


@record(version=1)
@dataclass(frozen=True, slots=True)
class Transfer(Action):
    """Pays an amount to another account; one that is new costs the sender its deposit on top."""

    code: ClassVar[int] = 1
    name: ClassVar[str] = "account.transfer"

    to: Address
    asset: Annotated[str, String(16, 1)]
    amount: Amount

    def validate(self) -> None:
        if self.amount == 0:
            raise InvalidField(record="Transfer", field="amount", reason="must be more than zero")
        if self.to[0] == MODULE:
            raise InvalidField(record="Transfer", field="to", reason="a module account takes no transfers")

    def check(self, context: Context) -> None:
        if self.asset != NATIVE_ASSET:
            raise UnknownAsset(asset=self.asset)
        require_funds(context.view, context.sender, self.amount, missing_deposit(context.view, self.to))
        require_usable(context.view, self.to)

    def apply(self, context: Context) -> None:
        deposit = missing_deposit(context.view, self.to)
        debit(context.view, context.sender, self.amount + deposit)
        credit(context.view, self.to, self.amount + deposit)
        context.emit("account.transfer", [("from", context.sender), ("to", self.to)], amount=self.amount)
        if deposit:
            context.emit("deposit.taken", [("payer", context.sender), ("account", self.to)], amount=deposit)


@record(version=1)
@dataclass(frozen=True, slots=True)
class Profile:
    """What an account says of itself; nothing here is verified."""

    name: Annotated[str, String(64)]
    contact: Annotated[str, String(128)]
    encryption_key: PublicKey | None
    """X25519 key to which others seal access details and payload keys."""


NO_PROFILE = Profile("", "", None)


@record(version=1)
@dataclass(frozen=True, slots=True)
class StoredProfile:
    """A profile in the state; its key is the account."""

    profile: Profile
    deposit: Amount
    """Paid by the account, and returned when it replaces or clears its profile."""


PROFILES: Table[StoredProfile] = Table(TableId.PROFILES, StoredProfile)


@record(version=1)
@dataclass(frozen=True, slots=True)
class SetProfile(Action):
    """Replaces the sender's profile; an empty one clears it."""

    code: ClassVar[int] = 2
    name: ClassVar[str] = "account.set_profile"
    base_weight: ClassVar[int] = 2

    profile: Profile

    def _deposit(self, context: Context) -> int:
        if self.profile == NO_PROFILE:
            return 0
        return storage_deposit(context.parameters, StoredProfile(self.profile, U64))

    def check(self, context: Context) -> None:
        old = PROFILES.get(context.view, context.sender)
        more = self._deposit(context) - (0 if old is None else old.deposit)
        require_funds(context.view, context.sender, 0, max(0, more))

    def apply(self, context: Context) -> None:
        old, deposit = PROFILES.get(context.view, context.sender), self._deposit(context)
        about = ("account", context.sender)
        if old is not None:
            PROFILES.delete(context.view, context.sender)
            give_back(context, context.sender, old.deposit, about)
        if self.profile != NO_PROFILE:
            take(context, context.sender, deposit, about)
            PROFILES.put(context.view, context.sender, StoredProfile(self.profile, deposit))
        context.emit("account.profile_set", [about])


class KeyTaken(LedgerError):
    code = 1108
    hint = "Choose a key that no account uses or has used."


ROTATION_DOMAIN = "aitbc/rotate-key/1"


def rotation_bytes(chain_id: str, address: bytes, new_key: bytes) -> bytes:
    """What the new key signs, so that nobody can give an account a key whose secret he does not hold."""
    return encode([ROTATION_DOMAIN, chain_id, address, new_key])


@record(version=1)
@dataclass(frozen=True, slots=True)
class RotateKey(Action):
    """Replaces the key that signs for the sender; the address stays, and approvals in waiting are void."""

    code: ClassVar[int] = 3
    name: ClassVar[str] = "account.rotate_key"
    base_weight: ClassVar[int] = 8

    new_key: PublicKey
    proof: Annotated[bytes, Octets(64, 64)]
    """Signature of the new key over `rotation_bytes`."""

    def check(self, context: Context) -> None:
        if context.sender[0] != KEY:
            raise NotAuthorized(needed="key account", account=context.sender)
        if is_bound(context.view, self.new_key):
            raise KeyTaken(key=self.new_key)
        if not ed25519.verify(
            self.new_key, rotation_bytes(context.block.chain_id, context.sender, self.new_key), self.proof
        ):
            raise BadSignature(key=self.new_key)
        require_funds(context.view, context.sender, 0, binding_deposit(context.parameters))

    def apply(self, context: Context) -> None:
        deposit = binding_deposit(context.parameters)
        take(context, context.sender, deposit, ("key", self.new_key))
        old = account(context.view, context.sender)
        if old.key is not None:
            retire(context.view, old.key)
        bind(context.view, context.sender, self.new_key, deposit)
        ACCOUNTS.put(context.view, context.sender, replace(old, key=self.new_key, rotations=old.rotations + 1))
        context.emit("account.key_rotated", [("account", context.sender), ("key", self.new_key)])


FAMILY = Family(
    "accounts",
    (Transfer, SetProfile, RotateKey),
    {Subject.IDEMPOTENCY: forget},
    deposits=held_in(ACCOUNTS, PROFILES, KEYS),
)
