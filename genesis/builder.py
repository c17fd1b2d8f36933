"""From a specification to the state and the header of height 0. Everybody who builds them gets the same bytes."""

from dataclasses import dataclass

from chain.authorities import AUTHORITIES, Authorities
from chain.bank import ACCOUNTS, TOTALS, Account, Totals
from chain.block import Block, Header, transactions_root
from chain.clocks import CLOCKS, Clocks
from chain.parameters import PARAMETERS
from chain.result import SystemResult, results_root
from chain.rewards import REWARDS, Rewards, Share
from chain.stake import STAKES, Stake
from chain.state.trie import root_of
from chain.state.view import MemoryReader, View
from chain.transition import SYSTEM_ACCOUNT
from genesis.specification import Specification

GENESIS_RESULT = SystemResult(0, ())
"""What the genesis block did: nothing that leaves an event."""


@dataclass(frozen=True, slots=True)
class Genesis:
    """Height 0 of a network."""

    specification: Specification
    block: Block
    state: dict[bytes, bytes]
    """Every key and value of the state."""


def build(specification: Specification) -> Genesis:
    """The state and block of height 0. Raises InvalidGenesis if the specification breaks a rule."""
    specification.check()
    state = _state(specification)
    authorities = specification.authority_set()
    header = Header(
        chain_id=specification.chain_id,
        height=0,
        epoch=0,
        view=0,
        parent_hash=specification.hash,
        time_ms=specification.time_ms,
        proposer=SYSTEM_ACCOUNT,
        transactions_root=transactions_root(()),
        results_root=results_root(GENESIS_RESULT, ()),
        state_root=root_of(state.items()),
        authorities_hash=authorities.hash(),
        next_authorities_hash=None,
    )
    return Genesis(specification, Block.of(header, ()), state)


def _state(specification: Specification) -> dict[bytes, bytes]:
    view = View(MemoryReader())
    issued = staked = 0
    for allocation in specification.allocations:
        issued += allocation.balance + allocation.stake
        staked += allocation.stake
        ACCOUNTS.put(view, allocation.address, Account(allocation.balance))
        if allocation.stake:
            STAKES.put(view, allocation.address, Stake(allocation.stake, share=Share(counted=allocation.stake)))
    for authority in specification.authorities:
        # So that a tip has somewhere to go: what genesis makes is free of deposits.
        if ACCOUNTS.get(view, authority.operator) is None:
            ACCOUNTS.put(view, authority.operator, Account())
    PARAMETERS.put(view, specification.parameters)
    AUTHORITIES.put(view, Authorities(0, specification.authorities))
    TOTALS.put(view, Totals(issued=issued, staked=staked))
    REWARDS.put(view, Rewards(counted=staked))
    CLOCKS.put(view, Clocks(0, specification.time_ms, 0, specification.time_ms))
    return {key: value for key, value in view.changes().items() if value is not None}
