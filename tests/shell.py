"""A real node of one authority in a thread of this process, and `aitbc` as a function: what the tests of cli share."""

import asyncio
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from chain.crypto.hashing import sha256
from chain.parameters import Parameters
from cli.context import Application
from cli.main import aitbc
from node.config import Timing
from node.service import Node
from tests.ledger import Person
from tests.nodes import FAST, FAST_NETWORK, lay_out

PEOPLE = ("renter", "provider", "other", "poor")
UNHURRIED = Parameters(heartbeat_timeout_seconds=30 * 86_400, dispute_window_seconds=3_600)


class RunningNode:
    """A node on its own event loop in a thread, so that commands may block as they do in a process of their own."""

    def __init__(
        self,
        folder: Path,
        authorities: int = 1,
        *,
        running: int = 1,
        parameters: Parameters = UNHURRIED,
        others: Sequence[Person] = (),
        timing: Timing = FAST,
    ) -> None:
        """
        Args:
            authorities: of the network.
            running: how many of them run: with one of two nothing becomes final. The first is the one to ask.
            others: people with money beside the usual ones, operators among them.
        """
        people = [*(Person(name) for name in PEOPLE[:3]), *others]
        self.layout = lay_out(folder, authorities, people=people, parameters=parameters, timing=timing)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="node", daemon=True)
        self.thread.start()
        self.nodes = [self.run(self._start(index)) for index in range(running)]
        self.node = self.nodes[0]
        host, port = self.layout.configurations[0].rpc.listen
        self.url = f"http://{host}:{port}"

    async def _start(self, index: int) -> Node:
        node = Node(self.layout.configurations[index], network=FAST_NETWORK)
        await node.start()
        return node

    def run(self, awaitable: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(awaitable, self.loop).result(30)

    def stop(self) -> None:
        for node in self.nodes:
            self.run(node.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


@dataclass(slots=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """What it wrote to stdout, as JSON."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """What it wrote to stderr, which must be one JSON object and nothing else."""
        found = json.loads(self.err)
        assert isinstance(found, dict)
        assert found["message"]
        assert found["hint"]
        return found


@dataclass(slots=True)
class Shell:
    """Runs `aitbc` with its own folder of wallets."""

    folder: Path
    node: str
    environment: dict[str, str] = field(default_factory=dict)

    def __call__(self, *words: str, wallet: str | None = None, stdin: str | bytes | None = None) -> Finished:
        environment = {
            "AITBC_CONFIG_DIR": str(self.folder),
            "AITBC_LOCALNET_DIR": str(self.folder / "no-localnet"),
            "AITBC_NODE": self.node,
            "NO_COLOR": "1",
            "TZ": "UTC",
            **({"AITBC_WALLET": wallet} if wallet else {}),
            **self.environment,
        }
        result = CliRunner().invoke(
            aitbc, list(words), input=stdin, env=environment, obj=Application({"PATH": "", **environment})
        )
        assert isinstance(result.exception, SystemExit) or result.exception is None, result.exception
        assert "Traceback" not in result.output
        return Finished(result.exit_code, result.stdout, result.stderr)

    def ok(self, *words: str, wallet: str | None = None) -> Any:
        """The data of a command that must succeed, sent without questions."""
        done = self("-o", "json", *words, "--yes", wallet=wallet)
        assert done.code == 0, done.err
        return done.data

    def fails(self, code: int, *words: str, wallet: str | None = None) -> dict[str, Any]:
        """The error of a command that must end with this code."""
        done = self("-o", "json", *words, "--yes", wallet=wallet)
        assert done.code == code, (done.code, done.out, done.err)
        assert done.out == ""
        return done.error


def import_people(shell: Shell) -> None:
    """A wallet without a passphrase for each of the people."""
    for name in PEOPLE:
        import_person(shell, name, name)


def import_person(shell: Shell, person: str, wallet: str) -> None:
    """A wallet without a passphrase for the person of this name."""
    seed = shell.folder / f"{wallet}.seed"
    seed.parent.mkdir(parents=True, exist_ok=True)
    seed.write_text(sha256(f"test person {person}".encode()).hex())
    done = shell("wallet", "import", wallet, "--seed-file", str(seed), "--no-passphrase")
    assert done.code == 0, done.err
