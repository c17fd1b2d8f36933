"""Proofs that an authority signed two things that exclude each other, kept as files until somebody acts on them.

One file for each offence, named by its hash and written whole or not at all. The number of files is bounded: an
authority that misbehaves once is convicted as well as one that does a thousand times.
"""

import os
from pathlib import Path

from chain.certificate import Vote
from chain.codec import decode, encode
from chain.crypto.hashing import sha256
from chain.errors import MalformedEncoding
from chain.evidence import ConflictingVotes

EVIDENCE_VERSION = 1
MAXIMUM_FILES = 1_000
_NODE_KEY_BYTES = 32


def encode_evidence(conflict: ConflictingVotes) -> bytes:
    """[version, node key, first vote, second vote]."""
    return encode([EVIDENCE_VERSION, conflict.node_key, conflict.first.plain(), conflict.second.plain()])


def decode_evidence(data: bytes) -> ConflictingVotes:
    """The inverse, of good shape but not verified. Raises MalformedEncoding."""
    match decode(data, max_size=4_096):
        case (1, bytes() as node_key, first, second) if len(node_key) == _NODE_KEY_BYTES:
            return ConflictingVotes(node_key, Vote.from_plain(first), Vote.from_plain(second))
    raise MalformedEncoding(reason="not evidence of version 1")


class EvidenceFolder:
    """The folder of a node's evidence; it is made when there is something to put into it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def keep(self, conflict: ConflictingVotes) -> None:
        """Write it down unless it is there, or the folder is full. Raises OSError."""
        data = encode_evidence(conflict)
        self._path.mkdir(parents=True, exist_ok=True)
        target = self._path / f"{sha256(data).hex()}.cbor"
        if target.exists() or len(list(self._path.glob("*.cbor"))) >= MAXIMUM_FILES:
            return
        temporary = target.with_suffix(".new")
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)

    def all(self) -> list[ConflictingVotes]:
        """Everything kept. Raises OSError or MalformedEncoding."""
        return [decode_evidence(path.read_bytes()) for path in sorted(self._path.glob("*.cbor"))]
