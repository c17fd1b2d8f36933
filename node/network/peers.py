"""All links of a node: dialling, accepting, choosing between two links to one peer, scoring and banning.

Two kinds of peer. *Trusted* ones, the authorities and those the operator listed, are redialled for ever; authorities
are slowed down when they send too much but never banned, for the chain needs them. *Followers* may be anybody: their
number is capped, they get smaller queues and rates, and misbehaviour adds up to a ban.

Between two nodes there is one link. Both may dial at once, and one may come back after a crash that the other has not
noticed, so the two cases are told apart by cause and effect: a link whose offer arrived after the present link was
established is newer (its dialler knew of the present one and dials nevertheless) and replaces it; one whose offer
arrived before is simultaneous, and of the two the one dialled by the smaller key stays. The smaller key decides and the
other follows, so they cannot drop one link each.
"""

import asyncio
import logging
import os
import random
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from itertools import count
from typing import Literal

from chain.crypto.ed25519 import PUBLIC_KEY_SIZE, PrivateKey
from node.network.accepting import AcceptRates
from node.network.config import NetworkConfig, PeerAddress
from node.network.dialling import Attempt, Dialler
from node.network.frames import Priority
from node.network.handshake import EPHEMERAL_SIZE, CloseCode, LinkClosed
from node.network.link import Link, LinkLimits, dial, respond
from node.network.standing import Standing
from node.network.stream import Clock, LoopClock, Stream, deadline, listen, open_stream

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """One live link, as of now."""

    key: bytes
    host: str
    port: int
    """The remote end of the connection; for an inbound link not the port on which that peer listens."""
    direction: Literal["inbound", "outbound"]
    connected_since: float
    """Time by the network's clock, seconds."""
    bytes_in: int
    bytes_out: int
    messages_in: int
    messages_out: int
    queued_bytes: int
    latency: float | None
    """Round trip of the latest ping, seconds."""
    is_authority: bool
    score: float
    """Penalty points: 0 is good, `ban_score` bans a follower."""


MessageHandler = Callable[[bytes, bytes, float], Awaitable[None] | None]
"""Takes (peer key, payload, time the last byte arrived)."""
PeerHandler = Callable[[bytes], None]


@dataclass(slots=True)
class _Live:
    link: Link
    opened: int
    """Order number of the moment this node read the offer or began to dial."""
    established: int
    """Order number of the moment this node accepted the link or learned that it was accepted."""
    since: float
    task: asyncio.Task[None] | None = None


class PeerNetwork:
    """The peers of one node.

    Callbacks run on the event loop. `on_connect(peer)` comes before the first message of a link and
    `on_disconnect(peer)` after its last; a replaced link gives both, so that what belongs on every new link is sent
    again. `on_message` gets the messages of one peer one at a time, in order within a priority; it may return an
    awaitable, and until that is done nothing more is read from that peer. An exception out of it is this node's own
    fault: it is logged and ends the link.
    """

    def __init__(
        self,
        node_key: PrivateKey,
        genesis_hash: bytes,
        listen_at: tuple[str, int] | None,
        peers: Sequence[PeerAddress],
        authorities: Collection[bytes],
        *,
        on_message: MessageHandler,
        on_connect: PeerHandler,
        on_disconnect: PeerHandler,
        config: NetworkConfig | None = None,
        clock: Clock | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """
        Args:
            genesis_hash: 32 bytes; peers with another are refused.
            listen_at: host and port to accept links on (port 0 picks one), or None to only dial.
            peers: whom to dial. The node's own key among them is passed over.
            authorities: node keys that are never banned.
            entropy: a source of secret random bytes.
            jitter: uniform in [0, 1), for the waits between dials.

        Raises: ValueError: a key or the genesis hash is not 32 bytes.
        """
        for key in (genesis_hash, *authorities, *(peer.key for peer in peers)):
            if len(key) != PUBLIC_KEY_SIZE:
                raise ValueError("node keys and the genesis hash are 32 bytes")
        self.key = node_key.public_key
        self.listen_address: tuple[str, int] | None = None
        """Where this node listens, once started."""
        self._node_key = node_key
        self._genesis_hash = genesis_hash
        self._listen_at = listen_at
        self._addresses = {peer.key: peer for peer in peers if peer.key != self.key}
        self._authorities = frozenset(authorities)
        self._on_message = on_message
        self._on_connect = on_connect
        self._on_disconnect = on_disconnect
        self._config = config or NetworkConfig()
        self._clock = clock or LoopClock()
        self._entropy = entropy
        self._jitter = jitter
        self._order = count(1)
        self._links: dict[bytes, _Live] = {}
        self._diallers: dict[bytes, Dialler] = {}
        # Handshakes under way, oldest first.
        self._pending: dict[asyncio.Task[None], None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._standing = Standing(self._clock, self._config.score_decay_per_second)
        self._server: asyncio.Server | None = None
        self._running = False

    async def start(self) -> None:
        """Bind and begin to dial; does not wait for any peer. Raises: OSError: the address cannot be bound."""
        config = self._config
        self._accept_rates = AcceptRates(self._clock, config.accepts_per_second, config.accepts_per_second_in_total)
        if self._listen_at is not None:
            self._server = await listen(*self._listen_at, self._clock, self._accepted)
            host, port = self._server.sockets[0].getsockname()[:2]
            self.listen_address = (host, port)
        self._running = True
        for address in self._addresses.values():
            dialler = Dialler(partial(self._dial, address), config, self._clock, self._jitter)
            self._diallers[address.key] = dialler
            self._spawn(dialler.run())

    async def stop(self) -> None:
        """End every link and task. Each live peer gets its `on_disconnect`. May be called more than once."""
        self._running = False
        if self._server is not None:
            self._server.close()
        for live in list(self._links.values()):
            live.link.close(CloseCode.SHUTDOWN)
        serving = [live.task for live in self._links.values() if live.task is not None]
        for task in self._tasks.difference(serving):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None

    def send(self, peer_key: bytes, payload: bytes, priority: Priority = Priority.NORMAL) -> bool:
        """Queue a message; never blocks. False: there is no link, or its queue has no room (see `frames.Outbox`).

        Raises: ValueError: the payload is empty or larger than MAX_MESSAGE_BYTES.
        """
        live = self._links.get(peer_key)
        return live is not None and live.link.send(payload, priority)

    def broadcast(self, payload: bytes, priority: Priority = Priority.URGENT, *, authorities_only: bool = False) -> int:
        """Queue a message for every linked peer; the number of peers that took it. Raises: ValueError, as `send`."""
        chosen = [live.link for key, live in self._links.items() if not authorities_only or key in self._authorities]
        return sum(link.send(payload, priority) for link in chosen)

    def peers(self) -> list[PeerInfo]:
        """The live links, in the order in which they were made."""
        return [
            PeerInfo(
                key=key,
                host=live.link.remote_address[0],
                port=live.link.remote_address[1],
                direction="outbound" if live.link.outbound else "inbound",
                connected_since=live.since,
                bytes_in=live.link.bytes_in,
                bytes_out=live.link.bytes_out,
                messages_in=live.link.messages_in,
                messages_out=live.link.messages_out,
                queued_bytes=live.link.queued_bytes,
                latency=live.link.latency,
                is_authority=key in self._authorities,
                score=self._standing.score(key),
            )
            for key, live in self._links.items()
        ]

    def is_connected(self, peer_key: bytes) -> bool:
        """Whether there is a live link to the peer."""
        return peer_key in self._links

    def link_id(self, peer_key: bytes) -> bytes | None:
        """The 32 bytes that name the live link to the peer, equal at both ends."""
        live = self._links.get(peer_key)
        return live.link.link_id if live is not None else None

    def disconnect(self, peer_key: bytes, reason: str) -> None:
        """Drop the link to a peer. A listed peer is dialled again. Args: reason: short, for the log."""
        live = self._links.get(peer_key)
        if live is not None:
            live.link.close(CloseCode.DROPPED, reason)

    def penalise(self, peer_key: bytes, points: int, reason: str) -> None:
        """Add penalty points. At `ban_score` a peer is dropped and banned for a while; an authority is slowed down.

        Args: points: at least 0; they fade by `score_decay_per_second`. reason: short fixed text, for the log.
        """
        score = self._standing.add(peer_key, points)
        if score < self._config.ban_score:
            return
        if peer_key in self._authorities:
            live = self._links.get(peer_key)
            if live is not None:
                # To check what it says takes longer than to say it, so it is heard less; not by much, for it may be
                # honest and have a wrong clock.
                live.link.rest(points * self._config.rest_per_point)
            _log.warning("authority %s misbehaves: %s (score %d)", _short(peer_key), reason, score)
            return
        self._standing.ban(peer_key, self._config.ban_seconds)
        live = self._links.get(peer_key)
        if live is not None:
            host = live.link.remote_address[0]
            # A key costs nothing to replace, an address does. Those of this machine are shared by everyone on it.
            if peer_key not in self._addresses and not _is_loopback(host):
                self._standing.ban(host, self._config.ban_seconds)
            live.link.close(CloseCode.BANNED, reason)
        _log.warning("banned %s for %d s: %s", _short(peer_key), self._config.ban_seconds, reason)

    def set_authorities(self, keys: Collection[bytes]) -> None:
        """Replace the set of authorities; live links get the limits that follow from it."""
        self._authorities = frozenset(keys)
        for key, live in self._links.items():
            live.link.set_limits(self._limits(key))

    def _accepted(self, stream: Stream) -> None:
        """A TCP connection came in."""
        if not self._running or not self._accept_rates.allows(stream.remote_address[0]):
            stream.abort()
            return
        if len(self._pending) >= self._config.max_pending_handshakes:
            # An honest handshake takes milliseconds, so the oldest is the least likely to be one.
            oldest = next(iter(self._pending))
            del self._pending[oldest]
            oldest.cancel()
        task = self._spawn(self._answer(stream))
        self._pending[task] = None

        def ended(done: asyncio.Task[None]) -> None:
            self._pending.pop(done, None)
            if done.cancelled():
                stream.abort()  # a task that is cancelled before its first turn runs nothing of its own

        task.add_done_callback(ended)

    async def _answer(self, stream: Stream) -> None:
        """Take one inbound connection from its first byte to a live link."""
        host, port = stream.remote_address
        opened = 0

        def admit(claimed_key: bytes) -> LinkLimits:
            nonlocal opened
            opened = next(self._order)
            self._check_welcome(claimed_key, host)
            return self._limits(claimed_key)

        try:
            ephemeral = self._entropy(EPHEMERAL_SIZE)
            link = await respond(
                stream, self._node_key, self._genesis_hash, ephemeral, self._clock, self._config.times, admit
            )
            try:
                await self._arbitrate(link.peer_key, host, opened)
            except LinkClosed as closed:
                await link.refuse(CloseCode(closed.code))
                raise
        except LinkClosed as closed:
            level = logging.WARNING if closed.code == CloseCode.WRONG_NETWORK else logging.INFO
            _log.log(level, "refused a connection from %s:%d: %s", host, port, closed)
            return
        except asyncio.CancelledError:
            stream.abort()
            raise
        link.accept()
        self._adopt(link, opened)

    def _check_welcome(self, peer_key: bytes, host: str) -> None:
        """Raises: LinkClosed: BANNED or FULL."""
        if peer_key in self._authorities:
            return
        if self._standing.is_banned(peer_key):
            raise LinkClosed(CloseCode.BANNED)
        if peer_key in self._addresses:
            return
        if self._standing.is_banned(host):
            raise LinkClosed(CloseCode.BANNED)
        followers = sum(1 for key in self._links if key != peer_key and not self._is_trusted(key))
        if followers >= self._config.max_followers:
            raise LinkClosed(CloseCode.FULL)

    async def _arbitrate(self, peer_key: bytes, host: str, opened: int) -> None:
        """Whether an authenticated inbound link may become the link to its peer.

        Raises: LinkClosed: DUPLICATE, or what `_check_welcome` raises now.
        """
        dialler = self._diallers.get(peer_key)
        if dialler is not None and self.key < peer_key:
            # Simultaneous, and this side's dial has precedence. The other side never waits, so neither waits for long.
            await dialler.settle(self._config.times.handshake_step / 2)
        self._check_welcome(peer_key, host)
        live = self._links.get(peer_key)
        if live is not None and opened < live.established and not live.link.closing:
            if not live.link.outbound:
                # Both were dialled by the peer: the one it began later is the one it wants.
                stays = opened < live.opened
            else:
                stays = self.key < peer_key
            if stays:
                raise LinkClosed(CloseCode.DUPLICATE)
        if dialler is not None:
            dialler.give_way()

    def _adopt(self, link: Link, opened: int) -> None:
        """Make an accepted link the one to its peer."""
        peer_key = link.peer_key
        previous = self._links.pop(peer_key, None)
        if previous is not None:
            previous.link.close(CloseCode.REPLACED)
            self._notify(self._on_disconnect, peer_key)
        live = _Live(link, opened, next(self._order), self._clock.now())
        self._links[peer_key] = live
        if peer_key in self._diallers:
            self._diallers[peer_key].linked()
        link.throttled = partial(self._throttled, peer_key)
        live.task = self._spawn(self._serve(live))
        _log.info("linked with %s (%s)", _short(peer_key), "outbound" if link.outbound else "inbound")
        self._notify(self._on_connect, peer_key)
        if not self._running:
            link.close(CloseCode.SHUTDOWN)

    def _throttled(self, peer_key: bytes) -> None:
        if not self._is_trusted(peer_key):
            self.penalise(peer_key, self._config.throttle_points, "receive rate exceeded")

    async def _serve(self, live: _Live) -> None:
        """Run a link to its end."""
        peer_key = live.link.peer_key
        reason = await live.link.run(partial(self._on_message, peer_key))
        _log.info("link with %s ended: %s", _short(peer_key), reason)
        if self._links.get(peer_key) is live:
            del self._links[peer_key]
            if peer_key in self._diallers:
                stable = self._clock.now() - live.since >= self._config.stable_after
                self._diallers[peer_key].unlinked(stable=stable)
            self._notify(self._on_disconnect, peer_key)
        if reason.code == CloseCode.VIOLATION and not reason.remote:
            self.penalise(peer_key, self._config.violation_points, "broke the link protocol")

    def _dial(self, address: PeerAddress, attempt: Attempt) -> asyncio.Task[None] | None:
        """Begin to dial a listed peer, unless it is banned."""
        if address.key not in self._authorities and self._standing.is_banned(address.key):
            return None
        return self._spawn(self._dial_once(address, attempt))

    async def _dial_once(self, address: PeerAddress, attempt: Attempt) -> None:
        opened = next(self._order)
        try:
            async with deadline(self._clock, self._config.connect_timeout):
                stream = await open_stream(address.host, address.port, self._clock)
            attempt.connected = True
            link = await dial(
                stream,
                self._node_key,
                self._genesis_hash,
                address.key,
                self._entropy(EPHEMERAL_SIZE),
                self._clock,
                self._limits(address.key),
                self._config.times,
            )
        except LinkClosed as closed:
            level = logging.WARNING if closed.code == CloseCode.WRONG_NETWORK else logging.INFO
            _log.log(level, "no link with %s at %s:%d: %s", _short(address.key), address.host, address.port, closed)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            _log.debug("cannot reach %s at %s:%d: %s", _short(address.key), address.host, address.port, reason)
        else:
            self._adopt(link, opened)
        finally:
            attempt.finished.set()

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _notify(self, handler: PeerHandler, peer_key: bytes) -> None:
        try:
            handler(peer_key)
        except Exception:
            _log.exception("a connection handler failed for %s", _short(peer_key))
            self.disconnect(peer_key, "connection handler failed")

    def _is_trusted(self, peer_key: bytes) -> bool:
        return peer_key in self._authorities or peer_key in self._addresses

    def _limits(self, peer_key: bytes) -> LinkLimits:
        return self._config.trusted_limits if self._is_trusted(peer_key) else self._config.follower_limits


def _short(peer_key: bytes) -> str:
    """Enough of a key to find it in a log."""
    return peer_key.hex()[:16]


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
