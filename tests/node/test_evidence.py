"""Proofs of misbehaviour: kept on disk as long as they count, listed for whoever wants to convict, and convicting."""

from dataclasses import replace
from pathlib import Path

import pytest

from chain.action import action_from_json
from chain.actions.evidence import SubmitEvidence
from chain.certificate import BLS_SCHEME, AuthoritySet, Vote, VoteKind, vote_bytes
from chain.crypto import bls
from chain.errors import MalformedEncoding
from chain.evidence import ConflictingVotes
from chain.parameters import Parameters
from chain.schema import COIN
from node.evidence import MAXIMUM_FILES, EvidenceFolder, decode_evidence, encode_evidence
from tests.ledger import Person, make_authority
from tests.node.test_service import running
from tests.nodes import Layout, lay_out, until
from tests.rpc_node import RpcNode

ALICE, OPERATOR = Person("alice"), Person("operator 0")


def conflict(view: int = 1, *, epoch: int = 3, chain_id: str = "devnet-1") -> ConflictingVotes:
    """Two notarizations by the authority of solo nodes."""
    authority, _, secret = make_authority("0")
    kind = VoteKind.NOTARIZE
    votes = [
        Vote(kind, epoch, view, block_hash, bls.sign(secret, vote_bytes(chain_id, epoch, view, kind, block_hash)))
        for block_hash in (b"\x01" * 32, b"\x02" * 32)
    ]
    return ConflictingVotes(authority.node_key, *votes)


class TestFolder:
    def test_what_is_kept_convicts_also_after_a_restart(self, tmp_path: Path) -> None:
        folder = EvidenceFolder(tmp_path / "evidence")
        assert folder.all() == []
        for _ in range(2):
            folder.keep(conflict())
        for opened in (folder, EvidenceFolder(tmp_path / "evidence")):
            (kept,) = opened.all()
            assert kept == conflict()
            assert kept.convicts("devnet-1", AuthoritySet(3, (make_authority("0")[0],)), BLS_SCHEME)

    def test_the_folder_is_bounded(self, tmp_path: Path) -> None:
        folder = EvidenceFolder(tmp_path)
        for index in range(MAXIMUM_FILES):
            (tmp_path / f"{index}.cbor").touch()
        folder.keep(conflict())
        assert folder.all() == []
        assert len(list(tmp_path.iterdir())) == MAXIMUM_FILES

    def test_what_is_too_old_goes_from_the_disk(self, tmp_path: Path) -> None:
        folder = EvidenceFolder(tmp_path)
        for epoch in (2, 5, 3, 4):
            folder.keep(conflict(epoch=epoch))
        assert [kept.first.epoch for kept in folder.all()] == [5, 4, 3, 2], "the latest first"
        assert folder.prune(4) == 2
        assert folder.prune(4) == folder.prune(-96) == 0
        for opened in (folder, EvidenceFolder(tmp_path)):
            assert [kept.first.epoch for kept in opened.all()] == [5, 4]
        assert len(list(tmp_path.iterdir())) == 2

    def test_a_file_that_is_no_evidence_is_left_alone(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        (tmp_path / "note.cbor").write_bytes(b"\x01")
        folder = EvidenceFolder(tmp_path)
        assert folder.all() == []
        assert "note.cbor is no evidence" in caplog.text
        folder.prune(1 << 60)
        assert (tmp_path / "note.cbor").exists()

    def test_golden_bytes(self) -> None:
        vote = Vote(VoteKind.PROPOSAL, 1, 2, b"\x03" * 32, b"\x04" * 64)
        other = Vote(VoteKind.PROPOSAL, 1, 2, b"\x05" * 32, b"\x06" * 64)
        data = encode_evidence(ConflictingVotes(b"\x07" * 32, vote, other))
        body = (
            "85000102" + "5820" + "03" * 32 + "5840" + "04" * 64,
            "85000102" + "5820" + "05" * 32 + "5840" + "06" * 64,
        )
        assert data.hex() == "8401" + "5820" + "07" * 32 + "".join(body)
        assert decode_evidence(data) == ConflictingVotes(b"\x07" * 32, vote, other)
        with pytest.raises(MalformedEncoding):
            decode_evidence(b"\x84\x02" + data[2:])


async def test_what_a_node_lists_is_what_a_transaction_convicts_with(tmp_path: Path) -> None:
    parameters = Parameters(epoch_blocks=3)
    async with RpcNode(tmp_path / "ledger", (ALICE, OPERATOR), parameters=parameters, stake=1_000 * COIN) as node:
        assert await node.call("node.evidence") == {
            "as_of": {"height": 0, "time_ms": node.solo.executor.head().time_ms},
            "total": 0,
            "items": [],
        }
        for _ in range(4):
            node.solo.advance()
        node.evidence = [conflict(view, epoch=1, chain_id=node.solo.chain_id) for view in (7, 8)]
        answer = await node.call("node.evidence", limit=1)
        assert answer["total"] == 2
        (item,) = answer["items"]
        assert (item["offence"], item["epoch"], item["view"]) == ("conflicting_notarize", 1, 7)
        assert item["operator"] == node.text(OPERATOR.address)
        assert item["convicted"] is False
        action = action_from_json(item["action"], node.context.prefix)
        assert isinstance(action, SubmitEvidence)
        assert action.conflict == node.evidence[0]
        await node.do(ALICE, action)
        answer = await node.call("node.evidence")
        assert [item["convicted"] for item in answer["items"]] == [True, True], "once for an authority and an epoch"


async def test_evidence_of_no_authority_has_no_operator(tmp_path: Path) -> None:
    async with RpcNode(tmp_path / "ledger", (ALICE,)) as node:
        stranger = replace(conflict(epoch=0, chain_id=node.solo.chain_id), node_key=bytes(32))
        node.evidence = [conflict(epoch=9, chain_id=node.solo.chain_id), stranger]
        answer = await node.call("node.evidence")
        assert [item["operator"] for item in answer["items"]] == [None, None]
        assert not any(item["convicted"] for item in answer["items"])


def folder_of(layout: Layout) -> EvidenceFolder:
    return EvidenceFolder(layout.configurations[0].node.evidence)


async def test_a_node_forgets_what_convicts_nobody_any_more(tmp_path: Path) -> None:
    layout = lay_out(tmp_path, 1, parameters=Parameters(epoch_blocks=2, evidence_epochs=2))
    folder = folder_of(layout)
    folder.keep(conflict(epoch=0))
    folder.keep(conflict(epoch=1_000))
    async with running(layout, 0) as (node,):
        await until(lambda: len(node.node.evidence.all()) == 1, node.changed)
        assert node.node.status().epoch > 2, "one can be convicted of the oldest epoch that counts"
    assert [kept.first.epoch for kept in folder_of(layout).all()] == [1_000]
