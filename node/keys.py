"""The two secret files of a node: 32 bytes each, in hexadecimal, readable by their owner alone.

`node.key` is an Ed25519 seed: who the node is on its links and, for an authority, on its proposals. `bls.key` is the
BLS secret of an authority's votes. They are made here, where randomness is, and never overwritten.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from chain.crypto import bls
from chain.crypto.ed25519 import PrivateKey
from chain.errors import LedgerError

NODE_KEY_FILE = "node.key"
BLS_KEY_FILE = "bls.key"
_SECRET_BYTES = 32


class KeyFileUnusable(LedgerError):
    code = 2302
    hint = "Make keys with `aitbc-node keygen`, keep them readable by their owner alone (chmod 600), and back them up."


@dataclass(frozen=True, slots=True)
class PublicKeys:
    """What a genesis file says of an authority, apart from its operator account."""

    node_key: bytes
    bls_key: bytes
    proof_of_possession: bytes


def generate(folder: Path, *, authority: bool = True) -> None:
    """Make the key files in `folder`. Raises KeyFileUnusable if one of them exists or cannot be written."""
    paths = [folder / NODE_KEY_FILE, *([folder / BLS_KEY_FILE] if authority else [])]
    for path in paths:
        if path.exists():
            raise KeyFileUnusable(file=str(path), reason="it exists already and is never overwritten")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(paths[0], os.urandom(_SECRET_BYTES))
        if authority:
            _write(paths[1], bls.secret_key_from_seed(os.urandom(64)))
        _sync(folder)
    except OSError as error:
        raise KeyFileUnusable(file=str(folder), reason=error.strerror or "cannot be written") from error


def public_keys(folder: Path) -> PublicKeys:
    """The public parts of the key files in `folder`. Raises KeyFileUnusable."""
    secret = read_secret(folder / BLS_KEY_FILE)
    node_key = PrivateKey(read_secret(folder / NODE_KEY_FILE)).public_key
    return PublicKeys(node_key, bls.public_key(secret), bls.prove_possession(secret))


def read_secret(path: Path) -> bytes:
    """The 32 bytes of a key file. Raises KeyFileUnusable, also if others may read it."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(1_024)
    except OSError as error:
        raise KeyFileUnusable(file=str(path), reason=error.strerror or "cannot be read") from error
    if not stat.S_ISREG(mode) or mode & 0o077:
        raise KeyFileUnusable(file=str(path), reason="others may read it")
    try:
        secret = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        secret = b""
    if len(secret) != _SECRET_BYTES:
        raise KeyFileUnusable(file=str(path), reason=f"expected {_SECRET_BYTES} bytes in hexadecimal")
    return secret


def _write(path: Path, secret: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, secret.hex().encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
