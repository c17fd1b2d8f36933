"""Judges a run by what honest nodes said and committed, with arithmetic of its own.

It shares no code with what it judges beyond the formats: quorums are counted as "fewer than a third are missing",
certificates are recomputed from the signers' own keys, and the state is replayed from the transactions.
"""

from collections.abc import Callable

from chain.block import Block
from chain.certificate import Certificate, Vote, VoteKind, vote_bytes
from chain.evidence import ConflictingVotes
from node.consensus.signer import SigningKeys
from node.network.messages import ConsensusMessage, Proposal, Votes
from tests.simulation.scheme import HashScheme
from tests.simulation.toy import GENESIS_TIME, Backend


class Violation(AssertionError):
    """What no run may ever show."""


class Oracle:
    def __init__(
        self,
        backend: Backend,
        keys: list[SigningKeys],
        honest: set[int],
        members_of: Callable[[int], tuple[int, ...]],
        *,
        hashes: bool,
    ) -> None:
        """Args: members_of: the places in `keys` of an epoch's set, in order."""
        self._chain_id = backend.chain_id
        self._keys = keys
        self._members_of = members_of
        self._operators = [member.operator for member in backend.members]
        self._epoch_blocks = backend.epoch_blocks
        self._genesis = backend.genesis_hash
        self._next_state = backend.next_state
        self._hashes = hashes
        self._honest = honest
        self.chain: list[Block] = []
        """The block of each height from 1, as first committed by anyone honest."""
        self._state = backend.genesis_hash
        self._heights: dict[int, int] = {}
        self._votes: dict[tuple[int, int, int, VoteKind], bytes] = {}
        self.conflicts: list[ConflictingVotes] = []
        self.check_quorum = True
        self.halts_allowed = False
        self.halts: list[tuple[int, str]] = []

    def said(self, node: int, message: ConsensusMessage) -> None:
        """An honest node let this out."""
        votes: tuple[Vote, ...] = ()
        if isinstance(message, Votes):
            votes = message.votes
        elif isinstance(message, Proposal):
            votes = (message.as_vote(),)
        for vote in votes:
            self._voted(node, vote)

    def _voted(self, node: int, vote: Vote) -> None:
        self._require(node in self._members_of(vote.epoch), f"node {node} voted in epoch {vote.epoch}, not a member")
        key = (node, vote.epoch, vote.view, vote.kind)
        if key in self._votes:
            self._require(self._votes[key] == vote.block_hash, f"node {node} signed two {vote.kind.name} in {key[1:3]}")
            return
        self._votes[key] = vote.block_hash
        others = {kind for kind in VoteKind if (*key[:3], kind) in self._votes}
        both = {VoteKind.NULLIFY, VoteKind.FINALIZE} <= others
        self._require(not both, f"node {node} nullified and finalized {key[1:3]}")

    def committed(self, node: int, block: Block, finalization: Certificate) -> None:
        """An honest node made this block final."""
        header = block.header
        before = self._heights.get(node, 0)
        self._require(header.height == before + 1, f"node {node} went from height {before} to {header.height}")
        self._heights[node] = header.height
        if len(self.chain) >= header.height:
            ours = self.chain[header.height - 1]
            self._require(ours.hash == block.hash, f"two blocks at height {header.height} (node {node})")
        else:
            self._extend(block)
        self._certified(block, finalization)

    def _extend(self, block: Block) -> None:
        header = block.header
        parent = self.chain[-1] if self.chain else None
        self._require(header.parent_hash == (parent.hash if parent else self._genesis), "the chain does not connect")
        time_ms = parent.header.time_ms if parent else GENESIS_TIME
        self._require(header.time_ms > time_ms, "time stood still")
        self._require(
            header.epoch * self._epoch_blocks < header.height <= (header.epoch + 1) * self._epoch_blocks, "epoch"
        )
        members = self._members_of(header.epoch)
        leader = members[(header.view + header.epoch) % len(members)]
        self._require(header.proposer == self._operators[leader], "proposed by another than its view's leader")
        if self._next_state is not None:
            self._state = self._next_state(self._state, block.envelopes)
            self._require(header.state_root == self._state, "the state is not what the transactions say")
        self.chain.append(block)

    def _certified(self, block: Block, finalization: Certificate) -> None:
        self._require(finalization.block_hash == block.hash and finalization.kind == 3, "not this block's finalization")
        self._require(finalization.epoch == block.header.epoch, "finalized in another epoch")
        self._require(finalization.view >= block.header.view, "finalized before it was proposed")
        bits = int.from_bytes(finalization.bitmap, "little")
        members = self._members_of(finalization.epoch)
        size = len(members)
        quorum = bits < 1 << size and 3 * (size - bits.bit_count()) < size
        self._require(quorum or not self.check_quorum, "not a quorum")
        message = vote_bytes(self._chain_id, finalization.epoch, finalization.view, VoteKind.FINALIZE, block.hash)
        if self._hashes:
            signers = [self._keys[member] for place, member in enumerate(members) if bits >> place & 1]
            signatures = [key.sign_vote(message) for key in signers]
            self._require(finalization.signature == HashScheme().aggregate(signatures), "a forged certificate")

    def restarted(self, node: int, height: int, last: tuple[Block, Certificate] | None) -> None:
        """What a node finds on its disk is what it had reported as final, or one block more."""
        reported = self._heights.get(node, 0)
        self._require(reported <= height <= reported + 1, f"node {node} lost or invented final blocks")
        if last is not None and height > reported:
            self.committed(node, *last)
        elif last is not None:
            self._require(self.chain[height - 1].hash == last[0].hash, f"node {node} came back with another block")

    def halted(self, node: int, reason: str) -> None:
        """Stopping is right once too many authorities lie, and wrong in any other run."""
        self.halts.append((node, reason))
        self._require(self.halts_allowed, f"node {node} halted: {reason}")

    def convicted(self, conflict: ConflictingVotes) -> None:
        self.conflicts.append(conflict)
        for index in self._honest:
            self._require(self._keys[index].node_key != conflict.node_key, f"honest node {index} was convicted")

    @staticmethod
    def _require(condition: bool, complaint: str) -> None:
        if not condition:
            raise Violation(complaint)
