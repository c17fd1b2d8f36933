"""Random councils against a second bookkeeping: votes that come and go, members that come and go, epoch after epoch.

The model keeps sets and dictionaries, knows nothing of the ledger's services and has its own arithmetic; after every
block both must agree on what is open, what has passed, who is in the set and in what order.
"""

import random
from collections.abc import Iterable

import pytest

from chain.action import Action
from chain.actions.authorities import DisableAuthority, RemoveAuthority
from chain.actions.governance import ProposeMeasure, SetParameter, VoteOnMeasure
from chain.authorities import CANDIDATES, read_authorities, read_departures
from chain.governance import read_agenda
from chain.result import TransactionResult
from chain.slashing import slash_amount
from tests.conftest import EXTENDED
from tests.council import SHORT, Council, Officer
from tests.ledger import subject
from tests.market import altered, rotate

ROUNDS = 25 if EXTENDED else 5
STEPS = 220
EPOCH = 9
MINIMUM = SHORT.authority_minimum_stake


class Book:
    """What the tests expect."""

    def __init__(self, members: list[Officer]) -> None:
        self.members = members
        self.fresh = False
        """Whether the set is new in this epoch."""
        self.ballots: dict[bytes, dict[Officer, tuple[bool, bytes]]] = {}
        self.about: dict[bytes, tuple[str, Officer | None]] = {}
        self.open: list[bytes] = []
        self.passed: list[bytes] = []
        self.leaving: list[tuple[bool, Officer]] = []
        self.waiting: dict[Officer, int] = {}
        """The same by the epoch for which they are ready, or -1."""
        self.approved: dict[Officer, int] = {}
        """Candidates by the epoch in which they were voted in."""

    def needed(self, measure: bytes) -> tuple[int, list[Officer]]:
        """Approvals that it takes, and who has a say."""
        kind, target = self.about[measure]
        size = len(self.members)
        if kind in ("remove", "disable") and target in self.members:
            return max(2, min(size - (size - 1) // 3, size - 1)), [m for m in self.members if m is not target]
        return size - (size - 1) // 3, self.members

    def count(self, measure: bytes, approve: bool) -> int:
        _, electors = self.needed(measure)
        votes = self.ballots[measure]
        return sum(1 for m in electors if votes.get(m) == (approve, m.key.public_key))

    def look(self, measure: bytes) -> None:
        """Move a measure to where its votes put it."""
        needed, electors = self.needed(measure)
        place = self.passed if measure in self.passed else self.open
        if place is self.open and self.count(measure, True) >= needed:
            self.open.remove(measure)
            self.passed.append(measure)
        elif len(electors) - self.count(measure, False) < needed:
            place.remove(measure)

    def end_epoch(self, epoch: int, stakes: dict[Officer, int]) -> None:
        if self.fresh:
            for measure in list(self.open):
                self.look(measure)
        executed = 0
        for measure in list(self.passed):
            if executed < 16:
                self.passed.remove(measure)
                if self.count(measure, True) >= self.needed(measure)[0]:
                    self.execute(epoch, *self.about[measure])
                    executed += 1
        poor = [m for m in self.members if stakes[m] < MINIMUM and m not in [each for _, each in self.leaving]]
        queue = [m for disabled, m in self.leaving if disabled] + [m for d, m in self.leaving if not d] + poor
        limit = min(len(self.members) - 1, max(1, (len(self.members) - 1) // 3))
        gone = queue[:limit]
        stay = [m for m in self.members if m not in gone]
        ready = [
            m
            for m in sorted(self.approved, key=lambda m: (self.approved[m], m.address))
            if m not in stay and stakes[m] >= MINIMUM and self.waiting[m] >= 0 and epoch - self.waiting[m] < 4
        ]
        for member in ready:
            del self.approved[member], self.waiting[member]
        self.leaving = [each for each in self.leaving if each[1] not in gone]
        self.fresh = bool(gone or ready)
        self.members = stay + ready

    def execute(self, epoch: int, kind: str, target: Officer | None) -> None:
        if target is None:
            return
        listed = [each for _, each in self.leaving]
        if kind == "add":
            if target not in self.approved and (target not in self.members or target in listed):
                self.approved[target] = epoch
                self.waiting[target] = -1
            return
        member = target in self.members
        if target not in self.approved and not (member and (kind == "disable" or target not in listed)):
            return
        if target in self.approved:
            del self.approved[target], self.waiting[target]
        if member and (kind == "disable" or target not in listed):
            self.leaving = [each for each in self.leaving if each[1] is not target]
            self.leaving.append((kind == "disable", target))


class Play:
    """A council and its book."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.council = Council(rng.randint(1, 8), parameters=altered(SHORT, epoch_blocks=EPOCH))
        self.people = [*self.council.officers, *self.council.outsiders]
        self.book = Book(list(self.council.officers))
        self.disabled: set[Officer] = set()

    def somebody(self) -> Officer:
        """A member most of the time."""
        return self.rng.choice(self.book.members if self.rng.random() < 0.9 else self.people)

    def step(self) -> None:
        choices = (self.propose, self.vote, self.vote, self.vote, self.rotate, self.ready, self.slash, self.nothing)
        self.rng.choice(choices)()
        self.compare()

    def after(self) -> None:
        """What the block that has just been made did beside its transaction."""
        if self.council.height % EPOCH == 0:
            stakes = {officer: self.council.stake(officer) for officer in self.people}
            self.book.end_epoch(self.council.height // EPOCH - 1, stakes)

    def send(self, officer: Officer, action: Action) -> TransactionResult:
        return self.council.run(officer, action)

    def propose(self) -> None:
        officer, target = self.somebody(), self.rng.choice(self.people)
        kind = self.rng.choice(("fee", "add", "remove", "disable"))
        if kind == "add" and target in self.disabled:
            return
        action: Action = {
            "fee": SetParameter("market_fee", 200),
            "add": target.addition,
            "remove": RemoveAuthority(target.address),
            "disable": DisableAuthority(target.address),
        }[kind]
        result = self.send(officer, ProposeMeasure((action,), self.council.time_ms + 10**9))
        if result.succeeded:
            measure = subject(result, "governance.proposed", "measure")
            self.book.about[measure] = (kind, None if kind == "fee" else target)
            self.book.ballots[measure] = {officer: (True, officer.key.public_key)}
            self.book.open.append(measure)
            self.book.look(measure)
            if isinstance(action, DisableAuthority):
                self.disabled.add(target)  # or will be: nobody proposes its keys again
            assert officer in self.book.members
        self.after()

    def vote(self) -> None:
        measures = self.book.open + self.book.passed
        if not measures:
            return
        measure, officer = self.rng.choice(measures), self.somebody()
        approve = self.rng.random() < 0.8
        result = self.send(officer, VoteOnMeasure(measure, approve))
        assert result.succeeded == (officer in self.book.members), result.error
        if result.succeeded:
            self.book.ballots[measure][officer] = (approve, officer.key.public_key)
            self.book.look(measure)
        self.after()

    def rotate(self) -> None:
        if self.rng.random() < 0.3:
            rotate(self.council, self.rng.choice(self.people), str(self.council.height))
            self.after()

    def ready(self) -> None:
        officer, epoch = self.rng.choice(self.people), self.council.epoch
        result = self.send(officer, officer.ready(self.council.chain_id, epoch))
        assert result.succeeded == (officer in self.book.approved), result.error
        if result.succeeded:
            self.book.waiting[officer] = epoch
        self.after()

    def slash(self) -> None:
        officer = self.rng.choice(self.people)
        if self.rng.random() < 0.15:
            with self.council.system() as context:
                slash_amount(context, officer.address, self.council.stake(officer) - MINIMUM // 2)

    def nothing(self) -> None:
        self.council.block()
        self.after()

    def compare(self) -> None:
        view, book = self.council.view, self.book
        agenda = read_agenda(view)
        assert [entry.measure for entry in agenda.open] == book.open
        assert [entry.measure for entry in agenda.passed] == book.passed
        assert list(read_authorities(view).operators) == addresses(book.members)
        assert sorted(operator for operator, _ in CANDIDATES.scan(view)) == sorted(addresses(book.approved))
        first = [each for disabled, each in book.leaving if disabled]
        assert list(read_departures(view).operators) == addresses(
            [*first, *(each for disabled, each in book.leaving if not disabled)]
        )


def addresses(people: Iterable[Officer]) -> list[bytes]:
    return [person.address for person in people]


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_random_council_does_what_its_book_says(rng: random.Random, number: int) -> None:
    play = Play(random.Random(rng.random() + number))
    sizes = set()
    for _ in range(STEPS):
        play.step()
        sizes.add(len(play.book.members))
    print("sizes", sorted(sizes), "measures", len(play.book.about))
