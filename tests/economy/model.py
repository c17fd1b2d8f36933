"""The second ledger: every family in one set of books."""

from dataclasses import dataclass

from tests.economy.disputes import Disputes
from tests.economy.envelopes import Envelopes
from tests.economy.measures import Measures
from tests.economy.requests import Requests


@dataclass
class Model(Measures, Disputes, Requests, Envelopes):
    """All that the ledger knows, told a second time."""
