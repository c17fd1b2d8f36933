"""Authorities with money and stake on a ledger with short epochs: the stage on which the tests of governance play."""

from dataclasses import replace

from chain.action import Action
from chain.actions.authorities import AddAuthority, ReadyAuthority
from chain.actions.governance import ProposeMeasure, SetParameter, VoteOnMeasure
from chain.authorities import CANDIDATES, read_authorities, ready_bytes
from chain.bank import adjust, totals
from chain.certificate import Authority, Vote, VoteKind, vote_bytes
from chain.crypto import bls
from chain.governance import MEASURES, Measure, read_agenda
from chain.parameters import Parameters, read_parameters
from chain.result import Event
from chain.schema import COIN
from chain.stake import stake_of
from tests.ledger import Ledger, Person, make_authority, make_specification, subject

EPOCH_BLOCKS = 20
SHORT = Parameters(epoch_blocks=EPOCH_BLOCKS, storage_deposit_per_byte=0)
STAKE = 1_000 * COIN


class Officer(Person):
    """The operator of an authority, with the keys of its node."""

    def __init__(self, name: str) -> None:
        super().__init__(f"operator {name}")
        self.authority, self.node_key, self.secret = make_authority(name)

    @classmethod
    def of(cls, person: Person, name: str) -> "Officer":
        """Somebody as the operator of an authority with the keys of this name."""
        officer = cls(name)
        officer.name, officer.key, officer.address = person.name, person.key, person.address
        officer.authority = replace(officer.authority, operator=person.address)
        return officer

    def ready(self, chain_id: str, epoch: int) -> ReadyAuthority:
        """Its word that its node runs, signed with both keys."""
        return self.ready_with(self.authority, chain_id, epoch)

    def ready_with(self, authority: Authority, chain_id: str, epoch: int) -> ReadyAuthority:
        message = ready_bytes(chain_id, self.address, epoch, authority.node_key, authority.bls_key)
        return ReadyAuthority(epoch, self.node_key.sign(message), bls.sign(self.secret, message))

    def vote(self, chain_id: str, kind: VoteKind, epoch: int, view: int, block_hash: bytes = b"") -> Vote:
        """What its node signs about a view."""
        message = vote_bytes(chain_id, epoch, view, kind, block_hash)
        proposal = kind is VoteKind.PROPOSAL
        return Vote(
            kind, epoch, view, block_hash, self.node_key.sign(message) if proposal else bls.sign(self.secret, message)
        )

    @property
    def addition(self) -> AddAuthority:
        """The measure that lets it in."""
        found = self.authority
        return AddAuthority(found.operator, found.node_key, found.bls_key, found.proof_of_possession)

    def rekey(self, name: str) -> None:
        """Give its node the keys of another name."""
        other, self.node_key, self.secret = make_authority(name)
        self.authority = replace(other, operator=self.address)


class Council(Ledger):
    """`size` authorities, an outsider with enough stake, and a stranger; twenty blocks an epoch."""

    def __init__(self, size: int, *, parameters: Parameters = SHORT, stake: int = STAKE) -> None:
        self.officers = [Officer(str(index)) for index in range(size)]
        self.outsiders = [Officer(f"outsider {index}") for index in range(3)]
        self.stranger = Person("stranger")
        people = [*self.officers, *self.outsiders, self.stranger]
        members = [officer.authority for officer in self.officers]
        super().__init__(make_specification(people, parameters=parameters, authorities=members, stake=stake))
        self.epoch_blocks = parameters.epoch_blocks

    @property
    def epoch(self) -> int:
        """The epoch of the next block."""
        return self.height // self.epoch_blocks

    @property
    def operators(self) -> list[bytes]:
        return list(read_authorities(self.view).operators)

    @property
    def system_events(self) -> list[Event]:
        assert self.outcome is not None
        return list(self.outcome.system.events)

    def events(self, kind: str) -> list[Event]:
        """The events of a kind that the last block itself had."""
        return [event for event in self.system_events if event.kind == kind]

    def propose(self, *actions: Action, by: Person | None = None, lifetime_ms: int = 10_000_000) -> bytes:
        """The id of a new measure; its proposer has approved it."""
        action = ProposeMeasure(actions, self.time_ms + lifetime_ms)
        return subject(self.do(by or self.officers[0], action), "governance.proposed", "measure")

    def vote(self, measure: bytes, *voters: Person, approve: bool = True) -> None:
        """Let people vote, in one block."""
        results = self.block(*(self.sign(voter, VoteOnMeasure(measure, approve)) for voter in voters))
        assert all(result.succeeded for result in results), results

    def enact(self, *actions: Action, voters: list[Officer] | None = None) -> bytes:
        """Propose, let everybody approve, and wait for the end of the epoch; returns the measure's id."""
        voters = voters or [each for each in self.officers if each.address in self.operators]
        measure = self.propose(*actions, by=voters[0])
        for voter in voters[1:]:
            if not self.passed(measure):
                self.vote(measure, voter)
        assert self.passed(measure), "not passed"
        self.end_epoch()
        return measure

    def passed(self, measure: bytes) -> bool:
        return any(entry.measure == measure for entry in read_agenda(self.view).passed)

    def measure(self, measure: bytes) -> Measure | None:
        return MEASURES.get(self.view, measure)

    def end_epoch(self, epochs: int = 1) -> None:
        """Blocks up to the last one of this epoch, or of a later one."""
        target = (self.epoch + epochs) * self.epoch_blocks
        while self.height < target:
            self.block()

    def before_end(self) -> None:
        """Blocks up to the last but one of this epoch."""
        while self.height < (self.epoch + 1) * self.epoch_blocks - 1:
            self.block()

    def admit(self, officer: Officer) -> None:
        """Vote an outsider in, say that it is ready, and wait until it is in the set."""
        self.enact(officer.addition)
        assert CANDIDATES.get(self.view, officer.address) is not None
        self.do(officer, officer.ready(self.chain_id, self.epoch))
        self.end_epoch()
        assert officer.address in self.operators
        self.officers.append(officer)

    def refused(self, sender: Person, *actions: Action) -> tuple[str, dict[str, object]]:
        """The error name and data of a transaction that must fail."""
        result = self.run(sender, *actions)
        assert not result.succeeded, "the transaction succeeded"
        return result.error, dict(result.error_data)

    def fill_treasury(self, amount: int) -> None:
        """Let the treasury hold this much, as if it had been issued so."""
        view = self.view
        more = amount - totals(view).treasury
        adjust(view, treasury=more, issued=more)
        self.reader.apply(view.changes())

    @property
    def treasury(self) -> int:
        return totals(self.view).treasury

    def stake(self, person: Person) -> int:
        return stake_of(self.view, person.address).amount


FEE = SetParameter("market_fee", 300)
"""A change from the 200 with which the tests begin."""


def market_fee(council: Council) -> int:
    return read_parameters(council.view).market_fee
