"""The registry: one line per family of actions, and nothing lists the kinds twice.

Codec, JSON view, `rpc.discover`, CLI decoding and wallet confirmation text are all generated from here.
"""

from chain.action import Family, register
from chain.actions.accounts import FAMILY as ACCOUNTS
from chain.actions.bookings import FAMILY as BOOKINGS
from chain.actions.disputes import FAMILY as DISPUTES
from chain.actions.gpus import FAMILY as GPUS
from chain.actions.jobs import FAMILY as JOBS
from chain.actions.multisig import FAMILY as MULTISIG
from chain.actions.requests import FAMILY as REQUESTS
from chain.actions.reviews import FAMILY as REVIEWS
from chain.actions.staking import FAMILY as STAKING

FAMILIES: tuple[Family, ...] = (
    ACCOUNTS,
    STAKING,
    GPUS,
    BOOKINGS,
    REQUESTS,
    JOBS,
    REVIEWS,
    DISPUTES,
    MULTISIG,
)

register(FAMILIES)
