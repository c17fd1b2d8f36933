"""A set that grows, shrinks and swaps: who certifies what, what is stored of it, and what is refused."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import plyvel
import pytest

from chain.authorities import AUTHORITIES, read_authorities
from chain.block import Block
from chain.certificate import AuthoritySet, Certificate
from chain.clocks import Clocks, advance_clocks
from chain.parameters import Parameters
from chain.state.view import View
from node import store_tables as tables
from node.execution import decode_authorities, encode_authorities
from node.network.messages import CatchUpRequest, CatchUpResponse
from node.store import Store
from node.store_check import check_store
from node.store_errors import StoreCorrupted
from node.sync import LIE_POINTS
from node.verify import VerifyFailed, verify
from tests.authorities import Candidate, Script
from tests.ledger import Person, make_specification
from tests.node.test_sync import FRIEND, LIAR, honest, syncing
from tests.nodes import until
from tests.solo import Solo, finalization_of, pay

ALICE, BOB = Person("alice"), Person("bob")
EPOCH_BLOCKS = 3
ONE, TWO, THREE, FOUR, FIVE = (Candidate(str(number)) for number in range(5))
SETS = {0: (ONE,), 1: (ONE, TWO), 2: (ONE, TWO, THREE, FOUR), 4: (FOUR, TWO, ONE), 5: (FIVE, TWO, ONE)}
"""Grows from 1 to 2 to 4, stays, loses one in another order, and swaps one; it never has the same size and epoch."""
HEIGHT = 7 * EPOCH_BLOCKS + 1
SPECIFICATION = make_specification(
    (ALICE, BOB), parameters=Parameters(epoch_blocks=EPOCH_BLOCKS), authorities=(ONE.authority,)
)


def set_of(epoch: int) -> tuple[Candidate, ...]:
    return SETS[max(first for first in SETS if first <= epoch)]


def authorities_of(epoch: int) -> AuthoritySet:
    return AuthoritySet(epoch, tuple(member.authority for member in set_of(epoch)))


def certify(block: Block, epoch: int | None = None) -> Certificate:
    """The block's finalization by all of its epoch's set, or by another epoch's."""
    members = set_of(block.header.epoch if epoch is None else epoch)
    return finalization_of(SPECIFICATION.chain_id, block, *(member.secret for member in members))


def advance(solo: Solo) -> Block:
    solo.mempool.add(solo.sign(ALICE, pay(BOB, 1)))
    block = solo.build()
    solo.executor.commit(block, certify(block))
    return block


@pytest.fixture(autouse=True)
def script(monkeypatch: pytest.MonkeyPatch) -> None:
    Script({epoch: authorities_of(epoch).members for epoch in SETS if epoch}).install(monkeypatch)


@pytest.fixture
def solo(tmp_path: Path) -> Iterator[Solo]:
    with Solo(tmp_path / "a", specification=SPECIFICATION) as node:
        yield node


@pytest.fixture
def chain(solo: Solo) -> Path:
    """The closed database of a node that lived through every change."""
    for _ in range(HEIGHT):
        advance(solo)
    solo.close()
    return solo.path


def test_the_set_is_what_the_state_holds_after_the_last_block_of_an_epoch(solo: Solo, tmp_path: Path) -> None:
    with Solo(tmp_path / "b", specification=SPECIFICATION) as other:
        for height in range(1, HEIGHT + 1):
            block = solo.build()
            epoch, last = (height - 1) // EPOCH_BLOCKS, height % EPOCH_BLOCKS == 0
            assert block.header.authorities_hash == authorities_of(epoch).hash()
            assert block.header.next_authorities_hash == (authorities_of(epoch + 1).hash() if last else None)
            for node in (solo, other):
                assert node.executor.execute(Block.decode(block.encode())) is None
                head = node.executor.commit(block, certify(block))
                assert head.authorities == authorities_of(height // EPOCH_BLOCKS)
                assert read_authorities(View(node.store)).members == head.authorities.members


def test_only_changes_are_stored_and_a_restart_finds_them(solo: Solo) -> None:
    for height in range(1, HEIGHT + 1):
        advance(solo)
        before = solo.executor.head()
        solo.close()
        solo.start()
        assert solo.executor.head() == before
        assert before.authorities.epoch == height // EPOCH_BLOCKS
    stored = [int.from_bytes(epoch, "big") for epoch, _ in solo.store.read_table(tables.AUTHORITY_SETS)]
    assert stored == sorted(SETS)
    for epoch in range(HEIGHT // EPOCH_BLOCKS + 1):
        assert decode_authorities(solo.store.authority_set(epoch) or b"", epoch) == authorities_of(epoch)


@pytest.mark.parametrize("named", [authorities_of(0).hash(), bytes(32), None], ids=["the old set", "nobody", "none"])
def test_a_last_block_that_names_another_set_is_invalid(solo: Solo, named: bytes | None) -> None:
    advance(solo)
    advance(solo)
    block = solo.build()
    lie = Block.of(replace(block.header, next_authorities_hash=named), block.envelopes)
    assert "another next authority set" in (solo.executor.execute(lie) or "")
    assert solo.executor.execute(block) is None


def test_a_block_within_an_epoch_names_no_set(solo: Solo) -> None:
    block = solo.build()
    lie = Block.of(replace(block.header, next_authorities_hash=authorities_of(1).hash()), block.envelopes)
    assert "another next authority set" in (solo.executor.execute(lie) or "")


def test_verification_and_check_go_through_every_change(chain: Path) -> None:
    assert verify(chain, SPECIFICATION).height == HEIGHT
    with Store.open(chain) as store:
        assert check_store(store).height == HEIGHT


@pytest.mark.parametrize("epoch", [epoch for epoch in SETS if epoch])
def test_a_finalization_by_those_who_left_is_no_finalization(solo: Solo, epoch: int) -> None:
    """The node trusts what consensus hands it; whoever verifies does not."""
    while solo.executor.head().authorities.epoch < epoch:
        advance(solo)
    block = solo.build()
    solo.executor.commit(block, certify(block, epoch - 1))
    solo.close()
    with pytest.raises(VerifyFailed, match="finalization does not hold"):
        verify(solo.path, SPECIFICATION)


async def test_catching_up_goes_from_set_to_set(solo: Solo, tmp_path: Path) -> None:
    """Old certificates over new blocks are a lie; those of each epoch's own set lead to the head."""
    for _ in range(HEIGHT):
        advance(solo)

    def outdated(request: CatchUpRequest) -> CatchUpResponse:
        answer = honest(solo)(request)
        entries = [(block, certify(block, max(0, block.header.epoch - 1))) for block, _ in answer.entries]
        return CatchUpResponse(request.first_height, tuple(entries))

    with Solo(tmp_path / "b", specification=SPECIFICATION) as replica:
        async with syncing(replica, {LIAR: outdated, FRIEND: honest(solo)}) as (syncer, ledger, peers):
            syncer.behind(LIAR, HEIGHT)
            await until(lambda: peers.penalties, peers.changed)
            assert replica.executor.head().height == EPOCH_BLOCKS, "the first epoch's certificates are good"
            syncer.behind(FRIEND, HEIGHT)
            await until(lambda: ledger.durable_head.height == HEIGHT, ledger.changed)
            assert not ledger.failures
        assert peers.penalties == {LIAR: LIE_POINTS}
        assert replica.executor.head() == solo.executor.head()


def rewrite(path: Path, key: bytes, value: bytes) -> None:
    database = plyvel.DB(str(path / "database"))
    database.put(key, value)
    database.close()


@pytest.mark.parametrize("epoch", sorted(SETS))
def test_a_stored_set_that_is_not_the_announced_one_is_found(chain: Path, epoch: int) -> None:
    other = AuthoritySet(epoch, (*authorities_of(epoch).members, Candidate("nobody").authority))
    rewrite(chain, tables.AUTHORITY_SETS + tables.u64(epoch), encode_authorities(other))
    with pytest.raises(StoreCorrupted, match="authority set"):
        verify(chain, SPECIFICATION)


def test_a_node_does_not_start_on_a_set_that_is_not_the_states(chain: Path, solo: Solo) -> None:
    rewrite(chain, tables.AUTHORITY_SETS + tables.u64(5), encode_authorities(authorities_of(4)))
    with pytest.raises(StoreCorrupted, match="not the one in the state"):
        solo.start()
    solo.close()


def test_a_set_that_changes_within_an_epoch_is_found(solo: Solo, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of the ledger, which all nodes share: their headers agree, but the state names others than certify."""

    def seize(view: View, height: int, *rest: int) -> Clocks:
        if height == 2:
            AUTHORITIES.put(view, replace(read_authorities(view), members=authorities_of(1).members))
        return advance_clocks(view, height, *rest)

    monkeypatch.setattr("chain.transition.advance_clocks", seize)
    advance(solo)
    advance(solo)
    solo.close()
    with pytest.raises(VerifyFailed, match="changed within an epoch"):
        verify(solo.path, SPECIFICATION)
