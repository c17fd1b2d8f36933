"""The ledger itself: pure and deterministic. Start reading in `transition.py`."""
