"""Typed parameters and results of every RPC method, shared by node and wallet; `METHODS` lists them once.

Plain frozen dataclasses: the node and the wallet convert them at their edge, and the OpenRPC document is generated
from them. In JSON, amounts are decimal strings of base units, ids are hex, accounts are bech32m addresses, times are
milliseconds since 1970 (UTC) unless the name says `live`, and a `…_record` is the JSON form of a record of
the ledger (see `chain.record.to_json`), so that no field is listed twice. An answer about the state says as of
which block it holds.
"""

from chain.interface.common import *  # noqa: F403
from chain.interface.disputes import *  # noqa: F403
from chain.interface.economy import *  # noqa: F403
from chain.interface.governance import *  # noqa: F403
from chain.interface.ledger import *  # noqa: F403
from chain.interface.market import *  # noqa: F403
from chain.interface.methods import *  # noqa: F403
from chain.interface.node import *  # noqa: F403
from chain.interface.requests import *  # noqa: F403
from chain.interface.stake import *  # noqa: F403
