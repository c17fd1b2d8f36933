"""Proof-of-authority consensus with instant finality; README.md is the protocol, simplex.py the core that runs it."""
