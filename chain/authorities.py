"""The authorities in the state: who finalises blocks in this epoch, and from its last block on, in the next.

The set changes only in the last block of an epoch (`chain.succession`), so the state after that block names those who
certify what follows. Disputes and governance ask here who may vote, staking what an operator must keep, and evidence
which set an epoch had.
"""

from dataclasses import dataclass
from typing import Annotated

from chain.certificate import MAXIMUM_AUTHORITIES, Authority, AuthoritySet
from chain.codec import encode
from chain.errors import InvalidGenesis, LedgerError
from chain.parameters import Parameters
from chain.record import record
from chain.schema import Address, Boolean, ListOf, Unsigned64
from chain.state.tables import Singleton, Table, TableId, u64
from chain.state.view import View

READY_DOMAIN = "aitbc/ready/1"
MAXIMUM_CANDIDATES = MAXIMUM_AUTHORITIES


class NotAnOperator(LedgerError):
    code = 2051
    hint = "Only the operator of a present authority may do this."


class AuthorityStakeLocked(LedgerError):
    code = 2067
    hint = "Operators keep the minimum stake free while they are in the set and as long as they can be convicted."


@record(version=1)
@dataclass(frozen=True, slots=True)
class Authorities:
    """The members of the set, in the order that leaders and bitmaps follow."""

    epoch: Unsigned64
    """First epoch in which they are the set."""
    members: Annotated[tuple[Authority, ...], ListOf(MAXIMUM_AUTHORITIES, 1)]

    @property
    def operators(self) -> tuple[bytes, ...]:
        """The accounts that are accountable, in the same order."""
        return tuple(member.operator for member in self.members)


@record(version=1)
@dataclass(frozen=True, slots=True)
class Candidate:
    """An authority that was voted in and waits to enter; its key is the operator."""

    authority: Authority
    approved_epoch: Unsigned64
    """Epoch at whose end the vote took effect."""
    ready_epoch: Unsigned64 | None = None
    """Epoch for which both its keys last signed that it is ready."""


@record(version=1)
@dataclass(frozen=True, slots=True)
class Departure:
    """A member of the set that was voted out and leaves as soon as few enough leave with it."""

    operator: Address
    disabled: Boolean
    """Whether its keys were disabled: such members leave first."""


@record(version=1)
@dataclass(frozen=True, slots=True)
class Departures:
    """Everybody who waits to leave, in the order of the votes."""

    waiting: Annotated[tuple[Departure, ...], ListOf(MAXIMUM_AUTHORITIES)] = ()

    @property
    def operators(self) -> tuple[bytes, ...]:
        """Who leaves, first to leave first: disabled members before others."""
        ordered = sorted(self.waiting, key=lambda departure: not departure.disabled)
        return tuple(departure.operator for departure in ordered)


@record(version=1)
@dataclass(frozen=True, slots=True)
class Former:
    """An operator who left the set and can still be convicted; its key is the operator."""

    last_epoch: Unsigned64
    """Last epoch in which it was an authority."""


@record(version=1)
@dataclass(frozen=True, slots=True)
class DisabledKey:
    """A node or BLS key that may never be used again; its table key is the public key."""

    operator: Address
    """Whose it was."""
    epoch: Unsigned64
    """Epoch at whose end it was disabled."""


AUTHORITIES = Singleton(TableId.AUTHORITIES, Authorities)
AUTHORITY_SETS: Table[Authorities] = Table(TableId.AUTHORITY_SETS, Authorities)
"""Sets of the past, by the first epoch of each, as long as their members can be convicted."""
CANDIDATES: Table[Candidate] = Table(TableId.CANDIDATES, Candidate)
DEPARTURES = Singleton(TableId.DEPARTURES, Departures)
FORMER: Table[Former] = Table(TableId.FORMER_AUTHORITIES, Former)
DISABLED_KEYS: Table[DisabledKey] = Table(TableId.DISABLED_KEYS, DisabledKey)


def read_authorities(view: View) -> Authorities:
    """The present set. Raises InvalidGenesis if the state was never initialised."""
    authorities = AUTHORITIES.get(view)
    if authorities is None:
        raise InvalidGenesis(reason="the state holds no authorities")
    return authorities


def authority_set(view: View, epoch: int) -> AuthoritySet:
    """The set as certificates need it; `epoch` is the present one, or after its last block the next."""
    return AuthoritySet(epoch, read_authorities(view).members)


def set_of_epoch(view: View, epoch: int) -> AuthoritySet | None:
    """The set of a present or past epoch; None if it is no longer kept."""
    present = read_authorities(view)
    if epoch >= present.epoch:
        return AuthoritySet(epoch, present.members)
    for _, past in AUTHORITY_SETS.scan(view, b"", u64(epoch + 1), reverse=True):
        return AuthoritySet(epoch, past.members)
    return None


def read_departures(view: View) -> Departures:
    """Who was voted out and has not left yet."""
    return DEPARTURES.get(view) or Departures()


def require_operator(view: View, account: bytes) -> None:
    """Raise NotAnOperator unless the account operates an authority of the present set."""
    if account not in read_authorities(view).operators:
        raise NotAnOperator(account=account)


def stake_bound(view: View, parameters: Parameters, epoch: int, account: bytes) -> int:
    """Free stake that the account must keep because it is, or lately was, an authority's operator; base units."""
    former = FORMER.get(view, account)
    convictable = former is not None and former.last_epoch + parameters.evidence_epochs >= epoch
    if convictable or account in read_authorities(view).operators:
        return parameters.authority_minimum_stake
    return 0


def require_unbound(view: View, parameters: Parameters, epoch: int, account: bytes, left: int) -> None:
    """Raise AuthorityStakeLocked if a free stake of `left` base units is less than the account must keep."""
    bound = stake_bound(view, parameters, epoch, account)
    if left < bound:
        raise AuthorityStakeLocked(account=account, needed=bound, available=left)


def ready_bytes(chain_id: str, operator: bytes, epoch: int, node_key: bytes, bls_key: bytes) -> bytes:
    """What both keys of a candidate sign to say that it runs and may enter."""
    return encode([READY_DOMAIN, chain_id, operator, epoch, node_key, bls_key])
