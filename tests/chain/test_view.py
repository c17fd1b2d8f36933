"""The overlay against a dictionary: reads, ordered scans, rollback, net changes; and the typed tables above it."""

import random
from dataclasses import dataclass

import pytest

from chain.record import decode_record, encode_record, record
from chain.schema import Unsigned64
from chain.state.tables import Singleton, Table, TableId, prefix_end, u64
from chain.state.view import MemoryReader, View


@record(version=1)
@dataclass(frozen=True, slots=True)
class Number:
    value: Unsigned64


def decode(data: bytes) -> Number:
    return decode_record(Number, data)


def key(table: int, text: bytes) -> bytes:
    return bytes([table]) + text


def random_key(rng: random.Random) -> bytes:
    return key(rng.choice((0x10, 0x11)), rng.choice((b"", b"a", b"ab", b"\xff", b"\xff\xff", b"b", b"a\x00")))


def test_behaves_as_a_dictionary(rng: random.Random) -> None:
    for _ in range(100):
        model = {random_key(rng): Number(rng.randrange(5)) for _ in range(rng.randrange(10))}
        reader = MemoryReader({name: encode_record(value) for name, value in model.items()})
        base = dict(reader.values)
        view = View(reader)
        marks: list[tuple[int, dict[bytes, Number]]] = []
        for _ in range(60):
            match rng.randrange(6):
                case 0 | 1:
                    name, value = random_key(rng), Number(rng.randrange(5))
                    view.write(name, value)
                    model[name] = value
                case 2:
                    name = random_key(rng)
                    view.write(name, None)
                    model.pop(name, None)
                case 3:
                    marks.append((view.checkpoint(), dict(model)))
                case 4 if marks:
                    chosen = rng.randrange(len(marks))
                    mark, model = marks[chosen][0], dict(marks[chosen][1])
                    del marks[chosen:]
                    view.rollback(mark)
                case _:
                    name = random_key(rng)
                    assert view.read(name, decode) == model.get(name)
            start, end = sorted(key(0x10, random_key(rng)[1:]) for _ in range(2))
            expected = sorted(pair for pair in model.items() if start <= pair[0] < end)
            assert list(view.scan(start, end, decode)) == expected
            assert list(view.scan(start, end, decode, reverse=True)) == expected[::-1]
        assert reader.values == base, "the base is never written"
        changes = view.changes()
        assert list(changes) == sorted(changes)
        assert all(base.get(name) != value for name, value in changes.items()), "only what differs"
        reader.apply(changes)
        assert {name: decode(value) for name, value in reader.values.items()} == model


def test_a_record_is_decoded_once() -> None:
    reader = MemoryReader({b"\x10a": encode_record(Number(1))})
    view = View(reader)
    first = view.read(b"\x10a", decode)
    reader.values.clear()
    assert view.read(b"\x10a", decode) is first


def test_what_is_rolled_back_leaves_no_change() -> None:
    view = View(MemoryReader({b"\x10a": encode_record(Number(1))}))
    mark = view.checkpoint()
    view.write(b"\x10a", Number(2))
    view.write(b"\x10b", Number(3))
    view.write(b"\x10a", None)
    view.rollback(mark)
    assert view.changes() == {}
    assert list(view.scan(b"\x10", b"\x11", decode)) == [(b"\x10a", Number(1))]


def test_a_write_of_the_same_value_is_no_change() -> None:
    view = View(MemoryReader({b"\x10a": encode_record(Number(1))}))
    view.write(b"\x10a", Number(2))
    view.write(b"\x10a", Number(1))
    view.write(b"\x10b", None)
    assert view.changes() == {}


TABLE: Table[Number] = Table(TableId.ACCOUNTS, Number)


def test_tables_do_not_see_each_other() -> None:
    view = View(MemoryReader())
    other: Table[Number] = Table(TableId.IDEMPOTENCY, Number)
    TABLE.put(view, b"k", Number(1))
    other.put(view, b"k", Number(2))
    assert TABLE.get(view, b"k") == Number(1)
    assert list(TABLE.scan(view)) == [(b"k", Number(1))]
    TABLE.delete(view, b"k")
    assert TABLE.get(view, b"k") is None
    assert other.get(view, b"k") == Number(2)
    assert TABLE.key(b"k") == b"\x10k"


def test_table_scans() -> None:
    view = View(MemoryReader())
    for name in (b"", b"a", b"ab", b"abc", b"b", b"\xff", b"\xffa"):
        TABLE.put(view, name, Number(len(name)))

    def names(pairs: object) -> list[bytes]:
        return [name for name, _ in pairs]  # type: ignore[attr-defined]

    assert names(TABLE.scan(view, b"a", b"b")) == [b"a", b"ab", b"abc"]
    assert names(TABLE.scan(view, reverse=True))[:2] == [b"\xffa", b"\xff"]
    assert names(TABLE.scan_prefix(view, b"a")) == [b"a", b"ab", b"abc"]
    assert names(TABLE.scan_prefix(view, b"a", after=b"ab")) == [b"abc"]
    assert names(TABLE.scan_prefix(view, b"\xff")) == [b"\xff", b"\xffa"]
    assert names(TABLE.scan_prefix(view, b"\xff", after=b"\xff")) == [b"\xffa"]


def test_singletons() -> None:
    view = View(MemoryReader())
    single = Singleton(TableId.CLOCKS, Number)
    assert single.get(view) is None
    single.put(view, Number(4))
    assert single.get(view) == Number(4)
    assert single.key() == b"\x02"


@pytest.mark.parametrize(
    ("prefix", "end"), [(b"a", b"b"), (b"a\xff", b"b"), (b"\xff", None), (b"", None), (b"\x00\xff\xff", b"\x01")]
)
def test_prefix_end(prefix: bytes, end: bytes | None) -> None:
    assert prefix_end(prefix) == end


def test_table_ids_are_unique_and_numbers_sort_as_bytes() -> None:
    assert len({int(table) for table in TableId}) == len(TableId.__members__)
    assert u64(255) < u64(256) < u64((1 << 64) - 1)
