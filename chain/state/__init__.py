"""The state: flat tables, the overlay that a block executes on, the trie that commits it, and its proofs."""
