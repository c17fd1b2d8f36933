"""Nodes as processes, judged by what their RPC says. `node.chain.head()` calls the method `chain.head` of that node.

A test composes a `Network`, starts, kills and restarts its nodes, and waits for conditions. Leaving the `with` block
ends every process, and shows the end of each log if the test failed.
"""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from chain.action import Action
from chain.transaction import Body, Transaction
from node.config import Configuration
from node.consensus.timing import Timing
from tests.ledger import DEFAULT_FEE, Person
from tests.nodes import Layout

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE_SECONDS = 40.0
POLL_SECONDS = 0.02
LOG_TAIL = 40


class RpcError(Exception):
    """The node answered with an error."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['code']} {error['message']}: {error.get('data')}")
        self.code = error["code"]
        self.data = error.get("data") or {}


class _Namespace:
    def __init__(self, node: "NodeProcess", name: str) -> None:
        self._node = node
        self._name = name

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return lambda **params: self._node.call(f"{self._name}.{method}", params)


class NodeProcess:
    """One `aitbc-node run`."""

    def __init__(self, name: str, configuration: Configuration) -> None:
        self.name = name
        self.configuration = configuration
        self.folder = configuration.node.data.parent
        self.log = self.folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        (self.folder / "node.toml").write_text(to_toml(configuration))

    def __getattr__(self, namespace: str) -> _Namespace:
        return _Namespace(self, namespace)

    def start(self, **environment: str) -> None:
        """Start the process; does not wait for it."""
        assert self.process is None, f"{self.name} runs already"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "node.main", "run", "--config", str(self.folder / "node.toml")],
                cwd=ROOT,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        assert self.process is not None
        self.process.kill()
        self.wait()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """SIGSTOP, and SIGCONT at the end of the block."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def end(self) -> int:
        """SIGKILL unless it is dead already; the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.kill()
        return self.wait()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Wait for its own end; the exit code."""
        assert self.process is not None
        code = self.process.wait(seconds)
        self.process = None
        return code

    @property
    def dead(self) -> bool:
        """Whether it has ended by itself."""
        return self.process is not None and self.process.poll() is not None

    def call(self, method: str, params: dict[str, Any]) -> Any:
        """The result of an RPC method. Raises RpcError, or OSError if the node does not answer."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        status, text = self._http("POST", "/rpc", body)
        assert status == 200, (status, text)
        answer = json.loads(text)
        if "error" in answer:
            raise RpcError(answer["error"])
        return answer["result"]

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of a plain GET."""
        return self._http("GET", path, None)

    def _http(self, verb: str, path: str, body: str | None) -> tuple[int, str]:
        connection = http.client.HTTPConnection(*self.configuration.rpc.listen, timeout=5)
        try:
            headers = {"Content-Type": "application/json"} if body else {}
            connection.request(verb, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()

    @property
    def answers(self) -> bool:
        """Whether it serves RPC."""
        try:
            return bool(self.node.version())
        except OSError:
            assert not self.dead, f"{self.name} ended:\n{self.tail()}"
            return False

    @property
    def height(self) -> int:
        return int(self.chain.head()["height"])

    def block_hash(self, height: int) -> str:
        return str(self.chain.block(height=height)["hash"])

    def is_final(self, txid: str) -> bool:
        """Whether a transaction is final here; fails if it was dropped."""
        status = self.tx.get(txid=txid)["status"]
        assert status in ("unknown", "pending", "final"), status
        return bool(status == "final")

    def tail(self) -> str:
        return "".join(f"  {line}\n" for line in self.log.read_text(errors="replace").splitlines()[-LOG_TAIL:])


class Network:
    """The processes of one network."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.nodes = [
            NodeProcess(configuration.node.data.parent.name, configuration) for configuration in layout.configurations
        ]

    def __enter__(self) -> "Network":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in self.nodes:
            if node.process is not None:
                node.kill()
            if error is not None and node.log.exists():
                print(f"--- {node.name}\n{node.tail()}")

    def start(self, *nodes: NodeProcess) -> None:
        """Start these nodes, or all, and wait until they answer."""
        for node in nodes or self.nodes:
            node.start()
        wait_until(lambda: all(node.answers for node in nodes or self.nodes), "the nodes answer")

    def sign(self, sender: Person, *actions: Action, sequence: int) -> Transaction:
        """A transaction that is valid for ten minutes."""
        body = Body(
            chain_id=self.layout.specification.chain_id,
            sender=sender.address,
            public_key=sender.key.public_key,
            sequence=sequence,
            valid_until_ms=int(time.time() * 1_000) + 600_000,
            idempotency_id=None,
            fee=DEFAULT_FEE,
            actions=actions,
        )
        return Transaction.sign(body, sender.key)


def aitbc_node(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run the command to its end."""
    command = [sys.executable, "-m", "node.main", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_SECONDS)


def wait_until(condition: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Look until a condition holds. Fails, naming `what` was expected, if it takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds} s still not so: {what}"
        time.sleep(POLL_SECONDS)


def wait_for_height(nodes: Iterable[NodeProcess], height: int) -> None:
    """Until every one of the nodes has this height."""
    wanted = list(nodes)
    names = ", ".join(node.name for node in wanted)
    wait_until(lambda: all(node.height >= height for node in wanted), f"{names} at height {height}")


def assert_same_chain(nodes: Iterable[NodeProcess]) -> None:
    """No two of the nodes differ in any block that both have."""
    wanted = list(nodes)
    common = min(node.height for node in wanted)
    for height in range(common + 1):
        hashes = {node.block_hash(height) for node in wanted}
        assert len(hashes) == 1, f"height {height}: {hashes}"


def to_toml(configuration: Configuration) -> str:
    """The file that says what the configuration says."""
    files, network = configuration.node, configuration.network
    lines = ["[node]", *(f"{key} = {_quoted(getattr(files, key))}" for key in ("data", "genesis", "node_key"))]
    if files.bls_key is not None:
        lines.append(f"bls_key = {_quoted(files.bls_key)}")
    lines.append("[network]")
    if network.listen is not None:
        lines.append(f"listen = {_quoted('{}:{}'.format(*network.listen))}")
    for peer in network.peers:
        lines += ["[[network.peers]]", f'key = "{peer.key.hex()}"', f"host = {_quoted(peer.host)}"]
        lines.append(f"port = {peer.port}")
    lines += ["[rpc]", f"listen = {_quoted('{}:{}'.format(*configuration.rpc.listen))}", "[consensus]"]
    lines += [f"{name} = {getattr(configuration.timing, name)}" for name in Timing.__slots__]
    lines += ["[log]", f"level = {_quoted(configuration.log.level)}", f"format = {_quoted(configuration.log.format)}"]
    return "\n".join(lines) + "\n"


def _quoted(value: object) -> str:
    return json.dumps(str(value))
