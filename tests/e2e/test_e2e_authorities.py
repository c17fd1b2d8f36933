"""Processes that vote on who they are: a follower is voted in, an authority is voted out, and the chain goes on."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from chain.action import Action
from chain.actions.authorities import AddAuthority, ReadyAuthority, RemoveAuthority
from chain.actions.governance import ProposeMeasure, VoteOnMeasure
from chain.actions.staking import AddStake
from chain.bank import ACCOUNTS
from chain.crypto.address import format_address
from chain.parameters import Parameters
from chain.record import decode_record, from_json
from chain.schema import COIN
from chain.state.proof import StateProof, Trust, verify_state_proof
from cli.proofs import verify_file
from tests.e2e.support import (
    Network,
    NodeProcess,
    aitbc_node,
    assert_same_chain,
    wait_for_height,
    wait_until,
)
from tests.ledger import Person
from tests.nodes import lay_out

pytestmark = pytest.mark.e2e
OPERATORS = [Person(f"operator authority{index}") for index in range(3)]
NEWCOMER = Person("operator candidate0")
PARAMETERS = Parameters(epoch_blocks=10, storage_deposit_per_byte=0)


class Office:
    """Operators who hand in what they decide, one transaction after the other."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.sequences: dict[bytes, int] = {}

    def do(self, node: NodeProcess, sender: Person, action: Action) -> Any:
        """Submit a transaction, wait until it is final and return its result, which must be a success."""
        sequence = self.sequences.get(sender.address, 0)
        self.sequences[sender.address] = sequence + 1
        transaction = self.network.sign(sender, action, sequence=sequence)
        node.tx.submit(envelope=transaction.envelope.hex())
        wait_until(lambda: node.is_final(transaction.txid.hex()), f"{action.name} is final")
        result = node.tx.get(txid=transaction.txid.hex())["result"]
        assert result["code"] == 0, result
        return result

    def enact(self, node: NodeProcess, action: Action, voters: list[Person]) -> None:
        """Propose a measure of one action and have everybody vote for it."""
        proposer, *others = voters
        result = self.do(node, proposer, ProposeMeasure((action,), int(time.time() * 1_000) + 600_000))
        (event,) = [event for event in result["events"] if event["kind"] == "governance.proposed"]
        (measure,) = [bytes.fromhex(pair["id"]) for pair in event["subjects"] if pair["role"] == "measure"]
        for voter in others:
            self.do(node, voter, VoteOnMeasure(measure, True))


def command(node: NodeProcess, name: str, operator: str) -> Any:
    """What the node's own command prints."""
    done = aitbc_node(name, "--config", node.folder / "node.toml", "--operator", operator)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def set_of(node: NodeProcess) -> list[str]:
    return [member["node_key"] for member in node.chain.authorities()["members"]]


def test_a_follower_is_voted_in_and_an_authority_out(tmp_path: Path) -> None:
    layout = lay_out(tmp_path, 3, candidates=1, people=[*OPERATORS, NEWCOMER], parameters=PARAMETERS)
    prefix, keys = layout.specification.prefix, [member.node_key.hex() for member in layout.members]
    with Network(layout) as network:
        first, second, third, newcomer = network.nodes
        network.start()
        office = Office(network)
        assert newcomer.node.status()["role"] == "follower"
        text = format_address(prefix, NEWCOMER.address)
        addition = from_json(AddAuthority, command(newcomer, "identity", text), prefix)
        office.enact(first, addition, OPERATORS)
        office.do(newcomer, NEWCOMER, AddStake(1_000 * COIN, 0))
        epoch = first.node.status()["epoch"]
        wait_until(lambda: first.node.status()["epoch"] > epoch, "the measure is executed")
        said = command(newcomer, "ready", text)
        assert said.pop("operator") == text
        office.do(newcomer, NEWCOMER, from_json(ReadyAuthority, said, prefix))
        wait_until(lambda: newcomer.node.status()["role"] == "authority", "the newcomer is an authority")
        wait_until(lambda: set_of(first) == keys, "the set has four")
        wait_for_height(network.nodes, first.height + 5)

        # Four bear the loss of one, and the newcomer's vote is one of the three that are left.
        third.kill()
        height = second.height
        wait_for_height([first, second, newcomer], height + 5)
        assert newcomer.node.status()["quorum"] == 3
        network.start(third)
        wait_for_height([third], height + 5)

        office.enact(second, RemoveAuthority(OPERATORS[0].address), [*OPERATORS[1:], NEWCOMER])
        wait_until(lambda: first.node.status()["role"] == "follower", "the first is no authority any more")
        for node in (second, third, newcomer):
            wait_until(lambda node=node: set_of(node) == keys[1:], "the set is without it")
        wait_for_height(network.nodes, second.height + 12)
        first.kill()
        wait_for_height([second, third, newcomer], second.height + 12)
        assert_same_chain([second, third, newcomer])

        answer = newcomer.proof.account(address=text)
        proof = bytes.fromhex(answer["proof"])
        trust = Trust(layout.specification.chain_id, layout.specification.authorities)
        proven = verify_state_proof(proof, trust, ACCOUNTS.key(NEWCOMER.address))
        assert proven.header.height == answer["as_of"]["height"]
        assert len(decode_record(StateProof, proof).final.links) == 2
        file = tmp_path / "balance.proof"
        file.write_text(json.dumps({"format": "aitbc-proof", "version": 1, "kind": "state", "proof": proof.hex()}))
        checked = verify_file(str(file), layout.specification)
        assert (checked.signers, checked.authorities) == (3, 3)
        assert newcomer.stop() == 0
        verified = aitbc_node("verify", "--config", newcomer.folder / "node.toml")
        assert verified.returncode == 0, verified.stderr
