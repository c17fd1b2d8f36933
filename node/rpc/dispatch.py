"""One body of JSON-RPC 2.0: split, decode, call, encode. The only module that knows jsonrpcserver.

jsonrpcserver finds the method and calls it. Around it this module does what it does not: it takes batches apart, so
that one bad item costs one error; it keeps ids as the raw JSON they came in, so that they return exactly; it decodes
parameters strictly; it turns every exception into a coded error and sends nothing of an unexpected one but a
reference; and it gathers the items of a batch that are cheaper together.
"""

import asyncio
import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from copy import copy
from dataclasses import dataclass
from inspect import Parameter, Signature
from types import CoroutineType
from typing import Annotated, Any, Literal, TypeAlias, cast

import msgspec
from jsonrpcserver.dispatcher import dispatch_to_response_pure
from jsonrpcserver.exceptions import JsonRpcError
from jsonrpcserver.result import Success
from oslash.either import Left

from chain.errors import LedgerError
from chain.interface import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    MAXIMUM_BATCH,
    METHOD_NOT_FOUND,
    METHODS,
    PARSE_ERROR,
    STREAM_METHODS,
    Method,
)
from node.rpc.context import RpcContext
from node.rpc.errors import BatchTooLarge, NodeBusy, ProtocolFault, ResponseTooLarge, ledger_error, protocol_error
from node.rpc.params import decoder_of
from node.rpc.reading import READING_THREADS
from node.store_errors import StoreError

_log = logging.getLogger(__name__)

MAXIMUM_RESPONSE_BYTES = 16 << 20
"""Of one answer, all items of a batch together."""
MAXIMUM_ID_BYTES = 256
SMALL_BATCH = 10
"""Requests in a batch that is answered at once; larger ones take turns."""
MAXIMUM_LARGE_BATCHES = 64
"""Larger ones in progress; more are refused, so that they do not take the places of all other requests."""

Handler: TypeAlias = Callable[[RpcContext, Any], Any]
"""Takes the decoded parameters; returns the result, a coroutine that gives it, or a `Together`."""

_AT_ONCE = nullcontext[None]
_NULL = msgspec.Raw(b"null")
_ID = re.compile(rb'(?:"[^\x00-\x1f]*"|-?(?:0|[1-9][0-9]*)|null)\Z')
_METHOD_FOR_METRICS = "unknown"


@dataclass(frozen=True, slots=True)
class Together:
    """What a handler returns to have `run` called once with the items of all such requests of a batch."""

    run: Callable[[RpcContext, Sequence[Any]], Awaitable[Sequence[Any]]]
    """Gives one result for each item, in order; a LedgerError among them is that item's error."""
    item: Any


class _Request(msgspec.Struct):
    jsonrpc: Literal["2.0"]
    method: Annotated[str, msgspec.Meta(max_length=64)]
    params: msgspec.Raw = msgspec.Raw(b"")
    id: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Identified(msgspec.Struct):
    """Enough of a bad request to say which one it was."""

    id: msgspec.Raw = _NULL


class _Success(msgspec.Struct):
    jsonrpc: str
    result: Any
    id: msgspec.Raw


class _Failure(msgspec.Struct):
    jsonrpc: str
    error: dict[str, Any]
    id: msgspec.Raw


_decode_batch = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_request = msgspec.json.Decoder(_Request).decode
_decode_identified = msgspec.json.Decoder(_Identified).decode
_decode_text = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode
_Undecodable = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


@dataclass(slots=True)
class _Item:
    """One request on its way; ends with a result or an error."""

    method: str
    id: msgspec.Raw | None
    """None for a notification."""
    began: float
    result: Any = None
    error: dict[str, Any] | None = None


class _Room:
    """What the answer to one body may still take, counted as its parts come in, so that no more is read than fits."""

    def __init__(self) -> None:
        self._left = MAXIMUM_RESPONSE_BYTES

    def require(self) -> None:
        """Raises ResponseTooLarge if there is none left."""
        if self._left < 0:
            raise ResponseTooLarge(maximum=MAXIMUM_RESPONSE_BYTES)

    def take(self, result: Any) -> None:
        """Count a result that is encoded already. Raises ResponseTooLarge if it does not fit."""
        if isinstance(result, msgspec.Raw):
            self._left -= memoryview(result).nbytes
            self.require()


class Dispatcher:
    """Answers bodies of requests with the handlers given, which must be exactly those that the interface lists."""

    def __init__(self, context: RpcContext, handlers: Mapping[str, Handler]) -> None:
        if handlers.keys() != METHODS.keys():
            raise ValueError(f"methods without handler or the reverse: {sorted(handlers.keys() ^ METHODS.keys())}")
        self._context = context
        self._large = asyncio.Lock()
        self._large_batches = 0
        self._methods = {name: self._callable(METHODS[name], handler) for name, handler in handlers.items()}

    def extended(self, handlers: Mapping[str, Handler]) -> "Dispatcher":
        """This dispatcher with stream methods beside its own, for one WebSocket connection."""
        extended = copy(self)
        added = {name: self._callable(STREAM_METHODS[name], handler) for name, handler in handlers.items()}
        extended._methods = {**self._methods, **added}
        return extended

    async def answer(self, body: bytes) -> bytes | None:
        """The answer to a body; None if it held notifications only."""
        try:
            text = body.decode("utf-8").lstrip(" \t\r\n")
        except UnicodeDecodeError:
            return self._refuse(protocol_error(PARSE_ERROR, "not UTF-8"))
        if not text.startswith("["):
            item = self._begin(body)
            await self._finish([item])
            return None if item.id is None else self._encode(item, MAXIMUM_RESPONSE_BYTES)
        try:
            raws = _decode_batch(body)
        except _Undecodable as error:
            return self._refuse(protocol_error(PARSE_ERROR, _reason(error)))
        if not raws:
            return self._refuse(protocol_error(INVALID_REQUEST, "the batch is empty"))
        if len(raws) > MAXIMUM_BATCH:
            return self._refuse(self.coded(BatchTooLarge(size=len(raws), maximum=MAXIMUM_BATCH)))
        if len(raws) <= SMALL_BATCH:
            return await self._answer_batch(raws, _AT_ONCE)
        if self._large_batches >= MAXIMUM_LARGE_BATCHES:
            return self._refuse(self.coded(NodeBusy(batches=self._large_batches)))
        self._large_batches += 1
        try:
            return await self._answer_batch(raws, self._turn)
        finally:
            self._large_batches -= 1

    async def _answer_batch(
        self, raws: Sequence[msgspec.Raw], turn: Callable[[], AbstractAsyncContextManager[None]]
    ) -> bytes | None:
        async with turn():
            items = [self._begin(raw) for raw in raws]
        await self._finish(items)
        async with turn():
            return self._encode_batch([item for item in items if item.id is not None])

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Let large batches that arrive together run one in each round of the event loop, and all else beside them."""
        async with self._large:
            await asyncio.sleep(0)
            yield

    def coded(self, error: LedgerError) -> dict[str, Any]:
        """The error object of a coded error on this network."""
        return ledger_error(error, self._context.prefix)

    def _refuse(self, error: dict[str, Any]) -> bytes:
        """The answer to a body that is no request at all."""
        return _encode(_Failure("2.0", error, _NULL))

    def _begin(self, raw: bytes | msgspec.Raw) -> _Item:
        """Decode one request and call its method; what the call returned may still have to be awaited."""
        began = time.perf_counter()
        try:
            request = _decode_request(raw)
        except _Undecodable as error:
            return _refused(raw, began, error)
        item = _Item(request.method, _NULL, began)
        if request.id is msgspec.UNSET:
            item.id = None
        elif not _valid_id(bytes(request.id)):
            item.error = protocol_error(INVALID_REQUEST, "id must be a string, an integer or null")
            return item
        else:
            item.id = request.id
        params = bytes(request.params)
        if params == b"null":
            params = b""
        response: Any = dispatch_to_response_pure(
            deserializer=_identity,
            validator=_identity,
            methods=self._methods,
            context=self._context,
            post_process=_identity,
            request=cast(str, {"method": request.method, "params": [params], "id": 0}),
        )
        if isinstance(response, Left):
            item.error = self._shown(response._error)
        else:
            item.result = response._value.result
        return item

    def _shown(self, error: Any) -> dict[str, Any]:
        """The error object of what jsonrpcserver made of a failure."""
        if isinstance(error.data, dict):
            return error.data
        if error.code == METHOD_NOT_FOUND:
            return protocol_error(METHOD_NOT_FOUND)
        return self._unexpected(RuntimeError(f"jsonrpcserver failed: {error.code} {error.message}"))

    def _callable(self, method: Method, handler: Handler) -> Callable[..., Any]:
        """The function that jsonrpcserver calls for a method: decodes, calls, and codes what is raised."""
        decoder = decoder_of(method.params)

        def call(context: RpcContext, raw: bytes) -> Any:
            try:
                return Success(handler(context, decoder.decode(raw)))
            except Exception as error:
                raise JsonRpcError(0, "", self._error(error)) from None

        # Set beforehand, because jsonrpcserver asks for the signature on every call and working it out is slow.
        parameters = [Parameter(word, Parameter.POSITIONAL_ONLY) for word in ("context", "raw")]
        call.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        return call

    def _error(self, error: Exception) -> dict[str, Any]:
        if isinstance(error, LedgerError) and not isinstance(error, StoreError):
            return self.coded(error)
        if isinstance(error, ProtocolFault):
            return protocol_error(error.code, error.reason)
        return self._unexpected(error)

    def _unexpected(self, error: BaseException) -> dict[str, Any]:
        reference = secrets.token_hex(8)
        _log.error("a request failed unexpectedly, reference %s", reference, exc_info=error)
        return protocol_error(INTERNAL_ERROR, reference=reference)

    async def _finish(self, items: Sequence[_Item]) -> None:
        """Await what has to be awaited: grouped items once a group, the others side by side."""
        groups: dict[Any, list[_Item]] = {}
        waiting: list[Awaitable[None]] = []
        # One body never occupies more than the reading threads, so that a batch of scans does not shut others out.
        turns = asyncio.Semaphore(READING_THREADS)
        room = _Room()
        for item in items:
            if isinstance(item.result, Together):
                groups.setdefault(item.result.run, []).append(item)
            elif isinstance(item.result, CoroutineType):
                waiting.append(self._await(item, turns, room))
        waiting += [self._run_together(run, group) for run, group in groups.items()]
        if len(waiting) == 1:
            await waiting[0]
        elif waiting:
            await asyncio.gather(*waiting)
        for item in items:
            known = item.method if item.method in self._methods else _METHOD_FOR_METRICS
            code = item.error["code"] if item.error else None
            self._context.metrics.rpc_answered(known, time.perf_counter() - item.began, code)

    async def _await(self, item: _Item, turns: asyncio.Semaphore, room: "_Room") -> None:
        coroutine = item.result
        try:
            async with turns:
                room.require()
                item.result = await coroutine
                room.take(item.result)
        except Exception as error:
            coroutine.close()
            item.result, item.error = None, self._error(error)

    async def _run_together(self, run: Callable[..., Awaitable[Sequence[Any]]], group: Sequence[_Item]) -> None:
        try:
            results = await run(self._context, [item.result.item for item in group])
        except Exception as error:
            shown = self._error(error)
            for item in group:
                item.error = shown
            return
        for item, result in zip(group, results, strict=True):
            if isinstance(result, LedgerError):
                item.error = self.coded(result)
            else:
                item.result = result

    def _encode_batch(self, items: Sequence[_Item]) -> bytes | None:
        if not items:
            return None
        parts: list[bytes] = []
        room = MAXIMUM_RESPONSE_BYTES
        for item in items:
            parts.append(self._encode(item, room))
            room -= len(parts[-1])
        return b"[" + b",".join(parts) + b"]"

    def _encode(self, item: _Item, room: int) -> bytes:
        number = item.id or _NULL
        if item.error is not None:
            return _encode(_Failure("2.0", item.error, number))
        try:
            encoded = _encode(_Success("2.0", item.result, number))
        except Exception as error:
            return _encode(_Failure("2.0", self._unexpected(error), number))
        if len(encoded) > max(room, 0):
            too_large = self.coded(ResponseTooLarge(size=len(encoded), maximum=MAXIMUM_RESPONSE_BYTES))
            return _encode(_Failure("2.0", too_large, number))
        return encoded


def encoded(result: Any) -> msgspec.Raw:
    """A result that is already JSON, for long ones that are encoded off the event loop."""
    return msgspec.Raw(_encode(result))


def _identity(value: Any) -> Any:
    return value


def _valid_id(raw: bytes) -> bool:
    if len(raw) > MAXIMUM_ID_BYTES or not _ID.match(raw):
        return False
    if raw[:1] == b'"':
        try:
            _decode_text(raw)
        except _Undecodable:
            return False
    return True


def _refused(raw: bytes | msgspec.Raw, began: float, error: Exception) -> _Item:
    """The item of something that is no request: a parse error if it is no JSON either."""
    item = _Item("", _NULL, began)
    if isinstance(error, msgspec.ValidationError):
        item.error = protocol_error(INVALID_REQUEST, _reason(error))
        try:
            found = _decode_identified(raw).id
        except _Undecodable:
            return item
        if _valid_id(bytes(found)):
            item.id = found
        return item
    item.error = protocol_error(PARSE_ERROR, _reason(error))
    return item


def _reason(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)
