"""Turns the raw JSON of `params` into the dataclass that a method declares, and refuses everything else.

Each dataclass of `chain.interface` is compiled once into msgspec types with the declared bounds, by name and by
position. Types are strict: no float where an integer is due, no number where an amount is due, nothing unknown.
"""

import dataclasses
import types
import typing
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union

import msgspec

from chain.interface import INVALID_PARAMS, IntegerRange, ListLength, TextFormat
from node.rpc.errors import ProtocolFault

P = TypeVar("P")

LONGEST_PATTERN_TEXT = 1_024
"""Longer text is checked where it is decoded, not by a regular expression."""


class ParamsDecoder:
    """Decodes the parameters of one method."""

    def __init__(self, cls: type[Any]) -> None:
        self._build = _builder(cls)
        self._by_name = msgspec.json.Decoder(_struct(cls, array_like=False))
        self._by_position = msgspec.json.Decoder(_struct(cls, array_like=True))
        self._empty = self._defaults(cls)

    @staticmethod
    def _defaults(cls: type[Any]) -> Any:
        try:
            return cls()
        except TypeError:
            return None

    def decode(self, raw: bytes) -> Any:
        """The parameters of raw JSON; empty if there was no `params`. Raises ProtocolFault (invalid params)."""
        if not raw and self._empty is not None:
            return self._empty
        try:
            if raw[:1] == b"[":
                return self._build(self._by_position.decode(raw))
            return self._build(self._by_name.decode(raw or b"{}"))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ProtocolFault(INVALID_PARAMS, _reason(error)) from None


@cache
def decoder_of(cls: type[Any]) -> ParamsDecoder:
    """The decoder of a dataclass, compiled once."""
    return ParamsDecoder(cls)


def _reason(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def octets(text: str, name: str) -> bytes:
    """The bytes of a hexadecimal string without anything else in it. Raises ProtocolFault (invalid params)."""
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if len(data) * 2 != len(text):
        raise ProtocolFault(INVALID_PARAMS, f"Expected bytes in hexadecimal - at `$.{name}`")
    return data


def _struct(cls: type[Any], *, array_like: bool) -> type[msgspec.Struct]:
    hints = typing.get_type_hints(cls, include_extras=True)
    fields: list[Any] = []
    for field in dataclasses.fields(cls):
        kind = _native(hints[field.name])
        if field.default is dataclasses.MISSING:
            fields.append((field.name, kind))
        else:
            fields.append((field.name, kind, field.default))
    return msgspec.defstruct(cls.__name__, fields, forbid_unknown_fields=True, array_like=array_like, frozen=True)


def _native(annotation: Any) -> Any:
    """The msgspec type of a declared one."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        inner = _native(annotation.__origin__)
        for mark in annotation.__metadata__:
            inner = _bounded(inner, mark)
        return inner
    if origin in (Union, types.UnionType):
        return Union[tuple(_native(item) for item in typing.get_args(annotation))]  # noqa: UP007 - built at run time
    if origin is tuple:
        return tuple[_native(typing.get_args(annotation)[0]), ...]  # type: ignore[misc]
    if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
        return _struct(annotation, array_like=False)
    if origin is Literal or annotation in (str, int, bool, type(None)):
        return annotation
    raise TypeError(f"{annotation!r} cannot be a parameter")


def _bounded(inner: Any, mark: Any) -> Any:
    match mark:
        case TextFormat(pattern=pattern, maximum=maximum):
            # In Python `$` also matches before a final line feed; `\Z` does not.
            anchored = pattern.replace("$", r"\Z") if pattern and maximum <= LONGEST_PATTERN_TEXT else None
            return Annotated[inner, msgspec.Meta(pattern=anchored, max_length=maximum)]
        case IntegerRange(minimum=minimum, maximum=maximum):
            return Annotated[inner, msgspec.Meta(ge=minimum, le=maximum)]
        case ListLength(minimum=minimum, maximum=maximum):
            return Annotated[inner, msgspec.Meta(min_length=minimum, max_length=maximum)]
    raise TypeError(f"{mark!r} is not a bound")


def _builder(cls: type[P]) -> Callable[[Any], P]:
    """From the struct of a dataclass to the dataclass, nested ones included."""
    names = [field.name for field in dataclasses.fields(typing.cast(Any, cls))]
    hints = typing.get_type_hints(cls)
    nested = {name: _builder(kind) for name in names for kind in _dataclasses_of(hints[name])}
    if not nested:
        return lambda struct: cls(*[getattr(struct, name) for name in names])

    def build(struct: Any) -> P:
        values = []
        for name in names:
            value = getattr(struct, name)
            values.append(nested[name](value) if name in nested and value is not None else value)
        return cls(*values)

    return build


def _dataclasses_of(annotation: Any) -> list[type[Any]]:
    choices = typing.get_args(annotation) or (annotation,)
    return [item for item in choices if isinstance(item, type) and dataclasses.is_dataclass(item)]
