"""Messages on a link: lanes, bounds, and what a peer may not send."""

import random

import pytest

from node.network.frames import (
    ACCEPT,
    CLOSE,
    MAX_RECORD_BYTES,
    PING,
    PONG,
    Assembler,
    Outbox,
    Priority,
    encode_frame,
    split_frames,
)
from node.network.handshake import CloseCode, LinkClosed

BIG = 1 << 30


def read(record: bytes, assembler: Assembler) -> list[bytes]:
    """The messages that a record finishes."""
    finished = [assembler.add(kind, body) for kind, body in split_frames(record) if kind >= 0x10]
    return [payload for payload in finished if payload is not None]


def drain(outbox: Outbox, assembler: Assembler) -> list[bytes]:
    """Everything queued, in the order in which the other end finishes it."""
    finished = []
    while (record := outbox.next_record()) is not None:
        assert 0 < len(record) <= MAX_RECORD_BYTES
        finished += read(record, assembler)
    return finished


def test_golden_record() -> None:
    outbox = Outbox(BIG)
    outbox.push(b"vote", Priority.URGENT)
    outbox.push(b"transaction", Priority.NORMAL)
    outbox.push(b"block", Priority.BULK)
    outbox.push_control(PING, (7).to_bytes(8, "big"))
    record = outbox.next_record()
    assert record == bytes.fromhex("0100080000000000000007100004766f7465120005626c6f636b11000b7472616e73616374696f6e")
    assert outbox.next_record() is None
    assert outbox.queued_bytes == 0


def test_random_messages_arrive_whole_and_in_order(rng: random.Random) -> None:
    outbox, assembler = Outbox(BIG), Assembler(BIG)
    sent: dict[Priority, list[bytes]] = {priority: [] for priority in Priority}
    for number in range(300):
        priority = rng.choice(list(Priority))
        size = rng.choice([1, 10, 300, MAX_RECORD_BYTES - 3, MAX_RECORD_BYTES - 2, MAX_RECORD_BYTES, 200_000])
        payload = bytes([priority]) + rng.randbytes(max(0, size - 1))
        sent[priority].append(payload)
        outbox.push(payload, priority)
        if number % 7 == 0:
            outbox.push_control(PONG, bytes(8))
    arrived: dict[Priority, list[bytes]] = {priority: [] for priority in Priority}
    while (record := outbox.next_record()) is not None:
        for payload in read(record, assembler):
            arrived[Priority(payload[0])].append(payload)
    assert arrived == sent


def test_urgent_overtakes_a_message_under_way() -> None:
    outbox, assembler = Outbox(BIG), Assembler(BIG)
    outbox.push(b"b" * 1_000_000, Priority.BULK)
    first = outbox.next_record()
    assert first is not None
    assert read(first, assembler) == []
    outbox.push(b"vote", Priority.URGENT)
    outbox.push_control(PING, bytes(8))
    second = outbox.next_record()
    assert second is not None
    kinds = [kind for kind, _ in split_frames(second)]
    assert kinds == [PING, 0x10 | Priority.URGENT, 0x20 | Priority.BULK]


def test_transactions_and_bulk_share_the_link() -> None:
    outbox, assembler = Outbox(BIG), Assembler(BIG)
    for _ in range(20):
        outbox.push(b"n" * 60_000, Priority.NORMAL)
        outbox.push(b"b" * 60_000, Priority.BULK)
    finished = drain(outbox, assembler)
    assert {payload[:1] for payload in finished[:6]} == {b"n", b"b"}


def test_overflow_drops_the_oldest_bulk_first() -> None:
    outbox = Outbox(10 * (100 + 128))
    for number in range(6):
        assert outbox.push(b"B%d" % number + b"." * 98, Priority.BULK)
    for number in range(4):
        assert outbox.push(b"N%d" % number + b"." * 98, Priority.NORMAL)
    assert outbox.push(b"B6" + b"." * 98, Priority.BULK)
    assert outbox.push(b"N4" + b"." * 98, Priority.NORMAL)
    assert outbox.push(b"U0" + b"." * 98, Priority.URGENT)
    order = [payload[:2] for payload in drain(outbox, Assembler(BIG))]
    assert order[0] == b"U0"
    assert [name for name in order if name.startswith(b"B")] == [b"B3", b"B4", b"B5", b"B6"]
    assert [name for name in order if name.startswith(b"N")] == [b"N0", b"N1", b"N2", b"N3", b"N4"]
    assert outbox.queued_bytes == 0


def test_overflow_refuses_transactions_and_reports_urgent() -> None:
    outbox = Outbox(3 * (100 + 128))
    for _ in range(3):
        assert outbox.push(b"n" * 100, Priority.NORMAL)
    assert not outbox.push(b"n" * 100, Priority.NORMAL)
    assert not outbox.push(b"b" * 100, Priority.BULK)
    for _ in range(3):
        assert outbox.push(b"u" * 100, Priority.URGENT)
    with pytest.raises(LinkClosed) as closed:
        outbox.push(b"u" * 100, Priority.URGENT)
    assert closed.value.code == CloseCode.OVERFLOW
    assert drain(outbox, Assembler(BIG)) == [b"u" * 100] * 3


def test_overflow_never_drops_a_message_under_way() -> None:
    outbox, assembler = Outbox(300_000), Assembler(BIG)
    outbox.push(b"1" * 200_000, Priority.BULK)
    record = outbox.next_record()
    assert record is not None
    assert read(record, assembler) == []
    assert outbox.push(b"2" * 50_000, Priority.BULK)
    assert outbox.push(b"3" * 60_000, Priority.BULK)
    assert drain(outbox, assembler) == [b"1" * 200_000, b"3" * 60_000]


def test_small_messages_are_bounded_too() -> None:
    outbox = Outbox(128_000)
    taken = sum(outbox.push(b"x", Priority.NORMAL) for _ in range(2_000))
    assert taken == 128_000 // 129


def test_a_flood_of_pings_queues_one_answer() -> None:
    outbox = Outbox(BIG)
    for number in range(10_000):
        outbox.push_control(PONG, number.to_bytes(8, "big"))
    assert outbox.next_record() == encode_frame(PONG, (9_999).to_bytes(8, "big"))


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"\x10",
        b"\x10\x00",
        b"\x10\x00\x05abcd",
        encode_frame(0x10, b"a") + b"\x10",
        encode_frame(0),
        encode_frame(5),
        encode_frame(PING, b"1234567"),
        encode_frame(PONG, b"123456789"),
        encode_frame(CLOSE, b"1"),
        encode_frame(ACCEPT, b"1"),
        encode_frame(0x10, b""),
        encode_frame(0x20, b""),
        encode_frame(0x13, b"a"),
        encode_frame(0x1F, b"a"),
        encode_frame(0x30, b"a"),
        encode_frame(0xFF, b"a"),
        encode_frame(0x20, b"a") + encode_frame(0x10, b""),
    ],
)
def test_malformed_records_are_violations(record: bytes) -> None:
    with pytest.raises(LinkClosed) as closed:
        read(record, Assembler(100))
    assert closed.value.code == CloseCode.VIOLATION


def test_a_message_may_not_grow_past_the_limit() -> None:
    assembler = Assembler(100)
    assert assembler.add(0x10, b"x" * 100) == b"x" * 100
    with pytest.raises(LinkClosed, match="too large"):
        assembler.add(0x10, b"x" * 101)
    assembler = Assembler(100)
    assert assembler.add(0x22, b"x" * 60) is None
    assert assembler.add(0x20, b"y" * 60) is None
    assert assembler.add(0x12, b"x" * 40) == b"x" * 100
    with pytest.raises(LinkClosed, match="too large"):
        assembler.add(0x20, b"y" * 41)
