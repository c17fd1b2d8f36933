"""The handshake of a peer link: proves who is at the other end and agrees on keys only the two ends know.

    initiator -> responder   offer    magic ‖ 1 ‖ version ‖ genesis hash ‖ initiator key ‖ responder key ‖ ephemeral
    responder -> initiator   answer   2 ‖ ephemeral ‖ sealed(signature)        or   refusal   127 ‖ version ‖ code
    initiator -> responder   proof    3 ‖ sealed(signature)

Each side signs, with its Ed25519 node key, the hash of everything said before under a domain that names its role; the
offer names both keys, so a signature says "I, in this role, speak to you, in this network, now". This is the signed
Diffie-Hellman exchange of ISO/IEC 9798-3 (Canetti and Krawczyk, Eurocrypt 2001), which excludes replay, reflection
and unknown key share; sealing the signatures under the fresh X25519 secret adds key confirmation. There is one version
and nothing is negotiated, so nothing can be negotiated down. Ephemeral secrets are never reused: forward secrecy.

Nothing here does I/O or draws randomness: the caller passes in the ephemeral secret and carries the bytes.
"""

import hmac
from dataclasses import dataclass, field
from enum import IntEnum

from nacl.bindings import (
    crypto_aead_chacha20poly1305_ietf_decrypt,
    crypto_aead_chacha20poly1305_ietf_encrypt,
    crypto_scalarmult,
    crypto_scalarmult_base,
)
from nacl.exceptions import CryptoError

from chain.crypto.ed25519 import PUBLIC_KEY_SIZE, SIGNATURE_SIZE, PrivateKey, verify
from chain.crypto.hashing import HASH_SIZE, tagged_hash

VERSION = 1
MAGIC = b"aitbclnk"
EPHEMERAL_SIZE = 32
TAG_SIZE = 16

OFFER_KIND, ANSWER_KIND, PROOF_KIND, REFUSAL_KIND = 1, 2, 3, 127
OFFER_PREFIX_SIZE = len(MAGIC) + 1 + 2
"""Magic, kind and version: what an offer of any version starts with."""
OFFER_SIZE = OFFER_PREFIX_SIZE + HASH_SIZE + 2 * PUBLIC_KEY_SIZE + EPHEMERAL_SIZE
ANSWER_SIZE = 1 + EPHEMERAL_SIZE + SIGNATURE_SIZE + TAG_SIZE
PROOF_SIZE = 1 + SIGNATURE_SIZE + TAG_SIZE
REFUSAL_SIZE = 1 + 2 + 2

_REKEY_INTERVAL = 1 << 16
_RECORD_LIMIT = 1 << 62
_SHARED_SECRET_OF_LOW_ORDER = bytes(32)


class CloseCode(IntEnum):
    """Why a link ended or was refused. Sent as two bytes; an unknown number from a peer is shown as it is."""

    SHUTDOWN = 1
    """The node is stopping."""
    WRONG_NETWORK = 2
    """The two nodes start from different genesis files."""
    UNSUPPORTED_VERSION = 3
    WRONG_IDENTITY = 4
    """The node at that address has another key than the one dialled."""
    OWN_KEY = 5
    """A node dialled itself, or its own messages were reflected to it."""
    BANNED = 6
    FULL = 7
    """No place for another follower."""
    DUPLICATE = 8
    """Another link between the same two nodes stays."""
    REPLACED = 9
    """A newer link between the same two nodes took over."""
    VIOLATION = 10
    """The peer broke the protocol: malformed, oversized, out of order or not authentic."""
    SILENT = 11
    """Nothing was heard for too long, or a handshake step took too long."""
    OVERFLOW = 12
    """Urgent messages piled up because the peer does not read."""
    LOST = 13
    """The connection broke without a word."""
    INTERNAL = 14
    """This node failed to handle a message."""
    DROPPED = 15
    """The node chose to drop the peer."""


class LinkClosed(Exception):
    """A link or a handshake ended. `remote` tells that the peer said so, `code` is then the peer's reason."""

    def __init__(self, code: int, detail: str = "", *, remote: bool = False) -> None:
        try:
            name = CloseCode(code).name.lower()
        except ValueError:
            name = f"code_{code}"
        super().__init__(name + (" by peer" if remote else "") + (f": {detail}" if detail else ""))
        self.code = code
        self.remote = remote


@dataclass(frozen=True, slots=True)
class Session:
    """What a finished handshake leaves behind."""

    peer_key: bytes
    """The authenticated Ed25519 node key of the other end, 32 bytes."""
    link_id: bytes
    """Hash of the whole transcript, 32 bytes: equal at both ends and different for every link."""
    send_key: bytes = field(repr=False)
    """ChaCha20-Poly1305 key of the records this end sends, 32 bytes."""
    receive_key: bytes = field(repr=False)
    """ChaCha20-Poly1305 key of the records this end receives, 32 bytes."""


class Initiator:
    """The dialling side of one handshake; good for one use."""

    def __init__(
        self, node_key: PrivateKey, genesis_hash: bytes, responder_key: bytes, ephemeral_secret: bytes
    ) -> None:
        """Args: genesis_hash: 32 bytes. responder_key: the key that must answer. ephemeral_secret: 32 fresh bytes.

        Raises: ValueError: a wrong length. LinkClosed: OWN_KEY, a node does not dial itself.
        """
        _require_sizes(genesis_hash, responder_key, ephemeral_secret)
        if node_key.public_key == responder_key:
            raise LinkClosed(CloseCode.OWN_KEY)
        self._node_key = node_key
        self._responder_key = responder_key
        self._ephemeral_secret = ephemeral_secret
        self.offer = b"".join(
            (
                _offer_prefix(VERSION),
                genesis_hash,
                node_key.public_key,
                responder_key,
                crypto_scalarmult_base(ephemeral_secret),
            )
        )
        """The first message: OFFER_SIZE bytes to send."""

    def read_answer(self, answer: bytes) -> tuple[bytes, Session]:
        """The proof to send and the session, from the responder's ANSWER_SIZE bytes.

        Raises: LinkClosed: VIOLATION, whatever is wrong with the answer.
        """
        if len(answer) != ANSWER_SIZE or answer[0] != ANSWER_KIND:
            raise LinkClosed(CloseCode.VIOLATION, "malformed answer")
        ephemeral, sealed = answer[1 : 1 + EPHEMERAL_SIZE], answer[1 + EPHEMERAL_SIZE :]
        schedule = _KeySchedule(self.offer, ephemeral, self._ephemeral_secret)
        schedule.open_answer(sealed, self._responder_key)
        proof = schedule.seal_proof(self._node_key)
        to_responder, to_initiator, link_id = schedule.finish()
        return bytes((PROOF_KIND,)) + proof, Session(self._responder_key, link_id, to_responder, to_initiator)


class Responder:
    """The answering side of one handshake; good for one use."""

    def __init__(self, node_key: PrivateKey, genesis_hash: bytes, ephemeral_secret: bytes) -> None:
        """Args: genesis_hash: 32 bytes. ephemeral_secret: 32 fresh bytes. Raises: ValueError: a wrong length."""
        _require_sizes(genesis_hash, node_key.public_key, ephemeral_secret)
        self._node_key = node_key
        self._genesis_hash = genesis_hash
        self._ephemeral_secret = ephemeral_secret
        self._offer = b""
        self._schedule: _KeySchedule | None = None

    @staticmethod
    def check_prefix(prefix: bytes) -> None:
        """Judge the first OFFER_PREFIX_SIZE bytes, before those that only this version has are awaited.

        Raises: LinkClosed: VIOLATION (another protocol altogether) or UNSUPPORTED_VERSION.
        """
        if prefix[: len(MAGIC) + 1] != _offer_prefix(VERSION)[: len(MAGIC) + 1] or len(prefix) != OFFER_PREFIX_SIZE:
            raise LinkClosed(CloseCode.VIOLATION, "not a link offer")
        version = int.from_bytes(prefix[len(MAGIC) + 1 :], "big")
        if version != VERSION:
            raise LinkClosed(CloseCode.UNSUPPORTED_VERSION, f"peer has version {version}, this node {VERSION}")

    def read_offer(self, offer: bytes) -> bytes:
        """The node key that the initiator claims, from OFFER_SIZE bytes. Nothing is proved yet.

        Raises: LinkClosed: VIOLATION, UNSUPPORTED_VERSION, WRONG_NETWORK, WRONG_IDENTITY or OWN_KEY.
        """
        self.check_prefix(offer[:OFFER_PREFIX_SIZE])
        if len(offer) != OFFER_SIZE:
            raise LinkClosed(CloseCode.VIOLATION, "malformed offer")
        genesis_hash, initiator_key, responder_key, _ = _split_offer(offer)
        if genesis_hash != self._genesis_hash:
            detail = f"peer has genesis {genesis_hash.hex()}, this node {self._genesis_hash.hex()}"
            raise LinkClosed(CloseCode.WRONG_NETWORK, detail)
        if initiator_key == self._node_key.public_key:
            raise LinkClosed(CloseCode.OWN_KEY)
        if responder_key != self._node_key.public_key:
            raise LinkClosed(CloseCode.WRONG_IDENTITY, f"peer dialled {responder_key.hex()}")
        self._offer = offer
        return initiator_key

    def answer(self) -> bytes:
        """The ANSWER_SIZE bytes to send. Raises: LinkClosed: VIOLATION, the offered ephemeral key is of low order."""
        ephemeral = crypto_scalarmult_base(self._ephemeral_secret)
        self._schedule = _KeySchedule(self._offer, ephemeral, self._ephemeral_secret, responder=True)
        return bytes((ANSWER_KIND,)) + ephemeral + self._schedule.seal_answer(self._node_key)

    def read_proof(self, proof: bytes) -> Session:
        """The session, from the initiator's PROOF_SIZE bytes.

        Raises: LinkClosed: VIOLATION, whatever is wrong with the proof. ValueError: no answer was made before.
        """
        if self._schedule is None:
            raise ValueError("a proof follows an answer")
        if len(proof) != PROOF_SIZE or proof[0] != PROOF_KIND:
            raise LinkClosed(CloseCode.VIOLATION, "malformed proof")
        initiator_key = _split_offer(self._offer)[1]
        self._schedule.open_proof(proof[1:], initiator_key)
        to_responder, to_initiator, link_id = self._schedule.finish()
        return Session(initiator_key, link_id, to_initiator, to_responder)


def encode_refusal(code: int) -> bytes:
    """What a responder sends instead of an answer. It is not authenticated: it explains, and decides nothing."""
    return bytes((REFUSAL_KIND,)) + VERSION.to_bytes(2, "big") + code.to_bytes(2, "big")


def decode_refusal(refusal: bytes) -> LinkClosed:
    """The peer's reason, from REFUSAL_SIZE bytes."""
    version, code = int.from_bytes(refusal[1:3], "big"), int.from_bytes(refusal[3:5], "big")
    return LinkClosed(code, f"peer has version {version}" if version != VERSION else "", remote=True)


class Sealer:
    """Encrypts the records of one direction. Nonces count up from zero and keys roll forward every 65,536 records."""

    __slots__ = ("_counter", "_key")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._counter = 0

    def seal(self, plaintext: bytes) -> bytes:
        """The ciphertext with its 16-byte tag (RFC 8439)."""
        self._key, nonce = _advance(self._key, self._counter)
        self._counter += 1
        return crypto_aead_chacha20poly1305_ietf_encrypt(plaintext, None, nonce, self._key)


class Opener:
    """Decrypts the records of one direction, in exactly the order in which they were sealed."""

    __slots__ = ("_counter", "_key")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._counter = 0

    def open(self, sealed: bytes) -> bytes:
        """The plaintext. Raises: LinkClosed: VIOLATION, a changed, repeated, reordered or missing record."""
        if len(sealed) < TAG_SIZE:
            raise LinkClosed(CloseCode.VIOLATION, "record without a tag")
        key, nonce = _advance(self._key, self._counter)
        try:
            plaintext = crypto_aead_chacha20poly1305_ietf_decrypt(sealed, None, nonce, key)
        except CryptoError:
            raise LinkClosed(CloseCode.VIOLATION, "record is not authentic") from None
        self._key = key
        self._counter += 1
        return plaintext


class _KeySchedule:
    """The running transcript hash and the keys that hang on it. Both sides walk the same steps in the same order."""

    def __init__(self, offer: bytes, answer_ephemeral: bytes, secret: bytes, *, responder: bool = False) -> None:
        self._hash = tagged_hash("aitbc/link/1/offer", offer)
        self._hash = tagged_hash("aitbc/link/1/answer", self._hash, answer_ephemeral)
        theirs = _split_offer(offer)[3] if responder else answer_ephemeral
        self._secret = _extract(self._hash, _shared_secret(secret, theirs))

    def seal_answer(self, node_key: PrivateKey) -> bytes:
        return self._seal("answer", "responder", node_key)

    def open_answer(self, sealed: bytes, responder_key: bytes) -> None:
        self._open("answer", "responder", sealed, responder_key)

    def seal_proof(self, node_key: PrivateKey) -> bytes:
        return self._seal("proof", "initiator", node_key)

    def open_proof(self, sealed: bytes, initiator_key: bytes) -> None:
        self._open("proof", "initiator", sealed, initiator_key)

    def finish(self) -> tuple[bytes, bytes, bytes]:
        """The keys towards the responder and towards the initiator, and the link id."""
        secret = _extract(self._hash, self._secret)
        to_responder = _expand(secret, "initiator to responder")
        to_initiator = _expand(secret, "responder to initiator")
        return to_responder, to_initiator, tagged_hash("aitbc/link/1/id", self._hash)

    def _seal(self, step: str, role: str, node_key: PrivateKey) -> bytes:
        signature = node_key.sign(self._statement(role))
        sealed = crypto_aead_chacha20poly1305_ietf_encrypt(
            signature, self._hash, bytes(12), _expand(self._secret, step)
        )
        self._absorb(step, sealed)
        return sealed

    def _open(self, step: str, role: str, sealed: bytes, signer_key: bytes) -> None:
        try:
            signature = crypto_aead_chacha20poly1305_ietf_decrypt(
                sealed, self._hash, bytes(12), _expand(self._secret, step)
            )
        except CryptoError:
            raise LinkClosed(CloseCode.VIOLATION, f"{step} is not authentic") from None
        if not verify(signer_key, self._statement(role), signature):
            raise LinkClosed(CloseCode.VIOLATION, f"{role} does not hold its key")
        self._absorb(step, sealed)

    def _statement(self, role: str) -> bytes:
        """What a node key signs. It starts with text, as no canonical CBOR array (a vote, a transaction) does."""
        return b"aitbc/link/1/" + role.encode("ascii") + b":" + self._hash

    def _absorb(self, step: str, sealed: bytes) -> None:
        self._hash = tagged_hash(f"aitbc/link/1/{step}/sealed", self._hash, sealed)


def _offer_prefix(version: int) -> bytes:
    return MAGIC + bytes((OFFER_KIND,)) + version.to_bytes(2, "big")


def _split_offer(offer: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Genesis hash, initiator key, responder key and ephemeral key of an offer of the right size."""
    body = offer[OFFER_PREFIX_SIZE:]
    return body[0:32], body[32:64], body[64:96], body[96:128]


def _require_sizes(genesis_hash: bytes, key: bytes, ephemeral_secret: bytes) -> None:
    if len(genesis_hash) != HASH_SIZE or len(key) != PUBLIC_KEY_SIZE or len(ephemeral_secret) != EPHEMERAL_SIZE:
        raise ValueError("genesis hash, node key and ephemeral secret are 32 bytes each")


def _shared_secret(secret: bytes, public: bytes) -> bytes:
    """X25519 (RFC 7748). A public key of low order, whose secret everyone knows, is refused."""
    try:
        shared = crypto_scalarmult(secret, public)
    except CryptoError:
        # libsodium reports an all-zero result as a failure; other implementations return it.
        raise LinkClosed(CloseCode.VIOLATION, "ephemeral key of low order") from None
    if hmac.compare_digest(shared, _SHARED_SECRET_OF_LOW_ORDER):
        raise LinkClosed(CloseCode.VIOLATION, "ephemeral key of low order")
    return shared


def _extract(salt: bytes, key: bytes) -> bytes:
    """HKDF-Extract with SHA-256 (RFC 5869, section 2.2)."""
    return hmac.digest(salt, key, "sha256")


def _expand(secret: bytes, label: str) -> bytes:
    """HKDF-Expand with SHA-256 to one block, 32 bytes (RFC 5869, section 2.3)."""
    return hmac.digest(secret, b"aitbc/link/1/" + label.encode("ascii") + b"\x01", "sha256")


def _advance(key: bytes, counter: int) -> tuple[bytes, bytes]:
    """The key and nonce of record number `counter`, given the key of the record before.

    Rolling the key forward bounds what a captured key reveals of a link that lasts for months. The nonce never
    repeats even without it.
    """
    if counter >= _RECORD_LIMIT:
        raise LinkClosed(CloseCode.VIOLATION, "record counter exhausted")
    if counter and counter % _REKEY_INTERVAL == 0:
        key = _expand(key, "rekey")
    return key, counter.to_bytes(12, "big")
