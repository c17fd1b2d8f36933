"""The way in for transactions: decoded and verified on two threads, admitted, kept on disk, then told to the others.

Everything is done in groups, because single steps cost more than the work in them: whatever waits when a thread is
free is verified as one chunk, and whatever was admitted while the disk was busy is written with one sync. A client is
answered when its envelope is on disk, so a node that restarts still carries what it acknowledged. What waits is
bounded, and peers can fill only half of the room, so that a flood from the network leaves clients a way in.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from chain.errors import LedgerError, SequenceMismatch, TransactionTooLarge
from chain.transaction import MAXIMUM_TRANSACTION_BYTES, Transaction
from node.mempool import Mempool
from node.signatures import CHUNK, THREADS, Checked, SignatureVerifier
from node.store import Store

STORED_SLACK = 1_024
"""How many ids of transactions that are no longer pending may be remembered as being on disk."""

Admitted = Callable[[bytes, bytes, bytes | None], None]
"""Told of each newly admitted transaction: txid, envelope, and the peer that sent it or None for a client."""


class SubmissionQueueFull(LedgerError):
    code = 2035
    hint = "The node has more to verify than it can in a moment. Send it again in a second."


@dataclass(frozen=True, slots=True)
class SubmissionLimits:
    """What may wait to be verified; peers may use half."""

    count: int = 16_384
    size: int = 32 << 20
    """Bytes of all waiting envelopes."""


class _Call:
    """One call of `submit`: its answers, and the future that tells when the last one is there."""

    __slots__ = ("answers", "done", "left", "source_peer")

    def __init__(self, count: int, source_peer: bytes | None, done: "asyncio.Future[None]") -> None:
        self.answers: list[bytes | LedgerError] = [b""] * count
        self.left = count
        self.source_peer = source_peer
        self.done = done

    def answer(self, index: int, answer: bytes | LedgerError) -> None:
        self.answers[index] = answer
        self.left -= 1
        if self.left == 0 and not self.done.done():
            self.done.set_result(None)

    def fail(self, error: BaseException) -> None:
        if not self.done.done():
            self.done.set_exception(error)


@dataclass(frozen=True, slots=True)
class _Item:
    """One envelope on its way."""

    call: _Call
    index: int
    envelope: bytes

    def answer(self, answer: bytes | LedgerError) -> None:
        self.call.answer(self.index, answer)


class Submission:
    """Takes envelopes from clients and peers. Used from the event loop only."""

    def __init__(
        self, mempool: Mempool, store: Store, verifier: SignatureVerifier, *, limits: SubmissionLimits | None = None
    ) -> None:
        self._mempool = mempool
        self._store = store
        self._verifier = verifier
        self._limits = limits or SubmissionLimits()
        self._hooks: list[Admitted] = []
        self._queue: deque[_Item] = deque()
        self._waiting = 0
        """Envelopes queued or being verified."""
        self._waiting_bytes = 0
        self._checking = 0
        self._keeping: dict[bytes, list[_Item]] = {}
        """Who waits for which txid to be on disk."""
        self._unwritten: dict[bytes, Transaction] = {}
        self._write: asyncio.Future[None] | None = None
        self._fresh: set[bytes] = set()
        """Of those being kept, the ones that are new to the mempool."""
        self._stored: set[bytes] = set()
        self._dropped: deque[bytes] = deque()
        self._failure: BaseException | None = None
        mempool.on_drop(self._on_drop)

    def on_admitted(self, hook: Admitted) -> None:
        """Call `hook` for each transaction that is new here: a client's once it is on disk, a peer's at once."""
        self._hooks.append(hook)

    @property
    def waiting(self) -> int:
        """Envelopes that wait to be verified."""
        return self._waiting

    async def submit(self, envelopes: Sequence[bytes], source_peer: bytes | None) -> list[bytes | LedgerError]:
        """Take envelopes from a client (`source_peer` None) or a peer; for each, its txid or why it is refused.

        A transaction that is pending or final already is a success. Errors are those of decoding and verifying, of
        `Mempool.add`, and SubmissionQueueFull. Raises the store's error if what was admitted cannot be kept: the
        node must stop then.
        """
        if not envelopes:
            return []
        if self._failure is not None:
            raise self._failure
        call = _Call(len(envelopes), source_peer, asyncio.get_running_loop().create_future())
        for index, envelope in enumerate(envelopes):
            item = _Item(call, index, envelope)
            if len(envelope) > MAXIMUM_TRANSACTION_BYTES:
                item.answer(TransactionTooLarge(size=len(envelope), maximum=MAXIMUM_TRANSACTION_BYTES))
            elif not self._has_room(len(envelope), source_peer):
                item.answer(SubmissionQueueFull(waiting=self._waiting))
            else:
                self._waiting += 1
                self._waiting_bytes += len(envelope)
                self._queue.append(item)
        self._verify_next()
        await call.done
        return call.answers

    def _has_room(self, size: int, source_peer: bytes | None) -> bool:
        share = 1 if source_peer is None else 2
        return self._waiting < self._limits.count // share and self._waiting_bytes + size <= self._limits.size // share

    def _on_drop(self, txid: bytes, _: LedgerError) -> None:
        """From whatever thread the mempool drops in: looking up and appending are safe there."""
        if txid in self._stored or txid in self._keeping:
            self._dropped.append(txid)

    # Verifying

    def _verify_next(self) -> None:
        """Hand chunks to the threads that are free."""
        loop = asyncio.get_running_loop()
        while self._queue and self._checking < THREADS:
            chunk = [self._queue.popleft() for _ in range(min(CHUNK, len(self._queue)))]
            self._checking += 1
            work = partial(self._verifier.check_chunk, [item.envelope for item in chunk])
            loop.run_in_executor(self._verifier.pool, work).add_done_callback(partial(self._on_checked, chunk))

    def _on_checked(self, chunk: list[_Item], done: "asyncio.Future[list[Checked]]") -> None:
        self._checking -= 1
        self._waiting -= len(chunk)
        self._waiting_bytes -= sum(len(item.envelope) for item in chunk)
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        if error is not None or self._failure is not None:
            self._fail(error or self._failure or asyncio.CancelledError(), chunk)
            return
        self._verify_next()
        try:
            for item, checked in zip(chunk, done.result(), strict=True):
                if isinstance(checked, LedgerError):
                    item.answer(checked)
                else:
                    self._admit(item, checked)
        except Exception as failure:  # a local failure, such as a read of the store: whoever waits must hear of it
            self._fail(failure, chunk)
            return
        self._write_next()

    # Admitting

    def _admit(self, item: _Item, transaction: Transaction) -> None:
        txid, source_peer = transaction.txid, item.call.source_peer
        if txid in self._keeping:
            self._keeping[txid].append(item)
            return
        try:
            new = self._mempool.add(transaction)
        except SequenceMismatch as error:
            item.answer(error if self._store.transaction_location(txid) is None else txid)
            return
        except LedgerError as error:
            item.answer(error)
            return
        if source_peer is None and txid not in self._stored:
            self._keeping[txid] = [item]
            self._unwritten[txid] = transaction
            if new:
                self._fresh.add(txid)
            return
        if new:
            self._announce(transaction, source_peer)
        item.answer(txid)

    def _announce(self, transaction: Transaction, source_peer: bytes | None) -> None:
        for hook in self._hooks:
            hook(transaction.txid, transaction.envelope, source_peer)

    # Keeping

    def _write_next(self) -> None:
        """Write what was admitted meanwhile, and delete what was dropped, unless a write is under way."""
        if self._write is not None or not self._unwritten:
            return
        batch, self._unwritten = self._unwritten, {}
        dropped = self._take_dropped()

        def write() -> None:
            self._store.put_submitted({txid: transaction.envelope for txid, transaction in batch.items()})
            if dropped:
                self._store.drop_submitted(dropped)

        self._write = asyncio.get_running_loop().run_in_executor(None, write)
        self._write.add_done_callback(partial(self._on_written, batch))

    def _take_dropped(self) -> set[bytes]:
        """What is on disk and no longer pending. What is still being written stays for the next time."""
        dropped = {self._dropped.popleft() for _ in range(len(self._dropped))}
        self._dropped.extend(txid for txid in dropped if txid in self._keeping)
        useless = {txid for txid in dropped if txid in self._stored and txid not in self._mempool}
        self._stored -= useless
        return useless

    def _on_written(self, batch: dict[bytes, Transaction], done: "asyncio.Future[None]") -> None:
        self._write = None
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        if error is not None:
            self._fail(error, [])
            return
        self._stored.update(batch)
        for txid, transaction in batch.items():
            if txid in self._fresh:
                self._fresh.discard(txid)
                self._announce(transaction, None)
            for item in self._keeping.pop(txid):
                item.answer(txid)
        if len(self._stored) > 2 * len(self._mempool) + STORED_SLACK:
            waiting = set(self._dropped)
            self._stored = {txid for txid in self._stored if txid in self._mempool or txid in waiting}
        self._write_next()

    def _fail(self, error: BaseException, chunk: list[_Item]) -> None:
        """Let everybody who waits know that nothing can be kept, or verified, any more."""
        self._failure = error
        waiting = [*chunk, *self._queue, *(item for items in self._keeping.values() for item in items)]
        self._queue.clear()
        self._keeping.clear()
        self._unwritten.clear()
        for item in waiting:
            item.call.fail(error)

    # Starting and stopping

    async def restore(self) -> int:
        """Carry on what was acknowledged before a restart; returns how many transactions are pending again.

        What is final or can never be included any more is dropped from the disk, and the mempool remembers why.
        """
        found = await asyncio.to_thread(lambda: dict(self._store.submitted()))
        checked = await asyncio.to_thread(self._verifier.check_all, list(found.values()))
        useless = [txid for txid, item in zip(found, checked, strict=True) if isinstance(item, LedgerError)]
        transactions = [item for item in checked if isinstance(item, Transaction)]
        for transaction in sorted(transactions, key=lambda item: (item.body.sender, item.body.sequence)):
            try:
                self._mempool.add(transaction, acknowledged=True)
            except LedgerError as error:
                useless.append(transaction.txid)
                if self._store.transaction_location(transaction.txid) is None:
                    self._mempool.remember_dropped(transaction.txid, error)
            else:
                self._stored.add(transaction.txid)
        if useless:
            await asyncio.to_thread(self._store.drop_submitted, useless)
        return len(self._stored)

    async def close(self) -> None:
        """Take nothing more and wait for the write that is under way. Whoever still waits hears of it."""
        self._fail(SubmissionQueueFull(waiting=self._waiting), [])
        if self._write is not None:
            await asyncio.wait({self._write})
