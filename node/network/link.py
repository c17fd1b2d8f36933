"""One live link: an authenticated, encrypted connection to one peer over an asyncio stream.

`dial` and `respond` carry the handshake of handshake.py over a connection, each step under a timeout; `Link.run`
then moves messages both ways until the link ends. On the wire a record is its length (2 bytes) and its ciphertext,
so that no peer can make this node wait for, or hold, more than 64 KiB that is not authenticated yet. A message is
stamped with the time at which its last byte left the socket, however long it waits behind others. A link is dead
when nothing was heard for `dead_after`; the time this process itself was suspended does not count.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from chain.crypto.ed25519 import PrivateKey
from node.network.frames import (
    ACCEPT,
    CLOSE,
    MAX_MESSAGE_BYTES,
    PING,
    PONG,
    Assembler,
    Outbox,
    Priority,
    encode_frame,
    split_frames,
)
from node.network.handshake import (
    ANSWER_KIND,
    ANSWER_SIZE,
    OFFER_PREFIX_SIZE,
    OFFER_SIZE,
    PROOF_SIZE,
    REFUSAL_KIND,
    REFUSAL_SIZE,
    CloseCode,
    Initiator,
    LinkClosed,
    Opener,
    Responder,
    Sealer,
    Session,
    decode_refusal,
    encode_refusal,
)
from node.network.stream import Cancellable, Clock, Stream, deadline, sleep

_log = logging.getLogger(__name__)

_WRITE_BUFFER_BYTES = 128 << 10
_RECORDS_PER_TURN = 4
_MESSAGES_PER_TURN = 64
_SHORTEST_THROTTLE_SECONDS = 0.05
_LONGEST_REST_SECONDS = 5.0

Deliver = Callable[[bytes, float], Awaitable[None] | None]
"""Takes a message and the time it arrived. While a returned awaitable is pending, nothing more is read."""


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """What one peer may cost this node. Every bound is per link."""

    max_message_bytes: int = MAX_MESSAGE_BYTES
    """The largest message accepted; three of this size, one per lane, may be half received at a time."""
    send_queue_bytes: int = 24 << 20
    """Messages waiting to be sent, counting 128 bytes each beside their length."""
    bytes_per_second: float = 64.0 * (1 << 20)
    """Received bytes, sustained. Above it the link is read more slowly; nothing is lost."""
    messages_per_second: float = 100_000.0
    """Received messages, sustained."""
    burst_seconds: float = 2.0
    """How many seconds of both may come at once."""


@dataclass(frozen=True, slots=True)
class LinkTimes:
    """How long a link waits, in seconds."""

    handshake_step: float = 5.0
    ping_interval: float = 5.0
    dead_after: float = 15.0


class TokenBucket:
    """A rate with a burst. Debt is allowed and slept off, so that one large message is not refused for ever."""

    __slots__ = ("_burst", "_clock", "_rate", "_tokens", "_updated")

    def __init__(self, clock: Clock, rate: float, burst: float) -> None:
        self._clock = clock
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._updated = clock.now()

    def charge(self, amount: float) -> float:
        """Spend `amount`; the seconds to wait until the debt is gone, 0.0 if there is none."""
        now = self._clock.now()
        self._tokens = min(self._burst, self._tokens + (now - self._updated) * self._rate) - amount
        self._updated = now
        return max(0.0, -self._tokens / self._rate)


async def dial(
    stream: Stream,
    node_key: PrivateKey,
    genesis_hash: bytes,
    peer_key: bytes,
    ephemeral_secret: bytes,
    clock: Clock,
    limits: LinkLimits,
    times: LinkTimes,
) -> "Link":
    """Prove ourselves to the node at the other end and have it accept the link. On failure the stream is closed.

    Raises: LinkClosed: the peer refused (`remote`), is not `peer_key`, was too slow, or broke the protocol.
    """
    try:
        initiator = Initiator(node_key, genesis_hash, peer_key, ephemeral_secret)
        stream.writer.write(initiator.offer)
        async with deadline(clock, times.handshake_step):
            kind, _ = await stream.reader.take(1)
            if kind[0] == REFUSAL_KIND:
                raise decode_refusal(kind + (await stream.reader.take(REFUSAL_SIZE - 1))[0])
            if kind[0] != ANSWER_KIND:
                raise LinkClosed(CloseCode.VIOLATION, "malformed answer")
            answer, _ = await stream.reader.take(ANSWER_SIZE - 1)
        proof, session = initiator.read_answer(kind + answer)
        stream.writer.write(proof)
        link = Link(stream, session, True, clock, limits, times)
        async with deadline(clock, times.handshake_step):
            await link.wait_accepted()
        return link
    except LinkClosed:
        stream.abort()
        raise
    except BaseException as error:
        stream.abort()
        if not isinstance(error, Exception):
            raise
        raise _as_closed(error) from error


async def respond(
    stream: Stream,
    node_key: PrivateKey,
    genesis_hash: bytes,
    ephemeral_secret: bytes,
    clock: Clock,
    times: LinkTimes,
    admit: Callable[[bytes], LinkLimits],
) -> "Link":
    """Answer a dialling node. The link is authenticated and waits for `accept` or `refuse`.

    Args: admit: takes the key that the peer claims, before any signature is made or checked, and returns the limits
        for it or raises LinkClosed with the code to refuse it with.

    Raises: LinkClosed: with the reason; the peer has been told it if that helps it, and the stream is closed.
    """
    try:
        responder = Responder(node_key, genesis_hash, ephemeral_secret)
        async with deadline(clock, times.handshake_step):
            prefix, _ = await stream.reader.take(OFFER_PREFIX_SIZE)
            responder.check_prefix(prefix)
            rest, _ = await stream.reader.take(OFFER_SIZE - OFFER_PREFIX_SIZE)
        limits = admit(responder.read_offer(prefix + rest))
        stream.writer.write(responder.answer())
        async with deadline(clock, times.handshake_step):
            proof, _ = await stream.reader.take(PROOF_SIZE)
        return Link(stream, responder.read_proof(proof), False, clock, limits, times)
    except LinkClosed as closed:
        if closed.code == CloseCode.VIOLATION:
            # Whoever does not speak this protocol is told nothing in it.
            stream.abort()
        else:
            stream.writer.write(encode_refusal(closed.code))
            await stream.shut()
        raise
    except BaseException as error:
        stream.abort()
        if not isinstance(error, Exception):
            raise
        raise _as_closed(error) from error


class Link:
    """An authenticated connection to one peer. Made by `dial` and `respond`; used by one event loop."""

    def __init__(
        self, stream: Stream, session: Session, outbound: bool, clock: Clock, limits: LinkLimits, times: LinkTimes
    ) -> None:
        self.peer_key = session.peer_key
        self.link_id = session.link_id
        """The same 32 bytes at both ends."""
        self.outbound = outbound
        self.remote_address = stream.remote_address
        self.bytes_in = 0
        self.bytes_out = 0
        self.messages_in = 0
        self.messages_out = 0
        self.latency: float | None = None
        """Seconds from the latest ping to its answer."""
        self.throttled: Callable[[], None] | None = None
        """Called each time the peer exceeds its receive rate."""
        self._stream = stream
        self._reader = stream.reader
        self._writer = stream.writer
        self._writer.transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        self._clock = clock
        self._times = times
        self._sealer = Sealer(session.send_key)
        self._opener = Opener(session.receive_key)
        self._outbox = Outbox(limits.send_queue_bytes)
        self._assembler = Assembler(limits.max_message_bytes)
        self._wake = asyncio.Event()
        self._ended: asyncio.Future[LinkClosed] = asyncio.get_running_loop().create_future()
        # Who is not listened to is not silent.
        self._listening = True
        self._rest_seconds = 0.0
        self._ping_sent: tuple[bytes, float] | None = None
        self._ping_count = 0
        self._timer: Cancellable | None = None
        self.set_limits(limits)

    @property
    def queued_bytes(self) -> int:
        """Bytes waiting in the send queue."""
        return self._outbox.queued_bytes

    @property
    def closing(self) -> bool:
        """Whether the end of the link has been decided."""
        return self._ended.done()

    def set_limits(self, limits: LinkLimits) -> None:
        """Apply other limits from now on."""
        self._outbox.limit = limits.send_queue_bytes
        self._assembler.max_message_bytes = limits.max_message_bytes
        burst = limits.burst_seconds
        self._byte_rate = TokenBucket(self._clock, limits.bytes_per_second, limits.bytes_per_second * burst)
        self._message_rate = TokenBucket(self._clock, limits.messages_per_second, limits.messages_per_second * burst)

    def accept(self) -> None:
        """As the responder: tell the initiator that the link stands."""
        self._write_record(encode_frame(ACCEPT))

    async def refuse(self, code: CloseCode) -> None:
        """As the responder: end the link instead of accepting it."""
        self._write_record(encode_frame(CLOSE, code.to_bytes(2, "big")))
        await self._stream.shut()

    async def wait_accepted(self) -> None:
        """As the initiator: until the responder has accepted.

        Raises: LinkClosed: it refused, or said something else. IncompleteReadError, ConnectionError.
        """
        record, _ = await self._read_record()
        for kind, body in split_frames(record):
            if kind == CLOSE:
                raise LinkClosed(int.from_bytes(body, "big"), remote=True)
        if record != encode_frame(ACCEPT):
            raise LinkClosed(CloseCode.VIOLATION, "neither accepted nor refused")

    def send(self, payload: bytes, priority: Priority) -> bool:
        """Queue a message; False if the link is ending or has no room for it (see `Outbox`).

        Raises: ValueError: the message is empty or larger than MAX_MESSAGE_BYTES.
        """
        if not 0 < len(payload) <= MAX_MESSAGE_BYTES:
            raise ValueError(f"a message has 1 to {MAX_MESSAGE_BYTES} bytes")
        if self._ended.done():
            return False
        try:
            if not self._outbox.push(payload, priority):
                return False
        except LinkClosed as overflow:
            self.end(overflow)
            return False
        self.messages_out += 1
        self._wake.set()
        return True

    def rest(self, seconds: float) -> None:
        """Read nothing for a while after the record at hand, because the peer wastes this node's time."""
        self._rest_seconds = min(self._rest_seconds + seconds, _LONGEST_REST_SECONDS)

    def close(self, code: CloseCode, detail: str = "") -> None:
        """End the link: `run` tells the peer `code` and returns. No message is delivered after this call."""
        self.end(LinkClosed(code, detail))

    def end(self, reason: LinkClosed) -> None:
        """End the link for `reason`, unless it is already ending for another."""
        if not self._ended.done():
            self._ended.set_result(reason)

    async def run(self, deliver: Deliver) -> LinkClosed:
        """Move messages until the link ends, and return why. The connection is closed then."""
        tasks = [asyncio.create_task(self._receive(deliver)), asyncio.create_task(self._transmit())]
        self._heard_at = self._ticked_at = self._clock.now()
        self._tick()
        try:
            # Shielded: a cancelled run still finds out, below, whether the peer can be told a reason.
            await asyncio.shield(self._ended)
        finally:
            self.close(CloseCode.SHUTDOWN)
            if self._timer is not None:
                self._timer.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            reason = self._ended.result()
            if reason.remote or reason.code in (CloseCode.LOST, CloseCode.SILENT):
                self._stream.abort()
            elif not self._writer.is_closing():
                self._write_record(encode_frame(CLOSE, reason.code.to_bytes(2, "big")))
            await self._stream.shut()
        return reason

    async def _receive(self, deliver: Deliver) -> None:
        try:
            while True:
                record, received_at = await self._read_record()
                self._heard_at = self._clock.now()
                await self._throttle(self._byte_rate.charge(len(record)))
                await self._handle(record, received_at, deliver)
                rest, self._rest_seconds = self._rest_seconds, 0.0
                await self._throttle(rest)
        except Exception as error:
            closed = _as_closed(error)
            if closed.code == CloseCode.INTERNAL:
                _log.exception("handling a message of %s failed", self.peer_key.hex()[:16])
            self.end(closed)

    async def _handle(self, record: bytes, received_at: float, deliver: Deliver) -> None:
        unpaid = 0
        for kind, body in split_frames(record):
            unpaid += 1
            if unpaid == _MESSAGES_PER_TURN:
                # A record may hold thousands of messages: the other links get their turn in between.
                await self._throttle(self._message_rate.charge(unpaid))
                await asyncio.sleep(0)
                unpaid = 0
            if kind == PING:
                self._outbox.push_control(PONG, body)
                self._wake.set()
            elif kind == PONG:
                if self._ping_sent is not None and self._ping_sent[0] == body:
                    self.latency = received_at - self._ping_sent[1]
                    self._ping_sent = None
            elif kind == CLOSE:
                raise LinkClosed(int.from_bytes(body, "big"), remote=True)
            elif kind == ACCEPT:
                raise LinkClosed(CloseCode.VIOLATION, "accepted twice")
            else:
                payload = self._assembler.add(kind, body)
                if payload is not None and not self._ended.done():
                    await self._deliver(payload, received_at, deliver)
        await self._throttle(self._message_rate.charge(unpaid))

    async def _deliver(self, payload: bytes, received_at: float, deliver: Deliver) -> None:
        self.messages_in += 1
        try:
            pending = deliver(payload, received_at)
            if pending is not None:
                self._listening = False
                try:
                    await pending
                finally:
                    self._listening = True
        except Exception as error:
            raise _HandlerFailed from error

    async def _throttle(self, seconds: float) -> None:
        if seconds <= 0.0:
            return
        if self.throttled is not None:
            self.throttled()
        self._listening = False
        try:
            await sleep(self._clock, max(seconds, _SHORTEST_THROTTLE_SECONDS))
        finally:
            self._listening = True

    async def _transmit(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                written = 0
                while (record := self._outbox.next_record()) is not None:
                    self._write_record(record)
                    await self._writer.drain()
                    written += 1
                    if written % _RECORDS_PER_TURN == 0:
                        # drain() does not give way while the socket takes everything.
                        await asyncio.sleep(0)
        except OSError as error:
            self.end(_as_closed(error))

    def _write_record(self, plaintext: bytes) -> None:
        sealed = self._sealer.seal(plaintext)
        self._writer.write(len(sealed).to_bytes(2, "big") + sealed)
        self.bytes_out += 2 + len(sealed)

    async def _read_record(self) -> tuple[bytes, float]:
        header, _ = await self._reader.take(2)
        size = int.from_bytes(header, "big")
        sealed, received_at = await self._reader.take(size)
        self.bytes_in += 2 + size
        return self._opener.open(sealed), received_at

    def _tick(self) -> None:
        """Ping, notice silence, and schedule the next look."""
        now = self._clock.now()
        overslept = now - self._ticked_at - self._times.ping_interval
        if overslept > self._times.ping_interval:
            # This process was suspended and what the peer sent meanwhile is still unread.
            self._heard_at = min(now, self._heard_at + overslept)
        self._ticked_at = now
        silent_for = now - self._heard_at
        if silent_for >= self._times.dead_after and self._listening:
            self.close(CloseCode.SILENT, f"nothing heard for {silent_for:.1f} s")
            return
        self._ping_count += 1
        ping = self._ping_count.to_bytes(8, "big")
        self._ping_sent = (ping, now)
        self._outbox.push_control(PING, ping)
        self._wake.set()
        until_dead = self._times.dead_after - silent_for
        delay = min(self._times.ping_interval, until_dead) if until_dead > 0 else self._times.ping_interval
        self._timer = self._clock.call_later(delay, self._tick)


class _HandlerFailed(Exception):
    """This node's own handler raised: the peer is not to blame."""


def _as_closed(error: Exception) -> LinkClosed:
    """The coded reason of what went wrong on a connection."""
    match error:
        case LinkClosed():
            return error
        case asyncio.IncompleteReadError():
            return LinkClosed(CloseCode.LOST, "connection closed by peer")
        case TimeoutError():
            return LinkClosed(CloseCode.SILENT, "handshake step took too long")
        case OSError():
            return LinkClosed(CloseCode.LOST, error.strerror or type(error).__name__)
        case _:
            return LinkClosed(CloseCode.INTERNAL, type(error.__cause__ or error).__name__)
