"""Catching up from peers that are honest, slow, gone or lying; and serving those who catch up."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from chain.block import Block
from chain.certificate import Certificate
from chain.parameters import Parameters
from node.consensus.events import Head
from node.network.frames import Priority
from node.network.messages import CatchUpRequest, CatchUpResponse, decode_message
from node.sync import LIE_POINTS, STALL_POINTS, Syncer, SynchronisationDiverged, SyncSettings, verify_run
from tests.ledger import Person
from tests.nodes import until
from tests.solo import SECRET, Solo, finalization_of, pay

EPOCH_BLOCKS = 7
HEIGHT = 24
ALICE, BOB = Person("alice"), Person("bob")
FRIEND, LIAR, STRANGER = b"\x01" * 32, b"\x02" * 32, b"\x03" * 32
QUICK = SyncSettings(blocks_per_request=5, stall_seconds=0.1)

Entries = tuple[tuple[Block, Certificate], ...]
Behaviour = Callable[[CatchUpRequest], CatchUpResponse | None]


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Solo]:
    """A chain of several epochs with transactions in it."""
    parameters = Parameters(epoch_blocks=EPOCH_BLOCKS)
    with Solo(tmp_path_factory.mktemp("history") / "store", [ALICE, BOB], parameters=parameters) as solo:
        for _ in range(HEIGHT):
            solo.mempool.add(solo.sign(ALICE, pay(BOB, 1)))
            solo.advance()
        yield solo


@pytest.fixture
def replica(history: Solo, tmp_path: Path) -> Iterator[Solo]:
    """A node of the same network at genesis."""
    with Solo(tmp_path / "store", specification=history.specification) as solo:
        yield solo


class Ledger:
    """The replica, as synchronisation sees it through the driver."""

    def __init__(self, solo: Solo) -> None:
        self.solo = solo
        self.announced: list[int] = []
        self.proposals: list[bool] = []
        self.failures: list[BaseException] = []
        self.changed = asyncio.Event()

    @property
    def durable_head(self) -> Head:
        return self.solo.executor.head()

    async def apply_final(self, block: Block, finalization: Certificate) -> Head | None:
        await asyncio.sleep(0)
        if block.header.height <= self.durable_head.height:
            return self.durable_head
        if self.solo.executor.execute(block) is not None:
            return None
        return self.solo.executor.commit(block, finalization)

    def announce(self, head: Head) -> None:
        self.announced.append(head.height)
        self.changed.set()

    def allow_proposals(self, allowed: bool) -> None:
        self.proposals.append(allowed)
        self.changed.set()

    def fail(self, error: BaseException) -> None:
        self.failures.append(error)
        self.changed.set()


class Peers:
    """Links to peers of given behaviour; answers come in a later turn of the loop."""

    def __init__(self, behaviours: dict[bytes, Behaviour]) -> None:
        self.behaviours = behaviours
        self.asked: list[tuple[bytes, int]] = []
        self.penalties: dict[bytes, int] = {}
        self.sent: list[tuple[bytes, CatchUpResponse, Priority]] = []
        self.changed = asyncio.Event()
        self.syncer: Syncer

    def send(self, peer_key: bytes, payload: bytes, priority: Priority = Priority.NORMAL) -> bool:
        message = decode_message(payload)
        self.changed.set()
        if isinstance(message, CatchUpResponse):
            self.sent.append((peer_key, message, priority))
            return True
        assert isinstance(message, CatchUpRequest)
        self.asked.append((peer_key, message.first_height))
        answer = self.behaviours[peer_key](message)
        if answer is not None:
            asyncio.get_running_loop().call_soon(self.syncer.on_response, peer_key, answer)
        return True

    def penalise(self, peer_key: bytes, points: int, reason: str) -> None:
        self.penalties[peer_key] = self.penalties.get(peer_key, 0) + points
        self.changed.set()


@asynccontextmanager
async def syncing(
    replica: Solo, behaviours: dict[bytes, Behaviour], settings: SyncSettings = QUICK
) -> AsyncIterator[tuple[Syncer, Ledger, Peers]]:
    ledger, peers = Ledger(replica), Peers(behaviours)
    syncer = peers.syncer = Syncer(
        ledger,
        peers,
        replica.store,
        chain_id=replica.chain_id,
        epoch_blocks=replica.specification.parameters.epoch_blocks,
        is_authority=lambda peer: peer == FRIEND,
        now=asyncio.get_running_loop().time,
        settings=settings,
    )
    syncer.start()
    try:
        yield syncer, ledger, peers
    finally:
        await syncer.stop()


def entries_of(source: Solo, first: int, count: int) -> Entries:
    found = []
    for height in range(first, first + count):
        block, finalization = source.store.block_at(height), source.store.finalization(height)
        if block is None or finalization is None:
            break
        found.append((block, finalization))
    return tuple(found)


def honest(source: Solo) -> Behaviour:
    return lambda request: CatchUpResponse(
        request.first_height, entries_of(source, request.first_height, request.count)
    )


def silent(request: CatchUpRequest) -> None:
    return None


def lying(source: Solo, lie: Callable[[Entries], Entries]) -> Behaviour:
    """Answers with a changed version of the truth."""
    return lambda request: CatchUpResponse(
        request.first_height, lie(entries_of(source, request.first_height, request.count))
    )


async def test_it_catches_up_through_several_ranges_and_epochs(history: Solo, replica: Solo) -> None:
    async with syncing(replica, {FRIEND: honest(history)}) as (syncer, ledger, peers):
        syncer.behind(FRIEND, HEIGHT)
        await until(lambda: ledger.durable_head.height == HEIGHT and ledger.proposals[-1], ledger.changed)
        assert not syncer.syncing
    assert replica.executor.head() == history.executor.head()
    assert [first for _, first in peers.asked] == [1, 6, 11, 16, 21]
    assert ledger.announced[-1] == HEIGHT
    assert ledger.proposals[0] is False
    assert not peers.penalties
    assert not ledger.failures


async def test_a_mere_claim_stops_nothing(history: Solo, replica: Solo) -> None:
    async with syncing(replica, {LIAR: silent}, SyncSettings(stall_seconds=60)) as (syncer, ledger, peers):
        syncer.behind(LIAR, 1 << 60)
        await until(lambda: peers.asked, peers.changed)
        assert not syncer.syncing
        assert syncer.target_height == 0
        assert not ledger.proposals


def _swap_certificates(entries: Entries) -> Entries:
    (first, proof_1), (second, proof_2), *rest = entries
    return ((first, proof_2), (second, proof_1), *rest)


def _other_signature(entries: Entries) -> Entries:
    (first, proof), *rest = entries
    return ((first, replace(proof, signature=entries[1][1].signature)), *rest)


def _other_block(entries: Entries) -> Entries:
    (first, _), *rest = entries
    forged = Block.of(replace(first.header, time_ms=first.header.time_ms + 1), first.envelopes)
    return ((forged, replace(entries[0][1], block_hash=forged.hash)), *rest)


def _broken_chain(entries: Entries) -> Entries:
    """A block that a quorum made final, but not above the one before it."""
    (first, _), *rest = entries
    forged = Block.of(replace(first.header, parent_hash=b"\x05" * 32), first.envelopes)
    return ((forged, finalization_of(first.header.chain_id, forged)), *rest)


@pytest.mark.parametrize(
    "lie",
    [
        lambda entries: (),
        lambda entries: entries[1:],
        lambda entries: entries[:1] * 2,
        lambda entries: tuple(reversed(entries)),
        _swap_certificates,
        _other_signature,
        _other_block,
        _broken_chain,
    ],
    ids=["nothing", "gap", "repeat", "backwards", "swapped", "signature", "block", "chain"],
)
async def test_a_liar_is_left_for_another_peer(history: Solo, replica: Solo, lie: Callable[[Entries], Entries]) -> None:
    behaviours = {LIAR: lying(history, lie), STRANGER: honest(history)}
    async with syncing(replica, behaviours) as (syncer, ledger, peers):
        syncer.behind(LIAR, HEIGHT + 1)
        syncer.behind(STRANGER, HEIGHT)
        await until(lambda: ledger.durable_head.height == HEIGHT, ledger.changed)
        assert peers.penalties == {LIAR: LIE_POINTS}
        asked = len(peers.asked)
        syncer.behind(LIAR, HEIGHT + 9)
        await asyncio.sleep(0)
        assert len(peers.asked) == asked
    assert replica.executor.head() == history.executor.head()
    assert not ledger.failures


async def test_what_verifies_before_the_lie_is_kept(history: Solo, replica: Solo) -> None:
    """The first four blocks are good; nothing after them is executed."""

    def lie(entries: Entries) -> Entries:
        return (*entries[:4], (entries[4][0], replace(entries[4][1], signature=entries[0][1].signature)))

    async with syncing(replica, {LIAR: lying(history, lie)}) as (syncer, ledger, peers):
        syncer.behind(LIAR, HEIGHT)
        await until(lambda: peers.penalties, peers.changed)
    assert replica.executor.head().height == 4
    assert ledger.announced == [4]


async def test_a_peer_that_stalls_is_left(history: Solo, replica: Solo) -> None:
    behaviours = {FRIEND: silent, STRANGER: honest(history)}
    async with syncing(replica, behaviours) as (syncer, ledger, peers):
        syncer.behind(FRIEND, HEIGHT)
        syncer.behind(STRANGER, HEIGHT)
        await until(lambda: ledger.durable_head.height == HEIGHT, ledger.changed)
    assert peers.asked[0] == (FRIEND, 1)
    assert peers.penalties == {FRIEND: STALL_POINTS}


async def test_a_peer_that_hangs_up_is_left_at_once(history: Solo, replica: Solo) -> None:
    behaviours = {FRIEND: silent, STRANGER: honest(history)}
    async with syncing(replica, behaviours, SyncSettings(stall_seconds=3_600)) as (syncer, ledger, peers):
        syncer.behind(FRIEND, HEIGHT)
        syncer.behind(STRANGER, HEIGHT)
        await until(lambda: peers.asked, peers.changed)
        syncer.disconnected(FRIEND)
        await until(lambda: ledger.durable_head.height == HEIGHT, ledger.changed)


async def test_an_authority_is_asked_before_a_higher_claim(history: Solo, replica: Solo) -> None:
    behaviours = {FRIEND: honest(history), STRANGER: silent}
    async with syncing(replica, behaviours) as (syncer, ledger, peers):
        syncer.behind(STRANGER, HEIGHT * 10)
        syncer.behind(FRIEND, HEIGHT)
        await until(lambda: ledger.durable_head.height == HEIGHT, ledger.changed)
    assert {peer for peer, _ in peers.asked[:5]} == {FRIEND}


async def test_consensus_may_be_faster(history: Solo, replica: Solo) -> None:
    """Blocks that became final here meanwhile are passed over."""

    def slow(request: CatchUpRequest) -> CatchUpResponse:
        for block, finalization in entries_of(history, replica.executor.head().height + 1, 3):
            replica.executor.commit(block, finalization)
        return honest(history)(request)

    async with syncing(replica, {FRIEND: slow}) as (syncer, ledger, peers):
        syncer.behind(FRIEND, HEIGHT)
        await until(lambda: ledger.durable_head.height == HEIGHT, ledger.changed)
    assert not peers.penalties
    assert not ledger.failures


async def test_a_claim_that_grows_while_it_is_followed(history: Solo, replica: Solo) -> None:
    def growing(request: CatchUpRequest) -> CatchUpResponse:
        peers.syncer.behind(FRIEND, HEIGHT)
        return honest(history)(request)

    async with syncing(replica, {FRIEND: growing}) as (syncer, ledger, peers):
        syncer.behind(FRIEND, 2)
        await until(lambda: ledger.durable_head.height == HEIGHT, ledger.changed)


async def test_what_nobody_asked_for_is_ignored(history: Solo, replica: Solo) -> None:
    async with syncing(replica, {FRIEND: silent}, SyncSettings(stall_seconds=3_600)) as (syncer, _, peers):
        answer = CatchUpResponse(1, entries_of(history, 1, 5))
        syncer.on_response(FRIEND, answer)
        syncer.behind(FRIEND, HEIGHT)
        await until(lambda: peers.asked, peers.changed)
        syncer.on_response(STRANGER, answer)
        syncer.on_response(FRIEND, replace(answer, first_height=2))
        await asyncio.sleep(0.02)
    assert replica.executor.head().height == 0


async def test_a_final_block_that_is_invalid_here_stops_the_node(history: Solo, replica: Solo) -> None:
    """A quorum that finalises a wrong state root is not followed, and not ignored either."""
    good = entries_of(history, 1, 1)[0][0]
    bad = Block.of(replace(good.header, state_root=b"\x07" * 32), good.envelopes)
    entry = (bad, finalization_of(history.chain_id, bad, SECRET))
    async with syncing(replica, {FRIEND: lying(history, lambda _: (entry,))}) as (syncer, ledger, _):
        syncer.behind(FRIEND, HEIGHT)
        await until(lambda: ledger.failures, ledger.changed)
    assert isinstance(ledger.failures[0], SynchronisationDiverged)
    assert replica.executor.head().height == 0


async def test_answers_are_bounded_and_in_bulk(history: Solo) -> None:
    small = SyncSettings(response_bytes=3_000)
    async with syncing(history, {}, small) as (syncer, _, peers):
        for first, count in [(1, 256), (HEIGHT, 256), (HEIGHT + 1, 5), (1 << 62, 256), (0, 3)]:
            asked = len(peers.sent)
            syncer.on_request(STRANGER, CatchUpRequest(first, count))
            await until(lambda asked=asked: len(peers.sent) > asked, peers.changed)
    lengths = [len(response.entries) for _, response, _ in peers.sent]
    assert 1 < lengths[0] < HEIGHT
    assert lengths[1:] == [1, 0, 0, 0]
    assert all(priority is Priority.BULK for _, _, priority in peers.sent)


async def test_a_flood_of_requests_is_refused(history: Solo) -> None:
    async with syncing(history, {}) as (syncer, _, peers):
        for _ in range(10):
            syncer.on_request(STRANGER, CatchUpRequest(1, 5))
        await until(lambda: len(peers.sent) == 2, peers.changed)
        assert peers.penalties[STRANGER] > 0
        syncer.on_request(STRANGER, CatchUpRequest(1, 5))
        await until(lambda: len(peers.sent) == 3, peers.changed)


def test_a_run_ends_where_the_authorities_may_change(history: Solo) -> None:
    authorities = history.specification.authority_set()
    genesis = history.store.block_at(0)
    assert genesis is not None
    entries = entries_of(history, 1, HEIGHT)
    count = verify_run(history.chain_id, authorities, (0, genesis.hash), EPOCH_BLOCKS, entries)
    assert count == (EPOCH_BLOCKS, None)
