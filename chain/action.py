"""What an action is, what it sees while it runs, and how a family of actions announces itself.

An action is a record with three duties, in this order: `validate` needs no state, `check` reads the state and
raises when the action may not happen, `apply` has the effects. A `Family` lists the actions, the due-item handlers
and the invariants of one file under `chain/actions/`; the registry there drives everything that is generated.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, ClassVar

from chain.codec import Value
from chain.crypto.hashing import tagged_hash
from chain.errors import InvalidField, UnknownAction
from chain.parameters import Parameters
from chain.record import describe, from_json, from_plain, json_schema, to_json, to_plain
from chain.result import Event
from chain.schema import Kind
from chain.state.view import View

MAXIMUM_ACTIONS = 1_000


class Clock(IntEnum):
    """The two clocks of the ledger; both are in the state."""

    BLOCK = 0
    """Milliseconds since 1970, UTC, as agreed in the header: calendars, booking ends, expiry."""
    LIVE = 1
    """Milliseconds in which the chain was running: every deadline by which a person must act."""


@dataclass(frozen=True, slots=True)
class BlockContext:
    """The block in which something runs."""

    chain_id: str
    height: int
    epoch: int
    time_ms: int
    proposer: bytes
    """Operator account of the proposer."""


@dataclass(slots=True)
class Context:
    """What an action, or a due item, sees and may change. Nothing else reaches it."""

    view: View
    block: BlockContext
    live_ms: int
    """Live time of this block, in milliseconds."""
    parameters: Parameters
    sender: bytes
    """The account that acts; the system module account for due items."""
    txid: bytes
    """The transaction, or for due items the parent's place in the chain: what fresh ids derive from."""
    events: list[Event] = field(default_factory=list)
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def time_ms(self) -> int:
        return self.block.time_ms

    def now(self, clock: Clock) -> int:
        """The present on that clock, in milliseconds."""
        return self.block.time_ms if clock is Clock.BLOCK else self.live_ms

    def new_id(self, domain: str) -> bytes:
        """A fresh 32-byte id that anyone can derive from the transaction: unique per transaction and count."""
        return tagged_hash(f"aitbc/id/{domain}/1", self.txid, next(self.ids).to_bytes(4, "big"))

    def emit(self, kind: str, subjects: Iterable[tuple[str, bytes]], **amounts: int) -> None:
        """Record an event; subjects and amounts keep the order given."""
        self.events.append(Event(kind, tuple(subjects), tuple(amounts.items())))

    def acting_as(self, account: bytes) -> "Context":
        """The same context with another sender, for what a multisig account executes."""
        return replace(self, sender=account)


class Action:
    """Base of all actions; subclasses are frozen, slotted dataclasses under `@record(version=1)`."""

    __slots__ = ()

    code: ClassVar[int]
    """The number on the wire; never reused."""
    name: ClassVar[str]
    """`family.verb`, as RPC, CLI and documents show it."""
    base_weight: ClassVar[int] = 1
    """Work that the action causes now and by what it schedules, in units of one transfer."""

    def weight(self) -> int:
        """Total weight; actions over lists add to `base_weight`."""
        return self.base_weight

    def validate(self) -> None:
        """Raise InvalidField if the fields cannot be right under any state."""

    def check(self, context: Context) -> None:
        """Raise a LedgerError if the state does not allow the action. Changes nothing but what is overdue."""
        raise NotImplementedError

    def apply(self, context: Context) -> None:
        """The effects. May rely on `check` having passed in the same state."""
        raise NotImplementedError


DueHandler = Callable[[Context, bytes], None]
"""Brings the record with this id up to date; must be idempotent and must never raise a LedgerError."""

EpochHandler = Callable[[Context], None]
"""Runs in the last block of an epoch, after its transactions; must never raise a LedgerError."""

Invariant = Callable[[View], None]

DepositCount = Callable[[View], int]
"""What records of a state hold as deposits, base units."""


@dataclass(frozen=True, slots=True)
class Family:
    """One file under `chain/actions/`: everything the rest of the ledger needs to know of it."""

    name: str
    actions: tuple[type[Action], ...]
    due: Mapping[int, DueHandler] = field(default_factory=dict)
    """Subject kind of a due item (see `chain.schedule.Subject`) to its handler."""
    invariants: tuple[Invariant, ...] = ()
    """Consistency checks over a whole state; each raises InvariantBroken."""
    epoch_end: EpochHandler | None = None
    deposits: DepositCount | None = None
    """What this family's records hold as deposits; over all families it is the total."""


ACTIONS: dict[int, type[Action]] = {}
"""Every known action by its code; filled by `register`."""

DUE_HANDLERS: dict[int, DueHandler] = {}

EPOCH_HANDLERS: list[EpochHandler] = []
"""What happens when an epoch ends, in the order of the registry."""

DEPOSIT_COUNTS: list[DepositCount] = []
"""What the families have on deposit, see `chain.invariants.check_conservation`."""

INVARIANTS: list[Invariant] = []
"""What the families want checked over a whole state, see `chain.invariants.check_all`."""


def register(families: tuple[Family, ...]) -> None:
    """Make the families known. Raises ValueError if two claim one code, name or due subject."""
    names = {action.name for action in ACTIONS.values()}
    for family in families:
        for action in family.actions:
            if action.code in ACTIONS or action.name in names:
                raise ValueError(f"action {action.code} {action.name} is registered twice")
            ACTIONS[action.code] = action
            names.add(action.name)
        for subject, handler in family.due.items():
            if subject in DUE_HANDLERS:
                raise ValueError(f"due subject {subject} has two handlers")
            DUE_HANDLERS[subject] = handler
        INVARIANTS.extend(family.invariants)
        if family.deposits is not None:
            DEPOSIT_COUNTS.append(family.deposits)
        if family.epoch_end is not None:
            EPOCH_HANDLERS.append(family.epoch_end)


def action_class(name: str) -> type[Action]:
    """The action of this name. Raises UnknownAction."""
    for action in ACTIONS.values():
        if action.name == name:
            return action
    raise UnknownAction(name=name[:64])


def encode_action(action: Action) -> list[Value]:
    """The wire form [code, [fields …]]."""
    return [action.code, to_plain(action)]


def decode_action(plain: Any) -> Action:
    """The action of a decoded wire form, validated. Raises UnknownAction or InvalidField."""
    match plain:
        case (int() as code, tuple() as values) if type(code) is int:  # true is not 1
            pass
        case _:
            raise InvalidField(record="Action", reason="expected [code, fields]")
    cls = ACTIONS.get(code)
    if cls is None:
        raise UnknownAction(code=code)
    action = from_plain(cls, values)
    action.validate()
    return action


def action_to_json(action: Action, prefix: str) -> dict[str, Any]:
    """{"action": name, …fields}."""
    return {"action": action.name, **to_json(action, prefix)}


def action_from_json(value: Any, prefix: str) -> Action:
    """The action of its JSON form, validated. Raises UnknownAction or InvalidField."""
    if not isinstance(value, dict) or not isinstance(value.get("action"), str):
        raise InvalidField(record="Action", reason="expected an object with the field action")
    fields = {key: item for key, item in value.items() if key != "action"}
    action = from_json(action_class(value["action"]), fields, prefix)
    action.validate()
    return action


def describe_action(action: Action, prefix: str) -> list[tuple[str, str]]:
    """The action as (name, text) in human units, its name first."""
    return [("action", action.name), *describe(action, prefix)]


def action_schemas() -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, JSON schema) of every known action, by code."""
    for _, action in sorted(ACTIONS.items()):
        yield action.name, json_schema(action)


@dataclass(frozen=True, slots=True)
class ActionList(Kind):
    """A field that holds 1 to `maximum` actions, as multisig proposals do."""

    maximum: int

    def load(self, plain: Any) -> tuple[Action, ...]:
        if type(plain) not in (tuple, list) or not 1 <= len(plain) <= self.maximum:
            raise InvalidField(reason=f"expected 1 to {self.maximum} actions")
        return tuple(item if isinstance(item, Action) else decode_action(item) for item in plain)

    def dump(self, value: Any) -> Value:
        return [encode_action(action) for action in value]

    def to_json(self, value: Any, prefix: str) -> Any:
        return [action_to_json(action, prefix) for action in value]

    def from_json(self, value: Any, prefix: str) -> Any:
        if not isinstance(value, list) or not 1 <= len(value) <= self.maximum:
            raise InvalidField(reason=f"expected 1 to {self.maximum} actions")
        return tuple(action_from_json(item, prefix) for item in value)

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": {"type": "object"}, "minItems": 1, "maxItems": self.maximum}

    def text(self, value: Any, prefix: str) -> str:
        return "; ".join(
            ", ".join(f"{name} {text}" for name, text in describe_action(action, prefix)) for action in value
        )
