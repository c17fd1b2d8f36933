"""The registry: one line per family of actions, and nothing lists the kinds twice.

Codec, JSON view, `rpc.discover`, CLI decoding and wallet confirmation text are all generated from here. The order of
the lines is that in which an epoch ends: stakers are paid first, then measures take effect, then the set of
authorities follows from both.
"""

from chain.action import Family, register
from chain.actions.accounts import FAMILY as ACCOUNTS
from chain.actions.staking import FAMILY as STAKING
from chain.actions.gpus import FAMILY as GPUS
from chain.actions.bookings import FAMILY as BOOKINGS
from chain.actions.requests import FAMILY as REQUESTS
from chain.actions.jobs import FAMILY as JOBS
from chain.actions.reviews import FAMILY as REVIEWS
from chain.actions.disputes import FAMILY as DISPUTES
from chain.actions.multisig import FAMILY as MULTISIG
from chain.actions.governance import FAMILY as GOVERNANCE
from chain.actions.authorities import FAMILY as AUTHORITIES
from chain.actions.evidence import FAMILY as EVIDENCE

FAMILIES: tuple[Family, ...] = tuple(entry for entry in list(vars().values()) if isinstance(entry, Family))

register(FAMILIES)
