"""Decoding and verifying envelopes on two threads, and remembering which signatures were good.

The signature is the dearest step of a transaction, and libsodium releases the interpreter lock while it works. So
envelopes are verified in chunks on two threads of their own, and each only once: what was verified on submission is
found again, decoded, when it comes back inside a block. The memory is keyed by the whole envelope, signature
included, so a good transaction under an exchanged signature is not in it.
"""

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

from chain.errors import LedgerError
from chain.transaction import Transaction

Checked: TypeAlias = Transaction | LedgerError
"""A transaction with a good signature, or why the envelope is none."""

CHUNK = 128
"""Envelopes that a thread takes at a time: long enough to hide the hand-over, short enough to share the work."""

THREADS = 2
ALONE = 16
"""As few envelopes as this are verified where they are; handing them over would take longer."""


class VerifiedTransactions:
    """Remembers at least the latest `capacity / 2` and at most `capacity` transactions; safe from any thread.

    `capacity_bytes` bounds their envelopes likewise; decoded, a transaction takes about six times as much.
    """

    def __init__(self, capacity: int = 65_536, capacity_bytes: int = 16 << 20) -> None:
        self._half = max(1, capacity // 2)
        self._half_bytes = max(1, capacity_bytes // 2)
        self._newer: dict[bytes, Transaction] = {}
        self._older: dict[bytes, Transaction] = {}
        self._newer_bytes = 0
        self._lock = threading.Lock()

    def get(self, envelope: bytes) -> Transaction | None:
        """The transaction, if this very envelope is known to be good."""
        # `newer` is read first: a turn of the generations in between moves what it held to `older`.
        return self._newer.get(envelope) or self._older.get(envelope)

    def add(self, transactions: Sequence[Transaction]) -> None:
        """Remember transactions whose signatures are good."""
        with self._lock:
            for transaction in transactions:
                if len(self._newer) >= self._half or self._newer_bytes >= self._half_bytes:
                    self._older = self._newer
                    self._newer = {}
                    self._newer_bytes = 0
                if transaction.envelope not in self._newer:
                    self._newer_bytes += transaction.size
                self._newer[transaction.envelope] = transaction

    def forget(self, envelopes: Iterable[bytes]) -> None:
        """Drop transactions that will hardly come again: they are final."""
        with self._lock:
            for envelope in envelopes:
                if self._newer.pop(envelope, None) is not None:
                    self._newer_bytes -= len(envelope)
                else:
                    self._older.pop(envelope, None)

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)


class SignatureVerifier:
    """Decodes and verifies envelopes, with a memory of those that were good. Safe from any thread."""

    def __init__(self, verified: VerifiedTransactions | None = None) -> None:
        self.verified = VerifiedTransactions() if verified is None else verified
        self.pool = ThreadPoolExecutor(THREADS, thread_name_prefix="signatures")

    def close(self) -> None:
        """Stop the threads. Idempotent."""
        self.pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> "SignatureVerifier":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def check_chunk(self, envelopes: Sequence[bytes]) -> list[Checked]:
        """Check envelopes one after the other in this thread; the good ones are remembered."""
        checked = [self._check(envelope) for envelope in envelopes]
        self.verified.add([item for item in checked if isinstance(item, Transaction)])
        return checked

    def check_all(self, envelopes: Sequence[bytes]) -> list[Checked]:
        """Check any number of envelopes on both threads and wait for all; the answers are in the same order."""
        known: list[Checked | None] = [self.verified.get(envelope) for envelope in envelopes]
        unknown = [index for index, item in enumerate(known) if item is None]
        chunks = [unknown[start : start + CHUNK] for start in range(0, len(unknown), CHUNK)]
        work = [[envelopes[index] for index in chunk] for chunk in chunks]
        if len(unknown) <= ALONE:
            answers = [self.check_chunk(chunk) for chunk in work]
        else:
            answers = list(self.pool.map(self.check_chunk, work))
        for chunk, answer in zip(chunks, answers, strict=True):
            for index, item in zip(chunk, answer, strict=True):
                known[index] = item
        return [item for item in known if item is not None]

    def _check(self, envelope: bytes) -> Checked:
        known = self.verified.get(envelope)
        if known is not None:
            return known
        try:
            transaction = Transaction.decode(envelope)
            transaction.verify_signature()
        except LedgerError as error:
            return error
        return transaction
