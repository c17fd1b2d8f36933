"""Proofs that an authority signed two things that exclude each other, kept as files until they are too old to count.

One file for each offence, named by its hash and written whole or not at all. The number of files is bounded: an
authority that misbehaves once is convicted as well as one that does a thousand times. Whoever wants to convict reads
them over RPC (`node.evidence`); what is there is also in memory, so that reading costs no disk.
"""

import logging
import os
import threading
from pathlib import Path

from chain.certificate import Vote
from chain.codec import decode, encode
from chain.crypto.hashing import sha256
from chain.errors import MalformedEncoding
from chain.evidence import ConflictingVotes

EVIDENCE_VERSION = 1
MAXIMUM_FILES = 1_000
_NODE_KEY_BYTES = 32

_log = logging.getLogger(__name__)


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
    """The folder of a node's evidence; it is made when there is something to put into it. Safe from any thread."""

    def __init__(self, path: Path) -> None:
        """Read what is there; a file that is no evidence is left alone. Raises OSError."""
        self._path = path
        self._turn = threading.Lock()
        self._kept: dict[str, ConflictingVotes] = {}
        for file in sorted(path.glob("*.cbor")):
            try:
                self._kept[file.name] = decode_evidence(file.read_bytes())
            except MalformedEncoding as error:
                _log.warning("%s is no evidence: %s", file, error)

    def keep(self, conflict: ConflictingVotes) -> None:
        """Write it down unless it is there, or the folder is full. Raises OSError."""
        data = encode_evidence(conflict)
        name = f"{sha256(data).hex()}.cbor"
        with self._turn:
            self._path.mkdir(parents=True, exist_ok=True)
            if name in self._kept or len(list(self._path.glob("*.cbor"))) >= MAXIMUM_FILES:
                return
            temporary = (self._path / name).with_suffix(".new")
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path / name)
            self._kept[name] = conflict

    def prune(self, oldest_epoch: int) -> int:
        """Delete what was signed before an epoch, because nobody can be convicted of it any more; how many went.

        Raises OSError.
        """
        with self._turn:
            past = [name for name, conflict in self._kept.items() if conflict.first.epoch < oldest_epoch]
            for name in past:
                (self._path / name).unlink(missing_ok=True)
                del self._kept[name]
            return len(past)

    def all(self) -> list[ConflictingVotes]:
        """Everything kept, the latest epochs first."""
        with self._turn:
            kept = sorted(self._kept.items())
        return [conflict for _, conflict in sorted(kept, key=lambda item: -item[1].first.epoch)]
