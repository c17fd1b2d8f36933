"""The authorities in the state: who finalises blocks in this epoch, and from its last block on, in the next.

The set changes only in the last block of an epoch, so the state after that block names those who certify what
follows. Disputes and governance ask here who may vote.
"""

from dataclasses import dataclass
from typing import Annotated

from chain.certificate import MAXIMUM_AUTHORITIES, Authority, AuthoritySet
from chain.errors import InvalidGenesis
from chain.schema import ListOf, Unsigned64, record
from chain.state.tables import Singleton, TableId
from chain.state.view import View


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


AUTHORITIES = Singleton(TableId.AUTHORITIES, Authorities)


def read_authorities(view: View) -> Authorities:
    """The present set. Raises InvalidGenesis if the state was never initialised."""
    authorities = AUTHORITIES.get(view)
    if authorities is None:
        raise InvalidGenesis(reason="the state holds no authorities")
    return authorities


def authority_set(view: View, epoch: int) -> AuthoritySet:
    """The set as certificates need it; `epoch` is the present one, or after its last block the next."""
    return AuthoritySet(epoch, read_authorities(view).members)
