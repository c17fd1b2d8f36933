"""A story in which every action of the ledger happens, told in commands of `aitbc` alone.

It is told twice: to processes on a local network (tests/e2e), and, faster, to nodes in this process (tests/cli). What
differs between them is the `Stage`. `happened` reads from the blocks which actions succeeded.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chain.action import action_to_json
from chain.actions.evidence import SubmitEvidence
from chain.certificate import Vote, VoteKind, vote_bytes
from chain.crypto import bls
from node.keys import read_secret
from tests.shell import Finished
from wallet.client import NodeClient

PATIENCE_SECONDS = 60.0
POLL_SECONDS = 0.1
RICH, RENTER, PROVIDER = "genesis", "client", "miner"
MODEL = "RTX 4090"


@dataclass(slots=True)
class Stage:
    """Where the story is told, and by whom. Names of people are names of wallets."""

    run: Callable[..., Finished]
    """`aitbc` with these words; `wallet` names who acts."""
    url: str
    folder: Path
    """For the files that commands read."""
    operators: list[str]
    """Of the authorities: the first proposes everything."""
    newcomers: list[str]
    """Operators who are voted in; the first says that it is ready."""
    enters: bool
    """Whether the first newcomer gets the stake that it needs, and so enters."""
    removed: str
    """The operator whom a measure removes."""
    disabled: str
    """The operator whose keys a measure disables."""
    guilty: Path
    """Folder with the keys of the authority that is convicted."""
    identity: Callable[[str], Any]
    """What `aitbc-node identity` prints for the node of this operator."""
    readiness: Callable[[str], Any]
    """What `aitbc-node ready` prints."""

    def ok(self, *words: str, wallet: str = RENTER) -> Any:
        """The data of a command that must succeed."""
        done = self.run("-o", "json", "--yes", *words, wallet=wallet)
        assert done.code == 0, f"{wallet}: aitbc {' '.join(words)}\n{done.err}"
        return done.data

    def address(self, wallet: str) -> str:
        return str(self.ok("wallet", "address", wallet=wallet)["address"])

    def file(self, name: str, content: Any) -> str:
        """A JSON file, for a command to read."""
        path = self.folder / name
        path.write_text(json.dumps(content))
        return str(path)

    def wait(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"after {PATIENCE_SECONDS} s still not so: {what}"
            time.sleep(POLL_SECONDS)


def tell(stage: Stage) -> None:
    """All of it, from the first payment to the last measure."""
    pay_and_stake(stage)
    gpus = list_gpus(stage)
    reviewed = rent(stage, gpus[0])
    work(stage, gpus[1])
    bid(stage, gpus[1])
    share_an_account(stage)
    dispute(stage, gpus)
    govern(stage, reviewed)
    claim_and_rotate(stage)


def pay_and_stake(stage: Stage) -> None:
    paid = [{"address": stage.address(each), "amount": "500"} for each in (*stage.operators, *stage.newcomers)]
    stage.ok("wallet", "payout", stage.file("salaries.json", paid), wallet=RICH)
    stage.ok("wallet", "send", PROVIDER, "25", "--desc", "welcome")
    stage.ok("wallet", "stake", "700", wallet=PROVIDER)
    stage.ok("wallet", "unstake", "50", wallet=PROVIDER)
    stage.ok("wallet", "profile", "set", "--name", "Miner", wallet=PROVIDER)


def list_gpus(stage: Stage) -> list[str]:
    """Four cards at once; one of them leaves at once."""
    words = ["--name", MODEL, "--memory", "24GB", "--cuda-cores", "16384", "--price-per-hour", "2"]
    ids = [word for number in range(4) for word in ("--hardware-id", f"card {number}")]
    gpus: list[str] = stage.ok("marketplace", "gpu", "register", *words, *ids, wallet=PROVIDER)["gpus"]
    stage.ok("marketplace", "gpu", "heartbeat", wallet=PROVIDER)
    stage.ok("marketplace", "gpu", "update", gpus[0], "--price-per-hour", "3", wallet=PROVIDER)
    window = ["--start", "+2d", "--hours", "3"]
    made = stage.ok("marketplace", "gpu", "maintenance", "set", gpus[0], *window, wallet=PROVIDER)
    stage.ok("marketplace", "gpu", "maintenance", "end", made["maintenance"], wallet=PROVIDER)
    stage.ok("marketplace", "gpu", "retire", gpus[3], wallet=PROVIDER)
    return gpus[:3]


def book(stage: Stage, gpu: str, *words: str) -> str:
    return str(stage.ok("marketplace", "gpu", "book", gpu, "--hours", "1", *words)["booking"])


def booking(stage: Stage, what: str, which: str, *words: str, wallet: str = RENTER) -> Any:
    return stage.ok("marketplace", "booking", what, which, *words, wallet=wallet)


def rent(stage: Stage, gpu: str) -> str:
    """The booking that is reviewed."""
    first = book(stage, gpu)
    booking(stage, "activate", first, "--access", "ssh renter@gpu", wallet=PROVIDER)
    assert stage.ok("marketplace", "gpu", "access", first)["access"] == "ssh renter@gpu"
    booking(stage, "extend", first, "--hours", "1")
    booking(stage, "settle", first, wallet=RICH)
    stage.ok("marketplace", "gpu", "release", first)
    booking(stage, "confirm", first)
    stage.ok("marketplace", "review", "add", first, "--rating", "4", "--comment", "Quiet, and my neighbour's name")
    stage.ok("marketplace", "review", "reply", first, "--comment", "Thank you", wallet=PROVIDER)
    booking(stage, "cancel", book(stage, gpu, "--start", "+1d"))
    booking(stage, "provider-cancel", book(stage, gpu, "--start", "+3d"), wallet=PROVIDER)
    return first


def submit(stage: Stage, prompt: str) -> str:
    words = ["--prompt", prompt, "--max-units", "10", "--unit", "item", "--unit-price", "0.5"]
    return str(stage.ok("client", "submit", "inference", *words)["job"])


def work(stage: Stage, gpu: str) -> None:
    job = submit(stage, "Say something")
    stage.ok("miner", "claim", job, "--gpu", gpu, wallet=PROVIDER)
    stage.ok("client", "share", job)
    assert stage.ok("miner", "payload", job, wallet=PROVIDER)["payload"] == "Say something"
    stage.ok("miner", "receipt", job, "--units", "4", "--result", "Something", wallet=PROVIDER)
    stage.ok("client", "accept", job)
    stage.ok("miner", "deliver", job, "--units", "9", "--result", "Something more", wallet=PROVIDER)
    stage.ok("client", "accept", job)
    assert stage.ok("client", "status", job)["view"]["status"] == "accepted"
    second = submit(stage, "Say it again")
    stage.ok("miner", "claim", second, "--gpu", gpu, wallet=PROVIDER)
    stage.ok("miner", "fail", second, "--reason", "out of memory", wallet=PROVIDER)
    stage.ok("client", "cancel", second)


def bid(stage: Stage, gpu: str) -> None:
    wanted = ["--hours", "2", "--start", "+5d", "--max-price", "9", "--model", MODEL]
    request = stage.ok("marketplace", "request", "open", *wanted)["request"]
    stage.ok("marketplace", "bid", "place", request, gpu, "--price-per-hour", "4", wallet=PROVIDER)
    stage.ok("marketplace", "bid", "withdraw", request, wallet=PROVIDER)
    stage.ok("marketplace", "bid", "place", request, gpu, "--price-per-hour", "3", wallet=PROVIDER)
    stage.ok("marketplace", "request", "accept", request)
    stage.ok("marketplace", "request", "cancel", stage.ok("marketplace", "request", "open", *wanted)["request"])


def share_an_account(stage: Stage) -> None:
    account = stage.ok("wallet", "multisig-create", "--threshold", "2", RENTER, PROVIDER)["address"]
    stage.ok("wallet", "send", account, "20")

    def propose(*words: str) -> str:
        return str(stage.ok("wallet", "multisig-propose", account, *words)["proposal"])

    refused = propose("--send", stage.address(PROVIDER), "5")
    assert stage.ok("wallet", "multisig-reject", refused, wallet=PROVIDER)["closed"]
    paid = propose("--send", stage.address(PROVIDER), "4")
    assert stage.ok("wallet", "multisig-sign", paid, wallet=PROVIDER)["executed"]
    alone = propose("--threshold", "1", "--member", RENTER)
    assert stage.ok("wallet", "multisig-sign", alone, wallet=PROVIDER)["executed"]


def dispute(stage: Stage, gpus: list[str]) -> None:
    """One about a booking, one about a card; the authorities judge both."""
    bad = book(stage, gpus[1])
    booking(stage, "activate", bad, "--access", "ssh renter@nowhere", wallet=PROVIDER)
    opened = stage.ok("marketplace", "dispute", "open", bad, "--text", "Nobody answers")["dispute"]
    judge(stage, opened, "--to-renter", "80", "--fault", "provider", "--slash", "10")
    claimed = stage.ok("marketplace", "gpu", "challenge", gpus[2], "--text", "That is a toaster")["dispute"]
    judge(stage, claimed, "--fault", "provider", "--slash", "50")


def judge(stage: Stage, which: str, *verdict: str) -> None:
    stage.ok("marketplace", "dispute", "respond", which, "--text", "It is not so", wallet=PROVIDER)
    ruled = [stage.ok("marketplace", "dispute", "vote", which, *verdict, wallet=each) for each in stage.operators]
    assert [each["ruled"] for each in ruled] == [False] * (len(ruled) - 1) + [True]


def enact(stage: Stage, *words: str, voters: list[str]) -> str:
    """Propose a measure, and have operators vote for it until it has passed; returns its id."""
    made = stage.ok("governance", "propose", *words, wallet=voters[0])
    outcomes = ["open"]
    for voter in voters[1:]:
        if "passed" not in outcomes:
            outcomes.append(stage.ok("governance", "vote", made["measure"], wallet=voter)["outcome"])
    assert outcomes[-1] == "passed", (words, outcomes)
    return str(made["measure"])


def wait_executed(stage: Stage, *measures: str) -> None:
    def waiting() -> set[str]:
        return {each["id"] for each in stage.ok("governance", "list")["items"]}

    stage.wait(lambda: not waiting() & set(measures), "the measures are executed")


def govern(stage: Stage, reviewed: str) -> None:
    """Every measure that there is; the one authority lies, the other comes, the third goes."""
    voters = stage.operators
    additions = [
        enact(stage, "add-authority", stage.file(f"{each}.keys", stage.identity(each)), voters=voters)
        for each in stage.newcomers
    ]
    measures = [
        enact(stage, "set-parameter", "market-fee", "3%", voters=voters),
        enact(stage, "spend", RENTER, "0.00001", "--memo", "for the story", voters=voters),
        enact(stage, "hide-text", reviewed, voters=voters),
    ]
    (convicted,) = stage.ok("governance", "convict", stage.file("evidence.json", evidence(stage)))["convicted"]
    assert int(convicted["amount"]) > 0
    wait_executed(stage, *additions)
    first = stage.newcomers[0]
    if stage.enters:
        stage.ok("wallet", "stake", "200", wallet=first)
    stage.ok("governance", "ready", stage.file("ready.json", stage.readiness(first)), wallet=first)
    if stage.enters:
        stage.wait(lambda: not stage.ok("governance", "candidates")["items"], "the newcomer is an authority")
        voters = [*voters, first]
    removal = [each for each in voters if each != stage.removed]
    removed = enact(stage, "remove-authority", stage.removed, voters=removal)
    wait_executed(stage, *measures, removed)
    if stage.removed in voters:
        voters = [each for each in voters if each != stage.removed]
        stage.wait(lambda: len(authorities(stage)) == len(voters), "the removed authority has left")
    disabling = [each for each in voters if each != stage.disabled]
    wait_executed(stage, enact(stage, "disable-authority", stage.disabled, voters=disabling))


def authorities(stage: Stage) -> list[dict[str, Any]]:
    with NodeClient(stage.url) as client:
        return list(client.call("chain.authorities").members)


def evidence(stage: Stage) -> Any:
    """Two blocks notarized in one view by the guilty authority, whose own keys sign them here."""
    with NodeClient(stage.url) as client:
        info, head = client.call("chain.info"), client.call("chain.head")
    secret = read_secret(stage.guilty / "bls.key")
    public = bls.public_key(secret).hex()
    (node_key,) = [member["node_key"] for member in authorities(stage) if member["bls_key"] == public]
    votes = []
    for block_hash in (b"\x01" * 32, b"\x02" * 32):
        message = vote_bytes(info.chain_id, head.epoch, 7, VoteKind.NOTARIZE, block_hash)
        votes.append(Vote(VoteKind.NOTARIZE, head.epoch, 7, block_hash, bls.sign(secret, message)))
    return action_to_json(SubmitEvidence(bytes.fromhex(node_key), *votes), info.prefix)


def claim_and_rotate(stage: Stage) -> None:
    stage.ok("wallet", "claim-rewards", wallet=stage.operators[0])
    stage.ok("wallet", "rotate-key", wallet=RICH)
    stage.ok("wallet", "send", RENTER, "1", wallet=RICH)


def happened(url: str) -> set[str]:
    """The names of all actions that succeeded, those inside executed proposals and measures included."""
    done: set[str] = set()
    inside: dict[str, list[str]] = {}
    executed: set[str] = set()
    with NodeClient(url) as client:
        for height in range(1, client.call("chain.head").height + 1):
            block = client.call("chain.block", height=height, details=True)
            executed |= set(_subjects(block.system_events))
            for transaction in block.transactions:
                if not transaction.succeeded:
                    continue
                done |= set(transaction.actions)
                events = transaction.result["events"]
                executed |= set(_subjects(events))
                for proposed, action in zip(_proposed(events), _proposals(transaction), strict=True):
                    inside[proposed] = [each["action"] for each in action["actions"]]
    return done | {name for each in executed for name in inside[each]}


_PROPOSED = {"governance.proposed": "measure", "multisig.proposed": "proposal"}
_EXECUTED = {"governance.executed": "measure", "multisig.executed": "proposal"}


def _subjects(events: Any, kinds: dict[str, str] = _EXECUTED) -> Iterator[str]:
    """The ids that events of these kinds are about."""
    for event in events:
        role = kinds.get(event["kind"])
        yield from (pair["id"] for pair in event["subjects"] if pair["role"] == role)


def _proposed(events: Any) -> list[str]:
    return list(_subjects(events, _PROPOSED))


def _proposals(transaction: Any) -> list[Any]:
    actions = transaction.transaction["actions"]
    return [each for each in actions if each["action"] in ("governance.propose", "multisig.propose")]
