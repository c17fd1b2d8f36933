"""The signer's record: durable before it signs, and never two things that exclude each other."""

import random
from pathlib import Path

import pytest

from chain.certificate import BLS_SCHEME, Vote, VoteKind, vote_bytes
from node.consensus.signer import (
    LOCAL_FILES,
    LocalFiles,
    Signer,
    SignerError,
    SignerLocked,
    SignerRecordDamaged,
    SignerRecordForeign,
    SignerRecordMissing,
    SigningRefused,
)
from tests.simulation.disk import Crash, Power, SimulatedFiles
from tests.simulation.scheme import HashKeys, production_keys

CHAIN_ID = "test-00000000"
BLOCK = b"b" * 32
OTHER = b"o" * 32
PATH = Path("/keys/signer")
KEYS = HashKeys(0)
PROPOSAL, NOTARIZE, NULLIFY, FINALIZE = VoteKind


class Record:
    """A signer on a simulated disk that can be opened again."""

    def __init__(self, seed: int = 0) -> None:
        self.power = Power()
        self.files = SimulatedFiles(random.Random(seed), self.power)
        self.signer = self.open(initialise=True)

    def open(self, *, initialise: bool = False) -> Signer:
        self.files.power_cut()
        self.signer = Signer.open(PATH, chain_id=CHAIN_ID, keys=KEYS, files=self.files, initialise=initialise)
        return self.signer


def test_the_record_is_written_before_the_signature_is_out() -> None:
    record = Record()
    vote = record.signer.sign(NOTARIZE, 1, 2, BLOCK)
    assert vote.signature in record.files.contents[PATH]
    assert record.open().votes() == (vote,)


def test_equal_bytes_get_the_stored_signature() -> None:
    record = Record()
    vote = record.signer.sign(NOTARIZE, 1, 2, BLOCK)
    size = len(record.files.contents[PATH])
    assert record.signer.sign(NOTARIZE, 1, 2, BLOCK) == vote
    assert record.open().sign(NOTARIZE, 1, 2, BLOCK) == vote
    assert len(record.files.contents[PATH]) == size, "nothing is written twice"


@pytest.mark.parametrize("kind", [PROPOSAL, NOTARIZE, FINALIZE])
def test_other_bytes_are_refused(kind: VoteKind) -> None:
    record = Record()
    record.signer.sign(kind, 1, 2, BLOCK)
    for signer in (record.signer, record.open()):
        with pytest.raises(SigningRefused):
            signer.sign(kind, 1, 2, OTHER)
    record.signer.sign(kind, 1, 3, OTHER)
    record.signer.sign(kind, 2, 2, OTHER)


@pytest.mark.parametrize(
    ("first", "second", "allowed"),
    [
        (FINALIZE, NULLIFY, False),
        (NULLIFY, FINALIZE, False),
        (NULLIFY, NOTARIZE, False),
        (NOTARIZE, NULLIFY, True),
        (NOTARIZE, FINALIZE, True),
        (PROPOSAL, NULLIFY, True),
    ],
)
def test_what_excludes_what(first: VoteKind, second: VoteKind, allowed: bool) -> None:
    record = Record()
    record.signer.sign(first, 1, 2, b"" if first is NULLIFY else BLOCK)
    for signer in (record.signer, record.open()):
        if allowed:
            signer.sign(second, 1, 2, b"" if second is NULLIFY else BLOCK)
        else:
            with pytest.raises(SigningRefused):
                signer.sign(second, 1, 2, b"" if second is NULLIFY else BLOCK)


def test_shape_of_the_block_hash() -> None:
    record = Record()
    for kind, block_hash in ((NULLIFY, BLOCK), (NOTARIZE, b""), (FINALIZE, b"short")):
        with pytest.raises(SigningRefused):
            record.signer.sign(kind, 1, 2, block_hash)


def test_nothing_below_the_floor_even_after_restart() -> None:
    record = Record()
    kept = record.signer.sign(NOTARIZE, 2, 5, BLOCK)
    record.signer.sign(NOTARIZE, 1, 9, BLOCK)
    record.signer.raise_floor(2, 5)
    record.signer.raise_floor(1, 1)
    for signer in (record.signer, record.open()):
        assert signer.floor == (2, 5)
        assert signer.votes() == (kept,)
        for epoch, view in ((2, 4), (1, 9), (0, 1)):
            with pytest.raises(SigningRefused):
                signer.sign(NULLIFY, epoch, view, b"")


def test_the_log_is_rewritten_and_stays_small() -> None:
    record = Record()
    for view in range(1, 2_000):
        record.signer.sign(NOTARIZE, 1, view, BLOCK)
        record.signer.sign(FINALIZE, 1, view, BLOCK)
        record.signer.raise_floor(1, view + 1)
    assert len(record.files.contents[PATH]) < 200_000
    assert record.open().floor == (1, 2_000)
    assert record.signer.votes() == ()


def test_key_without_record_is_refused() -> None:
    files = SimulatedFiles(random.Random(0), Power())
    with pytest.raises(SignerRecordMissing) as caught:
        Signer.open(PATH, chain_id=CHAIN_ID, keys=KEYS, files=files)
    assert "twice" in caught.value.hint
    Signer.open(PATH, chain_id=CHAIN_ID, keys=KEYS, files=files, initialise=True)


def test_initialising_keeps_what_is_there() -> None:
    record = Record()
    vote = record.signer.sign(NOTARIZE, 1, 2, BLOCK)
    assert record.open(initialise=True).votes() == (vote,)


def test_record_of_another_key_or_chain() -> None:
    record = Record()
    record.files.power_cut()
    with pytest.raises(SignerRecordForeign):
        Signer.open(PATH, chain_id=CHAIN_ID, keys=HashKeys(1), files=record.files)
    with pytest.raises(SignerRecordForeign):
        Signer.open(PATH, chain_id="other-00000000", keys=KEYS, files=record.files)
    record.open()


def test_one_process_at_a_time() -> None:
    record = Record()
    with pytest.raises(SignerLocked):
        Signer.open(PATH, chain_id=CHAIN_ID, keys=KEYS, files=record.files)
    record.signer.close()
    Signer.open(PATH, chain_id=CHAIN_ID, keys=KEYS, files=record.files).close()
    with pytest.raises(SignerError):
        record.signer.sign(NOTARIZE, 1, 2, BLOCK)


def test_a_torn_last_record_is_dropped_and_overwritten() -> None:
    record = Record()
    first = record.signer.sign(NOTARIZE, 1, 2, BLOCK)
    whole = record.files.contents[PATH]
    record.signer.sign(NOTARIZE, 1, 3, BLOCK)
    full = record.files.contents[PATH]
    for end in range(len(whole), len(full)):
        for tail in (b"", bytes(len(full) - end)):
            record.files.contents[PATH] = full[:end] + tail
            assert record.open().votes() == (first,)
            assert record.files.contents[PATH] == whole
    record.signer.sign(NOTARIZE, 1, 3, OTHER)
    assert len(record.open().votes()) == 2


def test_damage_before_the_end_is_refused() -> None:
    record = Record()
    for view in range(1, 9):
        record.signer.sign(NOTARIZE, 1, view, BLOCK)
    whole = record.files.contents[PATH]
    size = len(whole) // 9
    for position in range(0, len(whole) - 2 * size, 7):
        damaged = bytearray(whole)
        damaged[position] ^= 0x40
        record.files.contents[PATH] = bytes(damaged)
        with pytest.raises(SignerError):
            record.open()
        assert record.files.contents[PATH] == bytes(damaged), "evidence of damage is left as it is"
    record.files.contents[PATH] = b""
    with pytest.raises(SignerRecordDamaged):
        record.open()


@pytest.mark.parametrize("seed", range(20))
def test_crashes_at_every_point(seed: int) -> None:
    """Whatever was returned before a crash is there after it, and is never contradicted."""
    rng = random.Random(seed)
    record = Record(seed)
    released: dict[tuple[int, VoteKind], Vote] = {}
    view = 1
    for _ in range(150):
        record.power.remaining = rng.randint(1, 12)
        try:
            for _ in range(8):
                kind = rng.choice((PROPOSAL, NOTARIZE, NULLIFY, FINALIZE))
                block_hash = b"" if kind is NULLIFY else rng.choice((BLOCK, OTHER))
                try:
                    vote = record.signer.sign(kind, 1, view, block_hash)
                except SigningRefused:
                    continue
                assert released.setdefault((view, kind), vote) == vote
            view += 1
            record.signer.raise_floor(1, view - 2)
        except Crash:
            record.power.remaining = None
            record.open()
            kept = {(vote.view, vote.kind): vote for vote in record.signer.votes()}
            for key, vote in released.items():
                assert key[0] < record.signer.floor[1] or kept[key] == vote
    for at in range(1, view):
        assert not {(at, NULLIFY), (at, FINALIZE)} <= set(released)


def test_a_failed_write_makes_the_signer_unusable() -> None:
    class Full(SimulatedFiles):
        def append(self, path: Path, data: bytes) -> None:
            raise OSError(28, "No space left on device")

    record = Record()
    full = Full(random.Random(0), Power())
    full.contents = record.files.contents
    signer = Signer.open(PATH, chain_id=CHAIN_ID, keys=KEYS, files=full)
    with pytest.raises(OSError, match="No space"):
        signer.sign(NOTARIZE, 1, 2, BLOCK)
    with pytest.raises(SignerError):
        signer.sign(NOTARIZE, 1, 2, BLOCK)


def test_on_a_real_disk_with_real_keys(tmp_path: Path) -> None:
    keys = production_keys(1)
    path = tmp_path / "signer"
    with pytest.raises(SignerRecordMissing):
        Signer.open(path, chain_id=CHAIN_ID, keys=keys)
    signer = Signer.open(path, chain_id=CHAIN_ID, keys=keys, initialise=True)
    with pytest.raises(SignerLocked):
        Signer.open(path, chain_id=CHAIN_ID, keys=keys)
    notarize = signer.sign(NOTARIZE, 1, 2, BLOCK)
    proposal = signer.sign(PROPOSAL, 1, 2, BLOCK)
    assert BLS_SCHEME.verify_vote(keys.bls_key, vote_bytes(CHAIN_ID, 1, 2, NOTARIZE, BLOCK), notarize.signature)
    assert BLS_SCHEME.verify_proposal(keys.node_key, vote_bytes(CHAIN_ID, 1, 2, PROPOSAL, BLOCK), proposal.signature)
    signer.close()
    assert path.stat().st_mode & 0o077 == 0
    with path.open("ab") as file:
        file.write(b"torn")
    reopened = Signer.open(path, chain_id=CHAIN_ID, keys=keys)
    assert reopened.votes() == (proposal, notarize)
    reopened.raise_floor(1, 3)
    reopened.close()
    assert isinstance(LOCAL_FILES, LocalFiles)
    assert repr(keys) == f"LocalKeys(node_key={keys.node_key.hex()})"


def test_golden_bytes() -> None:
    """Record format 1."""
    record = Record()
    record.signer.sign(NULLIFY, 1, 2, b"")
    record.signer.raise_floor(1, 2)
    assert record.files.contents[PATH].hex() == GOLDEN


GOLDEN = (
    "61697462632d7369676e65722d310a000000645f22bc7784016d746573742d303030303030303058205b75389a1b75ed32742641dc075f"
    "23e470e4e766e22dd2829a923b85789206215830cf975f0c659e709fb5f3fd100b9a51993fe2692f8ca766218ff02db01c483d6f21e65f"
    "10d06a6614ab26b04a3e6f03bc000000056bb704c28318ff000000000067534ba90e85020102405860e2813dd3b074de6e18969693a1e0"
    "cbee835dda464dd15f8d8c5ca80164380476c5d51b298705320ac4e71b03337775e7e2813dd3b074de6e18969693a1e0cbee835dda464d"
    "d15f8d8c5ca80164380476c5d51b298705320ac4e71b03337775e7000000059ca254af8318ff0102"
)
