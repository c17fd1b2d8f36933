"""Governance in the second ledger: measures, the votes on them, and what they do to parameters and treasury."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import floor

from chain.action import Action, encode_action
from chain.actions.authorities import DisableAuthority, RemoveAuthority
from chain.actions.governance import ProposeMeasure, SetParameter, SpendTreasury, VoteOnMeasure
from chain.actions.reviews import HideText
from chain.governance import GOVERNANCE_ACCOUNT
from chain.parameter_ranges import RANGES
from chain.parameters import Parameters
from tests.economy.books import MOST, size_of
from tests.economy.council import Council
from tests.economy.jobs import Reviews
from tests.economy.multisig import MOST_ROTATIONS, Multisigs

MAXIMUM_MEASURES = 128
MAXIMUM_OPEN_PER_OPERATOR = 8
MAXIMUM_EXECUTED = 16
SPENDING_EPOCHS = 8
BALLOT_BYTES, MAXIMUM_BALLOTS = 42, 128


def reach(name: str, old: int) -> tuple[int, int]:
    """The least and the greatest that a parameter may be after an epoch in which it was this."""
    allowed = RANGES[name]
    if old < allowed.minimum and 2 * old < allowed.minimum:
        return allowed.minimum, max(allowed.minimum, allowed.first_step if not old else 0)
    if old > allowed.maximum and old // 2 > allowed.maximum:
        return allowed.maximum, allowed.maximum
    most = 2 * old if old else allowed.first_step
    return max(allowed.minimum, old // 2), min(allowed.maximum, most)


@dataclass
class ModelMeasure:
    proposer: bytes
    actions: tuple[Action, ...]
    expires: int
    yes: dict[bytes, int]
    """Who approves, and how often he had rotated his key when he said so."""
    no: dict[bytes, int] = field(default_factory=dict)
    passed: int | None = None
    """Epoch in which it passed."""
    due: int = 0
    """First epoch at whose end it may happen, once it has passed."""

    @property
    def about(self) -> set[bytes]:
        """Whom it takes out of the set."""
        return {action.operator for action in self.actions if isinstance(action, RemoveAuthority | DisableAuthority)}

    @property
    def spent(self) -> int:
        return sum(action.amount for action in self.actions if isinstance(action, SpendTreasury))


@dataclass
class Measures(Council, Multisigs, Reviews):
    measures: dict[bytes, ModelMeasure] = field(default_factory=dict)
    passed: list[bytes] = field(default_factory=list)
    """Those that wait for the end of an epoch, in the order in which they passed."""
    hidden: set[tuple[bytes, bool]] = field(default_factory=set)
    """Reviews whose comment is hidden, and those whose reply is (True)."""

    def due(self) -> None:
        super().due()
        for key, measure in list(self.measures.items()):
            if measure.passed is None and measure.expires <= self.now:
                self.drop(key)
        self.hidden = {item for item in self.hidden if item[0] in self.reviews}

    def edges(self) -> Iterator[int]:
        yield from super().edges()
        yield from (measure.expires for measure in self.measures.values() if measure.passed is None)

    def drop(self, key: bytes) -> None:
        """A measure is over."""
        del self.measures[key]
        self.passed = [other for other in self.passed if other != key]
        self.give_back("measure", key)

    def valid(self, votes: dict[bytes, int]) -> dict[bytes, int]:
        """Those that count: of operators, with the keys that they have now."""
        present = self.operators()
        return {who: when for who, when in self.counts(votes).items() if who in present}

    def tally(self, measure: ModelMeasure) -> tuple[int, int, int, int]:
        """(approvals that it takes, who has a say, approvals, rejections)."""
        size = len(self.members)
        quorum = size - (size - 1) // 3
        about = measure.about & set(self.operators())
        needed = max(2, min(quorum, size - 1)) if about else quorum
        yes, no = (len([who for who in self.valid(votes) if who not in about]) for votes in (measure.yes, measure.no))
        return needed, size - len(about), yes, no

    def passes(self, measure: ModelMeasure) -> bool:
        needed, _, yes, _ = self.tally(measure)
        return yes >= needed

    def count(self, key: bytes) -> None:
        """A measure passes, or is over because it cannot pass any more."""
        measure = self.measures[key]
        needed, electors, yes, no = self.tally(measure)
        if measure.passed is None and yes >= needed:
            measure.passed = self.epoch
            measure.due = self.epoch + (self.parameters.treasury_delay_epochs if measure.spent else 0)
            self.passed.append(key)
        elif electors - no < needed:
            self.drop(key)

    def do_governance_propose(self, sender: bytes, action: ProposeMeasure) -> str | None:
        if sender not in self.operators():
            return "not_an_operator"
        mine = [item for item in self.measures.values() if item.passed is None and item.proposer == sender]
        room = min(MAXIMUM_OPEN_PER_OPERATOR, MAXIMUM_MEASURES // len(self.members))
        if len(self.measures) >= MAXIMUM_MEASURES or len(mine) >= room:
            return "too_many_measures"
        if not self.now < action.expires_ms <= self.now + self.parameters.governance_seconds * 1_000:
            return "measure_time_refused"
        measure = ModelMeasure(sender, action.actions, action.expires_ms, {sender: self.rotations.get(sender, 0)})
        if measure.spent > MOST:
            return "amount_overflow"
        needed, electors, _, _ = self.tally(measure)
        if electors < needed:
            return "measure_impossible"
        if error := self.would_fail(action.actions):
            return error
        deposit = self.price(self.measure_size(measure))
        if self.has(sender) < deposit:
            return "insufficient_funds"
        key = self.new_id("measure")
        self.hold(sender, deposit, "measure", key)
        self.measures[key] = measure
        self.count(key)
        return None

    @staticmethod
    def measure_size(measure: ModelMeasure) -> int:
        """Of a measure, once every authority that there can be has voted."""
        actions = [encode_action(action) for action in measure.actions]
        fields = (measure.proposer, actions, MOST, MOST, [[measure.proposer, MOST_ROTATIONS, True]], MOST, MOST)
        return size_of(*fields) + BALLOT_BYTES * MAXIMUM_BALLOTS

    def do_governance_vote(self, sender: bytes, action: VoteOnMeasure) -> str | None:
        measure = self.measures.get(action.measure)
        if measure is None:
            return "measure_closed"
        if sender not in self.operators():
            return "not_an_operator"
        # Votes that do not count are forgotten when somebody votes.
        measure.yes, measure.no = self.valid(measure.yes), self.valid(measure.no)
        measure.yes.pop(sender, None)
        measure.no.pop(sender, None)
        (measure.yes if action.approve else measure.no)[sender] = self.rotations.get(sender, 0)
        self.count(action.measure)
        return None

    def would_fail(self, actions: Sequence[Action]) -> str | None:
        """The error with which a measure would fail now."""
        before = copy.deepcopy(self.__dict__)
        error = self.govern(actions)
        self.__dict__.update(before)
        return error

    def govern(self, actions: Sequence[Action]) -> str | None:
        for action in actions:
            if error := self.perform(GOVERNANCE_ACCOUNT, action):
                return error
        return None

    def enact(self) -> None:
        """At the end of an epoch: a new set may count votes otherwise; what has passed is counted again and happens."""
        if self.since == self.epoch:
            for key in [key for key, measure in self.measures.items() if measure.passed is None]:
                self.count(key)
        budget = floor(self.treasury * Fraction(self.before.treasury_spend_share, 10_000))
        executed = 0
        for key in list(self.passed):
            measure = self.measures[key]
            if executed == MAXIMUM_EXECUTED or self.epoch < measure.due:
                continue
            if not self.passes(measure):
                self.drop(key)
            elif measure.spent <= budget:
                executed += 1
                budget -= measure.spent if self.executed(measure) else 0
                self.drop(key)
            elif self.epoch >= measure.due + SPENDING_EPOCHS:
                executed += 1
                self.drop(key)

    def executed(self, measure: ModelMeasure) -> bool:
        """Do all that a measure says, or nothing."""
        before = copy.deepcopy(self.__dict__)
        if self.govern(measure.actions) is None:
            return True
        self.__dict__.update(before)
        return False

    def do_governance_set_parameter(self, sender: bytes, action: SetParameter) -> str | None:
        if sender != GOVERNANCE_ACCOUNT:
            return "governance_only"
        least, most = reach(action.parameter, getattr(self.before, action.parameter))
        changed = replace(self.parameters, **{action.parameter: action.value})
        if not least <= action.value <= most or contradictory(changed):
            return "parameter_refused"
        self.parameters = changed
        return None

    def do_governance_spend(self, sender: bytes, action: SpendTreasury) -> str | None:
        if sender != GOVERNANCE_ACCOUNT:
            return "governance_only"
        if not self.usable(action.to):
            return "address_not_usable"
        if self.treasury < action.amount:
            return "insufficient_funds"
        self.treasury -= action.amount
        self.pay(action.to, action.amount)
        return None

    def do_review_hide_text(self, sender: bytes, action: HideText) -> str | None:
        if sender != GOVERNANCE_ACCOUNT:
            return "governance_only"
        review = self.reviews.get(action.subject)
        if review is None or (action.reply and not review.replied):
            return "not_found"
        self.hidden.add((action.subject, action.reply))
        return None


def contradictory(parameters: Parameters) -> bool:
    """Whether durations leave no time between them."""
    patience = (
        parameters.activation_grace_seconds,
        parameters.heartbeat_timeout_seconds,
        parameters.dispute_response_seconds,
        parameters.dispute_vote_seconds,
    )
    hasty = min(patience) * 1_000 < 2 * parameters.maximum_gap_ms
    return hasty or not 1 <= parameters.booking_minimum_seconds <= parameters.booking_maximum_seconds
