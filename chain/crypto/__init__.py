"""Hashing, signatures and addresses: every cryptographic choice of the ledger, made once.

Nothing here draws randomness or keeps a key: seeds come in from outside, and each public name is a pure function
of its arguments. Verification never raises, because what it judges comes from strangers.
"""
