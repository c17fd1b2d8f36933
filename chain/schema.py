"""What a field of a record may be: its kind says how one value is checked, stored, and shown in JSON and in text.

A field is annotated with one of the types at the end (`Amount`, `Address`, `Hash` …), with `Annotated[type, kind]`, or
with the optional, the tuple (`ListOf`), the IntEnum or the record of such. JSON shows amounts as decimal strings, bytes
as hex, addresses in bech32m with the network's prefix. `record.py` makes records of such fields.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Any, cast

from chain.codec import Value
from chain.crypto.address import format_address, parse_address
from chain.errors import InvalidField

Json = Any
COIN = 10**9
"""Base units in one AITBC."""
U32 = (1 << 32) - 1
U64 = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Kind:
    """How one field is checked, encoded and shown. Subclasses say for which Python type."""

    def load(self, plain: Any) -> Any:
        """The checked value of a decoded CBOR item. Raises InvalidField."""
        raise NotImplementedError

    def dump(self, value: Any) -> Value:
        """The CBOR item of a value. Raises InvalidField if the value is out of range."""
        return cast(Value, self.load(value))

    def to_json(self, value: Any, prefix: str) -> Json:
        return value

    def from_json(self, value: Json, prefix: str) -> Any:
        return self.load(value)

    def schema(self) -> dict[str, Any]:
        raise NotImplementedError

    def text(self, value: Any, prefix: str) -> str:
        return str(self.to_json(value, prefix))


@dataclass(frozen=True, slots=True)
class Unsigned(Kind):
    """An integer in [minimum, maximum]."""

    maximum: int
    minimum: int = 0

    def load(self, plain: Any) -> int:
        if type(plain) is not int or not self.minimum <= plain <= self.maximum:
            raise InvalidField(reason=f"expected an integer from {self.minimum} to {self.maximum}")
        return plain

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.minimum, "maximum": self.maximum}


@dataclass(frozen=True, slots=True)
class Wide(Kind):
    """An integer beyond 64 bits, stored as that many octets, big-endian; a decimal string in JSON."""

    octets: int

    @property
    def maximum(self) -> int:
        return (1 << 8 * self.octets) - 1

    def load(self, plain: Any) -> int:
        if type(plain) is not bytes or len(plain) != self.octets:
            raise InvalidField(reason=f"expected {self.octets} bytes")
        return int.from_bytes(plain, "big")

    def dump(self, value: Any) -> Value:
        if type(value) is not int or not 0 <= value <= self.maximum:
            raise InvalidField(reason=f"expected an integer of {self.octets} bytes")
        return value.to_bytes(self.octets, "big")

    def to_json(self, value: int, prefix: str) -> str:
        return str(value)

    def from_json(self, value: Json, prefix: str) -> int:
        if not isinstance(value, str) or not value.isascii() or not value.isdigit() or len(value) > 3 * self.octets:
            raise InvalidField(reason="expected a decimal string")
        number = int(value)
        self.dump(number)
        return number

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^[0-9]{{1,{3 * self.octets}}}$"}


@dataclass(frozen=True, slots=True)
class Money(Unsigned):
    """Base units; a decimal string in JSON, so that no reader turns it into a float."""

    def to_json(self, value: int, prefix: str) -> str:
        return str(value)

    def from_json(self, value: Json, prefix: str) -> int:
        if not isinstance(value, str) or not value.isascii() or not value.isdigit() or len(value) > 20:
            raise InvalidField(reason="expected an amount: a decimal string of base units")
        return self.load(int(value))

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": "^[0-9]{1,20}$", "description": "amount in base units, 10^-9 AITBC"}

    def text(self, value: int, prefix: str) -> str:
        return format_amount(value)


def format_amount(amount: int) -> str:
    """Base units as AITBC with unit, without trailing zeros: 1500000000 is '1.5 AITBC'."""
    whole, part = divmod(amount, COIN)
    fraction = f"{part:09d}".rstrip("0")
    return f"{whole:,}.{fraction} AITBC" if fraction else f"{whole:,} AITBC"


@dataclass(frozen=True, slots=True)
class Octets(Kind):
    """A byte string of `minimum` to `maximum` bytes; hex in JSON."""

    minimum: int
    maximum: int

    def load(self, plain: Any) -> bytes:
        if type(plain) is not bytes or not self.minimum <= len(plain) <= self.maximum:
            raise InvalidField(reason=f"expected {self.minimum} to {self.maximum} bytes")
        return plain

    def to_json(self, value: bytes, prefix: str) -> str:
        return value.hex()

    def from_json(self, value: Json, prefix: str) -> bytes:
        if not isinstance(value, str):
            raise InvalidField(reason="expected a hexadecimal string")
        if len(value) > 2 * self.maximum:
            raise InvalidField(reason=f"expected at most {self.maximum} bytes")
        try:
            return self.load(bytes.fromhex(value))
        except ValueError as error:
            raise InvalidField(reason="expected a hexadecimal string") from error

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^([0-9a-f]{{2}}){{{self.minimum},{self.maximum}}}$"}


@dataclass(frozen=True, slots=True)
class AddressKind(Octets):
    """A 33-byte address; bech32m in JSON."""

    def load(self, plain: Any) -> bytes:
        if type(plain) is not bytes or len(plain) != 33 or plain[0] > 2:
            raise InvalidField(reason="expected an address")
        return plain

    def to_json(self, value: bytes, prefix: str) -> str:
        return format_address(prefix, value)

    def from_json(self, value: Json, prefix: str) -> bytes:
        if not isinstance(value, str):
            raise InvalidField(reason="expected an address")
        return self.load(parse_address(prefix, value))

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "description": "bech32m address of this network"}


@dataclass(frozen=True, slots=True)
class String(Kind):
    """Text of at most `maximum` bytes in UTF-8, without control characters other than line feed and tab."""

    maximum: int
    minimum: int = 0

    def load(self, plain: Any) -> str:
        if type(plain) is not str:
            raise InvalidField(reason="expected text")
        try:
            size = len(plain.encode())
        except UnicodeEncodeError as error:
            raise InvalidField(reason="expected text in UTF-8") from error
        if not self.minimum <= size <= self.maximum:
            raise InvalidField(reason=f"expected text of {self.minimum} to {self.maximum} bytes")
        # What is printable has no control characters; the rest is looked at one by one.
        if not plain.isprintable() and any((c < " " and c not in "\n\t") or "\x7f" <= c <= "\x9f" for c in plain):
            raise InvalidField(reason="text holds control characters")
        return plain

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "minLength": self.minimum, "maxLength": self.maximum}


@dataclass(frozen=True, slots=True)
class Flag(Kind):
    def load(self, plain: Any) -> bool:
        if type(plain) is not bool:
            raise InvalidField(reason="expected true or false")
        return plain

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Choice(Kind):
    """One member of an IntEnum; its lower-case name in JSON."""

    enumeration: type[IntEnum]

    def load(self, plain: Any) -> IntEnum:
        if isinstance(plain, self.enumeration):
            return plain
        if type(plain) is int:
            try:
                return self.enumeration(plain)
            except ValueError:
                pass
        raise InvalidField(reason="expected one of " + ", ".join(m.name.lower() for m in self.enumeration))

    def dump(self, value: Any) -> Value:
        return int(value)

    def to_json(self, value: IntEnum, prefix: str) -> str:
        return value.name.lower()

    def from_json(self, value: Json, prefix: str) -> IntEnum:
        for member in self.enumeration:
            if value == member.name.lower():
                return member
        raise InvalidField(reason="expected one of " + ", ".join(m.name.lower() for m in self.enumeration))

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": [m.name.lower() for m in self.enumeration]}


@dataclass(frozen=True, slots=True)
class Maybe(Kind):
    """The inner kind, or nothing."""

    inner: Kind

    def load(self, plain: Any) -> Any:
        return None if plain is None else self.inner.load(plain)

    def dump(self, value: Any) -> Value:
        return None if value is None else self.inner.dump(value)

    def to_json(self, value: Any, prefix: str) -> Json:
        return None if value is None else self.inner.to_json(value, prefix)

    def from_json(self, value: Json, prefix: str) -> Any:
        return None if value is None else self.inner.from_json(value, prefix)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [self.inner.schema(), {"type": "null"}]}

    def text(self, value: Any, prefix: str) -> str:
        return "none" if value is None else self.inner.text(value, prefix)


@dataclass(frozen=True, slots=True)
class ListOf:
    """Marks `tuple[X, ...]` as a list of `minimum` to `maximum` items of kind X."""

    maximum: int
    minimum: int = 0


@dataclass(frozen=True, slots=True)
class Items(Kind):
    """`minimum` to `maximum` values of one kind, in order."""

    inner: Kind
    maximum: int
    minimum: int

    def load(self, plain: Any) -> tuple[Any, ...]:
        if type(plain) not in (tuple, list) or not self.minimum <= len(plain) <= self.maximum:
            raise InvalidField(reason=f"expected a list of {self.minimum} to {self.maximum} items")
        load = self.inner.load
        return tuple(load(item) for item in plain)

    def dump(self, value: Any) -> Value:
        dump = self.inner.dump
        return [dump(item) for item in value]

    def to_json(self, value: Any, prefix: str) -> Json:
        return [self.inner.to_json(item, prefix) for item in value]

    def from_json(self, value: Json, prefix: str) -> Any:
        if not isinstance(value, list) or not self.minimum <= len(value) <= self.maximum:
            raise InvalidField(reason=f"expected a list of {self.minimum} to {self.maximum} items")
        return tuple(self.inner.from_json(item, prefix) for item in value)

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": self.inner.schema(), "minItems": self.minimum, "maxItems": self.maximum}

    def text(self, value: Any, prefix: str) -> str:
        return ", ".join(self.inner.text(item, prefix) for item in value) or "none"


Unsigned8 = Annotated[int, Unsigned(255)]
Unsigned32 = Annotated[int, Unsigned(U32)]
Unsigned64 = Annotated[int, Unsigned(U64)]
Amount = Annotated[int, Money(U64)]
Fixed192 = Annotated[int, Wide(24)]
"""A number in units of 2^-64."""
Timestamp = Annotated[int, Unsigned(1 << 53)]
"""Milliseconds: of block time (since 1970, UTC) or of live time (since genesis), as the field says."""
Seconds = Annotated[int, Unsigned(U32)]
BasisPoints = Annotated[int, Unsigned(10_000)]
Hash = Annotated[bytes, Octets(32, 32)]
PublicKey = Annotated[bytes, Octets(32, 32)]
Address = Annotated[bytes, AddressKind(33, 33)]
Boolean = Annotated[bool, Flag()]
