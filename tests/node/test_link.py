"""One link over loopback TCP: handshakes with honest, slow and hostile peers, and the life of a link after that."""

import asyncio
import logging
import random
from collections.abc import Awaitable

import pytest

from node.network.frames import CLOSE, MAX_MESSAGE_BYTES, Priority, encode_frame
from node.network.handshake import (
    OFFER_SIZE,
    PROOF_SIZE,
    CloseCode,
    Initiator,
    LinkClosed,
    Sealer,
)
from node.network.link import Link, LinkLimits, LinkTimes, TokenBucket, dial, respond
from node.network.stream import LoopClock, Stream
from tests.network_support import (
    ALICE,
    ALICE_EPHEMERAL,
    BOB,
    BOB_EPHEMERAL,
    CAROL,
    GENESIS,
    Inbox,
    LinkPair,
    ManualClock,
    StreamPair,
    turns,
)


async def dial_bob(stream: Stream, clock: ManualClock | LoopClock, genesis_hash: bytes = GENESIS) -> Link:
    return await dial(stream, ALICE, genesis_hash, BOB.public_key, ALICE_EPHEMERAL, clock, LinkLimits(), LinkTimes())


async def respond_as_bob(stream: Stream, clock: ManualClock | LoopClock) -> Link:
    return await respond(stream, BOB, GENESIS, BOB_EPHEMERAL, clock, LinkTimes(), lambda key: LinkLimits())


async def ended(task: asyncio.Task[object]) -> LinkClosed:
    async with asyncio.timeout(20):
        reason = await task
    assert isinstance(reason, LinkClosed)
    return reason


async def test_messages_go_both_ways() -> None:
    async with LinkPair() as pair:
        at_left, at_right = Inbox(), Inbox()
        pair.run(pair.left, at_left)
        pair.run(pair.right, at_right)
        assert (pair.left.peer_key, pair.right.peer_key) == (BOB.public_key, ALICE.public_key)
        assert pair.left.link_id == pair.right.link_id
        for number in range(100):
            assert pair.left.send(b"to the right %d" % number, Priority.NORMAL)
            assert pair.right.send(b"to the left %d" % number, Priority.NORMAL)
        assert await at_right.wait_for(100) == [b"to the right %d" % number for number in range(100)]
        assert await at_left.wait_for(100) == [b"to the left %d" % number for number in range(100)]
        assert (pair.left.messages_in, pair.left.messages_out) == (100, 100)


async def test_the_largest_message_arrives_and_does_not_hold_up_a_vote() -> None:
    async with LinkPair() as pair:
        inbox = Inbox()
        pair.run(pair.left, Inbox())
        pair.run(pair.right, inbox)
        block = random.Random(1).randbytes(MAX_MESSAGE_BYTES)
        pair.left.send(block, Priority.BULK)
        await turns(3)
        assert 0 < pair.left.bytes_out < MAX_MESSAGE_BYTES
        pair.left.send(b"vote", Priority.URGENT)
        assert await inbox.wait_for(2) == [b"vote", block]


async def test_sizes_that_no_link_carries_are_refused() -> None:
    async with LinkPair() as pair:
        for payload in (b"", bytes(MAX_MESSAGE_BYTES + 1)):
            with pytest.raises(ValueError, match="1 to"):
                pair.left.send(payload, Priority.NORMAL)


async def test_a_wrong_network_is_told_so() -> None:
    clock = LoopClock()
    async with StreamPair(clock) as (left, right):
        dialling = asyncio.create_task(dial_bob(left, clock, bytes(32)))
        with pytest.raises(LinkClosed) as refused:
            await respond_as_bob(right, clock)
        assert refused.value.code == CloseCode.WRONG_NETWORK
        with pytest.raises(LinkClosed) as told:
            await dialling
        assert (told.value.code, told.value.remote) == (CloseCode.WRONG_NETWORK, True)


async def test_the_wrong_node_is_told_so() -> None:
    clock = LoopClock()
    async with StreamPair(clock) as (left, right):
        dialling = asyncio.create_task(
            dial(left, ALICE, GENESIS, CAROL.public_key, ALICE_EPHEMERAL, clock, LinkLimits(), LinkTimes())
        )
        with pytest.raises(LinkClosed) as refused:
            await respond_as_bob(right, clock)
        assert refused.value.code == CloseCode.WRONG_IDENTITY
        with pytest.raises(LinkClosed) as told:
            await dialling
        assert told.value.code == CloseCode.WRONG_IDENTITY


async def test_an_unwelcome_key_is_refused_before_any_signature() -> None:
    clock = LoopClock()
    claimed = []

    def admit(key: bytes) -> LinkLimits:
        claimed.append(key)
        raise LinkClosed(CloseCode.FULL)

    async with StreamPair(clock) as (left, right):
        dialling = asyncio.create_task(dial_bob(left, clock))
        with pytest.raises(LinkClosed):
            await respond(right, BOB, GENESIS, BOB_EPHEMERAL, clock, LinkTimes(), admit)
        with pytest.raises(LinkClosed) as told:
            await dialling
        assert (told.value.code, told.value.remote) == (CloseCode.FULL, True)
        assert claimed == [ALICE.public_key]


async def test_a_link_can_be_refused_after_its_proof() -> None:
    clock = LoopClock()
    async with StreamPair(clock) as (left, right):
        dialling = asyncio.create_task(dial_bob(left, clock))
        link = await respond_as_bob(right, clock)
        await link.refuse(CloseCode.DUPLICATE)
        with pytest.raises(LinkClosed) as told:
            await dialling
        assert (told.value.code, told.value.remote) == (CloseCode.DUPLICATE, True)


@pytest.mark.parametrize("sent", [0, 1, 10, 11, 12, OFFER_SIZE - 1, OFFER_SIZE])
async def test_a_responder_does_not_wait_for_ever(sent: int) -> None:
    """Slow loris: each step has its time, however the bytes trickle in."""
    clock = ManualClock()
    offer = Initiator(ALICE, GENESIS, BOB.public_key, ALICE_EPHEMERAL).offer
    async with StreamPair(clock) as (left, right):
        answering = asyncio.create_task(respond_as_bob(right, clock))
        left.writer.write(offer[:sent])
        if sent == OFFER_SIZE:
            await left.reader.take(1)
        await turns()
        await clock.advance(4.9)
        assert not answering.done()
        await clock.advance(0.2)
        with pytest.raises(LinkClosed) as slow:
            await answering
        assert slow.value.code == CloseCode.SILENT
        assert clock.scheduled == 0


@pytest.mark.parametrize("steps", [0, 1])
async def test_an_initiator_does_not_wait_for_ever(steps: int) -> None:
    clock = ManualClock()
    async with StreamPair(clock) as (left, right):
        dialling = asyncio.create_task(dial_bob(left, clock))
        if steps:
            await respond_as_bob(right, clock)
        await turns()
        await clock.advance(4.9)
        assert not dialling.done()
        await clock.advance(0.2)
        with pytest.raises(LinkClosed) as slow:
            await dialling
        assert slow.value.code == CloseCode.SILENT


@pytest.mark.parametrize("nonsense", [b"GET / HTTP/1.1\r\n\r\n", bytes(200), b"\xff" * 200])
async def test_another_protocol_gets_no_answer(nonsense: bytes) -> None:
    clock = LoopClock()
    async with StreamPair(clock) as (left, right):
        left.writer.write(nonsense)
        with pytest.raises(LinkClosed) as refused:
            await respond_as_bob(right, clock)
        assert refused.value.code == CloseCode.VIOLATION
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await left.reader.take(1)


@pytest.mark.parametrize("reply", [b"", b"\x02", b"\x7f", b"HTTP/1.1 400 Bad Request\r\n\r\n", bytes(200)])
async def test_a_dial_survives_any_reply(reply: bytes) -> None:
    clock = LoopClock()
    async with StreamPair(clock) as (left, right):
        dialling = asyncio.create_task(dial_bob(left, clock))
        await right.reader.take(OFFER_SIZE)
        right.writer.write(reply)
        await right.shut()
        with pytest.raises(LinkClosed):
            await dialling


async def test_nothing_but_accept_follows_a_proof() -> None:
    clock = LoopClock()
    async with StreamPair(clock) as (left, right):
        dialling = asyncio.create_task(dial_bob(left, clock))
        link = await respond_as_bob(right, clock)
        link.send(b"too early", Priority.URGENT)
        running = asyncio.create_task(link.run(Inbox()))
        with pytest.raises(LinkClosed, match="neither accepted nor refused"):
            await dialling
        assert (await ended(running)).code == CloseCode.LOST


@pytest.mark.parametrize("spoil", ["flip", "repeat", "swap", "drop", "cut"])
async def test_a_man_in_the_middle_of_a_live_link_ends_it(spoil: str) -> None:
    """A spoilt record and everything after it is lost; everything before it was delivered; nothing else is."""
    async with LinkPair() as pair:
        inbox = Inbox()
        running = pair.run(pair.right, inbox)
        sealer = Sealer(pair.left._sealer._key)
        records = [sealer.seal(encode_frame(0x10, b"message %d" % number)) for number in range(4)]
        match spoil:
            case "flip":
                records[2] = records[2][:-1] + bytes([records[2][-1] ^ 1])
            case "repeat":
                records.insert(2, records[1])
            case "swap":
                records[2:] = records[:1:-1]
            case "drop":
                del records[2]
        wire = b"".join(len(record).to_bytes(2, "big") + record for record in records)
        pair.streams.left.writer.write(wire[:-1] if spoil == "cut" else wire)
        if spoil == "cut":
            await pair.streams.left.shut()
        reason = await ended(running)
        assert reason.code == (CloseCode.LOST if spoil == "cut" else CloseCode.VIOLATION)
        whole = 3 if spoil == "cut" else 2
        assert inbox.payloads == [b"message %d" % number for number in range(whole)]


@pytest.mark.parametrize("wire", [b"\x00\x00", b"\x00\x10" + bytes(16), b"\xff\xff" + bytes(0xFFFF)])
async def test_malformed_records_end_the_link(wire: bytes) -> None:
    async with LinkPair() as pair:
        running = pair.run(pair.right, Inbox())
        pair.streams.left.writer.write(wire)
        assert (await ended(running)).code == CloseCode.VIOLATION


async def test_an_oversized_message_ends_the_link() -> None:
    async with LinkPair(limits=LinkLimits(max_message_bytes=1000)) as pair:
        inbox = Inbox()
        sending, receiving = pair.run(pair.left, Inbox()), pair.run(pair.right, inbox)
        pair.left.send(b"x" * 1000, Priority.NORMAL)
        await inbox.wait_for(1)
        pair.left.send(b"x" * 1001, Priority.NORMAL)
        assert str(await ended(receiving)) == "violation: message too large"
        told = await ended(sending)
        assert (told.code, told.remote) == (CloseCode.VIOLATION, True)
        assert len(inbox.messages) == 1


async def test_closing_tells_the_peer_why_and_delivers_no_more() -> None:
    async with LinkPair() as pair:
        inbox = Inbox()
        left, right = pair.run(pair.left, inbox), pair.run(pair.right, Inbox())
        pair.right.send(b"late", Priority.URGENT)
        pair.left.close(CloseCode.REPLACED)
        assert not pair.left.send(b"too late", Priority.URGENT)
        assert (await ended(left)).code == CloseCode.REPLACED
        told = await ended(right)
        assert (told.code, told.remote) == (CloseCode.REPLACED, True)
        assert inbox.messages == []


async def test_a_handler_that_closes_the_link_gets_no_more_of_the_same_record() -> None:
    async with LinkPair() as pair:
        inbox = Inbox()

        def deliver(payload: bytes, received_at: float) -> None:
            inbox(payload, received_at)
            pair.right.close(CloseCode.BANNED)

        running = pair.run(pair.right, deliver)
        sealed = Sealer(pair.left._sealer._key).seal(encode_frame(0x10, b"first") + encode_frame(0x10, b"second"))
        pair.streams.left.writer.write(len(sealed).to_bytes(2, "big") + sealed)
        assert (await ended(running)).code == CloseCode.BANNED
        assert inbox.payloads == [b"first"]


async def test_accepting_twice_ends_the_link() -> None:
    async with LinkPair() as pair:
        running = pair.run(pair.left, Inbox())
        pair.right.accept()
        assert str(await ended(running)) == "violation: accepted twice"


async def test_cancelling_a_link_closes_it_in_order() -> None:
    async with LinkPair() as pair:
        left, right = pair.run(pair.left, Inbox()), pair.run(pair.right, Inbox())
        await turns()
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        told = await ended(right)
        assert (told.code, told.remote) == (CloseCode.SHUTDOWN, True)


async def test_pings_measure_latency() -> None:
    async with LinkPair() as pair:
        pair.run(pair.left, Inbox())
        pair.run(pair.right, Inbox())
        await turns()
        assert pair.left.latency is not None
        assert pair.right.latency is not None
        assert 0.0 <= pair.left.latency < 10.0


async def test_a_silent_peer_is_dead() -> None:
    clock = ManualClock()
    async with LinkPair(clock) as pair:
        running = pair.run(pair.left, Inbox())
        await turns()
        await clock.advance(14.9)
        assert not pair.left.closing
        await clock.advance(0.2)
        assert (await ended(running)).code == CloseCode.SILENT


async def test_pings_keep_an_idle_link_alive() -> None:
    clock = ManualClock()
    async with LinkPair(clock) as pair:
        pair.run(pair.left, Inbox())
        pair.run(pair.right, Inbox())
        await turns()
        await clock.advance(120.0)
        assert not pair.left.closing
        assert not pair.right.closing


async def test_a_suspended_process_does_not_blame_its_peer() -> None:
    clock = ManualClock()
    async with LinkPair(clock) as pair:
        inbox = Inbox()
        running = pair.run(pair.left, inbox)
        await turns()
        clock.jump(60.0)
        await turns()
        assert not pair.left.closing
        # The peer is given what is left of its time, and no more.
        await clock.advance(15.1)
        assert (await ended(running)).code == CloseCode.SILENT


async def test_a_slow_handler_holds_the_peer_back_and_is_not_the_peers_fault() -> None:
    clock = ManualClock()
    async with LinkPair(clock) as pair:
        released = asyncio.Event()
        handled = Inbox()

        def deliver(payload: bytes, received_at: float) -> Awaitable[None]:
            handled(payload, received_at)
            return wait()

        async def wait() -> None:
            await released.wait()

        pair.run(pair.right, deliver)
        # The sender does not run, so that nothing but the wait for the handler keeps the link alive.
        sealer = Sealer(pair.left._sealer._key)
        for number in range(2):
            sealed = sealer.seal(encode_frame(0x10, b"%d" % number))
            pair.streams.left.writer.write(len(sealed).to_bytes(2, "big") + sealed)
        await handled.wait_for(1)
        arrived = clock.now()
        await clock.advance(40.0)
        assert handled.payloads == [b"0"]
        assert not pair.right.closing
        released.set()
        await handled.wait_for(2)
        # The second one arrived long before it was handled, and is stamped so.
        assert handled.messages == [(b"0", arrived), (b"1", arrived)]


async def test_messages_are_stamped_with_the_arrival_of_their_last_byte() -> None:
    clock = ManualClock()
    async with LinkPair(clock) as pair:
        inbox = Inbox()
        pair.run(pair.right, inbox)
        sealed = Sealer(pair.left._sealer._key).seal(encode_frame(0x10, b"vote"))
        wire = len(sealed).to_bytes(2, "big") + sealed
        for part in (wire[:1], wire[1:20], wire[20:]):
            await clock.advance(1.0)
            pair.streams.left.writer.write(part)
            await turns()
        await inbox.wait_for(1)
        assert inbox.messages == [(b"vote", 1003.0)]


async def test_a_failing_handler_is_this_nodes_fault(caplog: pytest.LogCaptureFixture) -> None:
    async with LinkPair() as pair:

        def fail(payload: bytes, received_at: float) -> None:
            raise ConnectionError("a handler's own trouble")

        left, right = pair.run(pair.left, Inbox()), pair.run(pair.right, fail)
        with caplog.at_level(logging.ERROR):
            pair.left.send(b"a secret payload", Priority.NORMAL)
            reason = await ended(right)
        assert (reason.code, reason.remote) == (CloseCode.INTERNAL, False)
        assert (await ended(left)).code == CloseCode.INTERNAL
        assert "handling a message" in caplog.text
        assert "secret" not in caplog.text


async def test_urgent_overflow_ends_the_link_and_bulk_overflow_does_not() -> None:
    limits = LinkLimits(send_queue_bytes=10_000)
    async with LinkPair(limits=limits) as pair:
        for _ in range(50):
            assert pair.left.send(b"b" * 1000, Priority.BULK)
        assert pair.left.queued_bytes <= 10_000
        for _ in range(8):
            assert pair.left.send(b"n" * 1000, Priority.NORMAL)
        assert not pair.left.send(b"n" * 1000, Priority.NORMAL)
        for _ in range(8):
            assert pair.left.send(b"u" * 1000, Priority.URGENT)
        assert not pair.left.closing
        assert not pair.left.send(b"u" * 1000, Priority.URGENT)
        assert (await ended(pair.run(pair.left, Inbox()))).code == CloseCode.OVERFLOW


async def test_a_peer_that_does_not_read_costs_bounded_memory() -> None:
    limits = LinkLimits(send_queue_bytes=1 << 20)
    async with LinkPair(limits=limits) as pair:
        running = pair.run(pair.left, Inbox())
        stalled = 0
        async with asyncio.timeout(20):
            while stalled < 100:
                written = pair.left.bytes_out
                pair.left.send(b"b" * 60_000, Priority.BULK)
                await asyncio.sleep(0)
                stalled = stalled + 1 if pair.left.bytes_out == written else 0
        assert pair.left.queued_bytes <= 1 << 20
        assert pair.streams.left.writer.transport.get_write_buffer_size() <= 256 << 10
        pair.left.close(CloseCode.SHUTDOWN)
        await ended(running)


async def test_a_peer_above_its_rate_is_slowed_down_and_loses_nothing() -> None:
    clock = ManualClock()
    limits = LinkLimits(messages_per_second=100.0, burst_seconds=1.0)
    async with LinkPair(clock, limits) as pair:
        inbox = Inbox()
        throttled: list[float] = []
        pair.right.throttled = lambda: throttled.append(clock.now())
        pair.run(pair.left, Inbox())
        pair.run(pair.right, inbox)
        for number in range(1000):
            pair.left.send(b"%d" % number, Priority.NORMAL)
        await turns(100)
        early = len(inbox.messages)
        assert 100 <= early <= 200
        assert throttled
        await clock.advance(2.0)
        assert early + 150 <= len(inbox.messages) <= early + 300
        await clock.advance(10.0)
        assert inbox.payloads == [b"%d" % number for number in range(1000)]


async def test_bytes_have_a_rate_too() -> None:
    clock = ManualClock()
    limits = LinkLimits(bytes_per_second=1_000.0, burst_seconds=2.0)
    async with LinkPair(clock, limits) as pair:
        inbox = Inbox()
        pair.run(pair.right, inbox)
        sealer = Sealer(pair.left._sealer._key)
        for _ in range(40):
            sealed = sealer.seal(encode_frame(0x10, bytes(997)))
            pair.streams.left.writer.write(len(sealed).to_bytes(2, "big") + sealed)
        await turns()
        assert len(inbox.messages) == 2
        # The sender's own pings are not there, and the wait is not held against it.
        for second in range(1, 39):
            await clock.advance(1.0)
            assert len(inbox.messages) == 2 + second
        assert not pair.right.closing


def test_a_token_bucket_allows_its_rate_and_its_burst() -> None:
    clock = ManualClock()
    bucket = TokenBucket(clock, rate=10.0, burst=20.0)
    assert bucket.charge(20) == 0.0
    assert bucket.charge(5) == pytest.approx(0.5)
    clock.jump(0.5)
    assert bucket.charge(0) == 0.0
    clock.jump(1000.0)
    assert bucket.charge(30) == pytest.approx(1.0)


async def test_a_close_frame_ends_the_link_whatever_its_code() -> None:
    async with LinkPair() as pair:
        running = pair.run(pair.right, Inbox())
        sealed = Sealer(pair.left._sealer._key).seal(encode_frame(CLOSE, b"\xff\xff"))
        pair.streams.left.writer.write(len(sealed).to_bytes(2, "big") + sealed)
        reason = await ended(running)
        assert (reason.code, reason.remote, str(reason)) == (0xFFFF, True, "code_65535 by peer")


async def test_every_changed_byte_on_the_wire_fails(rng: random.Random) -> None:
    """The same man in the middle as in the handshake tests, on the wire: neither side ends up with a link."""
    clock = LoopClock()
    for position in rng.sample(range(OFFER_SIZE + PROOF_SIZE), 12):
        async with StreamPair(clock) as (left, middle_left), StreamPair(clock) as (middle_right, right):
            dialling = asyncio.create_task(dial_bob(left, clock))
            answering = asyncio.create_task(respond_as_bob(right, clock))

            async def carry_back(source: Stream = middle_right, target: Stream = middle_left) -> None:
                while data := await source.reader.read(4096):
                    target.writer.write(data)
                target.writer.close()

            backwards = asyncio.create_task(carry_back())
            carried = 0
            while data := await middle_left.reader.read(4096):
                changed = bytearray(data)
                if carried <= position < carried + len(data):
                    changed[position - carried] ^= 1 << rng.randrange(8)
                carried += len(data)
                middle_right.writer.write(bytes(changed))
            middle_right.writer.close()
            results = await asyncio.gather(dialling, answering, backwards, return_exceptions=True)
            assert isinstance(results[0], LinkClosed), position
            assert isinstance(results[1], LinkClosed), position
