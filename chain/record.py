"""Declares what a record is once, and derives its bytes, its JSON, its JSON schema and its text from that.

A record is a frozen, slotted dataclass whose fields are annotated with kinds (`schema.py`); `@record(version=1)`
compiles the annotations into a layout. The binary form is the canonical CBOR array [version, fields …]; nested records
carry no version of their own. Whatever reads or writes a record refuses what is out of range and names the field.
"""

import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Annotated, Any, TypeVar, Union, cast

from chain.codec import Value, decode, encode_trusted
from chain.errors import InvalidField, MalformedEncoding, UnknownVersion
from chain.schema import Choice, Items, Json, Kind, ListOf, Maybe

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Layout:
    """The compiled form of a record class."""

    version: int
    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    loads: tuple[Callable[[Any], Any], ...]
    dumps: tuple[Callable[[Any], Value], ...]


_LAYOUTS: dict[type, Layout] = {}


def record(version: int) -> Callable[[type[R]], type[R]]:
    """Compile a frozen dataclass into a record of this version (see the module's docstring)."""

    def compile_layout(cls: type[R]) -> type[R]:
        hints = typing.get_type_hints(cls, include_extras=True)
        names = tuple(field.name for field in fields(cast(Any, cls)))
        kinds = tuple(_kind(hints[name]) for name in names)
        # Most kinds dump what they load, and a call between the two would be a tenth of all encoding.
        dumps = tuple(k.load if type(k).dump is Kind.dump else k.dump for k in kinds)
        _LAYOUTS[cls] = Layout(version, names, kinds, tuple(k.load for k in kinds), dumps)
        return cls

    return compile_layout


def _kind(annotation: Any) -> Kind:
    if typing.get_origin(annotation) is Annotated:
        kind = annotation.__metadata__[-1]
        if isinstance(kind, ListOf):
            return Items(_kind(typing.get_args(annotation.__origin__)[0]), kind.maximum, kind.minimum)
        if isinstance(kind, Kind):
            return kind
    if typing.get_origin(annotation) in (Union, types.UnionType):
        inner = [item for item in typing.get_args(annotation) if item is not type(None)]
        if len(inner) == 1:
            return Maybe(_kind(inner[0]))
    if isinstance(annotation, type):
        if issubclass(annotation, IntEnum):
            return Choice(annotation)
        if annotation in _LAYOUTS:
            return Nested(annotation)
    raise TypeError(f"{annotation!r} is not a kind of field that a record can have")


@dataclass(frozen=True, slots=True)
class Nested(Kind):
    """Another record, as its array of fields."""

    cls: type

    def load(self, plain: Any) -> Any:
        return plain if isinstance(plain, self.cls) else from_plain(self.cls, plain)

    def dump(self, value: Any) -> Value:
        return to_plain(value)

    def to_json(self, value: Any, prefix: str) -> Json:
        return to_json(value, prefix)

    def from_json(self, value: Json, prefix: str) -> Any:
        return from_json(self.cls, value, prefix)

    def schema(self) -> dict[str, Any]:
        return json_schema(self.cls)

    def text(self, value: Any, prefix: str) -> str:
        return "; ".join(f"{name} {text}" for name, text in describe(value, prefix))


def layout(cls: type) -> Layout:
    """The compiled layout of a record class."""
    return _LAYOUTS[cls]


def encode_record(obj: object) -> bytes:
    """The canonical bytes [version, fields …]."""
    return encode_trusted([_LAYOUTS[type(obj)].version, *to_plain(obj)])


def decode_record(cls: type[R], data: bytes, *, max_size: int = 1 << 20, max_items: int | None = None) -> R:
    """The record of these bytes. Raises MalformedEncoding, UnknownVersion or InvalidField; for limits see `decode`."""
    plain = decode(data, max_size=max_size, max_items=max_items)
    if not isinstance(plain, tuple) or not plain:
        raise MalformedEncoding(reason="expected a record", record=cls.__name__)
    _check_version(cls, plain)
    return from_plain(cls, plain[1:])


def load_record(cls: type[R], plain: Sequence[Any]) -> R:
    """The record of a decoded array that begins with the version, for records inside larger messages."""
    if type(plain) not in (tuple, list) or not plain:
        raise InvalidField(record=cls.__name__, reason="expected a record")
    _check_version(cls, plain)
    return from_plain(cls, plain[1:])


def _check_version(cls: type, plain: Sequence[Any]) -> None:
    expected = _LAYOUTS[cls].version
    if type(plain[0]) is not int or plain[0] != expected:
        got = plain[0] if type(plain[0]) is int else str(plain[0])[:40]
        raise UnknownVersion(record=cls.__name__, expected=expected, got=got)


def to_plain(obj: object) -> list[Value]:
    """The record's fields as CBOR items, without the version. Raises InvalidField, naming the field."""
    compiled = _LAYOUTS[type(obj)]
    try:
        return [dump(getattr(obj, name)) for name, dump in zip(compiled.names, compiled.dumps, strict=True)]
    except InvalidField as error:
        raise _located(error, type(obj), _unfit(obj)) from None


def _unfit(obj: object) -> str:
    """The first field of a record whose value is out of range."""
    compiled = _LAYOUTS[type(obj)]
    for name, dump in zip(compiled.names, compiled.dumps, strict=True):
        try:
            dump(getattr(obj, name))
        except InvalidField:
            return name
    return ""


def from_plain(cls: type[R], plain: Any) -> R:
    """The record with these decoded CBOR items as fields. Raises InvalidField, naming the field."""
    compiled = _LAYOUTS[cls]
    if type(plain) not in (tuple, list) or len(plain) != len(compiled.names):
        raise InvalidField(record=cls.__name__, reason=f"expected an array of {len(compiled.names)} fields")
    values = []
    for index, load in enumerate(compiled.loads):
        try:
            values.append(load(plain[index]))
        except InvalidField as error:
            raise _located(error, cls, compiled.names[index]) from None
    return cls(*values)


def to_json(obj: object, prefix: str) -> dict[str, Json]:
    """The record as JSON values; `prefix` is the network's address prefix."""
    compiled = _LAYOUTS[type(obj)]
    return {
        name: kind.to_json(getattr(obj, name), prefix)
        for name, kind in zip(compiled.names, compiled.kinds, strict=True)
    }


def from_json(cls: type[R], value: Json, prefix: str) -> R:
    """The record from JSON. Fields with a default may be left out. Raises InvalidField, naming the field."""
    compiled = _LAYOUTS[cls]
    if not isinstance(value, dict):
        raise InvalidField(record=cls.__name__, reason="expected an object")
    unknown = [name for name in value if name not in compiled.names]
    if unknown:
        raise InvalidField(record=cls.__name__, reason=f"unknown field {str(unknown[0])[:40]}")
    arguments = {}
    for name, kind in zip(compiled.names, compiled.kinds, strict=True):
        if name not in value:
            continue
        try:
            arguments[name] = kind.from_json(value[name], prefix)
        except InvalidField as error:
            raise _located(error, cls, name) from None
    try:
        return cls(**arguments)
    except TypeError as error:
        missing = [name for name in compiled.names if name not in arguments]
        raise InvalidField(record=cls.__name__, reason="missing field " + ", ".join(missing)) from error


def _located(error: InvalidField, cls: type, name: str) -> InvalidField:
    if "field" in error.data:
        return error
    return InvalidField(**{**error.data, "record": cls.__name__, "field": name})


def json_schema(cls: type) -> dict[str, Any]:
    """The JSON schema of the record."""
    compiled = _LAYOUTS[cls]
    return {
        "type": "object",
        "title": cls.__name__,
        "properties": {name: kind.schema() for name, kind in zip(compiled.names, compiled.kinds, strict=True)},
        "additionalProperties": False,
    }


def describe(obj: object, prefix: str) -> list[tuple[str, str]]:
    """Every field as (name, text in human units), for a person who is about to sign."""
    compiled = _LAYOUTS[type(obj)]
    return [
        (name.replace("_", " "), kind.text(getattr(obj, name), prefix))
        for name, kind in zip(compiled.names, compiled.kinds, strict=True)
    ]
