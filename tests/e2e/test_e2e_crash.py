"""Nodes that are killed without warning: nothing acknowledged is lost, nothing forks, and the chain goes on."""

import resource
import signal
import time
from pathlib import Path

import pytest

from chain.actions.accounts import Transfer
from chain.bank import NATIVE_ASSET
from tests.e2e.support import Network, aitbc_node, assert_same_chain, wait_for_height, wait_until
from tests.ledger import Person
from tests.nodes import lay_out

pytestmark = pytest.mark.e2e
ALICE, BOB = Person("alice"), Person("bob")
PAUSE_SECONDS = 1.5
FULL_DISK_BYTES = 40_000
STEPS = ("before_batch", "after_batch", "after_head")
POINTS = (
    *(f"consensus.{step}:{count}" for step in ("before_sign", "after_sign") for count in range(1, 11)),
    *(f"store.persist.{step}:{count}" for step in STEPS for count in range(1, 9)),
    *(f"store.commit.{step}:{count}" for step in STEPS for count in (1, 2, 3)),
    *(f"store.head.before_sync:{count}" for count in range(1, 6)),
)
SHORT = ("consensus.after_sign:8", "store.commit.before_batch:3")
"""The points of a short test run."""
PAYMENT = Transfer(BOB.address, NATIVE_ASSET, 5)


def test_one_of_a_pair_is_killed(tmp_path: Path) -> None:
    """The other waits, says what for, and goes on when it is back."""
    with Network(lay_out(tmp_path, 2, people=[ALICE])) as network:
        first, second = network.nodes
        network.start()
        wait_for_height(network.nodes, 3)
        second.kill()
        wait_until(lambda: first.node.status()["waiting"] == "waiting for quorum 1/2", "it says what it waits for")
        assert first.get("/readyz") == (503, "waiting for quorum 1/2\n")
        assert first.get("/healthz")[0] == 200
        transaction = network.sign(ALICE, PAYMENT, sequence=0)
        assert first.tx.submit(envelope=transaction.envelope.hex())["txid"] == transaction.txid.hex()
        height = first.height
        network.start(second)
        wait_for_height(network.nodes, height + 3)
        wait_until(lambda: all(node.is_final(transaction.txid.hex()) for node in network.nodes), "the payment is final")
        assert first.get("/readyz")[0] == 200
        assert_same_chain(network.nodes)


def test_what_was_acknowledged_survives_the_death_of_both(tmp_path: Path) -> None:
    with Network(lay_out(tmp_path, 2, people=[ALICE])) as network:
        first, second = network.nodes
        network.start()
        wait_for_height(network.nodes, 2)
        second.kill()
        transaction = network.sign(ALICE, PAYMENT, sequence=0)
        first.tx.submit(envelope=transaction.envelope.hex())
        first.kill()
        network.start()
        wait_until(lambda: all(node.is_final(transaction.txid.hex()) for node in network.nodes), "the payment is final")
        assert_same_chain(network.nodes)
        assert first.stop() == 0
        verified = aitbc_node("verify", "--config", first.folder / "node.toml")
        assert verified.returncode == 0, verified.stderr


def test_one_of_a_pair_is_paused(tmp_path: Path) -> None:
    """What arrived meanwhile is not late, and neither votes against the other for the time that stood still."""
    with Network(lay_out(tmp_path, 2)) as network:
        first, second = network.nodes
        network.start()
        wait_for_height(network.nodes, 3)
        with second.paused():
            time.sleep(PAUSE_SECONDS)
            height = first.height
        wait_for_height(network.nodes, height + 4)
        assert_same_chain(network.nodes)


@pytest.mark.parametrize(
    "point", [pytest.param(point, marks=() if point in SHORT else pytest.mark.extended) for point in POINTS]
)
def test_both_die_when_one_reaches_a_step(tmp_path: Path, point: str) -> None:
    """Both are armed. As soon as one has killed itself the other is killed, wherever it is."""
    with Network(lay_out(tmp_path, 2)) as network:
        for node in network.nodes:
            node.start(AITBC_CRASH_POINT=point)
        wait_until(lambda: any(node.dead for node in network.nodes), f"a node dies at {point}")
        for node in network.nodes:
            assert node.end() == -signal.SIGKILL
        network.start()
        height = max(node.height for node in network.nodes)
        wait_for_height(network.nodes, height + 4)
        assert_same_chain(network.nodes)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux")
def test_a_full_disk_stops_a_node_loudly_and_costs_nothing(tmp_path: Path) -> None:
    """No file may grow beyond a limit, as with a quota: the write that meets it fails."""
    layout = lay_out(tmp_path, 1, people=[ALICE])
    with Network(layout) as network:
        (node,) = network.nodes
        network.start()
        assert node.process is not None
        resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (FULL_DISK_BYTES, FULL_DISK_BYTES))
        assert node.wait() == 1
        assert "CRITICAL node.service: the node stops: store_" in node.tail()
        assert "error: store_" in node.tail()
        network.start()
        wait_for_height(network.nodes, node.height + 3)
        assert node.stop() == 0
        verified = aitbc_node("verify", "--config", node.folder / "node.toml")
        assert verified.returncode == 0, verified.stderr
