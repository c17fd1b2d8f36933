"""Transaction gossip: every new transaction goes once to every peer that does not have it.

Whole envelopes are pushed, in batches every few milliseconds, so that a transaction reaches all authorities after one
hop and a thousand of them cost one message. What a peer is known to have, because it sent it or was sent it, is not
sent again. All memory is bounded per peer. Gossip is an aid, not a promise: what it drops is still in the mempool that
admitted it, and that node proposes it in its own turn.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from node.network.stream import Cancellable, Clock

Send = Callable[[bytes, list[bytes]], bool]
"""Sends (peer key, envelopes) as one message; False if the peer takes nothing now."""

_RETRY_SECONDS = 0.05


class _Known:
    """A set that remembers at least the latest `capacity / 2` and at most `capacity` ids added to it."""

    __slots__ = ("_half", "_newer", "_older")

    def __init__(self, capacity: int) -> None:
        self._half = max(1, capacity // 2)
        self._newer: set[bytes] = set()
        self._older: set[bytes] = set()

    def __contains__(self, txid: bytes) -> bool:
        return txid in self._newer or txid in self._older

    def add(self, txid: bytes) -> None:
        # Two generations forget the oldest at the price of a set operation, where a linked list would cost ten.
        if len(self._newer) >= self._half:
            self._older = self._newer
            self._newer = set()
        self._newer.add(txid)

    def discard(self, txid: bytes) -> None:
        self._newer.discard(txid)
        self._older.discard(txid)

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)


class _Peer:
    """What one peer knows and what waits for it."""

    __slots__ = ("backlog", "known", "pending", "pending_bytes", "refused_at")

    def __init__(self, known: int, backlog: Iterator[tuple[bytes, bytes]]) -> None:
        self.known = _Known(known)
        self.pending: deque[tuple[bytes, bytes]] = deque()
        self.pending_bytes = 0
        self.refused_at: float | None = None
        """When it last took no more, seconds by the clock."""
        self.backlog: Iterator[tuple[bytes, bytes]] | None = backlog
        """What the mempool held when the peer came, drawn from as the peer takes it."""

    def push(self, txid: bytes, envelope: bytes) -> None:
        self.pending.append((txid, envelope))
        self.pending_bytes += len(envelope)
        self.known.add(txid)

    def drop_oldest(self) -> None:
        txid, envelope = self.pending.popleft()
        self.pending_bytes -= len(envelope)
        self.known.discard(txid)


class TransactionGossip:
    """Pushes transactions to the registered peers. All methods run on the event loop and return at once."""

    def __init__(
        self,
        send: Send,
        *,
        clock: Clock,
        max_batch_bytes: int = 256 << 10,
        max_batch_count: int = 1024,
        max_pending_bytes: int = 4 << 20,
        max_pending_count: int = 32_768,
        known_per_peer: int = 32_768,
        flush_interval: float = 0.005,
    ) -> None:
        """
        Args:
            max_batch_bytes: envelopes in one message, unless a single one is larger.
            max_batch_count: envelopes in one message.
            max_pending_bytes: envelopes that may wait for one peer; above it the oldest are dropped.
            max_pending_count: likewise, their number.
            known_per_peer: transaction ids remembered for each peer, at most.
            flush_interval: seconds that a transaction may wait for company.
        """
        self._send = send
        self._clock = clock
        self._max_batch_bytes = max_batch_bytes
        self._max_batch_count = max_batch_count
        self._max_pending_bytes = max_pending_bytes
        self._max_pending_count = max_pending_count
        self._known_per_peer = known_per_peer
        self._flush_interval = flush_interval
        self._peers: dict[bytes, _Peer] = {}
        self._timer: Cancellable | None = None

    def add(self, txid: bytes, envelope: bytes, source_peer: bytes | None) -> None:
        """Push a transaction that is new in the mempool to each registered peer not known to have it.

        Args:
            txid: 32 bytes.
            source_peer: who sent it, or None if a client did.
        """
        for key, peer in self._peers.items():
            if key == source_peer:
                peer.known.add(txid)
            elif txid not in peer.known:
                peer.push(txid, envelope)
                while peer.pending_bytes > self._max_pending_bytes or len(peer.pending) > self._max_pending_count:
                    peer.drop_oldest()
                self._schedule()

    def on_received(self, peer_key: bytes, txids: Iterable[bytes]) -> None:
        """Note that a peer has these transactions, good or bad, because it sent them."""
        peer = self._peers.get(peer_key)
        if peer is not None:
            for txid in txids:
                peer.known.add(txid)

    def peer_connected(self, peer_key: bytes, pending: Iterable[tuple[bytes, bytes]]) -> None:
        """Begin to push to a peer, which knows nothing yet.

        Args: pending: (txid, envelope) of what the mempool holds, in the order to send it. It is drawn from bit by
            bit as the peer takes it, so it must stay valid: a tuple of a snapshot is.
        """
        self._peers[peer_key] = _Peer(self._known_per_peer, iter(pending))
        self._schedule()

    def peer_disconnected(self, peer_key: bytes) -> None:
        """Forget a peer and what waits for it."""
        self._peers.pop(peer_key, None)

    def close(self) -> None:
        """Forget everything and stop."""
        self._peers.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        if self._timer is None:
            self._timer = self._clock.call_later(self._flush_interval, self._flush)

    def _flush(self) -> None:
        self._timer = None
        waiting = False
        # A send can end in a disconnection, and that in a call of peer_disconnected.
        for key, peer in list(self._peers.items()):
            waiting |= self._flush_peer(key, peer)
        if waiting:
            self._schedule()

    def _flush_peer(self, key: bytes, peer: _Peer) -> bool:
        """Send what is pending, then one batch of the backlog; whether more is left."""
        if peer.refused_at is not None and self._clock.now() - peer.refused_at < _RETRY_SECONDS:
            return True
        peer.refused_at = None
        while peer.pending:
            if not self._send_batch(key, peer):
                return True
        if peer.backlog is not None:
            self._draw_backlog(peer)
            if peer.pending and not self._send_batch(key, peer):
                return True
        return peer.backlog is not None

    def _draw_backlog(self, peer: _Peer) -> None:
        """Move one batch from the backlog to the pending ones, or end the backlog."""
        if peer.backlog is None:
            return
        while peer.pending_bytes < self._max_batch_bytes and len(peer.pending) < self._max_batch_count:
            item = next(peer.backlog, None)
            if item is None:
                peer.backlog = None
                return
            if item[0] not in peer.known:
                peer.push(*item)

    def _send_batch(self, key: bytes, peer: _Peer) -> bool:
        """Send the oldest pending ones as one message; what the peer does not take stays pending."""
        batch: list[bytes] = []
        size = 0
        for _, envelope in peer.pending:
            size += len(envelope)
            if batch and (size > self._max_batch_bytes or len(batch) == self._max_batch_count):
                break
            batch.append(envelope)
        if not self._send(key, batch):
            peer.refused_at = self._clock.now()
            return False
        for _ in batch:
            _, envelope = peer.pending.popleft()
            peer.pending_bytes -= len(envelope)
        return True
