"""The way in: each envelope gets its answer, nothing is answered before it is on disk, and a restart loses nothing."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path

import pytest

from chain.codec import encode
from chain.errors import LedgerError
from chain.transaction import MAXIMUM_TRANSACTION_BYTES, Transaction
from node.store import Store
from node.store_errors import StoreFailed
from node.submission import Submission, SubmissionLimits
from tests.ledger import DEFAULT_FEE, Person
from tests.solo import Solo, pay

PEOPLE = tuple(Person(f"person {index}") for index in range(40))
ALICE, BOB, CAROL = PEOPLE[:3]
PEER = b"p" * 32


class WatchedStore:
    """A real store whose submitted writes are counted, can be held back and can fail."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.writes: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.failure: Exception | None = None
        self.entered = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def put_submitted(self, envelopes: Mapping[bytes, bytes]) -> None:
        self._loop.call_soon_threadsafe(self.entered.set)
        assert self.gate.wait(10)
        if self.failure is not None:
            raise self.failure
        self.writes.append(len(envelopes))
        self._store.put_submitted(envelopes)

    def drop_submitted(self, txids: Iterable[bytes]) -> None:
        self._store.drop_submitted(txids)

    def submitted(self) -> object:
        return self._store.submitted()

    def transaction_location(self, txid: bytes) -> object:
        return self._store.transaction_location(txid)


class Entrance:
    """A node and its submission."""

    def __init__(self, path: Path, limits: SubmissionLimits | None = None) -> None:
        self.solo = Solo(path, PEOPLE)
        self.limits = limits
        self.start()

    def start(self) -> None:
        self.store = WatchedStore(self.solo.store)
        self.submission = Submission(
            self.solo.mempool,
            self.store,  # type: ignore[arg-type]
            self.solo.verifier,
            limits=self.limits,
        )
        self.heard: list[tuple[bytes, bytes | None, bool]] = []
        self.submission.on_admitted(
            lambda txid, _, peer: self.heard.append((txid, peer, txid in dict(self.solo.store.submitted())))
        )

    async def restart(self) -> int:
        await self.submission.close()
        self.solo.close()
        self.solo.start()
        self.start()
        return await self.submission.restore()

    @property
    def on_disk(self) -> set[bytes]:
        return set(dict(self.solo.store.submitted()))


@pytest.fixture
async def entrance(tmp_path: Path) -> AsyncIterator[Entrance]:
    made = Entrance(tmp_path / "a")
    yield made
    await made.submission.close()
    made.solo.close()


def names(answers: list[bytes | LedgerError]) -> list[str]:
    return [answer.name if isinstance(answer, LedgerError) else "ok" for answer in answers]


async def test_a_client_is_answered_when_its_envelope_is_on_disk(entrance: Entrance) -> None:
    transaction = entrance.solo.sign(ALICE, pay(BOB, 1))
    entrance.store.gate.clear()
    first = asyncio.create_task(entrance.submission.submit([transaction.envelope], None))
    await entrance.store.entered.wait()
    second = asyncio.create_task(entrance.submission.submit([transaction.envelope], None))
    done, _ = await asyncio.wait({first, second}, timeout=0.1)
    assert not done
    assert entrance.heard == []
    entrance.store.gate.set()
    assert await first == await second == [transaction.txid]
    assert entrance.heard == [(transaction.txid, None, True)]
    assert entrance.on_disk == {transaction.txid}
    assert entrance.store.writes == [1]
    assert await entrance.submission.submit([transaction.envelope], None) == [transaction.txid]
    assert entrance.store.writes == [1]


async def test_every_item_has_its_own_answer_in_order(entrance: Entrance) -> None:
    good = entrance.solo.sign(ALICE, pay(BOB, 1))
    other = entrance.solo.sign(BOB, pay(ALICE, 1))
    forged = encode([good.body_bytes, bytes(64)])
    stale = entrance.solo.sign(CAROL, pay(BOB, 1), sequence=100)
    large = bytes(MAXIMUM_TRANSACTION_BYTES + 1)
    cheap = entrance.solo.sign(CAROL, pay(BOB, 1), fee=1)
    items = [b"", large, forged, good.envelope, stale.envelope, cheap.envelope, other.envelope, good.envelope]
    answers = await entrance.submission.submit(items, None)
    assert names(answers) == [
        "malformed_encoding",
        "transaction_too_large",
        "bad_signature",
        "ok",
        "sequence_too_far",
        "fee_too_low",
        "ok",
        "ok",
    ]
    assert [answers[3], answers[6], answers[7]] == [good.txid, other.txid, good.txid]
    assert {txid for txid, _, _ in entrance.heard} == {good.txid, other.txid}
    assert await entrance.submission.submit([], None) == []


async def test_what_is_final_already_is_a_success(entrance: Entrance) -> None:
    transaction = entrance.solo.sign(ALICE, pay(BOB, 1))
    await entrance.submission.submit([transaction.envelope], None)
    entrance.solo.advance()
    assert entrance.on_disk == set()
    assert await entrance.submission.submit([transaction.envelope], None) == [transaction.txid]
    assert await entrance.submission.submit([transaction.envelope], PEER) == [transaction.txid]
    changed = entrance.solo.sign(ALICE, pay(BOB, 2), sequence=0)
    (answer,) = await entrance.submission.submit([changed.envelope], None)
    assert isinstance(answer, LedgerError)
    assert (answer.name, answer.data) == ("sequence_mismatch", {"expected": 1, "got": 0})
    assert len(entrance.heard) == 1


async def test_a_peers_transactions_are_announced_with_their_source_and_not_written(entrance: Entrance) -> None:
    transaction = entrance.solo.sign(ALICE, pay(BOB, 1))
    assert await entrance.submission.submit([transaction.envelope] * 2, PEER) == [transaction.txid] * 2
    assert entrance.heard == [(transaction.txid, PEER, False)]
    assert entrance.store.writes == []
    # A client that hands in the same one gets the promise of the disk, but the others know it already.
    assert await entrance.submission.submit([transaction.envelope], None) == [transaction.txid]
    assert entrance.on_disk == {transaction.txid}
    assert len(entrance.heard) == 1


async def test_submissions_share_writes(entrance: Entrance) -> None:
    """Forty clients at once cost far fewer than forty syncs."""
    transactions = [entrance.solo.sign(person, pay(BOB, 1)) for person in PEOPLE]
    answers = await asyncio.gather(*(entrance.submission.submit([item.envelope], None) for item in transactions))
    assert [answer for (answer,) in answers] == [item.txid for item in transactions]
    assert entrance.on_disk == {item.txid for item in transactions}
    assert sum(entrance.store.writes) == 40
    assert len(entrance.store.writes) <= 6


async def test_what_waits_is_bounded_and_peers_get_half(tmp_path: Path) -> None:
    entrance = Entrance(tmp_path / "a", SubmissionLimits(count=10, size=1 << 20))
    envelopes = [entrance.solo.sign(person, pay(BOB, 1)).envelope for person in PEOPLE]
    from_peer = asyncio.create_task(entrance.submission.submit(envelopes[:8], PEER))
    await asyncio.sleep(0)
    from_client = asyncio.create_task(entrance.submission.submit(envelopes[8:20], None))
    assert names(await from_peer) == ["ok"] * 5 + ["submission_queue_full"] * 3
    assert names(await from_client) == ["ok"] * 5 + ["submission_queue_full"] * 7
    assert entrance.submission.waiting == 0
    assert names(await entrance.submission.submit(envelopes[20:30], None)) == ["ok"] * 10
    await entrance.submission.close()
    entrance.solo.close()


async def test_bytes_that_wait_are_bounded(tmp_path: Path) -> None:
    entrance = Entrance(tmp_path / "a", SubmissionLimits(count=100, size=1_000))
    envelopes = [entrance.solo.sign(person, pay(BOB, 1)).envelope for person in PEOPLE[:6]]
    fit = 1_000 // len(envelopes[0])
    answers = names(await entrance.submission.submit(envelopes, None))
    assert answers == ["ok"] * fit + ["submission_queue_full"] * (6 - fit)
    await entrance.submission.close()
    entrance.solo.close()


async def test_a_restart_carries_on_what_was_acknowledged(entrance: Entrance) -> None:
    solo = entrance.solo
    run = [solo.sign(ALICE, pay(BOB, 1), sequence=index) for index in range(100)]
    short = solo.sign(CAROL, pay(BOB, 1), valid_ms=1_500)
    await entrance.submission.submit([item.envelope for item in [*run, short]], None)
    assert await entrance.restart() == 101
    assert [item.txid for item in solo.mempool.pending_of(ALICE.address)] == [item.txid for item in run]
    assert entrance.on_disk == {item.txid for item in [*run, short]}
    block = solo.build(weight=20)
    assert 0 < len(block.envelopes) < 20
    solo.executor.commit(block, solo.finalize(block))
    solo.advance()
    solo.wall_ms += 10_000
    assert await entrance.restart() == 0
    assert entrance.on_disk == set()


async def test_what_expired_while_the_node_was_down_is_dropped_with_its_reason(entrance: Entrance) -> None:
    solo = entrance.solo
    short, gone = (solo.sign(person, pay(BOB, 1), valid_ms=1_500) for person in (ALICE, CAROL))
    await entrance.submission.submit([short.envelope], None)
    # Another node's blocks, which the restarted node commits without its mempool having seen them.
    other = Solo(solo.path.with_name("b"), specification=solo.specification)
    other.mempool.add(gone)
    for _ in range(2):
        block = other.build()
        for node in (other, solo):
            node.executor.commit(block, other.finalize(block))
    solo.store.put_submitted({short.txid: short.envelope, gone.txid: gone.envelope, bytes(32): b"damaged"})
    assert await entrance.restart() == 0
    assert entrance.on_disk == set()
    reason = solo.mempool.dropped(short.txid)
    assert reason is not None
    assert reason.name == "transaction_expired"
    assert solo.mempool.dropped(gone.txid) is None
    other.close()


async def test_a_wrong_clock_at_a_restart_loses_nothing(entrance: Entrance) -> None:
    transaction = entrance.solo.sign(ALICE, pay(BOB, 1))
    await entrance.submission.submit([transaction.envelope], None)
    entrance.solo.wall_ms += 5 * 3_600_000
    assert await entrance.restart() == 1
    assert transaction.txid in entrance.solo.mempool


async def test_what_was_replaced_leaves_the_disk(entrance: Entrance) -> None:
    first = entrance.solo.sign(ALICE, pay(BOB, 1), sequence=0)
    second = entrance.solo.sign(ALICE, pay(BOB, 1), sequence=0, fee=2 * DEFAULT_FEE)
    await entrance.submission.submit([first.envelope], None)
    await entrance.submission.submit([second.envelope], None)
    assert entrance.on_disk == {second.txid}


async def test_what_was_dropped_and_comes_back_is_on_disk_again(entrance: Entrance) -> None:
    """Dropping is noted late; it must not take away what was handed in again meanwhile."""
    transaction, another = (entrance.solo.sign(person, pay(BOB, 1)) for person in (ALICE, CAROL))
    await entrance.submission.submit([transaction.envelope], None)
    entrance.solo.mempool.drop(transaction.txid, LedgerError())
    assert await entrance.submission.submit([transaction.envelope], None) == [transaction.txid]
    await entrance.submission.submit([another.envelope], None)
    assert entrance.on_disk == {transaction.txid, another.txid}
    assert [txid for txid, _, _ in entrance.heard] == [transaction.txid, transaction.txid, another.txid]


async def test_a_write_that_fails_is_an_error_for_everybody(entrance: Entrance) -> None:
    first, second, third = (entrance.solo.sign(person, pay(BOB, 1)) for person in (ALICE, BOB, CAROL))
    entrance.store.gate.clear()
    entrance.store.failure = StoreFailed(reason="input/output error")
    tasks = [asyncio.create_task(entrance.submission.submit([item.envelope], None)) for item in (first, second)]
    await entrance.store.entered.wait()
    entrance.store.gate.set()
    for answer in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(answer, StoreFailed)
    with pytest.raises(StoreFailed):
        await entrance.submission.submit([third.envelope], None)
    assert entrance.heard == []


async def test_a_client_that_went_away_disturbs_nobody(entrance: Entrance) -> None:
    transactions = [entrance.solo.sign(person, pay(BOB, 1)) for person in PEOPLE[:10]]
    entrance.store.gate.clear()
    impatient = asyncio.create_task(entrance.submission.submit([item.envelope for item in transactions[:5]], None))
    patient = asyncio.create_task(entrance.submission.submit([item.envelope for item in transactions[:10]], None))
    await asyncio.sleep(0)
    impatient.cancel()
    entrance.store.gate.set()
    assert names(await patient) == ["ok"] * 10
    assert entrance.on_disk == {item.txid for item in transactions}


async def test_verified_once(entrance: Entrance, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was submitted is not verified again inside a block."""
    transactions = [entrance.solo.sign(person, pay(BOB, 1)) for person in PEOPLE]
    await entrance.submission.submit([item.envelope for item in transactions], None)
    verified: list[bytes] = []
    monkeypatch.setattr(Transaction, "verify_signature", lambda self: verified.append(self.txid))
    other = Solo(entrance.solo.path.with_name("b"), specification=entrance.solo.specification)
    block = entrance.solo.build()
    # As it comes from the network: other objects with equal bytes.
    received = type(block).decode(block.encode())
    entrance.solo.executor._overlays.clear()
    assert entrance.solo.executor.execute(received) is None
    assert verified == []
    assert other.executor.execute(received) is None
    assert len(verified) == 40
    other.close()
