"""The typed node client: every RPC method by its name, its result as the dataclass of `chain.interface`.

It speaks HTTP through the standard library, because the command line starts it for a single call and must be quick.
A node's answer is as hostile as anything else from outside: bounded, and converted strictly.
"""

import http.client
import json
from collections.abc import Sequence
from typing import Any, Self
from urllib.parse import urlsplit

from chain.interface import MAXIMUM_BATCH, METHODS
from wallet.errors import WalletError

MAXIMUM_ANSWER_BYTES = 64 << 20
DEFAULT_TIMEOUT = 10.0
"""Seconds for one answer."""


class NodeUnreachable(WalletError):
    """data: url, reason."""

    code = 3101
    text = "No node answers at {url}: {reason}."
    advice = "Start one with ./localnet/start, or name another with --node."


class UnreadableAnswer(WalletError):
    """data: url, reason."""

    code = 3102
    text = "The node at {url} gave an answer that cannot be read: {reason}."
    advice = "Check that the address is that of a node, and that both sides run the same version."


class RpcError(WalletError):
    """An error that the node returned; `code`, `name` and `hint` are the node's own."""

    code = 3107
    text = "{message}"

    def __init__(self, code: int, message: str, data: dict[str, Any]) -> None:
        super().__init__(message=message[:2_000])
        self.rpc_code = code
        self.rpc_name = str(data.get("name", "rpc_error"))
        self.details = {key: value for key, value in data.items() if key not in ("name", "hint")}
        self._hint = str(data.get("hint", ""))

    @property
    def hint(self) -> str:
        return self._hint


class NodeClient:
    """A connection to one node. Not for several threads at once."""

    def __init__(self, url: str, timeout: float = DEFAULT_TIMEOUT) -> None:
        """`url` is http://host:port. Raises NodeUnreachable if it is not a URL."""
        try:
            parts = urlsplit(url if "//" in url else f"http://{url}")
            port = parts.port
        except ValueError as error:
            raise NodeUnreachable(url=url, reason=str(error)) from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise NodeUnreachable(url=url, reason="not an http:// address")
        self.url = f"{parts.scheme}://{parts.netloc}"
        self._path = parts.path.rstrip("/") + "/rpc" if parts.path.rstrip("/") != "/rpc" else "/rpc"
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, port, timeout=timeout)
        self._next_id = 0

    def call(self, method: str, **params: Any) -> Any:
        """One call; the result as the method's dataclass. Parameters that are None are left out.

        Raises NodeUnreachable, UnreadableAnswer or RpcError.
        """
        result = self.batch([(method, params)])[0]
        if isinstance(result, RpcError):
            raise result
        return result

    def batch(self, calls: Sequence[tuple[str, dict[str, Any]]]) -> list[Any]:
        """Up to 100 calls in one request: for each its result, or its RpcError, in order.

        Raises NodeUnreachable or UnreadableAnswer.
        """
        if not 1 <= len(calls) <= MAXIMUM_BATCH:
            raise ValueError(f"a batch holds 1 to {MAXIMUM_BATCH} calls")
        requests = [self._request(method, params) for method, params in calls]
        answers = self._post(requests[0] if len(requests) == 1 else requests)
        if isinstance(answers, dict) and "error" in answers and answers.get("id") is None:
            raise self._error(answers["error"])  # about the whole request: the node is busy, it is too large, …
        if len(requests) == 1:
            answers = [answers]
        if not isinstance(answers, list):
            raise UnreadableAnswer(url=self.url, reason="expected a list of answers")
        by_id = {
            answer["id"]: answer for answer in answers if isinstance(answer, dict) and type(answer.get("id")) is int
        }
        return [
            self._result(method, by_id.get(request["id"])) for (method, _), request in zip(calls, requests, strict=True)
        ]

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._next_id += 1
        given = {name: value for name, value in params.items() if value is not None}
        return {"jsonrpc": "2.0", "id": self._next_id, "method": method, "params": given}

    def _post(self, payload: Any) -> Any:
        body = json.dumps(payload).encode()
        if self._connection.sock is None:
            status, data = self._exchange(body)
        else:
            try:
                status, data = self._exchange(body)
            except NodeUnreachable:
                # A kept connection may have been closed meanwhile; every call may be repeated, also tx.submit.
                status, data = self._exchange(body)
        if len(data) > MAXIMUM_ANSWER_BYTES:
            self._connection.close()
            raise UnreadableAnswer(url=self.url, reason="too large")
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise UnreadableAnswer(url=self.url, reason=f"HTTP {status}, not JSON") from error

    def _exchange(self, body: bytes) -> tuple[int, bytes]:
        try:
            self._connection.request("POST", self._path, body, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            return response.status, response.read(MAXIMUM_ANSWER_BYTES + 1)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise NodeUnreachable(url=self.url, reason=_reason(error)) from error

    def _error(self, error: Any) -> RpcError:
        if not isinstance(error, dict) or type(error.get("code")) is not int:
            raise UnreadableAnswer(url=self.url, reason="an error without a code")
        data = error.get("data")
        return RpcError(error["code"], str(error.get("message", "")), data if isinstance(data, dict) else {})

    def _result(self, method: str, answer: dict[str, Any] | None) -> Any:
        import msgspec  # here, because reading a wallet needs no node

        if answer is None:
            raise UnreadableAnswer(url=self.url, reason="an answer is missing")
        if "error" in answer:
            return self._error(answer["error"])
        try:
            return msgspec.convert(answer.get("result"), METHODS[method].result)
        except msgspec.ValidationError as error:
            raise UnreadableAnswer(url=self.url, reason=f"{method}: {error}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error)[:200] or type(error).__name__
