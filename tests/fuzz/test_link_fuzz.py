"""Random and spoilt bytes against every place where a link reads them: coded refusals, bounded memory, no crash."""

import asyncio
import os
import random
from collections.abc import Callable

import pytest

from node.network.config import NetworkConfig
from node.network.frames import Assembler, split_frames
from node.network.handshake import (
    ANSWER_SIZE,
    OFFER_SIZE,
    PROOF_SIZE,
    CloseCode,
    Initiator,
    LinkClosed,
    Opener,
    Responder,
    Sealer,
)
from node.network.link import LinkLimits, LinkTimes, dial
from node.network.peers import PeerNetwork
from node.network.stream import LoopClock, open_stream
from tests.network_support import (
    ALICE,
    ALICE_EPHEMERAL,
    BOB,
    BOB_EPHEMERAL,
    GENESIS,
    Inbox,
    LinkPair,
    shake_hands,
)

ROUNDS = 20_000 if os.environ.get("AITBC_EXTENDED", "") not in ("", "0") else 300


def spoil(rng: random.Random, data: bytes) -> bytes:
    """`data` with some bytes changed, removed, inserted, repeated or cut."""
    spoilt = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(spoilt) + 1)
        match rng.randrange(5):
            case 0 if at < len(spoilt):
                spoilt[at] ^= rng.randrange(1, 256)
            case 1:
                del spoilt[at : at + rng.randrange(1, 9)]
            case 2:
                spoilt[at:at] = rng.randbytes(rng.randrange(1, 9))
            case 3:
                spoilt[at:at] = spoilt[at : at + 32]
            case _:
                del spoilt[at:]
    return bytes(spoilt)


def expect_closed(work: Callable[[], object]) -> None:
    with pytest.raises(LinkClosed):
        work()


def test_random_handshake_messages(rng: random.Random) -> None:
    offer, _, _, _, _ = shake_hands()
    for _ in range(ROUNDS):
        nonsense = rng.randbytes(rng.choice([rng.randrange(300), OFFER_SIZE, ANSWER_SIZE, PROOF_SIZE]))
        expect_closed(lambda data=nonsense: Responder(BOB, GENESIS, BOB_EPHEMERAL).read_offer(data))
        # With an honest beginning the nonsense gets further.
        expect_closed(lambda data=nonsense: Responder(BOB, GENESIS, BOB_EPHEMERAL).read_offer(offer[:11] + data))
        initiator = Initiator(ALICE, GENESIS, BOB.public_key, ALICE_EPHEMERAL)
        expect_closed(lambda data=nonsense, to=initiator: to.read_answer(b"\x02" + data[1:]))
        responder = Responder(BOB, GENESIS, BOB_EPHEMERAL)
        responder.read_offer(offer)
        responder.answer()
        expect_closed(lambda data=nonsense, to=responder: to.read_proof(b"\x03" + data[1:]))


def test_spoilt_handshake_messages(rng: random.Random) -> None:
    for _ in range(ROUNDS):
        target = rng.choice(["offer", "answer", "proof"])
        changed = []

        def tamper(message: str, data: bytes, target: str = target, changed: list[bool] = changed) -> bytes:
            if message != target:
                return data
            spoilt = spoil(rng, data)
            changed.append(spoilt != data)
            return spoilt

        try:
            shake_hands(tamper)
        except LinkClosed:
            continue
        assert changed == [False], f"a spoilt {target} went through"


def test_random_records(rng: random.Random) -> None:
    for _ in range(ROUNDS):
        expect_closed(lambda: Opener(bytes(32)).open(rng.randbytes(rng.randrange(200))))


def test_random_frames_never_cost_more_than_the_limit(rng: random.Random) -> None:
    limit = 5_000
    for _ in range(ROUNDS):
        assembler = Assembler(limit)
        try:
            for _ in range(20):
                parts = []
                for _ in range(rng.randrange(1, 6)):
                    kind = rng.choice([0x10, 0x11, 0x12, 0x20, 0x21, 0x22, 0x22, 0x22, rng.randrange(256)])
                    body = rng.randbytes(rng.choice([0, 1, 1, 8, 8, 700]))
                    parts.append(bytes([kind]) + len(body).to_bytes(2, "big") + body)
                record = b"".join(parts)
                for kind, body in split_frames(spoil(rng, record) if rng.random() < 0.1 else record):
                    if kind >= 0x10:
                        payload = assembler.add(kind, body)
                        assert payload is None or 0 < len(payload) <= limit
                    assert sum(len(partial or b"") for partial in assembler._partial) <= 3 * limit
        except LinkClosed as closed:
            if closed.code != CloseCode.VIOLATION:
                raise


async def test_an_authenticated_peer_that_sends_random_frames(rng: random.Random) -> None:
    for _ in range(ROUNDS // 30):
        async with LinkPair(limits=LinkLimits(max_message_bytes=5_000)) as pair:
            inbox = Inbox()
            running = pair.run(pair.right, inbox)
            sealer = Sealer(pair.left._sealer._key)
            for _ in range(60):
                record = bytes([rng.choice([1, 2, 0x10, 0x12, 0x20, 0x22, rng.randrange(256)])])
                body = rng.randbytes(rng.choice([0, 2, 8, 8, 3_000]))
                record += len(body).to_bytes(2, "big") + body
                sealed = sealer.seal(spoil(rng, record) if rng.random() < 0.05 else record)
                pair.streams.left.writer.write(len(sealed).to_bytes(2, "big") + sealed)
            await pair.streams.left.shut()
            async with asyncio.timeout(20):
                reason = await running
            assert isinstance(reason, LinkClosed)
            assert reason.remote or reason.code in (CloseCode.VIOLATION, CloseCode.LOST), reason
            assert all(0 < len(payload) <= 5_000 for payload in inbox.payloads)


async def test_a_stream_cut_anywhere_says_the_same(rng: random.Random) -> None:
    """How TCP cuts the bytes makes no difference to the messages."""
    for _ in range(ROUNDS // 30):
        async with LinkPair() as pair:
            inbox = Inbox()
            pair.run(pair.right, inbox)
            sealer = Sealer(pair.left._sealer._key)
            payloads = [rng.randbytes(rng.randrange(1, 2_000)) for _ in range(20)]
            wire = b""
            for payload in payloads:
                sealed = sealer.seal(b"\x10" + len(payload).to_bytes(2, "big") + payload)
                wire += len(sealed).to_bytes(2, "big") + sealed
            while wire:
                size = rng.choice([1, 2, 3, rng.randrange(1, 5_000)])
                pair.streams.left.writer.write(wire[:size])
                wire = wire[size:]
                await asyncio.sleep(0)
            assert await inbox.wait_for(20) == payloads


async def test_a_listening_node_survives_random_connections(rng: random.Random) -> None:
    connected = asyncio.Event()
    config = NetworkConfig(accepts_per_second=1e6, accepts_per_second_in_total=1e6)
    bob = PeerNetwork(
        BOB,
        GENESIS,
        ("127.0.0.1", 0),
        [],
        {ALICE.public_key},
        on_message=lambda peer, payload, received_at: None,
        on_connect=lambda peer: connected.set(),
        on_disconnect=lambda peer: None,
        config=config,
    )
    await bob.start()
    assert bob.listen_address is not None
    offer, _, proof, _, _ = shake_hands()
    clock = LoopClock()
    for _ in range(ROUNDS // 3):
        stream = await open_stream(*bob.listen_address, clock)
        stream.writer.write(rng.choice([rng.randbytes(rng.randrange(400)), spoil(rng, offer), offer + proof, offer]))
        if rng.random() < 0.5:
            await asyncio.sleep(0)
        if rng.random() < 0.5:
            stream.abort()
        await stream.shut()
    link = await dial(
        await open_stream(*bob.listen_address, clock),
        ALICE,
        GENESIS,
        BOB.public_key,
        rng.randbytes(32),
        clock,
        LinkLimits(),
        LinkTimes(),
    )
    async with asyncio.timeout(10):
        await connected.wait()
    assert [info.key for info in bob.peers()] == [ALICE.public_key]
    link.close(CloseCode.SHUTDOWN)
    await link.run(Inbox())
    await bob.stop()
    assert asyncio.all_tasks() == {asyncio.current_task()}
