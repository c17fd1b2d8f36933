"""Everything that can be attempted: every family in one generator."""

from tests.economy.choices_accounts import AccountChoices
from tests.economy.choices_council import CouncilChoices
from tests.economy.choices_disputes import DisputeChoices
from tests.economy.choices_envelopes import EnvelopeChoices
from tests.economy.choices_jobs import JobChoices
from tests.economy.choices_requests import RequestChoices

FAMILIES = {
    "account": 2,
    "stake": 1,
    "reward": 1,
    "listing": 3,
    "chore": 2,
    "reserve": 6,
    "booking": 8,
    "job": 2,
    "work": 4,
    "review": 1,
    "request": 1,
    "bid": 5,
    "multisig": 2,
    "dispute": 1,
    "judge": 3,
    "measure": 1,
    "ballot": 3,
    "office": 2,
    "evidence": 1,
}
"""How often each is tried, against the others."""
BOOKING_FAMILIES = ("account", "stake", "listing", "chore", "reserve", "booking")
COUNCIL_FAMILIES = ("measure", "ballot", "ballot", "ballot", "office", "office", "evidence")


class Attempts(EnvelopeChoices, DisputeChoices, JobChoices, RequestChoices, AccountChoices, CouncilChoices):
    """Draws attempts of every family."""
