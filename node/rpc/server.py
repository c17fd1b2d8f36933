"""The node's HTTP server: POST /rpc, the WebSocket /ws, /healthz, /readyz and /metrics.

Everything is bounded: connections, requests in progress, the size of a body and the time it may take to arrive. A
body is read here and answered by the dispatcher; what is wrong with HTTP itself is answered with an HTTP status and
a coded error in the same form as everything else.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Any

import msgspec
from aiohttp import WSCloseCode, web

from chain.errors import LedgerError
from chain.interface import MAXIMUM_REQUEST_BYTES
from node.executor import FinalBlock
from node.rpc import health, subscriptions
from node.rpc.access import Access
from node.rpc.context import RpcContext
from node.rpc.dispatch import Dispatcher
from node.rpc.errors import (
    ForbiddenHost,
    ForbiddenOrigin,
    NodeBusy,
    RequestTimeout,
    RequestTooLarge,
    TooManyConnections,
    UnsupportedEncoding,
    ledger_error,
)
from node.rpc.guests import Guests
from node.rpc.methods import HANDLERS

_log = logging.getLogger(__name__)

BODY_SECONDS = 10.0
"""Within which a body must have arrived."""
IDLE_SECONDS = 30.0
"""After which a connection without a complete request head is closed."""
MAXIMUM_CONNECTIONS = 1_024
MAXIMUM_REQUESTS = 256
"""In progress at once."""
PIECE_BYTES = 64 << 10
"""Longer answers are sent in pieces of this size, each of which the client must take in time."""

_JSON = "application/json"
_STATUS = {
    RequestTooLarge: 413,
    RequestTimeout: 408,
    UnsupportedEncoding: 415,
    ForbiddenHost: 403,
    ForbiddenOrigin: 403,
    NodeBusy: 503,
}


class RpcServer:
    """Serves one node's interface on one address."""

    def __init__(
        self,
        context: RpcContext,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        hosts: Collection[str] = (),
        origins: Collection[str] = (),
        body_seconds: float = BODY_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        send_seconds: float = subscriptions.SEND_SECONDS,
        maximum_connections: int = MAXIMUM_CONNECTIONS,
        maximum_requests: int = MAXIMUM_REQUESTS,
    ) -> None:
        """
        Args:
            host: address to listen on.
            port: 0 chooses a free one; see `port` after `start`.
            hosts: names by which clients may address the node, beside localhost and IP addresses.
            origins: origins of web pages that may use it.
        """
        self._context = context
        self._address = (host, port)
        self._access = Access(hosts, origins)
        self._body_seconds = body_seconds
        self._maximum_connections = maximum_connections
        self._dispatcher = Dispatcher(context, HANDLERS)
        self._feed = subscriptions.Feed(context)
        self._sessions: set[web.WebSocketResponse] = set()
        self._send_seconds = send_seconds
        self._guests = Guests(maximum_requests)
        self._server: asyncio.Server | None = None
        application = web.Application(middlewares=[self._guard], client_max_size=MAXIMUM_REQUEST_BYTES)
        application.router.add_post("/rpc", self._rpc)
        application.router.add_route("OPTIONS", "/rpc", self._preflight)
        application.router.add_get("/ws", self._websocket)
        application.on_shutdown.append(self._end_sessions)
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", self._metrics)
        # What is no HTTP at all is answered with a status; it is not worth a line in the log, let alone a traceback.
        quiet = logging.getLogger(f"{__name__}.http")
        quiet.setLevel(logging.CRITICAL)
        self._runner = web.AppRunner(
            application,
            access_log=None,
            logger=quiet,
            handle_signals=False,
            keepalive_timeout=idle_seconds,
            lingering_time=1.0,
            auto_decompress=False,
            shutdown_timeout=1.0,
        )

    @property
    def port(self) -> int:
        """The port it listens on, once started."""
        if self._server is None:
            return self._address[1]
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        """Bind and serve. Raises OSError if the address is taken."""
        await self._runner.setup()
        host, port = self._address
        try:
            self._server = await asyncio.get_running_loop().create_server(
                self._connection, host, port, reuse_address=True, backlog=128
            )
        except OSError:
            await self._runner.cleanup()
            raise
        _log.info("rpc on http://%s:%d", host, self.port)

    async def stop(self) -> None:
        """Close every connection. Idempotent."""
        if self._server is not None:
            server, self._server = self._server, None
            server.close()
            await self._runner.cleanup()
            await server.wait_closed()

    def on_final(self, final: FinalBlock) -> None:
        """A block became final and is on disk; called on the event loop, in order."""
        self._feed.on_final(final)

    def _connection(self) -> asyncio.Protocol:
        serving = self._runner.server
        if serving is None:
            return _Refusal()
        connections = len(serving.connections)
        if connections >= self._maximum_connections and not self._guests.make_way():
            return _Refusal()
        connection = serving()
        self._guests.arrived(connection, connections)
        return connection

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Host, Origin, load, and errors of every kind."""
        try:
            self._access.check(request.headers.get("Host"), request.headers.get("Origin"))
            with self._guests.busy(request):
                response = await self._handle(request, handler)
        except LedgerError as error:
            return self._refused(error)
        except web.HTTPException as error:
            return _plain(error.status, f"{error.reason}\n")
        except Exception as error:
            reference = secrets.token_hex(8)
            _log.error("a request failed unexpectedly, reference %s", reference, exc_info=error)
            return _plain(500, f"internal error, reference {reference}\n")
        if not response.prepared:
            _allow_origin(request, response)
        return response

    async def _handle(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Run a handler as one of a bounded number. Raises NodeBusy."""
        if request.path == "/ws":
            return await handler(request)  # lives long, and is counted by itself
        with self._guests.place(request):
            return await handler(request)

    def _refused(self, error: LedgerError) -> web.Response:
        """A coded error about the HTTP request; the connection ends if its body was not read."""
        shown = {"jsonrpc": "2.0", "error": ledger_error(error, self._context.prefix), "id": None}
        response = web.Response(status=_STATUS.get(type(error), 400), body=_encoded(shown), content_type=_JSON)
        response.force_close()
        return response

    async def _rpc(self, request: web.Request) -> web.StreamResponse:
        try:
            with self._guests.waiting(request):
                body = await self._body(request)
        except (ConnectionError, web.RequestPayloadError):
            return _plain(400, "the body ended early\n")  # mostly nobody is there to read it
        answer = await self._dispatcher.answer(body)
        if answer is None:
            return web.Response(status=204)
        if len(answer) <= PIECE_BYTES:
            return web.Response(body=answer, content_type=_JSON)
        with self._guests.waiting(request), self._guests.sending(request, len(answer)):
            return await self._send(request, answer)

    async def _send(self, request: web.Request, answer: bytes) -> web.StreamResponse:
        """Send a long answer piece by piece, and give up on a client that does not take it.

        Meanwhile the answer counts, so that the memory that answers take is bounded.
        """
        response = web.StreamResponse(headers={"Content-Type": _JSON, "Content-Length": str(len(answer))})
        _allow_origin(request, response)
        try:
            await response.prepare(request)
            for start in range(0, len(answer), PIECE_BYTES):
                async with asyncio.timeout(self._send_seconds):
                    await response.write(answer[start : start + PIECE_BYTES])
        except TimeoutError:
            _log.info("giving up on a client that takes no answer")
            if request.transport is not None:
                request.transport.abort()
        except ConnectionError:
            pass  # the client has left
        return response

    async def _body(self, request: web.Request) -> bytes:
        """Raises RequestTooLarge, RequestTimeout or UnsupportedEncoding."""
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise UnsupportedEncoding
        if (request.content_length or 0) > MAXIMUM_REQUEST_BYTES:
            raise RequestTooLarge(size=request.content_length or 0, maximum=MAXIMUM_REQUEST_BYTES)
        body = bytearray()
        try:
            async with asyncio.timeout(self._body_seconds):
                while chunk := await request.content.readany():
                    body += chunk
                    if len(body) > MAXIMUM_REQUEST_BYTES:
                        raise RequestTooLarge(maximum=MAXIMUM_REQUEST_BYTES)
        except TimeoutError:
            raise RequestTimeout(seconds=int(self._body_seconds)) from None
        return bytes(body)

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        hold = partial(self._guests.sending, request)
        return await subscriptions.serve(
            request, self._feed, self._dispatcher, self._sessions, self._send_seconds, hold
        )

    async def _end_sessions(self, application: web.Application) -> None:
        closing = [socket.close(code=WSCloseCode.GOING_AWAY, message=b"the node stops") for socket in self._sessions]
        await asyncio.gather(*closing, return_exceptions=True)

    async def _preflight(self, request: web.Request) -> web.Response:
        """A browser asks whether a page may use the node; the origin has been checked."""
        headers = {"Access-Control-Allow-Methods": "POST", "Access-Control-Allow-Headers": "Content-Type"}
        return web.Response(status=204, headers=headers)

    async def _healthz(self, request: web.Request) -> web.Response:
        return _plain(200, "ok\n")

    async def _readyz(self, request: web.Request) -> web.Response:
        return _plain(*health.readiness(self._context.status()))

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self._context.metrics.render(), headers={"Content-Type": health.METRICS_TYPE})


class _Refusal(asyncio.Protocol):
    """Ends a connection that is one too many; it is not worth a line in the log, or many would fill the disk."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        _log.debug("%s", TooManyConnections(maximum=MAXIMUM_CONNECTIONS))
        if isinstance(transport, asyncio.Transport):
            transport.abort()


def _allow_origin(request: web.Request, response: web.StreamResponse) -> None:
    """Let the page that asked, whose origin has been checked, read the answer."""
    origin = request.headers.get("Origin")
    if origin is not None:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Vary"] = "Origin"


def _plain(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text)


def _encoded(value: Any) -> bytes:
    return msgspec.json.encode(value)
