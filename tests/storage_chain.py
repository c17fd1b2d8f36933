"""A made-up ledger with real blocks, roots and results, for tests of what stores and proves them.

What happens at a height follows from the seed and the height alone, so another process can tell what should be there.
Certificates have the right shape and no valid signature: the store does not verify them.
"""

import random
from collections.abc import Mapping

from chain.block import Block, Header, transactions_root
from chain.certificate import Authority, AuthoritySet, Certificate, VoteKind
from chain.crypto.hashing import sha256
from chain.result import Event, SystemResult, TransactionResult, results_root
from chain.state import trie
from node.execution import encode_authorities
from node.store import SYSTEM_INDEX, FinalizedBatch, Store

CHAIN_ID = "storage-00112233"
GENESIS_HASH = sha256(b"genesis file of " + CHAIN_ID.encode())
PROPOSER = b"\x00" + sha256(b"proposer")
EPOCH_BLOCKS = 10


def certificate(kind: VoteKind, epoch: int, view: int, block_hash: bytes) -> Certificate:
    """A certificate of good shape; its signature is not one."""
    mark = sha256(b"%d %d %d" % (kind, epoch, view) + block_hash)
    return Certificate(kind, epoch, view, block_hash, b"\x03", mark * 3)


def authorities_of(epoch: int) -> AuthoritySet:
    """Another set in each epoch. Its keys are of good shape and nobody's."""
    mark = b"authority of epoch %d" % epoch
    member = Authority(b"\x00" + sha256(mark), sha256(mark), sha256(mark) + bytes(16), bytes(96))
    return AuthoritySet(epoch, (member,))


class Chain:
    """The ledger at one height. `advance` goes to the next and gives what is to be written."""

    def __init__(self, seed: int, *, keys: int = 120, changes: int = 25) -> None:
        self.seed = seed
        self.state: dict[bytes, bytes] = {}
        self.nodes = trie.MemoryNodes()
        self.root: trie.NodeReference | None = None
        self.blocks: list[Block] = []
        self.batches: list[FinalizedBatch] = []
        self._keys = keys
        self._changes = changes
        self.genesis = self._batch(0)

    @property
    def height(self) -> int:
        return len(self.blocks) - 1

    def advance(self) -> FinalizedBatch:
        """The batch of the next height, which becomes the chain's own."""
        return self._batch(self.height + 1)

    def certificates_above(self) -> list[Certificate]:
        """What a node may hold of views above the head: a notarization, a nullification and a finalization."""
        epoch, view = divmod(self.height + 1, EPOCH_BLOCKS)
        return [
            certificate(VoteKind.NULLIFY, epoch, 3 * view + 2, b""),
            certificate(VoteKind.NOTARIZE, epoch, 3 * view + 3, sha256(b"a candidate")),
            certificate(VoteKind.FINALIZE, epoch, 3 * view + 4, sha256(b"another")),
        ]

    def envelopes(self, height: int) -> tuple[bytes, ...]:
        generator = random.Random(f"{self.seed} envelopes {height}")
        return tuple(generator.randbytes(generator.randrange(50, 300)) for _ in range(generator.randrange(5)))

    def _batch(self, height: int) -> FinalizedBatch:
        generator = random.Random(f"{self.seed} block {height}")
        changes = self._choose_changes(generator)
        update = trie.update(self.nodes, self.root, height, changes)
        envelopes = self.envelopes(height) if height else ()
        account = b"\x00" + generator.randbytes(32)
        system = SystemResult(1, (Event("epoch.turned", (("account", account),), (("height", height),)),))
        results = tuple(
            TransactionResult(sha256(envelope), 0, "", (), None, 10, 1, (Event("sent", (("to", account),), ()),))
            for envelope in envelopes
        )
        epoch, view = divmod(height, EPOCH_BLOCKS)
        header = Header(
            chain_id=CHAIN_ID,
            height=height,
            epoch=epoch,
            view=3 * view + 1 if height else 0,
            parent_hash=self.blocks[-1].hash if self.blocks else GENESIS_HASH,
            time_ms=1_000 * height,
            proposer=PROPOSER,
            transactions_root=transactions_root(envelopes),
            results_root=results_root(system, results),
            state_root=update.root_hash,
            authorities_hash=authorities_of(epoch).hash(),
            next_authorities_hash=authorities_of(epoch + 1).hash() if view == EPOCH_BLOCKS - 1 else None,
        )
        block = Block.of(header, envelopes)
        finalization = certificate(VoteKind.FINALIZE, epoch, header.view, block.hash) if height else None
        history = [(account, SYSTEM_INDEX), *((account, index) for index in range(len(envelopes)))]
        begins = epoch + 1 if view == EPOCH_BLOCKS - 1 else epoch
        sets = {begins: encode_authorities(authorities_of(begins))} if begins != epoch or not height else {}
        batch = FinalizedBatch(block, finalization, changes, update, system, results, history, sets)
        self._apply(batch, changes)
        return batch

    def _choose_changes(self, generator: random.Random) -> Mapping[bytes, bytes | None]:
        keys = [b"\x10" + sha256(b"%d" % number)[:20] for number in range(self._keys)]
        chosen = generator.sample(keys, min(self._changes, len(keys)))
        return {key: None if generator.random() < 0.2 else generator.randbytes(60) for key in chosen}

    def _apply(self, batch: FinalizedBatch, changes: Mapping[bytes, bytes | None]) -> None:
        self.nodes.apply(batch.trie)
        self.root = batch.trie.root
        self.blocks.append(batch.block)
        self.batches.append(batch)
        for key, value in changes.items():
            if value is None:
                self.state.pop(key, None)
            else:
                self.state[key] = value


def grow(store: Store, chain: Chain, blocks: int) -> None:
    """Commit that many blocks more."""
    for _ in range(blocks):
        store.commit(chain.advance())
