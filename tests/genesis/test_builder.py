"""Height 0: the same bytes for everybody, and a state in which every invariant holds."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from chain.bank import account, totals
from chain.block import Block
from chain.clocks import read_clocks
from chain.errors import InvalidGenesis
from chain.invariants import check_all
from chain.parameters import Parameters, read_parameters
from chain.stake import stake_of
from chain.state.trie import root_of
from chain.state.view import MemoryReader, View
from genesis.builder import build
from genesis.specification import Allocation, Specification
from tests.ledger import Person, make_specification

ALICE, BOB = Person("alice"), Person("bob")
PARAMETERS = Parameters(market_fee=7, authority_minimum_stake=0)


def specification() -> Specification:
    allocations = (Allocation(ALICE.address, 70, 30), Allocation(BOB.address, 5))
    return replace(make_specification(parameters=PARAMETERS), allocations=allocations)


def test_the_state_is_what_the_specification_says() -> None:
    genesis = build(specification())
    view = View(MemoryReader(genesis.state))
    check_all(view)
    assert (account(view, ALICE.address).balance, stake_of(view, ALICE.address).amount) == (70, 30)
    assert (account(view, BOB.address).balance, stake_of(view, BOB.address).amount) == (5, 0)
    assert (totals(view).issued, totals(view).staked) == (105, 30)
    assert read_parameters(view) == PARAMETERS
    clocks = read_clocks(view)
    assert (clocks.height, clocks.live_ms, clocks.time_ms) == (0, 0, genesis.specification.time_ms)


def test_the_block_commits_to_all_of_it() -> None:
    genesis = build(specification())
    header = genesis.block.header
    assert (header.height, header.epoch, header.view, genesis.block.envelopes) == (0, 0, 0, ())
    assert header.parent_hash == genesis.specification.hash
    assert header.chain_id == genesis.specification.chain_id
    assert header.state_root == root_of(genesis.state.items())
    assert header.authorities_hash == genesis.specification.authority_set().hash()
    assert Block.decode(genesis.block.encode()) == genesis.block


def test_the_order_of_allocations_matters_to_the_hash_but_not_to_the_state() -> None:
    one = specification()
    other = replace(one, allocations=one.allocations[::-1])
    assert one.hash != other.hash
    assert build(one).block.header.state_root == build(other).block.header.state_root


def test_two_processes_build_the_same_bytes() -> None:
    code = (
        "from genesis.builder import build; from tests.ledger import Person, make_specification;"
        "print(build(make_specification([Person('a'), Person('b')])).block.encode().hex())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for hash_seed in ("0", "77")
    }
    assert len(outputs) == 1


def test_a_bad_specification_builds_nothing() -> None:
    with pytest.raises(InvalidGenesis):
        build(replace(specification(), name="NO"))


def test_a_network_without_money() -> None:
    check_all(View(MemoryReader(build(replace(specification(), allocations=())).state)))
