"""What a hostile follower can say to a whole node over a real link without ending it, or taking all of its time."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chain.actions.accounts import Transfer
from chain.bank import NATIVE_ASSET
from chain.crypto.ed25519 import PrivateKey
from chain.transaction import Body, Transaction
from node.network.config import PeerAddress
from node.network.frames import Priority
from node.network.messages import CatchUpRequest, CatchUpResponse, Transactions, encode_message
from node.network.peers import PeerNetwork
from node.service import Node, wall_ms
from tests.ledger import DEFAULT_FEE, Person
from tests.nodes import FAST_NETWORK, Layout, lay_out, until


class Attacker:
    """A follower with a fresh key that says what it likes to one node."""

    def __init__(self, layout: Layout) -> None:
        target = layout.configurations[0]
        assert target.network.listen is not None
        node_key = next(iter(layout.specification.authorities)).node_key
        self.target = node_key
        self.changed = asyncio.Event()
        self.received: list[bytes] = []
        self.network = PeerNetwork(
            PrivateKey(os.urandom(32)),
            layout.specification.hash,
            None,
            [PeerAddress(node_key, *target.network.listen)],
            [node_key],
            on_message=self._take,
            on_connect=lambda peer: self.changed.set(),
            on_disconnect=lambda peer: self.changed.set(),
            config=FAST_NETWORK,
        )

    def _take(self, peer: bytes, payload: bytes, received_at: float) -> None:
        self.received.append(payload)
        self.changed.set()

    def say(self, payload: bytes) -> None:
        assert self.network.send(self.target, payload, Priority.URGENT)

    async def heard(self) -> None:
        """Until everything said so far was taken: a last request is answered."""
        self.say(encode_message(CatchUpRequest(1, 1)))
        answer = encode_message(CatchUpResponse(1, ()))[:3]
        await until(
            lambda: (
                any(payload[:3] == answer for payload in self.received) or not self.network.is_connected(self.target)
            ),
            self.changed,
        )


@asynccontextmanager
async def attacked(path: Path) -> AsyncIterator[tuple[Node, Attacker]]:
    """A single authority that makes blocks, and somebody who means it harm."""
    layout = lay_out(path, 1)
    node = Node(layout.configurations[0], network=FAST_NETWORK)
    await node.start()
    try:
        attacker = Attacker(layout)
        await attacker.network.start()
        try:
            await until(lambda: attacker.network.is_connected(attacker.target), attacker.changed)
            yield node, attacker
        finally:
            await attacker.network.stop()
    finally:
        await node.stop()


async def goes_on(node: Node) -> None:
    """Two more blocks, or the failure that ended the node."""
    changed = asyncio.Event()
    node.executor.subscribe(lambda final: changed.set())
    goal = node.executor.head().height + 2
    reached = asyncio.create_task(until(lambda: node.executor.head().height >= goal, changed))
    ended = asyncio.create_task(node.wait_stopped())
    done, _ = await asyncio.wait({reached, ended}, return_when=asyncio.FIRST_COMPLETED)
    for task in (reached, ended):
        task.cancel()
    for task in done:
        task.result()
    assert reached in done, "the node ended"


@pytest.mark.parametrize("envelopes", [(), (b"",), (b"nonsense", b"")])
async def test_transactions_without_bytes_do_not_end_a_node(tmp_path: Path, envelopes: tuple[bytes, ...]) -> None:
    """Their sizes add up to nothing, and several are admitted at once."""
    async with attacked(tmp_path) as (node, attacker):
        for _ in range(4):
            attacker.say(encode_message(Transactions(envelopes)))
        await attacker.heard()
        await goes_on(node)


async def test_requests_for_heights_at_the_end_of_all_numbers(tmp_path: Path) -> None:
    async with attacked(tmp_path) as (node, attacker):
        for first in (0, (1 << 64) - 1, (1 << 64) - 256, 1 << 63):
            attacker.say(encode_message(CatchUpRequest(first, 256)))
            await attacker.heard()
            attacker.received.clear()
        await goes_on(node)


async def test_who_floods_with_what_nobody_can_pay_for_is_banned(tmp_path: Path) -> None:
    """Each is well signed, by a fresh key that owns nothing."""
    async with attacked(tmp_path) as (node, attacker):
        envelopes = [broke(node, number) for number in range(1_024)]
        for start in range(0, 1_024, 256):
            attacker.say(encode_message(Transactions(tuple(envelopes[start : start + 256]))))
        assert len(node.mempool) == 0
        # Four times sixteen points are not enough.
        await attacker.heard()
        assert attacker.network.is_connected(attacker.target)
        for start in range(0, 1_024, 256):
            attacker.say(encode_message(Transactions(tuple(envelopes[start : start + 256]))))
        await until(lambda: not attacker.network.is_connected(attacker.target), attacker.changed)
        await goes_on(node)


def broke(node: Node, number: int) -> bytes:
    person = Person(f"broke {number}")
    body = Body(
        chain_id=node.specification.chain_id,
        sender=person.address,
        public_key=person.key.public_key,
        sequence=0,
        valid_until_ms=wall_ms() + 600_000,
        idempotency_id=None,
        fee=DEFAULT_FEE,
        actions=(Transfer(person.address, NATIVE_ASSET, 1),),
    )
    return Transaction.sign(body, person.key).envelope
