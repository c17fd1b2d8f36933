"""How one set of authorities follows another: who leaves and who enters, in the last block of an epoch and only there.

Leaving are members who were voted out and members whose operator no longer has the minimum as free stake; at most
max(1, (n - 1) // 3) of n an epoch and never the last one, so that those who stay always include enough of those who
signed before. Entering are candidates who were voted in, have the stake and lately said that they are ready. Members
keep their order and new ones come last.
"""

from dataclasses import replace
from itertools import islice

from chain.action import Context
from chain.authorities import (
    AUTHORITIES,
    AUTHORITY_SETS,
    CANDIDATES,
    DEPARTURES,
    FORMER,
    Authorities,
    Candidate,
    Former,
    read_authorities,
    read_departures,
)
from chain.certificate import MAXIMUM_AUTHORITIES, Authority
from chain.stake import stake_of
from chain.state.tables import u64

CANDIDATE_EPOCHS = 32
"""Epochs after its approval in which a candidate may enter; then it is dropped and needs another vote."""
MAXIMUM_PRUNED_SETS = 4
"""Sets of the past forgotten at the end of an epoch at most; at most one is added."""


def leaving_limit(size: int) -> int:
    """How many of a set may leave at the end of an epoch."""
    return min(max(1, (size - 1) // 3), size - 1)


def change_set(context: Context) -> None:
    """Epoch handler: decide on the set of the next epoch, and write it only if it is another one."""
    present = read_authorities(context.view)
    leaving = _leaving(context, present)
    stay = [member for member in present.members if member.operator not in leaving]
    members = stay + _enter(context, stay)
    if len(members) != len(present.members) or leaving:
        _write(context, present, tuple(members), leaving)
    _prune(context)


def _leaving(context: Context, present: Authorities) -> tuple[bytes, ...]:
    """The operators who leave now, after what happened in this epoch."""
    minimum = context.parameters.authority_minimum_stake
    voted = read_departures(context.view).operators
    wanting = [
        operator
        for operator in present.operators
        if operator not in voted and stake_of(context.view, operator).free < minimum
    ]
    return tuple([*voted, *wanting][: leaving_limit(len(present.members))])


def _enter(context: Context, stay: list[Authority]) -> list[Authority]:
    """The candidates who enter a set in which these stay; those whose time is up are dropped."""
    epoch = context.block.epoch
    waiting = sorted(CANDIDATES.scan(context.view), key=lambda item: (item[1].approved_epoch, item[0]))
    entered: list[Authority] = []
    for operator, candidate in waiting:
        if _may_enter(context, candidate, [*stay, *entered]):
            entered.append(candidate.authority)
            CANDIDATES.delete(context.view, operator)
        elif epoch - candidate.approved_epoch >= CANDIDATE_EPOCHS:
            CANDIDATES.delete(context.view, operator)
            context.emit("authority.dropped", [("operator", operator)], epoch=epoch)
    return entered


def _may_enter(context: Context, candidate: Candidate, members: list[Authority]) -> bool:
    parameters, authority = context.parameters, candidate.authority
    said = candidate.ready_epoch
    ready = said is not None and context.block.epoch - said < parameters.ready_epochs
    staked = stake_of(context.view, authority.operator).free >= parameters.authority_minimum_stake
    taken = {value for member in members for value in (member.operator, member.node_key, member.bls_key)}
    free = taken.isdisjoint((authority.operator, authority.node_key, authority.bls_key))
    return ready and staked and free and len(members) < MAXIMUM_AUTHORITIES


def _write(context: Context, old: Authorities, members: tuple[Authority, ...], leaving: tuple[bytes, ...]) -> None:
    view, epoch = context.view, context.block.epoch
    AUTHORITY_SETS.put(view, u64(old.epoch), old)
    AUTHORITIES.put(view, Authorities(epoch + 1, members))
    for operator in leaving:
        FORMER.put(view, operator, Former(epoch))
        context.emit("authority.left", [("operator", operator)], epoch=epoch + 1)
    departures = read_departures(view)
    left = tuple(departure for departure in departures.waiting if departure.operator not in leaving)
    if left != departures.waiting:
        DEPARTURES.put(view, replace(departures, waiting=left))
    for member in members:
        if member not in old.members:
            context.emit("authority.entered", [("operator", member.operator)], epoch=epoch + 1)


def _prune(context: Context) -> None:
    """Forget sets, and those who left with them, of whom nobody can be convicted in the next epoch any more."""
    view, oldest = context.view, context.block.epoch + 1 - context.parameters.evidence_epochs
    sets = list(islice(AUTHORITY_SETS.scan(view), MAXIMUM_PRUNED_SETS + 1))
    firsts = [int.from_bytes(key, "big") for key, _ in sets] + [read_authorities(view).epoch]
    for (key, past), following in zip(sets[:MAXIMUM_PRUNED_SETS], firsts[1:], strict=False):
        if following - 1 >= oldest:
            break
        AUTHORITY_SETS.delete(view, key)
        for operator in past.operators:
            former = FORMER.get(view, operator)
            if former is not None and former.last_epoch < following:
                FORMER.delete(view, operator)
