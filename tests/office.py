"""A multisig account with three members on a ledger in memory: the stage of the tests of multisig accounts."""

from typing import Any

from chain.action import Action
from chain.actions.accounts import Transfer
from chain.actions.multisig import (
    MULTISIGS,
    PROPOSALS,
    CreateMultisig,
    Multisig,
    Proposal,
    ProposeActions,
)
from chain.bank import account
from chain.parameters import Parameters
from chain.schema import COIN
from tests.ledger import Ledger, Person, make_specification, subject

PAY = Transfer(Person("stranger").address, "AITBC", 7)


def members() -> list[Person]:
    """Three people, by address."""
    return sorted((Person(name) for name in ("ann", "bob", "cid")), key=lambda person: person.address)


class Office(Ledger):
    """Three members, two of whom are enough, and an account with money."""

    def __init__(self, threshold: int = 2, funds: int = 100 * COIN, *, parameters: Parameters | None = None) -> None:
        self.people = members()
        self.ann, self.bob, self.cid = self.people
        self.stranger = Person("stranger")
        super().__init__(make_specification([*self.people, self.stranger], parameters=parameters))
        addresses = tuple(person.address for person in self.people)
        result = self.do(self.ann, CreateMultisig(threshold, addresses))
        self.address = subject(result, "multisig.created", "account")
        if funds:
            self.do(self.ann, Transfer(self.address, "AITBC", funds))

    @property
    def funds(self) -> int:
        return account(self.view, self.address).balance

    @property
    def multisig(self) -> Multisig:
        found = MULTISIGS.get(self.view, self.address)
        assert found is not None
        return found

    def proposal(self, proposal_id: bytes) -> Proposal | None:
        return PROPOSALS.get(self.view, proposal_id)

    def propose(self, *actions: Action, by: Person | None = None, lifetime_ms: int = 60_000) -> bytes:
        action = ProposeActions(self.address, actions or (PAY,), self.time_ms + lifetime_ms)
        return subject(self.do(by or self.ann, action), "multisig.proposed", "proposal")

    def refused(self, sender: Person, action: Action, after_ms: int = 1_000) -> tuple[str, dict[str, Any]]:
        result = self.run(sender, action, after_ms=after_ms)
        assert not result.succeeded
        return result.error, dict(result.error_data)
