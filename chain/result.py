"""What a transaction leaves behind: its result and the typed events, committed by the block's results root."""

from dataclasses import dataclass
from typing import Annotated, Any

from chain.codec import Value
from chain.crypto.address import format_address
from chain.crypto.hashing import merkle_root, sha256
from chain.errors import InvalidField
from chain.record import encode_record, record
from chain.schema import Amount, Hash, Kind, ListOf, String, Unsigned32


@dataclass(frozen=True, slots=True)
class Pairs(Kind):
    """Up to `maximum` (name, value) pairs in order; values are integers, text or bytes.

    In JSON a list of objects, because a name may come twice; 33-byte values show as addresses, integers as
    decimal strings.
    """

    maximum: int
    name_key: str
    value_key: str

    def load(self, plain: Any) -> tuple[tuple[str, Any], ...]:
        if type(plain) not in (tuple, list) or len(plain) > self.maximum:
            raise InvalidField(reason=f"expected at most {self.maximum} pairs")
        return tuple(self._pair(item) for item in plain)

    def _pair(self, item: Any) -> tuple[str, Any]:
        match item:
            case (str() as name, int() | str() | bytes() as value) if type(value) is not bool:
                return (name, value)
        raise InvalidField(reason="expected [name, value]")

    def dump(self, value: Any) -> Value:
        return [list(pair) for pair in value]

    def to_json(self, value: Any, prefix: str) -> Any:
        return [{self.name_key: name, self.value_key: _show(item, prefix)} for name, item in value]

    def schema(self) -> dict[str, Any]:
        item = {"type": "object", "properties": {self.name_key: {"type": "string"}, self.value_key: {"type": "string"}}}
        return {"type": "array", "items": item, "maxItems": self.maximum}


def _show(value: int | str | bytes, prefix: str) -> str:
    if isinstance(value, bytes):
        return format_address(prefix, value) if len(value) == 33 else value.hex()
    return str(value)


def error_data_to_json(data: Any, prefix: str) -> dict[str, str]:
    """Error data as one object: the data of a LedgerError or of a failed result."""
    return {name: _show(value, prefix) for name, value in (data.items() if isinstance(data, dict) else data)}


@record(version=1)
@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: the only source of indexes, history, subscriptions and metrics."""

    kind: Annotated[str, String(64, 1)]
    """`family.what`, for example `booking.reserved`."""
    subjects: Annotated[tuple[tuple[str, bytes], ...], Pairs(128, "role", "id")]
    """(role, id) pairs; 33-byte ids are accounts, 32-byte ids are records."""
    amounts: Annotated[tuple[tuple[str, int], ...], Pairs(32, "name", "value")]
    """(name, integer) pairs; base units unless the name says otherwise."""


MAXIMUM_EVENTS = 100_000


@record(version=1)
@dataclass(frozen=True, slots=True)
class TransactionResult:
    """The outcome of one transaction in a block."""

    txid: Hash
    code: Unsigned32
    """0 if every action succeeded, else the code of the error that rolled all of them back."""
    error: Annotated[str, String(64)]
    """The error's name; empty on success."""
    error_data: Annotated[tuple[tuple[str, int | str | bytes], ...], Pairs(16, "name", "value")]
    failed_action: Unsigned32 | None
    """Index of the action that failed."""
    fee: Amount
    """Everything the sender paid for inclusion, tip included."""
    weight: Unsigned32
    events: Annotated[tuple[Event, ...], ListOf(MAXIMUM_EVENTS)]

    @property
    def succeeded(self) -> bool:
        return self.code == 0


@record(version=1)
@dataclass(frozen=True, slots=True)
class SystemResult:
    """What the block itself did: due items, the turn of an epoch."""

    weight: Unsigned32
    events: Annotated[tuple[Event, ...], ListOf(MAXIMUM_EVENTS)]


def results_root(system: SystemResult, results: tuple[TransactionResult, ...]) -> bytes:
    """Merkle root over the system result and every transaction's result, in order."""
    return merkle_root([sha256(encode_record(result)) for result in (system, *results)])
