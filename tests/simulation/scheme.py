"""Signatures for simulations: a keyed hash in place of curve arithmetic, about a thousand times faster.

It has the shape that the protocol needs (one signature per key and message, aggregates that add up, tampering is
noticed), but anyone who knows a public key can sign for it. The actors of a simulation do not forge; what they do with
their own keys is what is under test. Some seeds run on the production scheme instead.
"""

import hashlib
from collections.abc import Sequence

from chain.certificate import Authority
from chain.crypto import bls
from chain.crypto.address import key_address
from node.consensus.signer import LocalKeys, SigningKeys


def _stretch(label: bytes, key: bytes, message: bytes, size: int) -> bytes:
    digest = hashlib.blake2b(label + key + message, digest_size=48).digest()
    return (digest * 2)[:size]


class HashScheme:
    def verify_proposal(self, node_key: bytes, message: bytes, signature: bytes) -> bool:
        return signature == _stretch(b"proposal", node_key, message, 64)

    def verify_vote(self, bls_key: bytes, message: bytes, signature: bytes) -> bool:
        return signature == _stretch(b"vote", bls_key, message, 96)

    def aggregate(self, signatures: Sequence[bytes]) -> bytes:
        total = 0
        for signature in signatures:
            total ^= int.from_bytes(signature, "big")
        return total.to_bytes(96, "big")

    def verify_aggregate(self, bls_keys: Sequence[bytes], message: bytes, signature: bytes) -> bool:
        return signature == self.aggregate([_stretch(b"vote", key, message, 96) for key in bls_keys])


class HashKeys:
    """The keys of authority `index` under HashScheme."""

    def __init__(self, index: int, authority: Authority | None = None) -> None:
        """With `authority`, the public keys are that one's."""
        self.node_key = authority.node_key if authority else hashlib.sha256(b"node key %d" % index).digest()
        self.bls_key = authority.bls_key if authority else hashlib.sha384(b"bls key %d" % index).digest()

    def sign_proposal(self, message: bytes) -> bytes:
        return _stretch(b"proposal", self.node_key, message, 64)

    def sign_vote(self, message: bytes) -> bytes:
        return _stretch(b"vote", self.bls_key, message, 96)


def production_keys(index: int) -> LocalKeys:
    seed = hashlib.sha256(b"simulated authority %d" % index).digest()
    return LocalKeys(seed, bls.secret_key_from_seed(seed))


def authorities_for(keys: Sequence[SigningKeys]) -> tuple[Authority, ...]:
    """The authorities with these keys. Proofs of possession are not what is simulated and are left empty."""
    return tuple(Authority(key_address(key.node_key), key.node_key, key.bls_key, bytes(96)) for key in keys)
