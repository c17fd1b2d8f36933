"""Catching up by certificates, and serving those who catch up.

A claimed height is worth nothing: blocks are fetched in bounded ranges, and each is executed only after its own
finalization was verified against the authority set that the ledger names for its epoch, beginning with genesis. So
every certificate that this node stores, and hands on, was checked by it. A peer that stalls, hangs up, lowers its
claim or sends what does not verify is left for another one and not asked again for a while. What a quorum made final
and is invalid here stops the node.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from chain.block import Block
from chain.certificate import BLS_SCHEME, AuthoritySet, Certificate, Scheme, VoteKind, verify_certificate
from chain.errors import LedgerError
from node.consensus.epochs import epoch_of
from node.consensus.events import Head
from node.network.frames import Priority
from node.network.messages import (
    MAXIMUM_CATCH_UP_BLOCKS,
    CatchUpRequest,
    CatchUpResponse,
    encode_message,
)

MAXIMUM_CLAIMS = 1_024
"""Peers whose claims are remembered."""
REQUESTS_PER_PEER = 2
"""Requests of one peer that wait or are being answered: the one it needs and the one after that."""
LIE_POINTS = 100
"""For what no honest node sends: bans a peer that is no authority."""
STALL_POINTS = 20
FLOOD_POINTS = 5

_log = logging.getLogger(__name__)

Entries: TypeAlias = Sequence[tuple[Block, Certificate]]


class SynchronisationDiverged(LedgerError):
    """A quorum made final what is invalid here."""

    code = 2312
    hint = "This node's state or software differs from the network's. Run `aitbc-node verify`, and compare versions."


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """Bounds of catching up."""

    blocks_per_request: int = MAXIMUM_CATCH_UP_BLOCKS
    response_bytes: int = 768 << 10
    """What an answer holds at most, unless a single block is larger; with what travels around the blocks it must pass
    as a message of a follower, which a node takes up to a mebibyte of."""
    stall_seconds: float = 20.0
    """How long one answer may take."""
    turn_seconds: float = 15.0
    """After so long another peer that claims as much gets its turn, for a liar may be slow on purpose."""
    cool_down_seconds: float = 30.0
    """How long a peer that failed is not asked again."""


class Links(Protocol):
    """What synchronisation needs of the peer network."""

    def send(self, peer_key: bytes, payload: bytes, priority: Priority = ...) -> bool: ...

    def penalise(self, peer_key: bytes, points: int, reason: str) -> None: ...


class Ledger(Protocol):
    """What synchronisation needs of the driver, through which all execution goes."""

    @property
    def durable_head(self) -> Head: ...

    async def apply_final(self, block: Block, finalization: Certificate) -> Head | None: ...

    def announce(self, head: Head) -> None: ...

    def allow_proposals(self, allowed: bool) -> None: ...

    def fail(self, error: BaseException) -> None: ...


class History(Protocol):
    """Final blocks by height, readable from any thread; `node.store.Store` is one."""

    def block_at(self, height: int) -> Block | None: ...

    def finalization(self, height: int) -> Certificate | None: ...


def verify_run(
    chain_id: str,
    authorities: AuthoritySet,
    head: tuple[int, bytes],
    epoch_blocks: int,
    entries: Entries,
    scheme: Scheme = BLS_SCHEME,
) -> tuple[int, str | None]:
    """How many of `entries`, from the first on, are proved to follow `head`; and what is wrong with the next, if so.

    Stops without complaint at the end of the epoch, because the next set is known only after executing its last block.

    Args:
        authorities: the set of the first entry's epoch.
        head: height and hash of the block that the first entry must follow.
    """
    height, parent_hash = head
    for count, (block, finalization) in enumerate(entries):
        height += 1
        if epoch_of(height, epoch_blocks) != authorities.epoch:
            return count, None
        header = block.header
        if header.height != height or header.parent_hash != parent_hash:
            return count, "the blocks are no chain"
        if finalization.kind is not VoteKind.FINALIZE or finalization.block_hash != block.hash:
            return count, "the finalization is of another block"
        if not verify_certificate(chain_id, authorities, finalization, scheme):
            return count, "the finalization does not verify"
        parent_hash = block.hash
    return len(entries), None


class Syncer:
    """Keeps a node from falling behind. All methods run on the event loop and return at once, except the last two."""

    def __init__(
        self,
        ledger: Ledger,
        links: Links,
        history: History,
        *,
        chain_id: str,
        epoch_blocks: int,
        is_authority: Callable[[bytes], bool],
        now: Callable[[], float],
        settings: SyncSettings | None = None,
        scheme: Scheme = BLS_SCHEME,
    ) -> None:
        """
        Args:
            is_authority: whether a peer is one; they are asked first.
            now: monotonic seconds.
        """
        self._ledger = ledger
        self._links = links
        self._history = history
        self._chain_id = chain_id
        self._epoch_blocks = epoch_blocks
        self._is_authority = is_authority
        self._now = now
        self._settings = settings or SyncSettings()
        self._scheme = scheme
        self._claims: OrderedDict[bytes, int] = OrderedDict()
        self._resting: OrderedDict[bytes, float] = OrderedDict()
        self._peer: bytes | None = None
        self._last: bytes | None = None
        self._first = 0
        self._answer: asyncio.Future[Entries | None] = asyncio.get_running_loop().create_future()
        self._proved = 0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._requests: dict[bytes, int] = {}
        self._serving: set[asyncio.Task[None]] = set()
        self._serving_turn = asyncio.Lock()
        # Verification and answers share a thread of their own: neither may delay execution.
        self._worker = ThreadPoolExecutor(1, "sync")

    @property
    def syncing(self) -> bool:
        """Whether blocks above the head are known to be final, and are being fetched."""
        return self._peer is not None and self._proved > 0

    @property
    def target_height(self) -> int:
        """The height it is fetching, as the peer claims; the head's when it is not syncing."""
        height = self._ledger.durable_head.height
        return max(height, self._claims.get(self._peer, 0)) if self.syncing and self._peer else height

    def start(self) -> None:
        """Begin to act on claims."""
        self._task = asyncio.create_task(self._run(), name="sync")

    def behind(self, peer: bytes, height: int) -> None:
        """A peer shows or claims that `height` is final."""
        if self._resting.get(peer, 0.0) > self._now():
            return
        self._claims[peer] = max(height, self._claims.pop(peer, 0))
        if len(self._claims) > MAXIMUM_CLAIMS:
            self._claims.popitem(last=False)
        self._wake.set()

    def disconnected(self, peer: bytes) -> None:
        """Its link ended."""
        self._claims.pop(peer, None)
        if peer == self._peer and not self._answer.done():
            self._answer.set_result(None)

    def on_response(self, peer: bytes, response: CatchUpResponse) -> None:
        """An answer to a request of ours, or something nobody asked for."""
        if peer == self._peer and response.first_height == self._first and not self._answer.done():
            self._answer.set_result(response.entries)

    def on_request(self, peer: bytes, request: CatchUpRequest) -> None:
        """A peer wants blocks."""
        waiting = self._requests.get(peer, 0)
        if waiting >= REQUESTS_PER_PEER:
            self._links.penalise(peer, FLOOD_POINTS, "too many catch-up requests at once")
            return
        self._requests[peer] = waiting + 1
        task = asyncio.create_task(self._serve(peer, request))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def stop(self) -> None:
        """End at once; a block that is being committed is committed."""
        tasks = [*self._serving, *([self._task] if self._task is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(self._worker.shutdown)

    # Fetching.

    async def _run(self) -> None:
        try:
            while True:
                peer = self._choose()
                if peer is None:
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                self._peer = self._last = peer
                fault = await self._follow(peer)
                self._peer = None
                self._ledger.allow_proposals(True)
                if fault is not None:
                    self._rest(peer, *fault)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._ledger.fail(error)

    def _choose(self) -> bytes | None:
        """Whom to ask: an authority if one claims more than we have, not the same again, and the highest claim."""
        height = self._ledger.durable_head.height
        for peer in [peer for peer, claim in self._claims.items() if claim <= height]:
            del self._claims[peer]
        return max(
            self._claims,
            key=lambda peer: (self._is_authority(peer), peer != self._last, self._claims[peer]),
            default=None,
        )

    def _rest(self, peer: bytes, points: int, reason: str) -> None:
        """Leave a peer alone for a while."""
        _log.warning("catching up from %s failed: %s", peer.hex()[:16], reason)
        self._claims.pop(peer, None)
        self._resting.pop(peer, None)
        self._resting[peer] = self._now() + self._settings.cool_down_seconds
        if len(self._resting) > MAXIMUM_CLAIMS:
            self._resting.popitem(last=False)
        self._links.penalise(peer, points, reason)

    async def _follow(self, peer: bytes) -> tuple[int, str] | None:
        """Fetch from a peer until its claim is reached. What it did wrong, if anything, as points and reason."""
        start = self._ledger.durable_head.height
        self._proved = 0
        first, asked = start + 1, False
        end = self._now() + self._settings.turn_seconds
        while self._ledger.durable_head.height < self._claims.get(peer, 0):
            if self._now() > end and self._another_claims(peer):
                break
            if not asked and not self._request(peer, first):
                return 0, "the request could not be sent"
            entries = await self._response()
            if entries is None and peer not in self._claims:
                break  # its link ended
            if entries is None:
                return STALL_POINTS, "no answer"
            if not entries and self._ledger.durable_head.height < self._claims.get(peer, 0):
                return LIE_POINTS, "it does not have what it claimed"
            if any(block.header.height != first + offset for offset, (block, _) in enumerate(entries)):
                return LIE_POINTS, "not the blocks that were asked for"
            first += len(entries)
            # The next range travels while this one is executed.
            asked = first <= self._claims.get(peer, 0)
            if asked and not self._request(peer, first):
                return 0, "the request could not be sent"
            fault = await self._apply(entries)
            if fault is not None:
                return LIE_POINTS, fault
        height = self._ledger.durable_head.height
        if height > start:
            _log.info("caught up from height %d to %d", start, height)
        return None

    def _another_claims(self, peer: bytes) -> bool:
        height = self._ledger.durable_head.height
        return any(claim > height for other, claim in self._claims.items() if other != peer)

    def _request(self, peer: bytes, first: int) -> bool:
        self._first = first
        self._answer = asyncio.get_running_loop().create_future()
        message = CatchUpRequest(first, self._settings.blocks_per_request)
        return self._links.send(peer, encode_message(message), Priority.URGENT)

    async def _response(self) -> Entries | None:
        """The answer to the last request; None if the peer stalled or is gone."""
        try:
            async with asyncio.timeout(self._settings.stall_seconds):
                return await self._answer
        except TimeoutError:
            return None

    async def _apply(self, entries: Entries) -> str | None:
        """Verify, execute and commit what lies above the head; what is wrong with the entries, if anything."""
        while True:
            head = self._ledger.durable_head
            # Consensus goes on meanwhile and may have been faster.
            entries = [entry for entry in entries if entry[0].header.height > head.height]
            if not entries:
                return None
            count, fault = await self._verify(head, entries)
            if count and entries[count - 1][0].header.height > head.height + 1:
                self._proved = entries[count - 1][0].header.height
                self._ledger.allow_proposals(False)
            for block, finalization in entries[:count]:
                if await self._ledger.apply_final(block, finalization) is None:
                    raise SynchronisationDiverged(height=block.header.height, block_hash=block.hash)
            if count:
                self._ledger.announce(self._ledger.durable_head)
            if fault is not None and self._ledger.durable_head.height <= head.height + count:
                return fault

    async def _verify(self, head: Head, entries: Entries) -> tuple[int, str | None]:
        def verify() -> tuple[int, str | None]:
            place = (head.height, head.hash)
            return verify_run(self._chain_id, head.authorities, place, self._epoch_blocks, entries, self._scheme)

        return await asyncio.get_running_loop().run_in_executor(self._worker, verify)

    # Serving.

    async def _serve(self, peer: bytes, request: CatchUpRequest) -> None:
        try:
            # One answer at a time, and then as long a rest: peers who ask and ask take half of one thread at most, and
            # what this node has to verify itself waits for one answer, not for all.
            async with self._serving_turn:
                loop = asyncio.get_running_loop()
                began = loop.time()
                payload = await loop.run_in_executor(self._worker, self._answer_bytes, request)
                self._links.send(peer, payload, Priority.BULK)
                await asyncio.sleep(loop.time() - began)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._ledger.fail(error)
        finally:
            self._requests[peer] -= 1
            if not self._requests[peer]:
                del self._requests[peer]

    def _answer_bytes(self, request: CatchUpRequest) -> bytes:
        """The answer: blocks from the first height on, as many as fit."""
        entries: list[tuple[Block, Certificate]] = []
        size = 0
        for height in range(request.first_height, request.first_height + request.count):
            block, finalization = self._history.block_at(height), self._history.finalization(height)
            if block is None or finalization is None:
                break
            size += len(block.header_bytes) + sum(map(len, block.envelopes))
            if entries and size > self._settings.response_bytes:
                break
            entries.append((block, finalization))
        return encode_message(CatchUpResponse(request.first_height, tuple(entries)))
