"""How a node talks to other nodes: authenticated links, the peers at their ends, and transaction gossip.

Read in this order: handshake.py (who is there), frames.py (messages on a link), link.py (one live link),
peers.py (all links of a node; the interface the rest of the node uses) with config.py (its limits) and dialling.py
(when to dial), gossip.py (spreading transactions).
"""
