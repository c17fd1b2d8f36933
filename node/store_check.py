"""Reads the whole database and checks that it is complete and agrees with itself.

Every byte is read with checksums; the blocks form one chain from genesis to the head; bodies, results and indexes
belong to their headers, and so do the authority sets; and the state root is computed twice more, from the flat table
and from the trie nodes.
Signatures and execution are not checked here: `aitbc-node verify` does that on top.
"""

from collections.abc import Callable
from dataclasses import dataclass

from chain.block import Header, hash_header
from chain.errors import LedgerError
from chain.result import results_root
from chain.state import trie
from node import store_tables as tables
from node.execution import decode_authorities
from node.store import Head, Store
from node.store_errors import StoreCorrupted
from node.store_tables import StoreReader

Progress = Callable[[str, int, int], None]
"""Told of (stage, done, total) now and then; total is 0 where it is not known."""

_REPORT_EVERY = 1_000


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What was found to be sound."""

    height: int
    blocks: int
    """Including genesis."""
    transactions: int
    accounts_of_state: int
    """Keys of the flat state."""
    keys: int
    """Keys in all tables."""
    bytes: int
    """Keys and values in all tables."""


def check_store(store: Store, progress: Progress = lambda stage, done, total: None) -> CheckReport:
    """Check everything as of one moment; the store may go on. Raises StoreCorrupted with the first fault."""
    with store.snapshot() as snapshot:
        keys, size = _read_everything(snapshot, progress)
        transactions = _check_blocks(snapshot, snapshot.head, progress)
        entries = _check_state(snapshot, snapshot.head, progress)
        head = snapshot.head
        return CheckReport(head.height, head.height + 1, transactions, entries, keys, size)


def _read_everything(reader: StoreReader, progress: Progress) -> tuple[int, int]:
    count = size = 0
    for key, value in reader.read_range(tables.LOWEST + b"\x00", tables.HIGHEST):
        count += 1
        size += len(key) + len(value)
        if count % (100 * _REPORT_EVERY) == 0:
            progress("keys", count, 0)
    return count, size


def _check_blocks(reader: StoreReader, head: Head, progress: Progress) -> int:
    """The chain of blocks, and what hangs on each. Returns the number of transactions."""
    parent: Header | None = None
    parent_hash = b""
    expected_set = b""
    transactions = 0
    for height in range(head.height + 1):
        block_hash = reader.block_hash(height)
        if block_hash is None:
            raise StoreCorrupted(reason="a block is missing", height=height)
        header_bytes, block = reader.header_bytes(block_hash), reader.block(block_hash)
        if header_bytes is None or block is None or hash_header(header_bytes) != block_hash:
            raise StoreCorrupted(reason="a block is missing or not the one of its hash", height=height)
        header = block.header
        if header.height != height or (parent is not None and header.parent_hash != parent_hash):
            raise StoreCorrupted(reason="the chain of blocks is broken", height=height)
        _check_certificate(reader, header, block_hash)
        if parent is None or parent.epoch != header.epoch:
            expected_set = _set_hash(reader, header.epoch)
        if header.authorities_hash != expected_set:
            raise StoreCorrupted(reason="the stored authority set is not the header's", height=height)
        announced = header.next_authorities_hash
        if announced is not None and announced != _set_hash(reader, header.epoch + 1):
            raise StoreCorrupted(reason="the stored authority set is not the one that was announced", height=height)
        _check_results(reader, header, len(block.envelopes))
        root = _root_at(reader, height)
        if (trie.EMPTY_ROOT if root is None else root.hash) != header.state_root:
            raise StoreCorrupted(reason="the state root is not the header's", height=height)
        transactions += len(block.envelopes)
        parent, parent_hash = header, block_hash
        if height % _REPORT_EVERY == 0:
            progress("blocks", height, head.height)
    if parent_hash != head.hash:
        raise StoreCorrupted(reason="the head is not the last block", height=head.height)
    for table, what, expected in (
        (tables.BLOCK_HASHES, "blocks", head.height + 1),
        (tables.HEADERS, "headers", head.height + 1),
        (tables.BODIES, "bodies", head.height + 1),
        (tables.TRANSACTIONS, "transactions", transactions),
    ):
        if sum(1 for _ in reader.read_table(table)) != expected:
            raise StoreCorrupted(reason=f"the table of {what} has entries of no block")
    return transactions


def _check_certificate(reader: StoreReader, header: Header, block_hash: bytes) -> None:
    certificate = reader.finalization(header.height)
    if header.height == 0:
        return
    if certificate is None or certificate.block_hash != block_hash or certificate.epoch != header.epoch:
        raise StoreCorrupted(reason="a finalization is missing or another block's", height=header.height)


def _set_hash(reader: StoreReader, epoch: int) -> bytes:
    """The hash of the authority set that is stored for an epoch."""
    try:
        return decode_authorities(reader.authority_set(epoch) or b"", epoch).hash()
    except LedgerError as error:
        raise StoreCorrupted(reason="an authority set is missing or malformed", epoch=epoch) from error


def _check_results(reader: StoreReader, header: Header, count: int) -> None:
    system, results = reader.system_result(header.height), reader.results(header.height)
    if system is None or len(results) != count or results_root(system, results) != header.results_root:
        raise StoreCorrupted(reason="results are missing or not the header's", height=header.height)
    for index, result in enumerate(results):
        if reader.transaction_location(result.txid) != (header.height, index):
            raise StoreCorrupted(reason="the index of transactions is wrong", height=header.height, index=index)


def _root_at(reader: StoreReader, height: int) -> trie.NodeReference | None:
    try:
        return reader.root_at(height)
    except (KeyError, ValueError) as error:
        raise StoreCorrupted(reason="a state root is missing or malformed", height=height) from error


def _check_state(reader: StoreReader, head: Head, progress: Progress) -> int:
    """The head's state, from the flat table and from the trie. Returns the number of keys."""
    progress("state", 0, 0)
    expected = trie.EMPTY_ROOT if head.root is None else head.root.hash
    if _root_at(reader, head.height) != head.root:
        raise StoreCorrupted(reason="the head's state is not its block's")
    flat = dict(reader.read_table(tables.STATE))
    if trie.root_of(flat.items()) != expected:
        raise StoreCorrupted(reason="the flat state does not give the state root", height=head.height)
    count = 0
    try:
        for leaf in trie.leaves(reader, head.root):
            count += 1
            if flat.get(leaf.key) != leaf.value:
                raise StoreCorrupted(reason="the flat state and the trie differ", key=leaf.key)
    except trie.UnreadableNode as error:
        raise StoreCorrupted(reason=f"the trie is incomplete: {error}") from error
    if count != len(flat):
        raise StoreCorrupted(reason="the flat state and the trie differ in size")
    return count
