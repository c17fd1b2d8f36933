"""The node client: addresses, answers that cannot be trusted, and connections that were closed meanwhile."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from wallet.client import NodeClient, NodeUnreachable, RpcError, UnreadableAnswer


@contextmanager
def server(answer: Any, *, close: bool = False) -> Iterator[tuple[str, list[Any]]]:
    """A server that gives one answer to everything; (its address, what it was asked)."""
    asked: list[Any] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            body = answer(asked[-1]) if callable(answer) else answer
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            self.close_connection = close

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}", asked
        running.shutdown()


VERSION = {"version": "1", "interface_version": "1.0.0", "python": "3.11"}


def good(request: Any) -> Any:
    return {"jsonrpc": "2.0", "id": request["id"], "result": VERSION}


@pytest.mark.parametrize("url", ["http://[", "http://host:port", "ftp://host", "", "http://"])
def test_what_is_no_address_is_unreachable(url: str) -> None:
    with pytest.raises(NodeUnreachable):
        NodeClient(url)


@pytest.mark.parametrize("calls", [1, 2])
def test_an_error_about_the_whole_request_is_told_as_it_is(calls: int) -> None:
    error = {"code": 2404, "message": "busy", "data": {"name": "node_busy", "hint": "try again"}}
    answer = {"jsonrpc": "2.0", "id": None, "error": error}
    with server(answer) as (url, _), NodeClient(url) as client, pytest.raises(RpcError) as caught:
        client.batch([("node.version", {})] * calls)
    assert (caught.value.rpc_name, caught.value.hint) == ("node_busy", "try again")


def test_nobody_listens() -> None:
    with NodeClient("http://127.0.0.1:1") as client, pytest.raises(NodeUnreachable, match="refused"):
        client.call("node.version")


def test_an_answer_becomes_its_record_and_none_is_left_out() -> None:
    with server(good) as (url, asked), NodeClient(url) as client:
        assert client.call("node.version", nothing=None).interface_version == "1.0.0"
        assert asked[0]["params"] == {}


def test_a_connection_that_was_closed_meanwhile_is_opened_again() -> None:
    with server(good, close=True) as (url, asked), NodeClient(url) as client:
        for _ in range(3):
            client.call("node.version")
        assert len(asked) == 3


@pytest.mark.parametrize(
    "answer",
    [
        b"not JSON",
        b"[" * 2_000,
        b"\xff\xfe",
        [],
        {"jsonrpc": "2.0", "id": 99, "result": VERSION},
        {"jsonrpc": "2.0", "id": [], "result": VERSION},
        {"jsonrpc": "2.0", "id": 1, "result": {**VERSION, "version": 1}},
        {"jsonrpc": "2.0", "id": 1, "result": None},
        {"jsonrpc": "2.0", "id": 1, "error": "broken"},
        {"jsonrpc": "2.0", "id": 1, "error": {"code": "1"}},
    ],
)
def test_an_answer_that_cannot_be_read_has_its_own_error(answer: Any) -> None:
    with server(answer) as (url, _), NodeClient(url) as client, pytest.raises(UnreadableAnswer):
        client.call("node.version")


def test_an_error_keeps_code_name_hint_and_data() -> None:
    error = {"code": 1101, "message": "m", "data": {"name": "insufficient_funds", "hint": "h", "needed": "5"}}

    def answer(request: Any) -> Any:
        return {"jsonrpc": "2.0", "id": request["id"], "error": error}

    with server(answer) as (url, _), NodeClient(url) as client, pytest.raises(RpcError) as caught:
        client.call("node.version")
    assert (caught.value.rpc_code, caught.value.rpc_name, caught.value.hint) == (1101, "insufficient_funds", "h")
    assert caught.value.details == {"needed": "5"}


def test_a_batch_keeps_its_order_whatever_the_order_of_the_answers() -> None:
    def backwards(requests: Any) -> Any:
        answers = [
            {"jsonrpc": "2.0", "id": each["id"], "result": {**VERSION, "version": str(each["id"])}} for each in requests
        ]
        answers[1] = {"jsonrpc": "2.0", "id": requests[1]["id"], "error": {"code": -32603, "message": "x"}}
        return answers[::-1]

    with server(backwards) as (url, _), NodeClient(url) as client:
        first, second, third = client.batch([("node.version", {})] * 3)
    assert (first.version, third.version) == ("1", "3")
    assert isinstance(second, RpcError)
