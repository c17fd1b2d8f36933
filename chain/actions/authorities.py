"""Who finalises blocks: the measures that let an authority in or out, and a candidate's word that it is ready.

The set itself changes at the end of an epoch, see `chain.succession`; until then these actions only note what was
decided.
"""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from chain.action import Action, Context, Family
from chain.authorities import (
    AUTHORITY_SETS,
    CANDIDATES,
    DEPARTURES,
    DISABLED_KEYS,
    MAXIMUM_CANDIDATES,
    Candidate,
    Departure,
    DisabledKey,
    read_authorities,
    read_departures,
    ready_bytes,
)
from chain.certificate import Authority, BlsPublicKey, BlsSignature
from chain.crypto import bls, ed25519
from chain.crypto.address import MODULE
from chain.errors import BadSignature, InvalidField, LedgerError
from chain.governance import GovernedAction
from chain.invariants import require
from chain.keys import require_usable
from chain.record import record
from chain.schema import Address, Octets, PublicKey, Unsigned64
from chain.state.view import View
from chain.succession import change_set

PAIRING_WEIGHT = 24
"""Checking one BLS signature."""


class AuthorityKnown(LedgerError):
    code = 2060
    hint = "This operator has an authority or a candidate already; remove it first."


class AuthorityKeyTaken(LedgerError):
    code = 2061
    hint = "Another authority or candidate uses this key; make new ones with `aitbc-node keygen`."


class KeyDisabled(LedgerError):
    code = 2062
    hint = "This key was disabled for ever; make new ones with `aitbc-node keygen`."


class NotAnAuthority(LedgerError):
    code = 2064
    hint = "This operator has neither an authority in the set nor a candidate, or leaves already."


class NotACandidate(LedgerError):
    code = 2065
    hint = "Only the operator of a candidate that was voted in says that it is ready."


class ReadyRefused(LedgerError):
    code = 2066
    hint = "Sign for the present epoch: `aitbc-node ready`."


class TooManyCandidates(LedgerError):
    code = 2068
    hint = "Wait until a candidate has entered or was dropped."


@record(version=1)
@dataclass(frozen=True, slots=True)
class AddAuthority(GovernedAction):
    """Makes a candidate: it enters the set once it has its stake and is ready."""

    code: ClassVar[int] = 82
    name: ClassVar[str] = "authority.add"
    base_weight: ClassVar[int] = 8 + PAIRING_WEIGHT

    operator: Address
    """The account that is accountable for it."""
    node_key: PublicKey
    """Ed25519 key of its links and proposals."""
    bls_key: BlsPublicKey
    """Key of its votes."""
    proof_of_possession: BlsSignature
    """Shows that the secret of `bls_key` is held."""

    def validate(self) -> None:
        if self.operator[0] == MODULE:
            raise InvalidField(record="AddAuthority", field="operator", reason="a module account operates nothing")

    def check_state(self, context: Context) -> None:
        view = context.view
        require_usable(view, self.operator)
        leaving = read_departures(view).operators
        if CANDIDATES.get(view, self.operator) is not None:
            raise AuthorityKnown(operator=self.operator)
        if self.operator in read_authorities(view).operators and self.operator not in leaving:
            raise AuthorityKnown(operator=self.operator)
        candidates = [candidate.authority for _, candidate in CANDIDATES.scan(view)]
        if len(candidates) >= MAXIMUM_CANDIDATES:
            raise TooManyCandidates(maximum=MAXIMUM_CANDIDATES)
        others = [*candidates, *read_authorities(view).members]
        taken = {key for other in others if other.operator != self.operator for key in (other.node_key, other.bls_key)}
        for key in (self.node_key, self.bls_key):
            if DISABLED_KEYS.get(view, key) is not None:
                raise KeyDisabled(key=key)
            if key in taken:
                raise AuthorityKeyTaken(key=key)

    def prove(self) -> None:
        if not bls.verify_possession(self.bls_key, self.proof_of_possession):
            raise BadSignature(operator=self.operator, reason="the proof of possession is bad")

    def apply(self, context: Context) -> None:
        authority = Authority(self.operator, self.node_key, self.bls_key, self.proof_of_possession)
        CANDIDATES.put(context.view, self.operator, Candidate(authority, context.block.epoch))
        context.emit("authority.approved", [("operator", self.operator)], epoch=context.block.epoch)


def _require_known(view: View, operator: bytes, *, leaving: bool) -> None:
    """Raise NotAnAuthority unless the operator has a candidate, or a member that does not leave yet or may."""
    member = operator in read_authorities(view).operators
    stays = leaving or operator not in read_departures(view).operators
    if CANDIDATES.get(view, operator) is None and not (member and stays):
        raise NotAnAuthority(operator=operator)


def _oust(context: Context, operator: bytes, *, disabled: bool) -> None:
    """Drop the operator's candidate, and let its member of the set leave."""
    view = context.view
    CANDIDATES.delete(view, operator)
    if operator in read_authorities(view).operators:
        departures = read_departures(view)
        others = [each for each in departures.waiting if each.operator != operator]
        known = len(others) < len(departures.waiting)
        if disabled or not known:
            waiting = (*others, Departure(operator, disabled))
            DEPARTURES.put(view, replace(departures, waiting=waiting))


@record(version=1)
@dataclass(frozen=True, slots=True)
class RemoveAuthority(GovernedAction):
    """Lets an authority leave the set, or drops a candidate."""

    code: ClassVar[int] = 83
    name: ClassVar[str] = "authority.remove"

    operator: Address

    @property
    def ousted(self) -> bytes:
        return self.operator

    def check_state(self, context: Context) -> None:
        _require_known(context.view, self.operator, leaving=False)

    def apply(self, context: Context) -> None:
        _oust(context, self.operator, disabled=False)
        context.emit("authority.removed", [("operator", self.operator)], epoch=context.block.epoch)


@record(version=1)
@dataclass(frozen=True, slots=True)
class DisableAuthority(GovernedAction):
    """As removal, but before others, and its node and BLS key can never be an authority's again."""

    code: ClassVar[int] = 84
    name: ClassVar[str] = "authority.disable"

    operator: Address

    @property
    def ousted(self) -> bytes:
        return self.operator

    def check_state(self, context: Context) -> None:
        _require_known(context.view, self.operator, leaving=True)

    def apply(self, context: Context) -> None:
        view, epoch = context.view, context.block.epoch
        found = [member for member in read_authorities(view).members if member.operator == self.operator]
        candidate = CANDIDATES.get(view, self.operator)
        if candidate is not None:
            found.append(candidate.authority)
        for authority in found:
            for key in (authority.node_key, authority.bls_key):
                DISABLED_KEYS.put(view, key, DisabledKey(self.operator, epoch))
        _oust(context, self.operator, disabled=True)
        context.emit("authority.disabled", [("operator", self.operator)], epoch=epoch)


@record(version=1)
@dataclass(frozen=True, slots=True)
class ReadyAuthority(Action):
    """The operator of a candidate shows that its node runs with both keys; counts for `ready_epochs` epochs."""

    code: ClassVar[int] = 87
    name: ClassVar[str] = "authority.ready"
    base_weight: ClassVar[int] = 4 + PAIRING_WEIGHT

    epoch: Unsigned64
    """The epoch in which it was signed."""
    node_signature: Annotated[bytes, Octets(ed25519.SIGNATURE_SIZE, ed25519.SIGNATURE_SIZE)]
    """By the node key over `chain.authorities.ready_bytes`."""
    bls_signature: BlsSignature
    """By the BLS key over the same bytes."""

    def check(self, context: Context) -> None:
        candidate = CANDIDATES.get(context.view, context.sender)
        if candidate is None:
            raise NotACandidate(account=context.sender)
        present = context.block.epoch
        oldest = max(0, present + 1 - context.parameters.ready_epochs)
        if not oldest <= self.epoch <= present:
            raise ReadyRefused(epoch=self.epoch, minimum=oldest, maximum=present)
        authority = candidate.authority
        message = ready_bytes(context.block.chain_id, context.sender, self.epoch, authority.node_key, authority.bls_key)
        if not ed25519.verify(authority.node_key, message, self.node_signature):
            raise BadSignature(operator=context.sender, reason="the node key did not sign this")
        if not bls.verify(authority.bls_key, message, self.bls_signature):
            raise BadSignature(operator=context.sender, reason="the BLS key did not sign this")

    def apply(self, context: Context) -> None:
        candidate = CANDIDATES.get(context.view, context.sender)
        if candidate is not None:
            latest = max(self.epoch, candidate.ready_epoch or 0)
            CANDIDATES.put(context.view, context.sender, replace(candidate, ready_epoch=latest))
            context.emit("authority.ready", [("operator", context.sender)], epoch=self.epoch)


def check_authorities(view: View) -> None:
    """The set names every operator and key once; who waits to leave is in it, who waits to enter is not."""
    present = read_authorities(view)
    for values in zip(*((each.operator, each.node_key, each.bls_key) for each in present.members), strict=True):
        require(len(set(values)) == len(values), "the set names every operator and key once")
    leaving = read_departures(view).operators
    require(len(set(leaving)) == len(leaving), "an authority leaves once")
    require(set(leaving) <= set(present.operators), "who leaves is in the set")
    entering = {operator for operator, _ in CANDIDATES.scan(view)}
    require(not entering & (set(present.operators) - set(leaving)), "a candidate is not in the set")
    require(len(entering) <= MAXIMUM_CANDIDATES, "there are not too many candidates")
    for key, past in AUTHORITY_SETS.scan(view):
        first = int.from_bytes(key, "big")
        require(first == past.epoch < present.epoch, "a past set was before the present one", epoch=first)


FAMILY = Family(
    "authorities",
    (AddAuthority, RemoveAuthority, DisableAuthority, ReadyAuthority),
    invariants=(check_authorities,),
    epoch_end=change_set,
)
