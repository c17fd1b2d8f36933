"""The story that `./localnet/start` tells, through `aitbc` alone: a GPU is listed, booked, worked on, paid, reviewed.

Every step is a command that a person could type. At the end the balances are worked out again from the events of the
chain, and compared with what the nodes say, to the base unit.
"""

import json
import shlex
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from localnet.layout import COIN, Layout
from localnet.network import LocalnetError, command

_STAKE = "200"
_PRICE = "2"
_HOURS = "1"
_ACTORS = ("client", "miner")


@dataclass(slots=True)
class Step:
    """One transaction of the story."""

    who: str
    what: str
    height: int
    subject: str
    """Id of what it is about."""
    fee: int
    events: list[dict[str, Any]]


@dataclass(slots=True)
class Story:
    """Runs commands and remembers what they did."""

    layout: Layout
    url: str
    steps: list[Step] = field(default_factory=list)
    addresses: dict[str, str] = field(default_factory=dict)

    def ask(self, *arguments: str, wallet: str = "client", show: bool = False) -> Any:
        """The JSON answer of an `aitbc` command."""
        if show:
            click.echo(f"$ aitbc --wallet {wallet} {shlex.join(arguments)}")
        options = ["--output", "json", "--yes", "--node", self.url]
        options += ["--wallet-path", str(self.layout.wallets), "--wallet", wallet]
        done = subprocess.run(
            command("aitbc", *options, *arguments),
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise LocalnetError(
                f"The demonstration stopped: `aitbc {shlex.join(arguments)}` ended with {done.returncode}.\n"
                f"{done.stderr.strip()}",
                "The nodes still run; ./localnet/stop --reset and ./localnet/start begin again.",
            )
        return json.loads(done.stdout)

    def act(self, wallet: str, what: str, kind: str, role: str, *arguments: str) -> str:
        """Run a command that writes, tell of it, and return the id of `role` in its first event of `kind`."""
        answer = self.ask(*arguments, wallet=wallet, show=True)
        before = answer.get("commitment")
        if before is not None:
            subject = before["events"][0]["subjects"][0]["id"]
            self.steps.append(
                Step(wallet, "device promised", before["height"], subject, int(before["fee"]), before["events"])
            )
        step = Step(wallet, what, answer["height"], "", int(answer["fee"]), answer["events"])
        step.subject = next(
            pair["id"]
            for event in step.events
            if event["kind"] == kind
            for pair in event["subjects"]
            if pair["role"] == role
        )
        self.steps.append(step)
        click.echo(f"  height {step.height}: {what}, {role} {step.subject[:16]}…\n")
        return step.subject

    def balances(self) -> dict[str, int]:
        """The balance of every actor in base units."""
        return {name: int(self.ask("wallet", "balance", wallet=name)["balance"]) for name in _ACTORS}


def run(layout: Layout) -> None:
    """Tell the story on a fresh network and print what came of it. Raises LocalnetError if a step fails."""
    story = Story(layout, layout.nodes()[0].url)
    click.echo("A demonstration of the market. Every line that begins with $ is a command you can type.\n")
    for name in _ACTORS:
        story.addresses[name] = story.ask("wallet", "address", wallet=name)["address"]
    before, supply_before = story.balances(), story.ask("blockchain", "supply")
    gpu = _list_gpu(story)
    booking = _rent_gpu(story, gpu)
    job = _have_work_done(story, gpu, layout.root)
    _review(story, booking)
    _act_together(story)
    after, supply_after = story.balances(), story.ask("blockchain", "supply")
    _print_steps(story)
    _print_money(story, booking, job)
    _print_balances(story, before, after)
    _print_supply(supply_before, supply_after)


def _list_gpu(story: Story) -> str:
    story.act("miner", "stake locked", "stake.added", "account", "wallet", "stake", _STAKE)
    story.act(
        "miner",
        "profile with its sealing key",
        "account.profile_set",
        "account",
        "wallet",
        "profile",
        "set",
        "--name",
        "Local miner",
    )
    return story.act(
        "miner",
        "GPU listed",
        "gpu.registered",
        "gpu",
        "marketplace",
        "gpu",
        "register",
        "--name",
        "RTX 4090",
        "--memory",
        "24576",
        "--cuda-cores",
        "16384",
        "--price-per-hour",
        _PRICE,
        "--region",
        "local",
    )


def _rent_gpu(story: Story, gpu: str) -> str:
    booking = story.act(
        "client",
        "GPU booked, the whole cost locked",
        "booking.reserved",
        "booking",
        "marketplace",
        "gpu",
        "book",
        gpu,
        "--hours",
        _HOURS,
    )
    story.act(
        "miner",
        "access handed over, sealed",
        "booking.activated",
        "booking",
        "marketplace",
        "booking",
        "activate",
        booking,
        "--access",
        "ssh renter@gpu.local (there is no such machine)",
    )
    story.ask("marketplace", "gpu", "access", booking, wallet="client", show=True)
    click.echo("  only the client's wallet opens it\n")
    story.act(
        "client",
        "GPU released, what was not used refunded",
        "booking.released",
        "booking",
        "marketplace",
        "gpu",
        "release",
        booking,
    )
    story.act(
        "client",
        "no complaint: the provider is paid at once",
        "booking.closed",
        "booking",
        "marketplace",
        "booking",
        "confirm",
        booking,
    )
    return booking


def _have_work_done(story: Story, gpu: str, folder: Path) -> str:
    job = story.act(
        "client",
        "job offered, its price locked",
        "job.submitted",
        "job",
        "client",
        "submit",
        "inference",
        "--prompt",
        "What is a ledger?",
        "--max-units",
        "1000",
        "--unit-price",
        "0.001",
        "--unit",
        "token",
    )
    story.act("miner", "job claimed", "job.claimed", "job", "miner", "claim", job, "--gpu", gpu)
    story.act("client", "payload shared, sealed", "job.payload_shared", "job", "client", "share", job)
    result = folder / "result.txt"
    result.write_text("A book that nobody can rewrite.\n")
    story.act(
        "miner",
        "result delivered with a receipt over 640 tokens",
        "job.delivered",
        "job",
        "miner",
        "deliver",
        job,
        "--units",
        "640",
        "--result-file",
        str(result),
        "--location",
        result.as_uri(),
    )
    story.act("client", "result accepted, the provider is paid", "job.accepted", "job", "client", "accept", job)
    return job


def _review(story: Story, booking: str) -> None:
    story.act(
        "client",
        "booking reviewed",
        "review.submitted",
        "subject",
        "marketplace",
        "review",
        "add",
        booking,
        "--rating",
        "5",
        "--comment",
        "Fast and quiet.",
    )


def _act_together(story: Story) -> None:
    """Two people share an account, and spend from it only together."""
    members = [story.addresses[name] for name in _ACTORS]
    account = story.act(
        "client",
        "account of client and miner together",
        "multisig.created",
        "account",
        "wallet",
        "multisig-create",
        "--threshold",
        "2",
        *members,
    )
    story.act("client", "25 AITBC paid in", "account.transfer", "to", "wallet", "send", account, "25")
    proposal = story.act(
        "client",
        "payment proposed",
        "multisig.proposed",
        "proposal",
        "wallet",
        "multisig-propose",
        account,
        "--send",
        story.addresses["miner"],
        "10",
    )
    story.act(
        "miner", "approved, and so executed", "multisig.executed", "proposal", "wallet", "multisig-sign", proposal
    )


def _print_steps(story: Story) -> None:
    click.echo("What happened\n")
    rows: list[tuple[str, ...]] = [("height", "who", "what", "fee, AITBC")]
    rows += [(str(step.height), step.who, step.what, units(step.fee)) for step in story.steps]
    _table(rows, right=(0, 3))


def _amounts(story: Story, kinds: tuple[str, ...], subject: str) -> Counter[str]:
    """What all events of these kinds about a subject come to."""
    total: Counter[str] = Counter()
    missing = set(kinds)
    for step in story.steps:
        for event in step.events:
            if event["kind"] in kinds and any(pair["id"] == subject for pair in event["subjects"]):
                total.update({pair["name"]: int(pair["value"]) for pair in event["amounts"]})
                missing.discard(event["kind"])
    if missing:
        raise LocalnetError(f"The chain shows no event {missing.pop()}.", "This is a defect; please report it.")
    return total


def _print_money(story: Story, booking: str, job: str) -> None:
    """Where the locked money of the booking and of the job went."""
    columns: list[tuple[str, ...]] = [("", "locked", "earned", "market fee", "to provider", "refund", "left over")]
    for name, subject, opened, paid, returned in (
        ("booking", booking, ("booking.reserved",), ("booking.released", "booking.closed"), ("booking.released",)),
        ("job", job, ("job.submitted",), ("job.paid",), ("job.accepted",)),
    ):
        locked = _amounts(story, opened, subject)["locked"]
        payment, refund = _amounts(story, paid, subject), _amounts(story, returned, subject)["refund"]
        rest = locked - payment["net"] - payment["fee"] - refund
        numbers = (locked, payment["net"] + payment["fee"], payment["fee"], payment["net"], refund, rest)
        columns.append((name, *(units(number) for number in numbers)))
        if rest:
            raise LocalnetError(f"The money of the {name} does not add up.", "This is a defect; please report it.")
    click.echo("\nWhere the locked money went, in AITBC\n")
    _table(list(zip(*columns, strict=True)), right=(1, 2))


def _flows(story: Story) -> dict[str, Counter[str]]:
    """For every account what the events say it gained or lost, by reason."""
    flows: dict[str, Counter[str]] = {}

    def move(account: str, reason: str, value: int) -> None:
        flows.setdefault(account, Counter())[reason] += value

    for step in story.steps:
        move(story.addresses[step.who], "transaction fees", -step.fee)
        for event in step.events:
            party = {pair["role"]: pair["id"] for pair in event["subjects"]}
            value = Counter({pair["name"]: int(pair["value"]) for pair in event["amounts"]})
            match event["kind"]:
                case "account.transfer":
                    move(party["from"], "sent", -value["amount"])
                    move(party["to"], "received", value["amount"])
                case "deposit.taken":
                    move(party["payer"], "deposits", -value["amount"])
                case "deposit.returned":
                    move(party["payer"], "deposits", value["amount"])
                case "stake.added":
                    move(party["account"], "staked", -value["amount"])
                case "booking.reserved" | "job.submitted":
                    move(party["renter"], "locked", -value["locked"])
                case "booking.released":
                    move(party["renter"], "refunded", value["refund"])
                    move(party["provider"], "earned", value["net"])
                case "job.accepted":
                    move(party["renter"], "refunded", value["refund"])
                case "booking.closed" | "job.paid":
                    move(party["provider"], "earned", value["net"])
    return flows


_REASONS = ("locked", "refunded", "earned", "staked", "deposits", "sent", "received", "transaction fees")


def _print_balances(story: Story, before: dict[str, int], after: dict[str, int]) -> None:
    flows = _flows(story)
    rows: list[tuple[str, ...]] = [("", *_ACTORS)]
    rows.append(("before", *(units(before[name]) for name in _ACTORS)))
    for reason in _REASONS:
        rows.append((reason, *(units(flows[story.addresses[name]][reason], sign=True) for name in _ACTORS)))
    rows.append(("after", *(units(after[name]) for name in _ACTORS)))
    difference = {name: after[name] - before[name] - sum(flows[story.addresses[name]].values()) for name in _ACTORS}
    rows.append(("unexplained", *(units(difference[name]) for name in _ACTORS)))
    click.echo("\nBalances, in AITBC\n")
    _table(rows, right=(1, 2))
    if any(difference.values()):
        raise LocalnetError("The balances do not add up.", "This is a defect; please report it.")


_PLACES = ("balances", "escrow", "staked", "unbonding", "deposits", "rewards", "epoch_pot", "treasury")


def _print_supply(before: dict[str, Any], after: dict[str, Any]) -> None:
    rows: list[tuple[str, ...]] = [("", "before", "after")]
    for place in _PLACES:
        rows.append((place.replace("_", " "), units(int(before[place])), units(int(after[place]))))
    sums = [sum(int(supply[place]) for place in _PLACES) for supply in (before, after)]
    issued = [int(supply["issued"]) - int(supply["burnt"]) for supply in (before, after)]
    rows.append(("together", *(units(total) for total in sums)))
    rows.append(("issued less burnt", *(units(total) for total in issued)))
    click.echo("\nAll money of the network, in AITBC\n")
    _table(rows, right=(1, 2))
    if sums != issued:
        raise LocalnetError("The money of the network does not add up.", "This is a defect; please report it.")
    click.echo("\nEverything adds up to the base unit (0.000000001 AITBC).\n")


def units(value: int, *, sign: bool = False) -> str:
    """Base units as AITBC with nine decimals, so that columns can be compared digit by digit."""
    whole, part = divmod(abs(value), COIN)
    mark = "-" if value < 0 else "+" if sign and value else ""
    return f"{mark}{whole:,}.{part:09d}"


def _table(rows: list[tuple[str, ...]], right: Any) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [
            text.rjust(width) if column in right else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        click.echo("  " + "  ".join(cells).rstrip())
