"""Who is served: connections and requests are bounded, and when there are too many, whoever only holds a place goes.

A client that sends nothing, dribbles its request or does not take its answer costs little, but many of them would
fill every place and shut the others out. So places are given up by those that make the node wait, the longest idle
connection and the longest waiting request first; a client that is refused nothing notices nothing.
"""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from node.rpc.errors import NodeBusy

MAXIMUM_ANSWER_BYTES = 64 << 20
"""Of all long answers together that clients have not taken yet."""


class Guests:
    """The connections and requests of one server. Used from the event loop only."""

    def __init__(self, maximum_requests: int) -> None:
        self._maximum_requests = maximum_requests
        self._requests = 0
        self._idle: OrderedDict[RequestHandler, None] = OrderedDict()
        """Connections without a request, the longest idle first; some may have ended."""
        self._waiting: OrderedDict[int, web.Request] = OrderedDict()
        """Requests whose client has to send or to take something, the longest waiting first, by identity."""
        self._untaken: OrderedDict[int, tuple[web.Request, int]] = OrderedDict()
        """Bytes of long answers that are being sent, the longest untaken first, by identity of the request."""

    def arrived(self, connection: RequestHandler, connections: int) -> None:
        """A connection was accepted, one of so many."""
        if len(self._idle) > 2 * connections:
            self._idle = OrderedDict.fromkeys(each for each in self._idle if each.transport is not None)
        self._idle[connection] = None

    def make_way(self) -> bool:
        """End the connection that has been idle longest; False if none is."""
        while self._idle:
            connection, _ = self._idle.popitem(last=False)
            if connection.transport is not None:
                connection.transport.abort()
                return True
        return False

    @contextmanager
    def busy(self, request: web.Request) -> Iterator[None]:
        """While a request of a connection is answered, the connection is not idle."""
        connection = request.protocol
        self._idle.pop(connection, None)
        try:
            yield
        finally:
            if connection.transport is not None:
                self._idle[connection] = None

    @contextmanager
    def place(self, request: web.Request) -> Iterator[None]:
        """One of the places for requests. Raises NodeBusy if all are taken by requests that the node works on."""
        if self._requests >= self._maximum_requests and not self._end_longest():
            raise NodeBusy(requests=self._requests)
        self._requests += 1
        try:
            yield
        finally:
            self._requests -= 1

    def _end_longest(self) -> bool:
        while self._waiting:
            _, request = self._waiting.popitem(last=False)
            if request.transport is not None:
                request.transport.abort()
                return True
        return False

    @contextmanager
    def waiting(self, request: web.Request) -> Iterator[None]:
        """While the node waits for the client of a request, its place may be taken."""
        self._waiting[id(request)] = request
        try:
            yield
        finally:
            self._waiting.pop(id(request), None)

    @contextmanager
    def sending(self, request: web.Request, size: int) -> Iterator[None]:
        """While a client takes a long answer; the answers that were not taken for longest give way to it."""
        while self._untaken and sum(each for _, each in self._untaken.values()) + size > MAXIMUM_ANSWER_BYTES:
            _, (other, _) = self._untaken.popitem(last=False)
            if other.transport is not None:
                other.transport.abort()
        self._untaken[id(request)] = (request, size)
        try:
            yield
        finally:
            self._untaken.pop(id(request), None)
