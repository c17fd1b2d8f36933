"""Transaction gossip: each peer gets each transaction once, in batches, within bounds."""

import random
from collections.abc import Iterator
from hashlib import sha256

import pytest

from node.network.gossip import TransactionGossip
from tests.network_support import ManualClock

ALICE, BOB, CAROL = b"A" * 32, b"B" * 32, b"C" * 32


def transaction(number: int, size: int = 300) -> tuple[bytes, bytes]:
    return sha256(number.to_bytes(8, "big")).digest(), number.to_bytes(8, "big") + bytes(size - 8)


def number_of(envelope: bytes) -> int:
    return int.from_bytes(envelope[:8], "big")


class Wire:
    """Takes what gossip sends; can refuse."""

    def __init__(self) -> None:
        self.batches: list[tuple[bytes, list[bytes]]] = []
        self.stalled: set[bytes] = set()
        self.attempts = 0

    def __call__(self, peer: bytes, envelopes: list[bytes]) -> bool:
        self.attempts += 1
        if peer in self.stalled:
            return False
        self.batches.append((peer, envelopes))
        return True

    def numbers(self, peer: bytes) -> list[int]:
        return [number_of(envelope) for to, batch in self.batches if to == peer for envelope in batch]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def wire() -> Wire:
    return Wire()


async def test_a_transaction_goes_once_to_everyone_but_its_source(clock: ManualClock, wire: Wire) -> None:
    gossip = TransactionGossip(wire, clock=clock)
    for peer in (ALICE, BOB, CAROL):
        gossip.peer_connected(peer, ())
    gossip.add(*transaction(1), source_peer=ALICE)
    gossip.add(*transaction(2), source_peer=None)
    # A transaction that comes back, or is admitted again, stays here.
    gossip.add(*transaction(1), source_peer=BOB)
    gossip.add(*transaction(2), source_peer=None)
    assert wire.batches == []
    await clock.advance(0.01)
    assert wire.numbers(ALICE) == [2]
    assert wire.numbers(BOB) == [1, 2]
    assert wire.numbers(CAROL) == [1, 2]
    gossip.add(*transaction(1), source_peer=None)
    await clock.advance(0.01)
    assert wire.numbers(ALICE) == [2]
    assert len(wire.batches) == 3
    assert clock.scheduled == 0


async def test_what_a_peer_sent_is_not_sent_back(clock: ManualClock, wire: Wire) -> None:
    gossip = TransactionGossip(wire, clock=clock)
    gossip.peer_connected(ALICE, ())
    gossip.on_received(ALICE, [transaction(number)[0] for number in range(5)])
    gossip.on_received(b"nobody" * 6, [transaction(9)[0]])
    for number in range(10):
        gossip.add(*transaction(number), source_peer=None)
    await clock.advance(0.01)
    assert wire.numbers(ALICE) == [5, 6, 7, 8, 9]


async def test_a_burst_goes_in_few_messages(clock: ManualClock, wire: Wire) -> None:
    gossip = TransactionGossip(wire, clock=clock, max_batch_bytes=30_000, max_batch_count=70)
    gossip.peer_connected(ALICE, ())
    for number in range(200):
        gossip.add(*transaction(number), source_peer=None)
    for number in range(200, 203):
        gossip.add(*transaction(number, size=29_000), source_peer=None)
    gossip.add(*transaction(203, size=100_000), source_peer=None)
    await clock.advance(0.005)
    assert wire.numbers(ALICE) == list(range(204))
    assert [len(batch) for _, batch in wire.batches] == [70, 70, 60, 1, 1, 1, 1]


async def test_a_stalled_peer_is_retried_and_holds_nobody_up(clock: ManualClock, wire: Wire) -> None:
    gossip = TransactionGossip(wire, clock=clock)
    gossip.peer_connected(ALICE, ())
    gossip.peer_connected(BOB, ())
    wire.stalled.add(ALICE)
    for number in range(10):
        gossip.add(*transaction(number), source_peer=None)
        await clock.advance(0.005)
    await clock.advance(1.0)
    assert wire.numbers(BOB) == list(range(10))
    assert wire.numbers(ALICE) == []
    assert wire.attempts <= 35
    wire.stalled.clear()
    await clock.advance(0.1)
    assert wire.numbers(ALICE) == list(range(10))
    assert clock.scheduled == 0


@pytest.mark.parametrize("bound", [{"max_pending_bytes": 3_000}, {"max_pending_count": 10}])
async def test_what_waits_for_a_peer_is_bounded(clock: ManualClock, wire: Wire, bound: dict[str, int]) -> None:
    gossip = TransactionGossip(wire, clock=clock, **bound)
    gossip.peer_connected(ALICE, ())
    wire.stalled.add(ALICE)
    for number in range(1000):
        gossip.add(*transaction(number), source_peer=None)
    wire.stalled.clear()
    await clock.advance(1.0)
    assert wire.numbers(ALICE) == list(range(990, 1000))
    # What was dropped is not believed to be known.
    gossip.add(*transaction(0), source_peer=None)
    await clock.advance(1.0)
    assert wire.numbers(ALICE)[-1] == 0


async def test_a_new_peer_gets_the_mempool_as_fast_as_it_takes_it(clock: ManualClock, wire: Wire) -> None:
    gossip = TransactionGossip(wire, clock=clock, max_batch_bytes=3_000, flush_interval=0.005)
    drawn = 0

    def mempool() -> Iterator[tuple[bytes, bytes]]:
        nonlocal drawn
        for number in range(1000):
            drawn += 1
            yield transaction(number)

    gossip.peer_connected(ALICE, mempool())
    gossip.on_received(ALICE, [transaction(3)[0]])
    wire.stalled.add(ALICE)
    await clock.advance(1.0)
    assert drawn <= 12
    wire.stalled.clear()
    await clock.advance(0.1)
    gossip.add(*transaction(5000), source_peer=None)
    await clock.advance(0.006)
    assert wire.numbers(ALICE)[-20:].count(5000) == 1
    await clock.advance(2.0)
    numbers = wire.numbers(ALICE)
    assert sorted(numbers) == [number for number in range(1000) if number != 3] + [5000]
    assert all(sum(map(len, batch)) <= 3_000 for _, batch in wire.batches)
    assert clock.scheduled == 0


async def test_a_peer_that_returns_knows_nothing(clock: ManualClock, wire: Wire) -> None:
    gossip = TransactionGossip(wire, clock=clock)
    gossip.peer_connected(ALICE, ())
    gossip.add(*transaction(1), source_peer=None)
    await clock.advance(0.01)
    gossip.add(*transaction(2), source_peer=None)
    gossip.peer_disconnected(ALICE)
    gossip.peer_disconnected(ALICE)
    await clock.advance(0.01)
    assert wire.numbers(ALICE) == [1]
    gossip.peer_connected(ALICE, (transaction(1), transaction(2)))
    await clock.advance(0.02)
    assert wire.numbers(ALICE) == [1, 1, 2]


async def test_closing_forgets_everything(clock: ManualClock, wire: Wire) -> None:
    gossip = TransactionGossip(wire, clock=clock)
    gossip.peer_connected(ALICE, [transaction(1)])
    gossip.add(*transaction(2), source_peer=None)
    gossip.close()
    gossip.add(*transaction(3), source_peer=None)
    assert clock.scheduled == 0
    await clock.advance(1.0)
    assert wire.batches == []


async def test_what_is_remembered_is_bounded(clock: ManualClock, wire: Wire) -> None:
    gossip = TransactionGossip(wire, clock=clock, known_per_peer=100)
    gossip.peer_connected(ALICE, ())
    gossip.on_received(ALICE, (transaction(number)[0] for number in range(10_000)))
    known = gossip._peers[ALICE].known
    assert 50 <= len(known) <= 100
    assert all(transaction(number)[0] in known for number in range(9_950, 10_000))
    assert transaction(0)[0] not in known


async def test_random_traffic_reaches_everyone_once(rng: random.Random) -> None:
    """Several nodes, each with gossip of its own: every transaction arrives everywhere and none arrives twice."""
    clock = ManualClock()
    names = [bytes([number]) * 32 for number in range(4)]
    nodes: dict[bytes, TransactionGossip] = {}
    held: dict[bytes, dict[bytes, int]] = {name: {} for name in names}

    def sender(me: bytes) -> TransactionGossip:
        def send(peer: bytes, envelopes: list[bytes]) -> bool:
            if rng.random() < 0.2:
                return False
            clock.call_later(0.002, lambda: arrive(peer, me, envelopes))
            return True

        return TransactionGossip(send, clock=clock, max_batch_bytes=2_000)

    def arrive(at: bytes, source: bytes, envelopes: list[bytes]) -> None:
        ids = [transaction(number_of(envelope))[0] for envelope in envelopes]
        nodes[at].on_received(source, ids)
        for txid in ids:
            held[at][txid] = held[at].get(txid, 0) + 1

    for name in names:
        nodes[name] = sender(name)
    for name in names:
        for peer in names:
            if peer != name:
                nodes[name].peer_connected(peer, ())
    for number in range(300):
        txid, envelope = transaction(number, size=rng.randrange(50, 3_000))
        at = rng.choice(names)
        held[at][txid] = 1
        nodes[at].add(txid, envelope, source_peer=None)
        await clock.advance(rng.random() * 0.004)
    await clock.advance(5.0)
    for name in names:
        assert len(held[name]) == 300
        assert set(held[name].values()) == {1}
