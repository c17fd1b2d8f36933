"""The process that test_store_crash kills: writes what a node writes, and says on stdout what it was told is durable.

Usage: store_child.py PATH SEED [create]. With `create` it makes the database first. A small write buffer makes LevelDB
flush and compact all the time, so that kills land inside that, too.
"""

import sys
from pathlib import Path

from chain.crypto.hashing import sha256
from node import store as store_module
from node.store import Store
from tests.storage_chain import CHAIN_ID, GENESIS_HASH, Chain


def say(*words: object) -> None:
    """One line in one write, so that no kill leaves half of one."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def main(path: Path, seed: int, create: bool) -> None:
    store_module._OPTIONS["write_buffer_size"] = 32 << 10
    chain = Chain(seed)
    if create:
        Store.create(path, GENESIS_HASH, chain.genesis)
        say("created")
    store = Store.open(path, CHAIN_ID, GENESIS_HASH)
    while chain.height < store.head.height:
        chain.advance()
    say("opened", store.head.height)
    while True:
        batch = chain.advance()
        height = batch.block.header.height
        store.persist([batch.block], chain.certificates_above())
        say("persisted", height)
        envelopes = {sha256(envelope): envelope for envelope in (*batch.block.envelopes, b"waits %d" % height)}
        store.put_submitted(envelopes)
        say("submitted", height)
        store.commit(batch)
        say("committed", height)
        store.drop_submitted([sha256(b"waits %d" % old) for old in range(height - 6, height - 2)])
        say("dropped", height - 3)
        if store.prune(200, height - 5):
            say("pruned", store.prune_floor)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:] == ["create"])
