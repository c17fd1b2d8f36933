"""The registry: one line per family of actions, and nothing lists the kinds twice.

Codec, JSON view, `rpc.discover`, CLI decoding and wallet confirmation text are all generated from here.
"""

from chain.action import Family, register
from chain.actions.accounts import FAMILY as ACCOUNTS
from chain.actions.authorities import FAMILY as AUTHORITIES
from chain.actions.bookings import FAMILY as BOOKINGS
from chain.actions.disputes import FAMILY as DISPUTES
from chain.actions.evidence import FAMILY as EVIDENCE
from chain.actions.governance import FAMILY as GOVERNANCE
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
    # At the end of an epoch stakers are paid first; then measures take effect, and the set follows from them.
    GOVERNANCE,
    AUTHORITIES,
    EVIDENCE,
)

register(FAMILIES)
