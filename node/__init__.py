"""One running authority or follower: consensus, peers, mempool, LevelDB, JSON-RPC."""
