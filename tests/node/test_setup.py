"""What lies around a node: its key files, its signer's record, its evidence and its log."""

import json
import logging
import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from chain.certificate import AuthoritySet, VoteKind
from chain.crypto import bls
from node import keys, log, supervisor
from node.config import NodeFiles
from node.consensus.signer import Signer
from node.keys import KeyFileUnusable
from node.setup import SignerRecordExists, WrongAuthorityKey, begin_signer_record, initialise, open_signer
from node.store import Store
from node.store_errors import StoreExists
from tests.ledger import make_authority, make_specification


@pytest.fixture
def files(tmp_path: Path) -> NodeFiles:
    keys.generate(tmp_path / "keys")
    return NodeFiles(
        tmp_path / "data", tmp_path / "genesis.json", tmp_path / "keys" / "node.key", tmp_path / "keys" / "bls.key"
    )


def opened(signer: Signer | None) -> Signer:
    assert signer is not None
    return signer


class TestKeys:
    def test_only_their_owner_reads_them_and_nothing_overwrites_them(self, tmp_path: Path) -> None:
        keys.generate(tmp_path)
        before = [(tmp_path / name).read_bytes() for name in ("node.key", "bls.key")]
        assert all((tmp_path / name).stat().st_mode & 0o777 == 0o600 for name in ("node.key", "bls.key"))
        with pytest.raises(KeyFileUnusable, match="never overwritten"):
            keys.generate(tmp_path)
        assert before == [(tmp_path / name).read_bytes() for name in ("node.key", "bls.key")]

    def test_the_public_parts_are_what_a_genesis_needs(self, tmp_path: Path) -> None:
        keys.generate(tmp_path)
        public = keys.public_keys(tmp_path)
        assert len(public.node_key) == 32
        assert bls.verify_possession(public.bls_key, public.proof_of_possession)

    def test_a_follower_has_no_bls_key(self, tmp_path: Path) -> None:
        keys.generate(tmp_path, authority=False)
        assert [path.name for path in tmp_path.iterdir()] == ["node.key"]

    @pytest.mark.parametrize("text", ["", "11" * 31, "11" * 33, "zz" * 32, "é"])
    def test_what_is_no_key_is_refused_without_being_shown(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "node.key"
        path.write_text(text)
        path.chmod(0o600)
        with pytest.raises(KeyFileUnusable) as refusal:
            keys.read_secret(path)
        assert not text or text not in str(refusal.value)

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
    def test_what_others_may_read_is_refused(self, tmp_path: Path, mode: int) -> None:
        keys.generate(tmp_path)
        (tmp_path / "node.key").chmod(mode)
        with pytest.raises(KeyFileUnusable, match="others may read it"):
            keys.read_secret(tmp_path / "node.key")


class TestInitialise:
    def test_it_makes_the_database_and_the_record_once(self, files: NodeFiles) -> None:
        specification = make_specification()
        assert initialise(files, specification)
        Store.open(files.database, specification.chain_id, specification.hash).close()
        opened(open_signer(files, specification.chain_id, specification.authority_set())).close()
        with pytest.raises(StoreExists):
            initialise(files, specification)

    def test_a_record_is_kept_when_the_database_was_lost(self, files: NodeFiles) -> None:
        specification = make_specification()
        initialise(files, specification)
        signer = opened(open_signer(files, specification.chain_id, specification.authority_set()))
        signer.sign(VoteKind.NULLIFY, 0, 5, b"")
        signer.close()
        files.database.rename(files.data / "lost")
        assert not initialise(files, specification)
        signer = opened(open_signer(files, specification.chain_id, specification.authority_set()))
        assert [vote.view for vote in signer.votes()] == [5]
        signer.close()

    def test_a_record_is_never_made_beside_a_database(self, files: NodeFiles) -> None:
        """It was lost, then; only the explicit option makes another."""
        specification = make_specification()
        initialise(files, specification)
        files.signer_record.unlink()
        with pytest.raises(StoreExists):
            initialise(files, specification)
        assert not files.signer_record.exists()
        begin_signer_record(files, specification.chain_id)
        with pytest.raises(SignerRecordExists):
            begin_signer_record(files, specification.chain_id)

    def test_a_follower_has_no_signer(self, files: NodeFiles) -> None:
        follower = replace(files, bls_key=None)
        assert not initialise(follower, make_specification())
        assert open_signer(follower, "devnet-1", make_specification().authority_set()) is None
        assert not follower.signer_record.exists()

    def test_the_present_set_must_not_name_another_bls_key(self, files: NodeFiles) -> None:
        """In no set, or in one under both keys, it is right."""
        specification = make_specification()
        initialise(files, specification)
        public = keys.public_keys(files.node_key.parent)
        first, second = make_authority("0")[0], make_authority("1")[0]
        mine = replace(second, node_key=public.node_key, bls_key=public.bls_key)
        for members in ((first,), (first, mine), (mine, first, second)):
            opened(open_signer(files, specification.chain_id, AuthoritySet(4, members))).close()
        with pytest.raises(WrongAuthorityKey):
            open_signer(files, specification.chain_id, AuthoritySet(4, (first, replace(mine, bls_key=second.bls_key))))


class TestLog:
    def record(self, message: str, *args: object) -> logging.LogRecord:
        record = logging.LogRecord("node.test", logging.INFO, "file", 1, message, args, None)
        record.created = 1_800_000_000.0625
        return record

    def test_text(self) -> None:
        line = log.TextFormatter().format(self.record("height %d", 7))
        assert line == "2027-01-15T08:00:00.062Z INFO    node.test: height 7"

    def test_json(self) -> None:
        entry = json.loads(log.JsonFormatter().format(self.record("height %d", 7)))
        assert entry == {
            "time": "2027-01-15T08:00:00.062Z",
            "level": "info",
            "logger": "node.test",
            "message": "height 7",
        }

    @pytest.mark.parametrize("formatter", [log.TextFormatter(), log.JsonFormatter()])
    def test_nobody_puts_a_line_into_the_log(self, formatter: logging.Formatter) -> None:
        hostile = self.record("peer says %s", "x\n2027 CRITICAL all is lost\x1b[2J\r\u2028")
        assert len(formatter.format(hostile).splitlines()) == 1


def test_a_service_manager_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        supervisor.notify("READY=1")
        assert manager.recv(100) == b"READY=1"
    os.unlink(path)
    supervisor.notify("STOPPING=1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    supervisor.notify("READY=1")
