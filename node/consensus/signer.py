"""Signs for an authority, and never two things that exclude each other, across crashes of any kind.

The record lies beside the key and is the only memory that counts: what was signed for (epoch, view, kind) is written
and synced before the signature leaves this module. It is an append-only log of checksummed records; a torn last record
was never released and is dropped, damage anywhere else is refused. A floor, persisted in the same log, says below
which view nothing is signed any more, so that what is below it may be forgotten when the log is rewritten.
"""

import fcntl
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from chain.certificate import Vote, VoteKind, vote_bytes
from chain.codec import Value, decode, encode
from chain.crypto import bls, ed25519
from chain.errors import LedgerError

RECORD_VERSION = 1
MAXIMUM_RECORD_BYTES = 1024
_FRAME_BYTES = 8
_FLOOR = 255
_MAGIC = b"aitbc-signer-1\n"
_REWRITE_AFTER = 512


class SignerError(LedgerError):
    """The signer cannot work, or refuses to; an authority stops rather than sign without its record."""

    code = 2001


class SigningRefused(SignerError):
    code = 2002
    hint = "This authority has already signed something that excludes it; two processes may be using one key."


class SignerRecordMissing(SignerError):
    code = 2003
    hint = (
        "The key is there but the record of what it signed is not. Restore the record. Initialising a new one is safe"
        " only for a key that has never voted on this chain: it may otherwise vote twice, be slashed, and help to fork"
        " the chain."
    )


class SignerRecordDamaged(SignerError):
    code = 2004
    hint = "The record of what this key signed is damaged before its end. Restore it; do not initialise a new one."


class SignerRecordForeign(SignerError):
    code = 2005
    hint = "The record belongs to another chain or another key."


class SignerLocked(SignerError):
    code = 2006
    hint = "Another process uses this key's record."


class SigningKeys(Protocol):
    """The two secrets of an authority."""

    @property
    def node_key(self) -> bytes:
        """32-byte public key of its proposals."""

    @property
    def bls_key(self) -> bytes:
        """48-byte public key of its votes."""

    def sign_proposal(self, message: bytes) -> bytes: ...

    def sign_vote(self, message: bytes) -> bytes: ...


class LocalKeys:
    """Both secrets in memory. They show in no representation."""

    __slots__ = ("_bls_secret", "_node", "bls_key")

    def __init__(self, node_seed: bytes, bls_secret: bytes) -> None:
        """Args: 32-byte Ed25519 seed and 32-byte BLS secret. Raises: ValueError: one of them is not such a secret."""
        self._node = ed25519.PrivateKey(node_seed)
        self._bls_secret = bls_secret
        self.bls_key = bls.public_key(bls_secret)

    @property
    def node_key(self) -> bytes:
        return self._node.public_key

    def sign_proposal(self, message: bytes) -> bytes:
        return self._node.sign(message)

    def sign_vote(self, message: bytes) -> bytes:
        return bls.sign(self._bls_secret, message)

    def __repr__(self) -> str:
        return f"LocalKeys(node_key={self.node_key.hex()})"


class FileLock(Protocol):
    def release(self) -> None: ...


class FileSystem(Protocol):
    """The few operations the record needs, so that a simulation can fail between any two of them."""

    def exists(self, path: Path) -> bool: ...

    def read(self, path: Path) -> bytes: ...

    def append(self, path: Path, data: bytes) -> None:
        """Write at the end and sync; durable on return."""

    def write(self, path: Path, data: bytes) -> None:
        """Create or replace the content of a file and sync it; the name is durable after sync_directory."""

    def replace(self, source: Path, target: Path) -> None: ...

    def truncate(self, path: Path, size: int) -> None:
        """Cut to `size` bytes and sync."""

    def sync_directory(self, path: Path) -> None: ...

    def lock(self, path: Path) -> FileLock:
        """Exclusive until released or the process ends. Raises SignerLocked."""


class _HeldLock:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class LocalFiles:
    """The real file system. Files are readable by their owner alone."""

    def exists(self, path: Path) -> bool:
        return path.exists()

    def read(self, path: Path) -> bytes:
        return path.read_bytes()

    def append(self, path: Path, data: bytes) -> None:
        self._put(path, data, os.O_WRONLY | os.O_APPEND)

    def write(self, path: Path, data: bytes) -> None:
        self._put(path, data, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def replace(self, source: Path, target: Path) -> None:
        os.replace(source, target)

    def truncate(self, path: Path, size: int) -> None:
        descriptor = os.open(path, os.O_WRONLY)
        try:
            os.ftruncate(descriptor, size)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def sync_directory(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def lock(self, path: Path) -> FileLock:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise SignerLocked(path=str(path)) from error
        return _HeldLock(descriptor)

    def _put(self, path: Path, data: bytes, flags: int) -> None:
        descriptor = os.open(path, flags, 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


LOCAL_FILES: FileSystem = LocalFiles()

_Key = tuple[int, int, VoteKind]


class Signer:
    """The durable signer of one authority on one chain. Open with `Signer.open`."""

    def __init__(self, path: Path, chain_id: str, keys: SigningKeys, files: FileSystem, lock: FileLock) -> None:
        self._path = path
        self._chain_id = chain_id
        self._keys = keys
        self._files = files
        self._lock = lock
        self._votes: dict[_Key, Vote] = {}
        self._floor = (0, 0)
        self._records = 0
        self._usable = True

    @staticmethod
    def open(
        path: Path, *, chain_id: str, keys: SigningKeys, files: FileSystem = LOCAL_FILES, initialise: bool = False
    ) -> "Signer":
        """Lock the record at `path` and read it.

        Args:
            initialise: create the record if there is none. Only for a key that has never voted on this chain.

        Raises:
            SignerLocked, SignerRecordMissing, SignerRecordDamaged, SignerRecordForeign; OSError.
        """
        lock = files.lock(path.with_name(path.name + ".lock"))
        try:
            signer = Signer(path, chain_id, keys, files, lock)
            if files.exists(path):
                signer._load()
            elif initialise:
                signer._rewrite()
            else:
                raise SignerRecordMissing(path=str(path))
        except BaseException:
            lock.release()
            raise
        return signer

    def votes(self) -> tuple[Vote, ...]:
        """Everything signed at or above the floor, by epoch, view and kind."""
        return tuple(self._votes[key] for key in sorted(self._votes))

    @property
    def bls_key(self) -> bytes:
        """The public key of its votes."""
        return self._keys.bls_key

    @property
    def floor(self) -> tuple[int, int]:
        """(epoch, view) below which nothing is signed."""
        return self._floor

    def sign(self, kind: VoteKind, epoch: int, view: int, block_hash: bytes) -> Vote:
        """The vote, on disk before it is returned. Repeats a stored signature for equal bytes.

        Raises:
            SigningRefused: it conflicts with something signed before, or lies below the floor.
            OSError: it could not be recorded; the signer is unusable from then on.
        """
        if not self._usable:
            raise SignerError(reason="an earlier write failed", path=str(self._path))
        stored = self._votes.get((epoch, view, kind))
        if stored is not None and stored.block_hash == block_hash:
            return stored
        self._refuse(kind, epoch, view, block_hash, stored)
        message = vote_bytes(self._chain_id, epoch, view, kind, block_hash)
        signature = self._keys.sign_proposal(message) if kind is VoteKind.PROPOSAL else self._keys.sign_vote(message)
        vote = Vote(kind, epoch, view, block_hash, signature)
        self._append(vote.plain())
        self._votes[(epoch, view, kind)] = vote
        return vote

    def raise_floor(self, epoch: int, view: int) -> None:
        """Never again sign below (epoch, view). Call only when the commit that makes it safe is synced."""
        if (epoch, view) <= self._floor:
            return
        self._append([_FLOOR, epoch, view])
        self._floor = (epoch, view)
        self._votes = {key: vote for key, vote in self._votes.items() if key[:2] >= self._floor}
        if self._records - len(self._votes) > _REWRITE_AFTER:
            self._rewrite()

    def close(self) -> None:
        """Release the lock. The signer is unusable afterwards."""
        self._usable = False
        self._lock.release()

    def _refuse(self, kind: VoteKind, epoch: int, view: int, block_hash: bytes, stored: Vote | None) -> None:
        place: dict[str, int | str] = {"kind": kind.name.lower(), "epoch": epoch, "view": view}
        if len(block_hash) != (0 if kind is VoteKind.NULLIFY else 32):
            raise SigningRefused(reason="a vote names a block, except to nullify", **place)
        if (epoch, view) < self._floor:
            raise SigningRefused(reason="below the floor", **place)
        if stored is not None:
            raise SigningRefused(reason="another block was signed", **place)
        excluded_by = {
            VoteKind.NOTARIZE: VoteKind.NULLIFY,
            VoteKind.FINALIZE: VoteKind.NULLIFY,
            VoteKind.NULLIFY: VoteKind.FINALIZE,
        }.get(kind)
        if excluded_by is not None and (epoch, view, excluded_by) in self._votes:
            raise SigningRefused(reason=f"{excluded_by.name.lower()} was signed", **place)

    def _append(self, plain: list[Value]) -> None:
        # After a failed write nobody knows what is on disk, so nothing more is signed until the record is read again.
        self._usable = False
        self._files.append(self._path, _frame(encode(plain)))
        self._usable = True
        self._records += 1

    def _rewrite(self) -> None:
        """Replace the log by one that holds only what still counts."""
        self._usable = False
        header: list[Value] = [RECORD_VERSION, self._chain_id, self._keys.node_key, self._keys.bls_key]
        plains: list[list[Value]] = [header, [_FLOOR, *self._floor], *(vote.plain() for vote in self.votes())]
        temporary = self._path.with_name(self._path.name + ".new")
        self._files.write(temporary, _MAGIC + b"".join(_frame(encode(plain)) for plain in plains))
        self._files.replace(temporary, self._path)
        self._files.sync_directory(self._path.parent)
        self._records = len(self._votes)
        self._usable = True

    def _load(self) -> None:
        data = self._files.read(self._path)
        if not data.startswith(_MAGIC):
            raise SignerRecordDamaged(path=str(self._path), reason="not a signer record")
        frames = list(_frames(data, len(_MAGIC)))
        end = frames[-1][1] if frames else len(_MAGIC)
        try:
            self._replay([payload for payload, _ in frames])
        except SignerError:
            raise
        except LedgerError as error:
            raise SignerRecordDamaged(path=str(self._path), reason="a record is malformed") from error
        self._refuse_inner_damage(data[end:])
        if end < len(data):
            self._files.truncate(self._path, end)

    def _replay(self, payloads: list[bytes]) -> None:
        expected = (RECORD_VERSION, self._chain_id, self._keys.node_key, self._keys.bls_key)
        if not payloads:
            raise SignerRecordDamaged(path=str(self._path), reason="the record has no header")
        if decode(payloads[0], max_size=MAXIMUM_RECORD_BYTES) != expected:
            raise SignerRecordForeign(path=str(self._path), chain_id=self._chain_id)
        for payload in payloads[1:]:
            plain = decode(payload, max_size=MAXIMUM_RECORD_BYTES)
            self._records += 1
            match plain:
                case (int() as kind, int() as epoch, int() as view) if kind == _FLOOR:
                    self._floor = max(self._floor, (epoch, view))
                case _:
                    vote = Vote.from_plain(plain)
                    self._votes[(vote.epoch, vote.view, vote.kind)] = vote
        self._votes = {key: vote for key, vote in self._votes.items() if key[:2] >= self._floor}

    def _refuse_inner_damage(self, rest: bytes) -> None:
        """A torn write leaves at most one unreadable record, at the end; anything else is damage."""
        if len(rest) > _FRAME_BYTES + MAXIMUM_RECORD_BYTES:
            raise SignerRecordDamaged(path=str(self._path), reason="unreadable records before the end")
        for start in range(1, len(rest)):
            if next(_frames(rest, start), None) is not None:
                raise SignerRecordDamaged(path=str(self._path), reason="an unreadable record before the last one")


def _frame(payload: bytes) -> bytes:
    """Length and CRC-32 over length and payload, both four bytes big-endian, then the payload."""
    length = len(payload).to_bytes(4, "big")
    return length + zlib.crc32(length + payload).to_bytes(4, "big") + payload


def _frames(data: bytes, start: int) -> Iterator[tuple[bytes, int]]:
    """(payload, end) of each intact record from `start` on, up to the first that is not."""
    while start + _FRAME_BYTES <= len(data):
        length = int.from_bytes(data[start : start + 4], "big")
        end = start + _FRAME_BYTES + length
        if not 1 <= length <= MAXIMUM_RECORD_BYTES or end > len(data):
            return
        payload = data[start + _FRAME_BYTES : end]
        if _frame(payload) != data[start:end]:
            return
        yield payload, end
        start = end
