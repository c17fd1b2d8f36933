"""What a newcomer's keys say: who it is, and that it is ready; and what the ledger makes of it."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from chain.actions.authorities import AddAuthority
from chain.authorities import ready_bytes
from chain.crypto import bls, ed25519
from chain.crypto.address import format_address
from chain.record import from_json
from node.identity import NodeNotReady, present_epoch
from node.main import main
from tests.e2e.support import to_toml
from tests.ledger import Person
from tests.node.test_service import running
from tests.nodes import Layout, lay_out

OPERATOR = Person("operator of a newcomer")
TEXT = format_address("dait", OPERATOR.address)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return lay_out(tmp_path, 1, candidates=1, followers=1)


def run(layout: Layout, node: int, command: str, *options: str) -> Result:
    config = layout.folder / f"node{node}.toml"
    config.write_text(to_toml(layout.configurations[node]))
    return CliRunner().invoke(main, [command, "--config", str(config), *options])


def test_identity_is_what_a_measure_names(layout: Layout) -> None:
    done = run(layout, 1, "identity", "--operator", TEXT)
    assert done.exit_code == 0, done.output
    action = from_json(AddAuthority, json.loads(done.output), "dait")
    member = layout.members[1]
    assert (action.operator, action.node_key, action.bls_key) == (OPERATOR.address, member.node_key, member.bls_key)
    assert bls.verify_possession(action.bls_key, action.proof_of_possession)


def test_both_keys_sign_that_it_is_ready(layout: Layout) -> None:
    done = run(layout, 1, "ready", "--operator", TEXT, "--epoch", "7")
    assert done.exit_code == 0, done.output
    said, member = json.loads(done.output), layout.members[1]
    assert (said["operator"], said["epoch"]) == (TEXT, 7)
    signed = ready_bytes(layout.specification.chain_id, OPERATOR.address, 7, member.node_key, member.bls_key)
    assert ed25519.verify(member.node_key, signed, bytes.fromhex(said["node_signature"]))
    assert bls.verify(member.bls_key, signed, bytes.fromhex(said["bls_signature"]))


@pytest.mark.parametrize("command", ["identity", "ready"])
def test_what_cannot_be_said(layout: Layout, command: str) -> None:
    follower = run(layout, 2, command, "--operator", TEXT)
    assert follower.exit_code == 2
    assert "no bls_key" in follower.output
    foreign = run(layout, 1, command, "--operator", format_address("ait", OPERATOR.address), "--epoch", "1")
    assert foreign.exit_code == (1 if command == "ready" else 2)
    wrong = run(layout, 1, command, "--operator", "nobody", *(["--epoch", "1"] if command == "ready" else []))
    assert wrong.exit_code == 1
    assert wrong.output.startswith("error: ")


def test_without_an_epoch_the_node_must_run(layout: Layout) -> None:
    done = run(layout, 1, "ready", "--operator", TEXT)
    assert done.exit_code == 1
    assert "node_not_ready" in done.output


async def test_the_epoch_is_the_running_nodes(layout: Layout) -> None:
    async with running(layout, 0, 1) as (_, newcomer):
        await newcomer.reach(2)
        listen, chain_id = layout.configurations[1].rpc.listen, layout.specification.chain_id
        assert await asyncio.to_thread(present_epoch, listen, chain_id) == 0
        done = await asyncio.to_thread(run, layout, 1, "ready", "--operator", TEXT)
        assert json.loads(done.output)["epoch"] == 0
        with pytest.raises(NodeNotReady, match="another chain"):
            await asyncio.to_thread(present_epoch, listen, "devnet-00000000")
