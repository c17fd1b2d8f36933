"""The second ledger: every family in one set of books."""

from dataclasses import dataclass

from tests.economy.accounts import Staking
from tests.economy.disputes import Disputes
from tests.economy.jobs import Reviews
from tests.economy.multisig import Multisigs
from tests.economy.requests import Requests


@dataclass
class Model(Staking, Reviews, Disputes, Requests, Multisigs):
    """All that the ledger knows, told a second time."""
