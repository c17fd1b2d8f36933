"""Nodes that vanish or talk rubbish, people at a terminal, and the clock of a start."""

import errno
import http.client
import http.server
import json
import os
import pty
import select
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.shell import Shell


class Between(http.server.ThreadingHTTPServer):
    """Stands between command and node, and may answer in the node's place; `answer` is None to hang up."""

    def __init__(self, node: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.node = node
        self.answers: dict[str, bytes | None] = {}
        self.thread = threading.Thread(target=self.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Between

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        found = [answer for method, answer in self.server.answers.items() if method in body.decode()]
        if found and found[0] is None:
            self.close_connection = True
            return
        data = found[0] or b"" if found else self.forwarded(body)
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def forwarded(self, body: bytes) -> bytes:
        connection = http.client.HTTPConnection(urlsplit(self.server.node).netloc, timeout=10)
        try:
            connection.request("POST", "/rpc", body, {"Content-Type": "application/json"})
            return connection.getresponse().read()
        finally:
            connection.close()

    def log_message(self, *_: object) -> None:
        """Tests are quiet."""


@pytest.fixture
def between(market: Shell) -> Iterator[Between]:
    server = Between(market.node)
    yield server
    server.shutdown()
    server.server_close()
    server.thread.join()


@pytest.fixture
def troubled(market: Shell, between: Between) -> Shell:
    """The market, with somebody between."""
    return Shell(market.folder, between.url)


@pytest.mark.parametrize("method", ["tx.submit", "tx.get"])
def test_a_node_that_vanishes_leaves_the_txid(troubled: Shell, between: Between, method: str) -> None:
    between.answers[method] = None
    error = troubled.fails(3, "wallet", "send", "other", "0.1", wallet="renter")
    assert error["name"] == "sent_but_unknown"
    assert error["data"]["txid"] in error["hint"]
    del between.answers[method]
    found = troubled.ok("blockchain", "transaction", error["data"]["txid"])["status"]
    assert found in (("unknown",) if method == "tx.submit" else ("pending", "final"))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b"null",
        b'{"jsonrpc": "2.0", "id": 1, "result": {}}',
        b'{"jsonrpc": "2.0", "id": 1, "result": {"height": "x"}}',
        b'{"jsonrpc": "2.0", "id": 1, "error": "no"}',
        b'{"jsonrpc": "2.0", "id": 99, "result": {}}',
        b"[" * 50_000,
        b"\xff\xfe",
    ],
)
def test_a_node_that_talks_rubbish(troubled: Shell, between: Between, answer: bytes) -> None:
    between.answers["node.status"] = answer
    assert troubled.fails(1, "blockchain", "status")["name"] == "unreadable_answer"


def test_records_that_lack_their_fields_show_no_trace(troubled: Shell, between: Between) -> None:
    view = {"id": "ab" * 32, "gpu": {}, "status": "active", "available": True, "free_from_ms": None}
    result = {"as_of": {"height": 1, "time_ms": 1}, "items": [view], "next_cursor": "\x1b[31m"}
    between.answers["gpu.list"] = json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode()
    done = troubled("marketplace", "gpu", "list")
    assert done.code == 1
    assert "\x1b" not in done.err


def test_an_error_of_the_node_is_passed_on(troubled: Shell, between: Between) -> None:
    data = {"name": "node_busy", "hint": "Try again soon.\x1b[31m", "waiting": "64"}
    error = {"jsonrpc": "2.0", "id": 1, "error": {"code": 2404, "message": "busy", "data": data}}
    between.answers["node.status"] = json.dumps(error).encode()
    found = troubled.fails(1, "blockchain", "status")
    assert (found["code"], found["name"], found["data"]) == (2404, "node_busy", {"waiting": "64"})
    assert "\x1b" not in troubled("blockchain", "status").err


class Terminal:
    """Runs `aitbc` in a process at a terminal of its own and answers what it asks."""

    def __init__(self, shell: Shell) -> None:
        self.environment = {
            **os.environ,
            "AITBC_CONFIG_DIR": str(shell.folder),
            "AITBC_NODE": shell.node,
            "COLUMNS": "100",
            "NO_COLOR": "1",
        }

    def __call__(self, *words: str, answers: tuple[tuple[str, str], ...] = ()) -> tuple[int, str]:
        child, descriptor = pty.fork()
        if child == 0:
            os.execve(sys.executable, [sys.executable, "-m", "cli.main", *words], self.environment)
        shown, waiting, patience = "", list(answers), 60
        while patience:
            if not select.select([descriptor], [], [], 0.5)[0]:
                patience -= 1
                if shown.endswith("^C"):
                    # Python misses a signal that comes just before it begins to wait for a line; a person repeats it.
                    os.write(descriptor, b"\x03")
                continue
            try:
                data = os.read(descriptor, 65_536)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                data = b""
            if not data:
                break
            shown += data.decode()
            if waiting and shown.endswith(waiting[0][0]):
                os.write(descriptor, waiting.pop(0)[1].encode())
        os.close(descriptor)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown.replace("\r\n", "\n")


ASKED = "Sign and send this transaction? [y/N]: "


@pytest.mark.parametrize(
    ("answer", "code", "told"), [("y\n", 0, "final"), ("n\n", 1, "nothing was done"), ("\x03", 130, "")]
)
def test_a_person_is_asked_and_obeyed(market: Shell, answer: str, code: int, told: str) -> None:
    done, shown = Terminal(market)("wallet", "send", "other", "0.5", "--wallet", "renter", answers=((ASKED, answer),))
    assert done == code, shown
    assert told in shown
    assert "0.5 AITBC" in shown


def test_a_passphrase_is_asked_twice_never_shown_and_asked_again_to_sign(market: Shell) -> None:
    terminal = Terminal(market)
    asked = (("New passphrase: ", "open sesame\n"), ("Repeat for confirmation: ", "open sesame\n"))
    code, shown = terminal("wallet", "create", "typed", answers=asked)
    assert code == 0, shown
    assert "sesame" not in shown
    market.ok("wallet", "send", "typed", "1", wallet="renter")
    passphrase = "Passphrase of wallet typed: "
    words = ("wallet", "send", "renter", "0.5", "--wallet", "typed")
    code, shown = terminal(*words, answers=((ASKED, "y\n"), (passphrase, "open barley\n")))
    assert code == 4, shown
    assert "does not open" in shown
    code, shown = terminal(*words, answers=((ASKED, "y\n"), (passphrase, "open sesame\n")))
    assert code == 0, shown


def test_what_others_sealed_cannot_steer_the_terminal(
    market: Shell, register: Callable[..., str], tmp_path: Path
) -> None:
    gpu = register("Seal")
    booking = market.ok("marketplace", "gpu", "book", gpu, "--hours", "1", wallet="renter")["booking"]
    hostile = tmp_path / "access"
    hostile.write_text("ssh a@b\n\x1b]0;owned\x07\x1b[2J")
    market.ok("marketplace", "booking", "activate", booking, "--access-file", str(hostile), wallet="provider")
    code, shown = Terminal(market)("marketplace", "gpu", "access", booking, "--wallet", "renter")
    assert code == 0
    assert shown.startswith("ssh a@b\n")
    assert "\x1b" not in shown
    assert market("marketplace", "gpu", "access", booking, wallet="renter").out == hostile.read_text() + "\n"
