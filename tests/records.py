"""Examples of every record that is signed or stored, made from its declaration: for golden vectors and for fuzzing."""

import importlib
import pkgutil
import random
from typing import Any

import chain.record
import genesis
from chain.action import ActionList
from chain.actions.accounts import Transfer
from chain.crypto.hashing import sha256
from chain.record import Nested, layout
from chain.result import Pairs
from chain.schema import AddressKind, Choice, Flag, Items, Kind, Maybe, Octets, String, Unsigned, Wide
from tests.ledger import Person

ALICE = Person("alice")


def stored_records() -> list[type]:
    """Every record class of chain and genesis, by module and name."""
    for room in (chain, genesis):
        for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
            importlib.import_module(module.name)
    rooms = ("chain.", "genesis.")
    found = [
        cls
        for cls in chain.record._LAYOUTS
        if cls.__module__.startswith(rooms) and not cls.__module__.startswith("chain.interface")
    ]
    return sorted(found, key=lambda cls: (cls.__module__, cls.__qualname__))


def example(cls: type, *, full: bool) -> Any:
    """A record with something in every field, or with as little as possible."""
    compiled = layout(cls)
    values = [
        _value(kind, f"{cls.__name__}.{name}", full) for name, kind in zip(compiled.names, compiled.kinds, strict=True)
    ]
    return cls(*values)


def _octets(path: str, length: int) -> bytes:
    return (sha256(path.encode()) * (length // 32 + 1))[:length]


def _value(kind: Kind, path: str, full: bool) -> Any:
    match kind:
        case Unsigned():
            return kind.maximum if full else kind.minimum
        case Wide():
            return kind.maximum if full else 0
        case AddressKind():
            return b"\x00" + _octets(path, 32)
        case Octets():
            return _octets(path, min(kind.maximum, max(kind.minimum, 40)) if full else kind.minimum)
        case String():
            return "é" * (kind.maximum // 2) if full else "x" * kind.minimum
        case Flag():
            return full
        case Choice():
            return (max if full else min)(kind.enumeration)
        case Maybe():
            return _value(kind.inner, path, full) if full else None
        case Items():
            count = min(kind.maximum, max(kind.minimum, 2)) if full else kind.minimum
            return tuple(_value(kind.inner, f"{path}.{index}", full) for index in range(count))
        case Nested():
            return example(kind.cls, full=full)
        case ActionList():
            return (Transfer(ALICE.address, "AITBC", 1_000_000_000),)
        case Pairs():
            return (("number", 1), ("bytes", b"\x01"), ("text", "é")) if full else ()
    raise TypeError(f"no example of {kind!r}")


ANYTHING = (None, True, False, 0, 1, -1, (1 << 64) - 1, -(1 << 63), b"", b"\x00" * 33, "", "x", (), (0,), ((),))


def mutate(kind: Kind, value: Any, rng: random.Random) -> Any:
    """Another CBOR item for a field of this kind: often just inside or outside its range, sometimes of another type."""
    if rng.random() < 0.12:
        return rng.choice(
            (None, True, False, 0, 1, -1, (1 << 64) - 1, -(1 << 63), b"", b"\x00" * 33, "", "x", (), (0,), ((),))
        )
    match kind:
        case Unsigned():
            near = (kind.minimum, kind.maximum, kind.minimum - 1, kind.maximum + 1, value, rng.randint(0, kind.maximum))
            return max(-(1 << 63), min((1 << 64) - 1, rng.choice(near)))
        case AddressKind():
            return bytes([rng.choice((0, 0, 1, 2, 3))]) + rng.randbytes(32) if rng.random() < 0.5 else value
        case Octets():
            length = rng.choice((kind.minimum, kind.maximum, kind.minimum - 1, kind.maximum + 1))
            return rng.randbytes(max(0, min(length, 5_000))) if rng.random() < 0.5 else value
        case String():
            length = rng.choice((kind.minimum, kind.maximum, kind.maximum + 1))
            return rng.choice(("x" * length, "é" * (length // 2), "\x00", "\u202e", value))
        case Choice():
            return rng.randrange(8)
        case Maybe():
            return None if rng.random() < 0.3 or value is None else mutate(kind.inner, value, rng)
        case Items():
            items = [mutate(kind.inner, item, rng) if rng.random() < 0.3 else item for item in value]
            count = rng.choice((len(items), len(items), kind.minimum, kind.maximum + 1, 0))
            return tuple((items * (count // max(1, len(items)) + 1))[:count]) if items else ()
        case Nested():
            return mutate_fields(kind.cls, value, rng)
    return value


def mutate_fields(cls: type, plain: Any, rng: random.Random) -> tuple[Any, ...]:
    """The fields of a record with one or more of them mutated, seldom with another number of fields."""
    kinds = layout(cls).kinds
    fields = list(plain)
    for index in rng.sample(range(len(kinds)), k=rng.randint(1, len(kinds)) if len(kinds) else 0):
        fields[index] = mutate(kinds[index], fields[index], rng)
    if rng.random() < 0.03:
        fields = rng.choice((fields[:-1], [*fields, 0], []))
    return tuple(fields)
