"""Accounts: paying, and saying who one is."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from chain.action import Action, Context, Family
from chain.bank import NATIVE_ASSET, account, credit, debit
from chain.crypto.address import MODULE
from chain.errors import InsufficientFunds, InvalidField, LedgerError
from chain.idempotency import forget
from chain.schedule import Subject
from chain.schema import Address, Amount, PublicKey, String, record
from chain.state.tables import Table, TableId


class UnknownAsset(LedgerError):
    code = 1107
    hint = "The only asset of this network is AITBC."


@record(version=1)
@dataclass(frozen=True, slots=True)
class Transfer(Action):
    """Pays an amount to another account."""

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
        available = account(context.view, context.sender).balance
        if available < self.amount:
            raise InsufficientFunds(needed=self.amount, available=available)

    def apply(self, context: Context) -> None:
        debit(context.view, context.sender, self.amount)
        credit(context.view, self.to, self.amount)
        context.emit("account.transfer", [("from", context.sender), ("to", self.to)], amount=self.amount)


@record(version=1)
@dataclass(frozen=True, slots=True)
class Profile:
    """What an account says of itself; nothing here is verified."""

    name: Annotated[str, String(64)]
    contact: Annotated[str, String(128)]
    encryption_key: PublicKey | None
    """X25519 key to which others seal access details and payload keys."""


PROFILES: Table[Profile] = Table(TableId.PROFILES, Profile)


@record(version=1)
@dataclass(frozen=True, slots=True)
class SetProfile(Action):
    """Replaces the sender's profile."""

    code: ClassVar[int] = 2
    name: ClassVar[str] = "account.set_profile"
    base_weight: ClassVar[int] = 2

    profile: Profile

    def check(self, context: Context) -> None:
        """Everybody may describe himself at any time."""

    def apply(self, context: Context) -> None:
        PROFILES.put(context.view, context.sender, self.profile)
        context.emit("account.profile_set", [("account", context.sender)])


FAMILY = Family("accounts", (Transfer, SetProfile), {Subject.IDEMPOTENCY: forget})
