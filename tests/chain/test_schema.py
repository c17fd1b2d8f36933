"""Records: one declaration gives bytes, JSON, JSON schema and text, and each refuses what is out of range."""

import dataclasses
import json
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chain.actions  # noqa: F401 - fills the registry
from chain.action import ACTIONS
from chain.codec import encode
from chain.crypto.address import format_address, key_address
from chain.errors import InvalidAddress, InvalidField, LedgerError, MalformedEncoding, UnknownVersion
from chain.record import (
    Nested,
    decode_record,
    describe,
    encode_record,
    from_json,
    from_plain,
    json_schema,
    layout,
    load_record,
    record,
    to_json,
    to_plain,
)
from chain.schema import (
    U64,
    Address,
    Amount,
    BasisPoints,
    Boolean,
    Choice,
    Hash,
    Items,
    Kind,
    ListOf,
    Maybe,
    Money,
    Octets,
    String,
    Timestamp,
    Unsigned,
    Unsigned8,
    Unsigned32,
    format_amount,
)


class Colour(IntEnum):
    RED = 1
    DARK_BLUE = 4


@record(version=3)
@dataclass(frozen=True, slots=True)
class Inner:
    number: Unsigned8
    flag: Boolean


@record(version=7)
@dataclass(frozen=True, slots=True)
class Sample:
    address: Address
    amount: Amount
    colour: Colour
    text: Annotated[str, String(10, 1)]
    data: Annotated[bytes, Octets(1, 4)]
    numbers: Annotated[tuple[Unsigned32, ...], ListOf(3, 1)]
    inner: Inner
    inners: Annotated[tuple[Inner, ...], ListOf(2)] = ()
    hash: Hash | None = None
    time_ms: Timestamp = 5
    share: BasisPoints = 10_000


ALICE = key_address(b"\x01" * 32)
SAMPLE = Sample(ALICE, U64, Colour.DARK_BLUE, "é\n\t", b"\x00\xff", (1, 2), Inner(255, True), (Inner(0, False),))


def test_every_form_round_trips() -> None:
    assert decode_record(Sample, encode_record(SAMPLE)) == SAMPLE
    assert from_plain(Sample, to_plain(SAMPLE)) == SAMPLE
    shown = to_json(SAMPLE, "dait")
    assert from_json(Sample, json.loads(json.dumps(shown)), "dait") == SAMPLE
    assert shown["address"] == format_address("dait", ALICE)
    assert shown["amount"] == str(U64)
    assert (shown["colour"], shown["data"], shown["hash"]) == ("dark_blue", "00ff", None)
    assert load_record(Sample, [7, *to_plain(SAMPLE)]) == SAMPLE
    jsonschema.validate(shown, json_schema(Sample))


def test_nested_records_carry_no_version() -> None:
    assert encode_record(Inner(1, True)) == encode([3, 1, True])
    assert to_plain(SAMPLE)[6] == [255, True]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("address", ALICE[:-1]),
        ("address", b"\x03" + ALICE[1:]),
        ("amount", U64 + 1),
        ("amount", -1),
        ("amount", True),
        ("amount", 1.0),
        ("amount", "1"),
        ("colour", 2),
        ("colour", True),
        ("colour", None),
        ("text", ""),
        ("text", "x" * 11),
        ("text", "é" * 6),
        ("text", "a\x00"),
        ("text", "a\x7f"),
        ("text", "a\x9b"),
        ("text", b"a"),
        ("text", "\ud800"),
        ("data", b""),
        ("data", b"12345"),
        ("data", bytearray(b"1")),
        ("numbers", ()),
        ("numbers", (1, 2, 3, 4)),
        ("numbers", (1, -1)),
        ("numbers", "12"),
        ("numbers", None),
        ("inner", (1,)),
        ("inner", (1, True, 0)),
        ("inner", (256, True)),
        ("inner", (1, 1)),
        ("inners", ((1, True),) * 3),
        ("hash", b"x" * 31),
        ("hash", 0),
        ("time_ms", (1 << 53) + 1),
        ("share", 10_001),
    ],
)
def test_a_field_out_of_range_is_named(field: str, value: Any) -> None:
    names = [item.name for item in dataclasses.fields(Sample)]
    plain = to_plain(SAMPLE)
    plain[names.index(field)] = value
    with pytest.raises(InvalidField) as caught:
        from_plain(Sample, plain)
    assert caught.value.data["field"] in (field, "number", "flag")
    if field not in ("inner", "inners", "numbers", "colour"):
        with pytest.raises(InvalidField):
            to_plain(dataclasses.replace(SAMPLE, **{field: value}))


@pytest.mark.parametrize("length", [0, 10, 12])
def test_the_number_of_fields_is_fixed(length: int) -> None:
    plain = [*to_plain(SAMPLE), 0][:length]
    with pytest.raises(InvalidField):
        from_plain(Sample, plain)


@pytest.mark.parametrize("plain", [None, 5, b"", "", (), {}])
def test_what_is_no_record(plain: Any) -> None:
    with pytest.raises(InvalidField):
        load_record(Sample, plain)
    with pytest.raises(InvalidField):
        from_json(Sample, plain if isinstance(plain, dict) else [plain], "dait")


@pytest.mark.parametrize("version", [0, 6, 8, True, "7", b"7", None, (7,)])
def test_another_version_is_refused(version: Any) -> None:
    with pytest.raises(UnknownVersion) as caught:
        decode_record(Sample, encode([version, *to_plain(SAMPLE)]))
    assert caught.value.data["expected"] == 7


def test_bytes_that_are_no_record() -> None:
    for data in (encode(5), encode([]), b"\xff", b""):
        with pytest.raises(MalformedEncoding):
            decode_record(Sample, data)
    with pytest.raises(MalformedEncoding):
        decode_record(Sample, encode_record(SAMPLE), max_size=10)


class TestJson:
    @pytest.mark.parametrize("amount", [5, 5.0, "", "-1", "1.5", "1e3", " 1", "١", "1" * 21, str(U64 + 1), None, True])
    def test_amounts_are_decimal_strings(self, amount: Any) -> None:
        with pytest.raises(InvalidField):
            from_json(Sample, {**to_json(SAMPLE, "dait"), "amount": amount}, "dait")

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("data", "0"),
            ("data", "zz"),
            ("data", "0 "),
            ("data", "00" * 5),
            ("data", 0),
            ("colour", "blue"),
            ("colour", 1),
            ("numbers", {}),
            ("numbers", [1.0]),
            ("numbers", [True]),
            ("inner", {"number": 1}),
            ("inner", {"number": 1, "flag": True, "more": 1}),
            ("inner", [1, True]),
            ("share", "1"),
            ("hash", "00"),
            ("address", 5),
        ],
    )
    def test_wrong_values(self, field: str, value: Any) -> None:
        with pytest.raises(InvalidField):
            from_json(Sample, {**to_json(SAMPLE, "dait"), field: value}, "dait")

    def test_addresses_of_other_networks_and_mixed_case(self) -> None:
        shown = to_json(SAMPLE, "dait")
        mixed = shown["address"][:10].upper() + shown["address"][10:]
        for address in (format_address("ait", ALICE), mixed, shown["address"][:-1], ""):
            with pytest.raises(InvalidAddress):
                from_json(Sample, {**shown, "address": address}, "dait")

    def test_defaults_may_be_left_out_and_nothing_else(self) -> None:
        shown = to_json(SAMPLE, "dait")
        for name in ("inners", "hash", "time_ms", "share"):
            del shown[name]
        assert from_json(Sample, shown, "dait") == dataclasses.replace(SAMPLE, inners=())
        del shown["amount"]
        with pytest.raises(InvalidField) as caught:
            from_json(Sample, shown, "dait")
        assert "amount" in str(caught.value.data["reason"])

    def test_unknown_fields(self) -> None:
        with pytest.raises(InvalidField):
            from_json(Sample, {**to_json(SAMPLE, "dait"), "amonut": "1"}, "dait")

    @given(st.recursive(st.none() | st.booleans() | st.integers() | st.text() | st.floats(), st.lists, max_leaves=5))
    def test_any_value_in_any_field_is_taken_or_refused_by_a_coded_error(self, value: Any) -> None:
        shown = to_json(SAMPLE, "dait")
        for name in shown:
            try:
                from_json(Sample, {**shown, name: value}, "dait")
            except LedgerError:
                continue


def test_text_for_people() -> None:
    lines = dict(describe(SAMPLE, "dait"))
    assert lines["address"] == format_address("dait", ALICE)
    assert lines["amount"] == "18,446,744,073.709551615 AITBC"
    assert lines["colour"] == "dark_blue"
    assert lines["numbers"] == "1, 2"
    assert lines["hash"] == "none"
    assert lines["inner"] == "number 255; flag True"


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0 AITBC"),
        (1, "0.000000001 AITBC"),
        (1_500_000_000, "1.5 AITBC"),
        (10**18, "1,000,000,000 AITBC"),
        (123_456_789_012, "123.456789012 AITBC"),
    ],
)
def test_amounts_for_people(amount: int, text: str) -> None:
    assert format_amount(amount) == text


def test_an_annotation_that_is_no_kind() -> None:
    @dataclass(frozen=True)
    class Floating:
        value: float

    with pytest.raises(TypeError):
        record(version=1)(Floating)


def test_the_base_kind_does_nothing_by_itself() -> None:
    with pytest.raises(NotImplementedError):
        Kind().load(1)
    with pytest.raises(NotImplementedError):
        Kind().schema()


def kinds_of(kind: Kind) -> list[Kind]:
    inner = {
        Maybe: lambda: kinds_of(kind.inner),  # type: ignore[attr-defined]
        Items: lambda: kinds_of(kind.inner),  # type: ignore[attr-defined]
        Nested: lambda: [item for each in layout(kind.cls).kinds for item in kinds_of(each)],  # type: ignore[attr-defined]
    }.get(type(kind), list)
    return [kind, *inner()]


@pytest.mark.parametrize("action", ACTIONS.values(), ids=lambda action: action.name)
def test_every_action_is_bounded_and_documented(action: type) -> None:
    """Every field has a maximum, every action says what it does, and its JSON schema is one."""
    assert action.__doc__
    jsonschema.Draft202012Validator.check_schema(json_schema(action))
    for kind in (item for each in layout(action).kinds for item in kinds_of(each)):
        if isinstance(kind, Unsigned | Money):
            assert kind.maximum <= U64
        if isinstance(kind, Octets | String | Items):
            assert kind.maximum <= 4_096
        assert isinstance(kind, Kind | Choice)
