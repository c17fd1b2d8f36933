"""Governance: measures that the operators of the present authorities vote on, and what a passed measure may do.

A measure holds actions that nobody can send: only the ledger's own governance account executes them, at the end of an
epoch, in the order in which the measures passed. Votes count for whoever is an operator at the moment of counting and
has not rotated his key since, and they are counted twice: a measure that has passed must still have its approvals when
it is executed, and until then can lose and win them. So a stolen vote is void once the key is replaced. A measure that
takes somebody out of the set does nothing else, and those whom it is about have no say in it: quorum(n) of the others
must approve (all of them if n is small), never fewer than two, however many it names. So a pair can remove nobody, and
fewer than a quorum cannot shrink the set one by one. Everything else needs quorum(n).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from chain.action import Action, ActionList, Clock, Context
from chain.authorities import read_authorities
from chain.bank import account, totals
from chain.certificate import MAXIMUM_AUTHORITIES, quorum
from chain.crypto.address import module_address
from chain.deposit import give_back
from chain.errors import LedgerError
from chain.record import record
from chain.schedule import Subject, schedule, unschedule
from chain.schema import Address, Amount, Boolean, Hash, ListOf, Timestamp, Unsigned32, Unsigned64
from chain.state.tables import Singleton, Table, TableId
from chain.state.view import View

GOVERNANCE_ACCOUNT = module_address("governance")
MAXIMUM_MEASURES = 128
"""Measures that are open or passed and not executed."""
MAXIMUM_OPEN_PER_OPERATOR = 8
"""In a large set fewer, so that a third of it cannot fill the agenda: see `open_limit`."""
MAXIMUM_MEASURE_ACTIONS = 8
MAXIMUM_EXECUTED = 16
"""Measures executed at the end of an epoch at most; the rest follows at the next."""
SPENDING_EPOCHS = 8
"""Epochs for which a passed measure waits until the treasury can pay it."""


class GovernanceOnly(LedgerError):
    code = 2050
    hint = "Only a measure that the authorities passed does this: propose one."


class MeasureClosed(LedgerError):
    code = 2052
    hint = "The measure was executed, rejected or has expired."


class TreasuryTooSmall(LedgerError):
    code = 2058
    hint = "An epoch may spend a share of the treasury; propose less."


class GovernedAction(Action):
    """An action that only a passed measure executes."""

    __slots__ = ()

    base_weight: ClassVar[int] = 8

    @property
    def ousted(self) -> bytes | None:
        """The operator whom this takes out of the set of authorities."""
        return None

    @property
    def spent(self) -> int:
        """What this takes out of the treasury, base units."""
        return 0

    def check(self, context: Context) -> None:
        """Raise GovernanceOnly for every sender but the ledger itself, then as `check_state`."""
        if context.sender != GOVERNANCE_ACCOUNT:
            raise GovernanceOnly(account=context.sender)
        self.check_state(context)

    def check_state(self, context: Context) -> None:
        """Raise a LedgerError if the state does not allow the action."""
        raise NotImplementedError

    def prove(self) -> None:
        """Raise a LedgerError if its signatures are bad: seen once, when it is proposed, because that is dear."""


@record(version=1)
@dataclass(frozen=True, slots=True)
class Ballot:
    """How an operator voted; void once its key is rotated, and without effect while it is not in the set."""

    operator: Address
    rotations: Unsigned32
    """How often the operator's key had been rotated."""
    approve: Boolean


@record(version=1)
@dataclass(frozen=True, slots=True)
class Measure:
    """What is voted on; it leaves the state when it was executed, rejected or has expired."""

    proposer: Address
    actions: Annotated[tuple[Action, ...], ActionList(MAXIMUM_MEASURE_ACTIONS)]
    expires_ms: Timestamp
    """Block time until which it must pass."""
    proposed_height: Unsigned64
    ballots: Annotated[tuple[Ballot, ...], ListOf(MAXIMUM_AUTHORITIES)]
    """One for each operator who voted, in the order of the votes."""
    passed_epoch: Unsigned64 | None = None
    """Epoch in which it passed; None as long as it is open."""
    deposit: Amount = 0
    """What the proposer gets back when it is over, base units."""

    @property
    def ousted(self) -> frozenset[bytes]:
        """The operators whom it would take out of the set."""
        return frozenset(_ousted(self.actions))

    @property
    def spent(self) -> int:
        """What it takes out of the treasury, base units."""
        return spent_by(self.actions)


@record(version=1)
@dataclass(frozen=True, slots=True)
class OpenMeasure:
    """A measure that can be voted on."""

    measure: Hash
    proposer: Address
    expires_ms: Timestamp


@record(version=1)
@dataclass(frozen=True, slots=True)
class PassedMeasure:
    """A measure that waits for the end of an epoch."""

    measure: Hash
    due_epoch: Unsigned64
    """First epoch at whose end it may be executed."""
    spent: Amount
    """What it takes out of the treasury, base units."""


@record(version=1)
@dataclass(frozen=True, slots=True)
class Agenda:
    """Every measure of the state."""

    open: Annotated[tuple[OpenMeasure, ...], ListOf(MAXIMUM_MEASURES)] = ()
    """Oldest first."""
    passed: Annotated[tuple[PassedMeasure, ...], ListOf(MAXIMUM_MEASURES)] = ()
    """In the order in which they passed."""


MEASURES: Table[Measure] = Table(TableId.MEASURES, Measure)
AGENDA = Singleton(TableId.GOVERNANCE, Agenda)


@dataclass(frozen=True, slots=True)
class Tally:
    """The votes on a measure as of now."""

    electors: int
    """Operators whose votes count."""
    needed: int
    """Approvals that it takes."""
    approvals: int
    rejections: int

    @property
    def passes(self) -> bool:
        return self.approvals >= self.needed

    @property
    def possible(self) -> bool:
        """Whether it can still pass."""
        return self.electors - self.rejections >= self.needed


def _ousted(actions: Iterable[Action]) -> Iterable[bytes]:
    for action in actions:
        operator = action.ousted if isinstance(action, GovernedAction) else None
        if operator is not None:
            yield operator


def spent_by(actions: Iterable[Action]) -> int:
    """What the actions take out of the treasury, base units."""
    return sum(action.spent for action in actions if isinstance(action, GovernedAction))


def read_agenda(view: View) -> Agenda:
    """Every measure of the state."""
    return AGENDA.get(view) or Agenda()


def open_limit(view: View) -> int:
    """How many open measures an operator may have: all of the present set have room for theirs."""
    return min(MAXIMUM_OPEN_PER_OPERATOR, MAXIMUM_MEASURES // len(read_authorities(view).members))


def ballot(view: View, operator: bytes, approve: bool) -> Ballot:
    """The vote of an operator with its present key."""
    return Ballot(operator, account(view, operator).rotations, approve)


def counted(view: View, measure: Measure) -> tuple[Ballot, ...]:
    """The ballots that count now, whomever the measure is about: of present operators, with their present keys."""
    present = frozenset(read_authorities(view).operators)
    return tuple(
        each
        for each in measure.ballots
        if each.operator in present and each == ballot(view, each.operator, each.approve)
    )


def tally(view: View, measure: Measure) -> Tally:
    """Count the votes against the present set."""
    operators = frozenset(read_authorities(view).operators)
    about = measure.ousted & operators
    size = len(operators)
    votes = [each.approve for each in counted(view, measure) if each.operator not in about]
    needed = max(2, min(quorum(size), size - 1)) if about else quorum(size)
    return Tally(size - len(about), needed, votes.count(True), votes.count(False))


def open_measure(context: Context, measure_id: bytes, measure: Measure) -> None:
    """Put a new measure on the agenda; it may pass, or be beyond passing, at once."""
    overdue = next((each for each in read_agenda(context.view).open if context.time_ms >= each.expires_ms), None)
    if overdue is not None:
        expire(context, overdue.measure)  # to make room
    agenda = read_agenda(context.view)
    entry = OpenMeasure(measure_id, measure.proposer, measure.expires_ms)
    AGENDA.put(context.view, replace(agenda, open=(*agenda.open, entry)))
    schedule(context, Clock.BLOCK, measure.expires_ms, Subject.MEASURE, measure_id)
    decide(context, measure_id, measure)


def votable(context: Context, measure_id: bytes) -> Measure:
    """The measure, if its outcome is open or a passed one can still be taken back. Raises MeasureClosed."""
    measure = MEASURES.get(context.view, measure_id)
    if measure is None or (measure.passed_epoch is None and context.time_ms >= measure.expires_ms):
        raise MeasureClosed(measure=measure_id)
    return measure


def decide(context: Context, measure_id: bytes, measure: Measure) -> None:
    """Store a measure whose votes have changed, or whose electorate has, with what follows from that."""
    votes = tally(context.view, measure)
    if measure.passed_epoch is None and votes.passes:
        _pass(context, measure_id, measure)
    elif not votes.possible:
        kind = "governance.rejected" if measure.passed_epoch is None else "governance.revoked"
        _close(context, measure_id, measure, kind)
    else:
        MEASURES.put(context.view, measure_id, measure)


def _pass(context: Context, measure_id: bytes, measure: Measure) -> None:
    epoch, spent = context.block.epoch, measure.spent
    due_epoch = epoch + (context.parameters.treasury_delay_epochs if spent else 0)
    unschedule(context, Clock.BLOCK, measure.expires_ms, Subject.MEASURE, measure_id)
    MEASURES.put(context.view, measure_id, replace(measure, passed_epoch=epoch))
    agenda = _without(read_agenda(context.view), measure_id)
    entry = PassedMeasure(measure_id, due_epoch, spent)
    AGENDA.put(context.view, replace(agenda, passed=(*agenda.passed, entry)))
    context.emit("governance.passed", [("measure", measure_id)], epoch=epoch, due_epoch=due_epoch)


def _without(agenda: Agenda, measure_id: bytes) -> Agenda:
    return Agenda(
        tuple(entry for entry in agenda.open if entry.measure != measure_id),
        tuple(entry for entry in agenda.passed if entry.measure != measure_id),
    )


def _close(context: Context, measure_id: bytes, measure: Measure, kind: str, **amounts: int) -> None:
    """Let a measure leave the state, saying why by the kind of the event."""
    if measure.passed_epoch is None:
        unschedule(context, Clock.BLOCK, measure.expires_ms, Subject.MEASURE, measure_id)
    MEASURES.delete(context.view, measure_id)
    AGENDA.put(context.view, _without(read_agenda(context.view), measure_id))
    give_back(context, measure.proposer, measure.deposit)
    context.emit(kind, [("measure", measure_id), ("proposer", measure.proposer)], **amounts)


def expire(context: Context, measure_id: bytes) -> None:
    """Due handler: the time to pass a measure is over."""
    measure = MEASURES.get(context.view, measure_id)
    if measure is not None and measure.passed_epoch is None and context.time_ms >= measure.expires_ms:
        _close(context, measure_id, measure, "governance.expired")


def bring_up_to_date(context: Context) -> None:
    """Close what has expired, whether or not the due queue has run."""
    for entry in read_agenda(context.view).open:
        if context.time_ms >= entry.expires_ms:
            expire(context, entry.measure)


def end_epoch(context: Context) -> None:
    """Epoch handler: count again what a new set may see otherwise, then execute what has passed."""
    bring_up_to_date(context)
    if read_authorities(context.view).epoch == context.block.epoch:
        for entry in read_agenda(context.view).open:
            measure = MEASURES.get(context.view, entry.measure)
            if measure is not None:
                decide(context, entry.measure, measure)
    _execute_passed(context)


def _execute_passed(context: Context) -> None:
    """Execute what is due, in the order in which it passed; what the treasury cannot pay yet waits, for a while."""
    epoch = context.block.epoch
    budget = totals(context.view).treasury * context.parameters.treasury_spend_share // 10_000
    executed = 0
    for entry in read_agenda(context.view).passed:
        measure = MEASURES.get(context.view, entry.measure)
        if measure is None or epoch < entry.due_epoch or executed == MAXIMUM_EXECUTED:
            continue
        if not tally(context.view, measure).passes:
            _close(context, entry.measure, measure, "governance.revoked")
            continue
        affordable = entry.spent <= budget
        if not affordable and epoch < entry.due_epoch + SPENDING_EPOCHS:
            continue
        executed += 1
        if not affordable:
            _close(context, entry.measure, measure, "governance.failed", code=TreasuryTooSmall.code, action=0)
        elif _execute(context, entry.measure, measure):
            budget -= entry.spent


def _execute(context: Context, measure_id: bytes, measure: Measure) -> bool:
    """Execute a measure, all of it or nothing; returns whether it worked. It is over either way."""
    mark, events = context.view.checkpoint(), len(context.events)
    failed = run(context.acting_as(GOVERNANCE_ACCOUNT), measure.actions)
    if failed is None:
        _close(context, measure_id, measure, "governance.executed")
        return True
    context.view.rollback(mark)
    del context.events[events:]
    index, error = failed
    _close(context, measure_id, measure, "governance.failed", code=error.code, action=index)
    return False


def run(context: Context, actions: Iterable[Action], *, proving: bool = False) -> tuple[int, LedgerError] | None:
    """Run actions as the governance account; the index and error of the first that fails, or None.

    Args:
        proving: whether to look at their signatures as well, as when they are proposed.
    """
    for index, action in enumerate(actions):
        try:
            action.check(context)
            if proving and isinstance(action, GovernedAction):
                action.prove()
            action.apply(context)
        except LedgerError as error:
            return index, error
    return None
