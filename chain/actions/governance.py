"""Governance: proposing measures, voting on them, and the measures about parameters and the treasury.

How measures pass and when they take effect is in `chain.governance`; what else a measure may hold lies with the
family that it is about: authorities in `authorities.py`, the text of reviews in `reviews.py`.
"""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from chain.action import Action, ActionList, Clock, Context, Family
from chain.authorities import require_operator
from chain.bank import adjust, checked, credit, totals
from chain.certificate import MAXIMUM_AUTHORITIES
from chain.crypto.address import MODULE
from chain.deposit import storage_deposit, take
from chain.errors import InsufficientFunds, InvalidField, LedgerError
from chain.governance import (
    GOVERNANCE_ACCOUNT,
    MAXIMUM_MEASURE_ACTIONS,
    MAXIMUM_MEASURES,
    MEASURES,
    GovernedAction,
    Measure,
    ballot,
    counted,
    decide,
    end_epoch,
    expire,
    open_limit,
    open_measure,
    read_agenda,
    run,
    spent_by,
    tally,
    votable,
)
from chain.invariants import require
from chain.keys import require_usable
from chain.parameter_ranges import RANGES, changed
from chain.parameters import PARAMETERS, read_parameters
from chain.record import record
from chain.schedule import Subject, is_scheduled
from chain.schema import Address, Amount, Boolean, Hash, String, Timestamp, Unsigned64
from chain.state.view import View

BALLOT_BYTES = 42
"""What a ballot adds to a measure at most; the proposer's deposit covers one for every authority."""
VOTE_WEIGHT = 40
"""Reading a measure with all ballots, and each voter's account to see whether the ballot still counts."""


class TooManyMeasures(LedgerError):
    code = 2053
    hint = "Wait until an open measure is decided or expires."


class MeasureTimeRefused(LedgerError):
    code = 2054
    hint = "A measure expires after now and within the time that the network gives measures."


class MeasureImpossible(LedgerError):
    code = 2055
    hint = "Too few could vote on this to ever pass it: at least two others must approve that somebody is removed."


@record(version=1)
@dataclass(frozen=True, slots=True)
class ProposeMeasure(Action):
    """An operator proposes a measure, and so approves it."""

    code: ClassVar[int] = 80
    name: ClassVar[str] = "governance.propose"

    actions: Annotated[tuple[Action, ...], ActionList(MAXIMUM_MEASURE_ACTIONS)]
    expires_ms: Timestamp
    """Block time until which it must pass."""

    def weight(self) -> int:
        # The actions run twice: to see whether they could, and at the end of an epoch.
        return VOTE_WEIGHT + 2 * sum(action.weight() for action in self.actions)

    def validate(self) -> None:
        if not all(isinstance(action, GovernedAction) for action in self.actions):
            raise InvalidField(record="ProposeMeasure", field="actions", reason="only measures' own actions")
        ousting = [isinstance(action, GovernedAction) and action.ousted is not None for action in self.actions]
        if any(ousting) and not all(ousting):
            raise InvalidField(record="ProposeMeasure", field="actions", reason="a removal stands alone")

    def check(self, context: Context) -> None:
        require_operator(context.view, context.sender)
        self._check_room(context)
        longest = context.time_ms + context.parameters.governance_seconds * 1_000
        if not context.time_ms < self.expires_ms <= longest:
            raise MeasureTimeRefused(minimum=context.time_ms + 1, maximum=longest)
        checked(spent_by(self.actions))
        votes = tally(context.view, self._measure(context))
        if votes.electors < votes.needed:
            raise MeasureImpossible(electors=votes.electors, needed=votes.needed)
        self._rehearse(context)

    def _check_room(self, context: Context) -> None:
        agenda = read_agenda(context.view)
        current = [entry for entry in agenda.open if context.time_ms < entry.expires_ms]
        if len(current) + len(agenda.passed) >= MAXIMUM_MEASURES:
            raise TooManyMeasures(maximum=MAXIMUM_MEASURES)
        mine = sum(1 for entry in current if entry.proposer == context.sender)
        limit = open_limit(context.view)
        if mine >= limit:
            raise TooManyMeasures(operator=context.sender, maximum=limit)

    def _rehearse(self, context: Context) -> None:
        """Raise the error with which the measure would fail if it were executed now."""
        mark = context.view.checkpoint()
        failed = run(replace(context, sender=GOVERNANCE_ACCOUNT, events=[]), self.actions, proving=True)
        context.view.rollback(mark)
        if failed is not None:
            raise failed[1]

    def _measure(self, context: Context) -> Measure:
        return Measure(
            proposer=context.sender,
            actions=self.actions,
            expires_ms=self.expires_ms,
            proposed_height=context.block.height,
            ballots=(ballot(context.view, context.sender, True),),
        )

    def apply(self, context: Context) -> None:
        measure = self._measure(context)
        growth = BALLOT_BYTES * MAXIMUM_AUTHORITIES
        measure = replace(measure, deposit=storage_deposit(context.parameters, measure, growth))
        take(context, context.sender, measure.deposit)
        measure_id = context.new_id("measure")
        votes = tally(context.view, measure)
        subjects = [("measure", measure_id), ("proposer", context.sender)]
        amounts = {"approvals": votes.approvals, "needed": votes.needed, "expires_ms": self.expires_ms}
        context.emit("governance.proposed", subjects, **amounts)
        open_measure(context, measure_id, measure)


@record(version=1)
@dataclass(frozen=True, slots=True)
class VoteOnMeasure(Action):
    """An operator approves or rejects a measure, or changes its mind, until the measure is executed."""

    code: ClassVar[int] = 81
    name: ClassVar[str] = "governance.vote"
    base_weight: ClassVar[int] = VOTE_WEIGHT

    measure: Hash
    approve: Boolean

    def check(self, context: Context) -> None:
        votable(context, self.measure)
        require_operator(context.view, context.sender)

    def apply(self, context: Context) -> None:
        measure = votable(context, self.measure)
        others = tuple(each for each in counted(context.view, measure) if each.operator != context.sender)
        voted = replace(measure, ballots=(*others, ballot(context.view, context.sender, self.approve)))
        votes = tally(context.view, voted)
        subjects = [("measure", self.measure), ("operator", context.sender)]
        amounts = {"approvals": votes.approvals, "rejections": votes.rejections, "needed": votes.needed}
        context.emit("governance.voted", subjects, approve=int(self.approve), **amounts)
        decide(context, self.measure, voted)


@record(version=1)
@dataclass(frozen=True, slots=True)
class SetParameter(GovernedAction):
    """Changes a number of the network."""

    code: ClassVar[int] = 85
    name: ClassVar[str] = "governance.set_parameter"

    parameter: Annotated[str, String(64, 1)]
    """Name of the parameter."""
    value: Unsigned64
    """In the parameter's own unit: base units, seconds, basis points or a count."""

    def validate(self) -> None:
        if self.parameter not in RANGES:
            raise InvalidField(record="SetParameter", field="parameter", reason="no parameter that can be changed")

    def check_state(self, context: Context) -> None:
        changed(read_parameters(context.view), context.parameters, self.parameter, self.value)

    def apply(self, context: Context) -> None:
        old = read_parameters(context.view)
        PARAMETERS.put(context.view, changed(old, context.parameters, self.parameter, self.value))
        amounts = {self.parameter: self.value, "before": getattr(old, self.parameter)}
        context.emit("governance.parameter_set", [], **amounts)


@record(version=1)
@dataclass(frozen=True, slots=True)
class SpendTreasury(GovernedAction):
    """Pays an account from the treasury, whole epochs after the measure passed and within a share of it an epoch."""

    code: ClassVar[int] = 86
    name: ClassVar[str] = "governance.spend"

    to: Address
    amount: Amount
    memo: Annotated[str, String(256)] = ""
    """What it is for; everybody can read it."""

    @property
    def spent(self) -> int:
        return self.amount

    def validate(self) -> None:
        if self.amount == 0:
            raise InvalidField(record="SpendTreasury", field="amount", reason="must be more than zero")
        if self.to[0] == MODULE:
            raise InvalidField(record="SpendTreasury", field="to", reason="nobody can sign for a module account")

    def check_state(self, context: Context) -> None:
        require_usable(context.view, self.to)
        available = totals(context.view).treasury
        if available < self.amount:
            raise InsufficientFunds(needed=self.amount, available=available)

    def apply(self, context: Context) -> None:
        adjust(context.view, treasury=-self.amount)
        credit(context.view, self.to, self.amount)
        context.emit("governance.spent", [("to", self.to)], amount=self.amount)


def check_measures(view: View) -> None:
    """The agenda names every measure once; open ones have their deadline and are undecided, nobody votes twice."""
    agenda = read_agenda(view)
    named = [entry.measure for entry in agenda.open] + [entry.measure for entry in agenda.passed]
    found = dict(MEASURES.scan(view))
    require(sorted(named) == sorted(found), "the agenda names every measure once")
    waiting = {entry.measure for entry in agenda.open}
    for measure_id, measure in found.items():
        voters = [each.operator for each in measure.ballots]
        require(len(set(voters)) == len(voters), "an operator votes once on a measure", id=measure_id)
        require((measure.passed_epoch is None) == (measure_id in waiting), "a passed measure waits", id=measure_id)
        if measure_id in waiting:
            scheduled = is_scheduled(view, Clock.BLOCK, measure.expires_ms, Subject.MEASURE, measure_id)
            require(scheduled, "an open measure has its deadline", id=measure_id)
    for passed in agenda.passed:
        require(passed.spent == found[passed.measure].spent, "the agenda knows what is spent", id=passed.measure)
    for entry in agenda.open:
        measure = found[entry.measure]
        same = (entry.proposer, entry.expires_ms) == (measure.proposer, measure.expires_ms)
        require(same, "the agenda agrees with its measures", id=entry.measure)


def deposits(view: View) -> int:
    """What measures hold as deposits, base units."""
    return sum(measure.deposit for _, measure in MEASURES.scan(view))


FAMILY = Family(
    "governance",
    (ProposeMeasure, VoteOnMeasure, SetParameter, SpendTreasury),
    {Subject.MEASURE: expire},
    (check_measures,),
    end_epoch,
    deposits,
)
