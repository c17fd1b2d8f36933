"""Networks of processes: four authorities without one of them, followers, and how a process begins and ends."""

from pathlib import Path

import pytest

from chain.actions.accounts import Transfer
from chain.bank import NATIVE_ASSET
from chain.crypto.address import format_address
from chain.parameters import Parameters
from tests.e2e.support import Network, aitbc_node, assert_same_chain, to_toml, wait_for_height, wait_until
from tests.ledger import Person
from tests.nodes import lay_out

pytestmark = pytest.mark.e2e
ALICE, BOB = Person("alice"), Person("bob")
PAYMENT = Transfer(BOB.address, NATIVE_ASSET, 5)
MAXIMUM_IDLE_BYTES = 150 << 20


def test_four_go_on_without_one_and_take_it_back(tmp_path: Path) -> None:
    with Network(lay_out(tmp_path, 4, people=[ALICE])) as network:
        *others, fourth = network.nodes
        network.start()
        wait_for_height(network.nodes, 3)
        fourth.kill()
        transaction = network.sign(ALICE, PAYMENT, sequence=0)
        others[0].tx.submit(envelope=transaction.envelope.hex())
        wait_until(lambda: all(node.is_final(transaction.txid.hex()) for node in others), "the payment is final")
        wait_for_height(others, others[0].height + 4)
        network.start(fourth)
        wait_for_height([fourth], others[0].height + 2)
        assert fourth.is_final(transaction.txid.hex())
        assert_same_chain(network.nodes)


def test_a_follower_serves_what_the_authority_finalises(tmp_path: Path) -> None:
    with Network(lay_out(tmp_path, 1, followers=1, people=[ALICE, BOB])) as network:
        authority, follower = network.nodes
        network.start(authority)
        wait_for_height([authority], 20)
        network.start(follower)
        wait_for_height([follower], authority.height)
        assert follower.node.status()["role"] == "follower"
        bob = format_address(network.layout.specification.prefix, BOB.address)
        before = int(follower.account.get(address=bob)["balance"])
        transaction = network.sign(ALICE, PAYMENT, sequence=0)
        follower.tx.submit(envelope=transaction.envelope.hex())
        wait_until(lambda: follower.is_final(transaction.txid.hex()), "the payment is final at the follower")
        assert int(follower.account.get(address=bob)["balance"]) == before + PAYMENT.amount
        follower.kill()
        wait_for_height([authority], authority.height + 10)
        network.start(follower)
        wait_for_height([follower], authority.height)
        assert_same_chain(network.nodes)


def test_an_authority_that_lost_its_database_fetches_it_and_votes_again(tmp_path: Path) -> None:
    """The signer's record stays, and is ahead of the new database for a while."""
    with Network(lay_out(tmp_path, 2, parameters=Parameters(epoch_blocks=10))) as network:
        first, second = network.nodes
        network.start()
        wait_for_height(network.nodes, 25)
        second.kill()
        second.configuration.node.database.rename(tmp_path / "lost")
        made = aitbc_node("init", "--config", second.folder / "node.toml")
        assert made.returncode == 0, made.stderr
        assert "warning" not in made.stderr
        network.start(second)
        wait_for_height(network.nodes, first.height + 5)
        assert_same_chain(network.nodes)


def test_a_node_ends_when_told_and_needs_little_memory(tmp_path: Path) -> None:
    with Network(lay_out(tmp_path, 1)) as network:
        (node,) = network.nodes
        network.start()
        wait_for_height([node], 5)
        assert node.process is not None
        status = Path(f"/proc/{node.process.pid}/status")
        if status.exists():
            resident = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS:"))
            assert int(resident.split()[1]) << 10 < MAXIMUM_IDLE_BYTES
        assert node.stop() == 0
        assert "stopping" in node.tail()
        assert "Traceback" not in node.tail()


def test_expected_trouble_is_one_line_with_a_hint(tmp_path: Path) -> None:
    layout = lay_out(tmp_path, 1)
    config = tmp_path / "node.toml"
    config.write_text(to_toml(layout.configurations[0]))
    record = layout.configurations[0].node.signer_record
    record.rename(tmp_path / "away")
    ended = aitbc_node("run", "--config", config)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.startswith("error: signer_record_missing (path=")
    assert ended.stderr.count("\n") == 1
    assert "Restore the record" in ended.stderr


def test_a_node_is_set_up_by_commands_alone(tmp_path: Path) -> None:
    layout = lay_out(tmp_path / "other", 1)
    made = aitbc_node("keygen", tmp_path / "keys")
    assert made.returncode == 0, made.stderr
    assert '"proof_of_possession"' in made.stdout
    for name in ("node.key", "bls.key"):
        assert (tmp_path / "keys" / name).stat().st_mode & 0o777 == 0o600
    again = aitbc_node("keygen", tmp_path / "keys")
    assert (again.returncode, again.stdout) == (1, "")
    place = ["--data", tmp_path / "data", "--genesis", layout.genesis, "--node-key", tmp_path / "keys" / "node.key"]
    begun = aitbc_node("init", *place, "--bls-key", tmp_path / "keys" / "bls.key")
    assert begun.returncode == 0
    assert "warning: the signer's record is new" in begun.stderr
    assert (tmp_path / "data" / "signer.record").exists()
    assert aitbc_node("init", *place).stderr.startswith("error: store_exists")
    assert aitbc_node("verify", "--data", tmp_path / "data", "--genesis", layout.genesis).returncode == 0
    assert aitbc_node("init", "--data", tmp_path / "data").returncode == 2
