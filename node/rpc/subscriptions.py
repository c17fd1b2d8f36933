"""Subscriptions: everything that becomes final, from any place in the chain on, over a WebSocket.

A subscription is a place in the chain that moves forward. What lies before the head is read from disk; at the head it
waits for the next block. So a client that reconnects with the last `resume` misses nothing and sees nothing twice,
and a slow client costs no memory: nothing is read for it before it has taken what was sent. One that takes nothing
for too long is closed with a code of its own.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from socket import SO_SNDBUF, SOL_SOCKET
from typing import TypeAlias

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from chain import interface as api
from chain.crypto.address import parse_address
from chain.errors import LedgerError
from chain.result import Event
from chain.transaction import Transaction
from node.executor import FinalBlock
from node.rpc.chain import require_header, summary, transaction_view
from node.rpc.context import Read, RpcContext
from node.rpc.dispatch import Dispatcher
from node.rpc.errors import NodeBusy

_log = logging.getLogger(__name__)

MAXIMUM_SESSIONS = 256
MAXIMUM_SUBSCRIPTIONS = 16
"""Of one connection."""
STRIDE_BLOCKS = 200
"""Blocks that one read on disk looks through."""
STRIDE_ITEMS = 256
"""Notifications that one read prepares, and so the most that wait for a client."""
CONCURRENT_READS = 2
SEND_SECONDS = 15.0
"""Within which a client must make room for the next message."""
PING_SECONDS = 20.0
SEND_BUFFER_BYTES = 256 << 10
"""Of the operating system, for one connection."""
CLOSE_SECONDS = 2.0
"""What a closing handshake may take."""
BUSY_SECONDS = 0.1

_encode = msgspec.json.Encoder().encode


class TooManySubscriptions(LedgerError):
    code = 2412
    hint = "Unsubscribe from something first, or open another connection."


class UnknownSubscription(LedgerError):
    code = 2413
    hint = "This connection has no such subscription."


class _Message(msgspec.Struct):
    jsonrpc: str
    method: str
    params: api.Notification


@dataclass(frozen=True, slots=True)
class _Filter:
    """What a subscription wants to see."""

    topic: str
    account: bytes | None
    record: bytes | None
    kind: str | None

    @property
    def everything(self) -> bool:
        return self.account is None and self.record is None and self.kind is None

    def events(self, events: Sequence[Event]) -> list[Event]:
        """Those events that match."""
        return [event for event in events if self._matches(event)]

    def _matches(self, event: Event) -> bool:
        identifiers = {identifier for _, identifier in event.subjects}
        return (
            (self.account is None or self.account in identifiers)
            and (self.record is None or self.record in identifiers)
            and (self.kind is None or _is_kind(event.kind, self.kind))
        )

    def transaction(self, transaction: Transaction, events: Sequence[Event]) -> bool:
        """Whether a transaction matches: by its sender, or by one of its events."""
        if self.everything:
            return True
        by_sender = self.account == transaction.body.sender and self.record is None and self.kind is None
        return by_sender or bool(self.events(events))


def _is_kind(kind: str, wanted: str) -> bool:
    return kind.startswith(wanted[:-1]) if wanted.endswith(".*") else kind == wanted


Item: TypeAlias = api.BlockSummary | api.TransactionItem | api.EventsItem
Hold: TypeAlias = Callable[[int], AbstractContextManager[None]]
"""What holds a message of so many bytes while its client takes it."""
Items: TypeAlias = list[tuple[api.Position, Item]]


class Feed:
    """Where subscriptions read, and what wakes them."""

    def __init__(self, context: RpcContext) -> None:
        self.context = context
        self._wake = asyncio.Event()
        self._turns = asyncio.Semaphore(CONCURRENT_READS)

    def on_final(self, final: FinalBlock) -> None:
        """A block became final; called on the event loop, after it is on disk."""
        woken, self._wake = self._wake, asyncio.Event()
        woken.set()

    async def next(self, wanted: _Filter, place: api.Position) -> tuple[Items, api.Position]:
        """What matches from a place on, and where to go on; waits until the chain has got there."""
        while True:
            wake = self._wake
            if self.context.store.head.height >= place.height:
                async with self._turns:
                    try:
                        return await self.context.read_aside(_stride, partial(_stride, wanted, place))
                    except NodeBusy:
                        await asyncio.sleep(BUSY_SECONDS)
            else:
                await wake.wait()


def _stride(wanted: _Filter, place: api.Position, read: Read) -> tuple[Items, api.Position]:
    """Look through some blocks, until there are enough items."""
    items: Items = []
    last = min(read.snapshot.head.height, place.height + STRIDE_BLOCKS - 1)
    for height in range(place.height, last + 1):
        first = place.index if height == place.height else -1
        for resume, item in _block_items(wanted, read, height, first):
            items.append((resume, item))
            if len(items) >= STRIDE_ITEMS:
                return items, resume
    return items, api.Position(last + 1)


def _block_items(wanted: _Filter, read: Read, height: int, first: int) -> Iterator[tuple[api.Position, Item]]:
    """(where to resume, item) of one block from the index `first` on."""
    if wanted.topic == "blocks":
        yield api.Position(height + 1), summary(read, height)
        return
    header, block_hash = require_header(read, height)
    if wanted.topic == "events" and first == -1:
        system = read.snapshot.system_result(height)
        events = wanted.events(system.events) if system else []
        if events:
            shown = tuple(read.show(event) for event in events)
            yield api.Position(height, 0), api.EventsItem(height, None, header.time_ms, None, shown)
    results = read.snapshot.results(height)
    envelopes = read.snapshot.envelopes(block_hash) or () if wanted.topic == "transactions" else ()
    for index in range(max(first, 0), len(results)):
        result, resume = results[index], api.Position(height, index + 1)
        if wanted.topic == "events":
            events = wanted.events(result.events)
            if events:
                shown = tuple(read.show(event) for event in events)
                yield resume, api.EventsItem(height, index, header.time_ms, result.txid.hex(), shown)
        else:
            transaction = Transaction.decode(envelopes[index])
            if wanted.transaction(transaction, result.events):
                view = transaction_view(read, index, transaction, result, details=True)
                yield resume, api.TransactionItem(height, header.time_ms, view)


class Session:
    """One WebSocket connection: its calls are answered one after the other, its subscriptions run beside them."""

    def __init__(
        self,
        feed: Feed,
        dispatcher: Dispatcher,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport | None,
        send_seconds: float,
        hold: Hold,
    ) -> None:
        self._feed = feed
        self._hold = hold
        self._socket = socket
        self._transport = transport
        self._send_seconds = send_seconds
        self._dispatcher = dispatcher.extended({"subscribe": self._subscribe, "unsubscribe": self._unsubscribe})
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._new: dict[int, tuple[_Filter, api.Position]] = {}
        self._next_id = 1
        self._sending = asyncio.Lock()

    async def run(self) -> None:
        """Serve the connection until it ends."""
        try:
            async for message in self._socket:
                if message.type is not WSMsgType.TEXT:
                    await self._socket.close(code=WSCloseCode.UNSUPPORTED_DATA, message=b"text messages only")
                    return
                answer = await self._dispatcher.answer(message.data.encode("utf-8", "replace"))
                if answer is not None:
                    await self._send(answer)
                self._begin_new()
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _subscribe(self, context: RpcContext, params: api.SubscribeParams) -> api.Subscribed:
        if len(self._tasks) + len(self._new) >= MAXIMUM_SUBSCRIPTIONS:
            raise TooManySubscriptions(maximum=MAXIMUM_SUBSCRIPTIONS)
        wanted = _Filter(
            topic=params.topic,
            account=None if params.account is None else parse_address(context.prefix, params.account),
            record=None if params.record is None else bytes.fromhex(params.record),
            kind=params.kind,
        )
        height = context.store.head.height
        number, self._next_id = self._next_id, self._next_id + 1
        self._new[number] = (wanted, params.start or api.Position(height + 1))
        return api.Subscribed(number, height)

    def _unsubscribe(self, context: RpcContext, params: api.UnsubscribeParams) -> api.Unsubscribed:
        task = self._tasks.pop(params.subscription, None)
        if task is not None:
            task.cancel()
        elif self._new.pop(params.subscription, None) is None:
            raise UnknownSubscription(subscription=params.subscription)
        return api.Unsubscribed(params.subscription)

    def _begin_new(self) -> None:
        """Start what was subscribed to, now that the client knows the number."""
        for number, (wanted, start) in self._new.items():
            self._tasks[number] = asyncio.create_task(self._follow(number, wanted, start))
        self._new.clear()

    async def _follow(self, number: int, wanted: _Filter, place: api.Position) -> None:
        try:
            while True:
                items, place = await self._feed.next(wanted, place)
                for resume, item in items:
                    await self._send(_encode(_Message("2.0", "subscription", api.Notification(number, resume, item))))
        except (ConnectionError, RuntimeError):
            return  # the connection is gone, or closing
        except Exception as error:
            _log.error("a subscription failed unexpectedly", exc_info=error)
            await self._socket.close(code=WSCloseCode.INTERNAL_ERROR)

    async def _send(self, message: bytes) -> None:
        """Raises ConnectionResetError once the connection is closed, for slowness or by the client."""
        async with self._sending:
            try:
                with self._hold(len(message)):
                    async with asyncio.timeout(self._send_seconds):
                        await self._socket.send_frame(message, WSMsgType.TEXT)
            except TimeoutError:
                raise await self._too_slow() from None

    async def _too_slow(self) -> ConnectionResetError:
        """End the connection; the code of the close frame waits behind what the client does not take."""
        _log.info("closing a subscriber that takes no messages")
        transport = self._transport
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._socket.close(code=api.TOO_SLOW, message=b"too slow")
        except TimeoutError:
            if transport is not None:
                asyncio.get_running_loop().call_later(CLOSE_SECONDS, transport.abort)
        return ConnectionResetError("the client is too slow")


async def serve(
    request: web.Request,
    feed: Feed,
    dispatcher: Dispatcher,
    sessions: set[web.WebSocketResponse],
    send_seconds: float,
    hold: Hold,
) -> web.WebSocketResponse:
    """Accept a WebSocket and serve it until it ends. Raises NodeBusy if there are too many."""
    if len(sessions) >= MAXIMUM_SESSIONS:
        raise NodeBusy(sessions=len(sessions))
    socket = web.WebSocketResponse(
        heartbeat=PING_SECONDS, max_msg_size=api.MAXIMUM_REQUEST_BYTES, compress=False, timeout=CLOSE_SECONDS
    )
    await socket.prepare(request)
    transport = request.transport
    if transport is not None:
        raw = transport.get_extra_info("socket")
        raw.setsockopt(SOL_SOCKET, SO_SNDBUF, SEND_BUFFER_BYTES)
    sessions.add(socket)
    try:
        await Session(feed, dispatcher, socket, transport, send_seconds, hold).run()
    finally:
        sessions.discard(socket)
    return socket
