"""The provider agent: keeps the local market alive by doing what a provider's machine does.

It says that the miner's GPUs are alive before they count as offline, and hands over access when one is booked.
What it hands over is a text that says so: there is no machine behind a local network.
"""

import logging
import os
import signal
import threading
from collections.abc import Sequence

from chain.action import Action
from chain.actions.bookings import Activate
from chain.actions.gpus import Heartbeat
from chain.parameters import Parameters
from localnet.layout import Layout
from wallet.client import NodeClient
from wallet.errors import WalletError
from wallet.keystore import Keystore
from wallet.sealing import seal
from wallet.transactions import build, read_network, sign, submit, wait_final
from wallet.wallet_file import UnlockedWallet

_ROUND_SECONDS = 2.0
_FINAL_SECONDS = 30.0
_PAGE = 100

log = logging.getLogger("localnet.agent")


class Agent:
    """Acts for one wallet through whichever node answers."""

    def __init__(self, wallet: UnlockedWallet, urls: Sequence[str]) -> None:
        self._wallet = wallet
        self._urls = list(urls)
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End after the present round."""
        self._stopping.set()

    def run(self) -> None:
        """Work until told to stop; a node that does not answer is passed over."""
        while not self._stopping.is_set():
            try:
                with NodeClient(self._urls[0]) as client:
                    while not self._stopping.is_set():
                        self.work(client)
                        self._stopping.wait(_ROUND_SECONDS)
            except WalletError as error:
                log.warning("%s", error)
                self._urls.append(self._urls.pop(0))
                self._stopping.wait(_ROUND_SECONDS)

    def work(self, client: NodeClient) -> None:
        """One round: whatever is due for the wallet's GPUs and bookings, in one transaction."""
        network = read_network(client)
        actions: list[Action] = []
        due = self._due_heartbeats(client, network.parameters)
        if due:
            actions.append(Heartbeat(tuple(due)))
        address = self._wallet.wallet.address_text
        reserved = client.call("booking.list", provider=address, status="reserved", limit=_PAGE)
        for view in reserved.items:
            text = f"Booking {view.id[:12]}: this is a local network, there is no machine to log in to."
            sealed = seal(text.encode(), bytes.fromhex(view.booking["sealing_key"]))
            actions.append(Activate(bytes.fromhex(view.id), sealed))
        if not actions:
            return
        sequence = client.call("account.next_sequence", address=address).next
        body = build(network, self._wallet.wallet.address, self._wallet.public_key, sequence, actions)
        txid = submit(client, sign(self._wallet, body))
        final = wait_final(client, txid, _FINAL_SECONDS)
        log.info("height %s: %s", final.height, ", ".join(action.name for action in actions))

    def _due_heartbeats(self, client: NodeClient, parameters: Parameters) -> list[bytes]:
        """The GPUs that have used up half of their time, or all of it."""
        head = client.call("chain.head")
        half_ms = parameters.heartbeat_timeout_seconds * 500
        gpus = client.call("gpu.list", provider=self._wallet.wallet.address_text, limit=_PAGE).items
        return [
            bytes.fromhex(view.id)
            for view in gpus
            if view.gpu["status"] != "retired" and view.gpu["offline_live_ms"] - head.live_ms < half_ms
        ]


def main(layout: Layout, wallet_name: str = "miner") -> None:
    """Run the agent until SIGTERM or SIGINT."""
    logging.basicConfig(
        level=os.environ.get("AITBC_LOG_LEVEL", "info").upper(), format="%(asctime)s %(levelname)s %(message)s"
    )
    wallet = Keystore(layout.wallets).open(wallet_name).unlock()
    agent = Agent(wallet, [place.url for place in layout.nodes()])
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.stop())
    log.info("provider agent for wallet %s", wallet_name)
    agent.run()
