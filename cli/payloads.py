"""A job's input: what is hashed into the ledger, kept on the renter's machine, and sealed for whoever claims the job.

The ledger sees a hash alone. What is hashed is [format, salt, content], because a short prompt without a salt could be
guessed from its hash. A small input is sealed whole into the transaction that shares it. A large one travels as an
encrypted file by any way the renter likes, and its key is sealed instead.
"""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from chain.codec import decode, encode
from chain.crypto.hashing import sha256
from chain.errors import LedgerError
from cli.context import Application
from cli.errors import BadInput, NothingFound

MAXIMUM_INPUT_BYTES = 64 << 20
SEALED_ROOM = 976
"""Bytes that fit into a sealed box of 1,024."""
_FORMAT = "aitbc-payload/1"
_INLINE = "inline/1"
_FILE = "file/1"
_SALT_BYTES = 16
_NONCE_BYTES = 24
_LARGEST_DOCUMENT = MAXIMUM_INPUT_BYTES + 1_024


@dataclass(frozen=True, slots=True)
class Shared:
    """What the claimer finds in the sealed message: the document, or the key and place of its encrypted file."""

    document: bytes | None
    key: bytes
    location: str


def make_document(content: bytes) -> bytes:
    """The input as it is hashed, with a fresh salt. Raises BadInput if it is too large."""
    if len(content) > MAXIMUM_INPUT_BYTES:
        raise BadInput("The input is larger than 64 MB.", "Put it somewhere and submit a description of where it is.")
    return encode([_FORMAT, secrets.token_bytes(_SALT_BYTES), content])


def content_of(document: bytes, input_hash: str) -> bytes:
    """The input in a document, if it is the one that the ledger knows by this hash. Raises BadInput."""
    if sha256(document).hex() == input_hash:
        match _decoded(document):
            case (str() as form, bytes(), bytes() as content) if form == _FORMAT:
                return content
    raise BadInput("This is not the input of the job: its hash is another.", "Ask the renter; do not work on it.")


def keep(app: Application, document: bytes) -> str:
    """Keep a document on this machine, readable by its owner alone; returns its hash."""
    input_hash = sha256(document).hex()
    path = _path(app, input_hash)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(document)
    return input_hash


def kept(app: Application, input_hash: str) -> bytes:
    """The document that was kept under a hash. Raises NothingFound."""
    try:
        return _path(app, input_hash).read_bytes()
    except FileNotFoundError as error:
        raise NothingFound(
            "The input of this job is not on this machine.", "Share it from where the job was submitted."
        ) from error


def _path(app: Application, input_hash: str) -> Path:
    return app.config_directory() / "payloads" / input_hash


def inline_message(document: bytes) -> bytes | None:
    """What to seal for a small document; None if it is too large for that."""
    message = encode([_INLINE, document]) if len(document) <= SEALED_ROOM else b""
    return message if 0 < len(message) <= SEALED_ROOM else None


def file_message(document: bytes, location: str) -> tuple[bytes, bytes]:
    """(what to seal, the encrypted file) of a large document. Raises BadInput if the location is too long."""
    from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt

    key, nonce = secrets.token_bytes(32), secrets.token_bytes(_NONCE_BYTES)
    message = encode([_FILE, key, location])
    if len(message) > SEALED_ROOM:
        raise BadInput("The location is too long.", "Use a shorter link, at most 900 bytes.")
    return message, nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(document, _FORMAT.encode(), nonce, key)


def read_message(message: bytes) -> Shared:
    """What a renter sealed. Raises BadInput."""
    match _decoded(message):
        case (str() as form, bytes() as document) if form == _INLINE:
            return Shared(document, b"", "")
        case (str() as form, bytes() as key, str() as location) if form == _FILE and len(key) == 32:
            return Shared(None, key, location)
    raise BadInput("The renter sealed something that is no payload.", "Ask the renter, or fail the job.")


def decrypt_file(data: bytes, key: bytes) -> bytes:
    """The document in an encrypted file. Raises BadInput."""
    from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt
    from nacl.exceptions import CryptoError

    try:
        nonce, ciphertext = data[:_NONCE_BYTES], data[_NONCE_BYTES:]
        return crypto_aead_xchacha20poly1305_ietf_decrypt(ciphertext, _FORMAT.encode(), nonce, key)
    except (CryptoError, ValueError, TypeError) as error:
        raise BadInput("The file does not open with the key of this job.", "Fetch the file again.") from error


def _decoded(data: bytes) -> object:
    try:
        return decode(data, max_size=_LARGEST_DOCUMENT)
    except LedgerError:
        return None
