"""The one way in which a command changes the ledger: build, show, ask, sign, send, wait, tell.

Before anything is signed the node says what the transaction would do now, so that one that would fail costs no fee.
The txid is shown before it is sent, so that nothing is lost when the wait for finality is cut short.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli import output
from cli.context import Application
from cli.errors import INTERRUPTED, UNREACHABLE, CliError, Refused, StillWaiting, explain
from cli.output import Pairs, amount, details, local_time

if TYPE_CHECKING:
    from chain.action import Action
    from chain.interface import Simulation
    from chain.transaction import Body, Transaction
    from wallet.client import NodeUnreachable
    from wallet.transactions import Network
    from wallet.wallet_file import Wallet

ATTEMPTS = 5
"""Times a transaction is signed again because another one of the same account took its sequence."""
OFFLINE_VALIDITY_MS = 50 * 60_000
"""How long a transaction that is signed elsewhere may take to arrive; the ledger allows an hour."""
_TAKEN = frozenset(("sequence_mismatch", "replacement_underpriced"))


class SentButUnknown(CliError):
    """The node was lost after it had taken the transaction."""

    code = 4011
    name = "sent_but_unknown"
    exit_code = UNREACHABLE


class InterruptedWait(CliError):
    """The person had enough of waiting for a transaction."""

    code = 4007
    name = "interrupted"
    exit_code = INTERRUPTED


def _later(txid: str) -> str:
    return f"It may still become final. Ask later with `aitbc blockchain transaction {txid}`."


def _lost(txid: str, fate: str, error: "NodeUnreachable") -> SentButUnknown:
    return SentButUnknown(f"The transaction {fate}, but the node was lost. {error.message}", _later(txid), txid=txid)


@dataclass(frozen=True, slots=True)
class Sent:
    """A transaction that the node took."""

    txid: str
    final: bool
    height: int | None
    time_ms: int | None
    fee: int
    """Base units: what was paid, or is at most, as long as it is pending."""
    events: tuple[dict[str, Any], ...]

    def subject(self, kind: str, role: str) -> str | None:
        """The id of a role in the first event of a kind; None while the transaction is pending."""
        return next(iter(self.subjects(kind, role)), None)

    def subjects(self, kind: str, role: str) -> list[str]:
        """The ids of a role in every event of a kind."""
        pairs = [pair for event in self.events if event["kind"] == kind for pair in event["subjects"]]
        return [str(pair["id"]) for pair in pairs if pair["role"] == role]

    def amounts(self, kind: str) -> dict[str, int]:
        """The amounts of the first event of a kind."""
        for event in self.events:
            if event["kind"] == kind:
                return {pair["name"]: int(pair["value"]) for pair in event["amounts"]}
        return {}


Report = Callable[[Sent], tuple[dict[str, Any], Pairs]]
"""What a command tells of its success: fields for programs, and lines for people."""


def write(
    app: Application, actions: Sequence["Action"], *, memo: str = "", summary: Pairs = (), report: Report | None = None
) -> None:
    """Do everything from building to telling; see the module's docstring.

    Args:
        summary: lines that matter to who confirms, beside the actions themselves.
    """
    sent = send(app, actions, memo=memo, summary=summary)
    if sent is not None:
        tell(app, sent, report)


def send(
    app: Application,
    actions: Sequence["Action"],
    *,
    memo: str = "",
    summary: Pairs = (),
    question: str | None = "Sign and send this transaction?",
    wait: bool | None = None,
) -> Sent | None:
    """Everything but telling; None if the settings say that nothing is to be sent.

    Args:
        question: what the person must say yes to; None if that was asked before.
        wait: whether to wait until it is final, whatever the settings say.
    """
    wallet = app.wallet()
    network = app.network()
    _require_same_network(wallet, network)
    body = _build(app, wallet, network, actions, memo)
    if app.settings.build_file is not None:
        _write_unsigned(app, body, network, summary)
        return None
    simulation, judged = _simulate(app, body)
    if app.settings.dry_run:
        lines = (*summary, *deposit_lines(simulation, wallet.address_text))
        _show_simulation(app, body, network, lines, simulation)
        return None
    if judged:
        require_success(simulation)
    if app.tells:
        output.note(_summary(body, network, wallet, (*summary, *deposit_lines(simulation, wallet.address_text))))
    if question is not None:
        app.confirm(question)
    transaction = _sign_and_submit(app, wallet, network, body, actions, memo)
    return await_result(app, transaction.txid.hex(), transaction.body.fee, wait)


def deposit_lines(simulation: "Simulation", payer: str) -> list[tuple[str, str]]:
    """What the payer leaves with the ledger for records that the transaction makes, and what comes back."""
    held = {True: 0, False: 0}
    at_stake = returned = 0
    for event in simulation.events:
        roles = {pair["role"]: pair["id"] for pair in event["subjects"]}
        value = sum(int(pair["value"]) for pair in event["amounts"])
        if event["kind"] == "deposit.taken" and roles.get("payer") == payer:
            lasting = "key" in roles or "reputation" in roles or roles.get("account", payer) != payer
            held[lasting] += value
        elif event["kind"] == "deposit.returned" and roles.get("payer") == payer:
            returned += value
        elif event["kind"] == "dispute.opened" and roles.get("opener") == payer:
            at_stake += sum(int(pair["value"]) for pair in event["amounts"] if pair["name"] == "deposit")
    told = [
        ("dispute deposit", at_stake, "returned as far as you win"),
        ("storage deposit", held[False] - at_stake, "returned later"),
        ("for what stays", held[True], "held for good"),
        ("deposit returned", returned, "now"),
    ]
    return [(name, f"{amount(value)}, {when}") for name, value, when in told if value]


def foresee(app: Application, actions: Sequence["Action"], *, expected: str) -> None:
    """Raise Refused if the ledger would refuse these actions now for another reason than the expected one."""
    wallet, network = app.wallet(), app.network()
    _require_same_network(wallet, network)
    simulation, judged = _simulate(app, _build(app, wallet, network, actions, ""))
    if judged and simulation.error is not None and simulation.error.name != expected:
        require_success(simulation)


def await_result(app: Application, txid: str, fee: int, wait: bool | None = None) -> Sent:
    """Wait until the transaction is final, unless told not to. Raises as `wait_final`."""
    from wallet.client import NodeUnreachable
    from wallet.transactions import StillPending, TransactionRejected, wait_final

    if not (app.settings.wait if wait is None else wait):
        return Sent(txid, False, None, None, fee, ())
    try:
        view = wait_final(app.client(), txid, app.settings.timeout)
    except TransactionRejected as error:
        where = app.call("tx.get", txid=txid).height
        told = "The transaction was dropped" if where is None else f"The transaction failed at height {where}, fee paid"
        refused = Refused(told, error.hint, error.rejection_code, error.rejection, error.details)
        refused.details.setdefault("txid", txid)
        raise refused from error
    except StillPending as error:
        waiting = app.call("node.status").waiting
        reason = f" The node is {waiting}." if waiting else ""
        raise StillWaiting(error.message + reason, error.hint, txid=txid) from error
    except NodeUnreachable as error:
        raise _lost(txid, "was sent", error) from error
    except KeyboardInterrupt as error:
        raise InterruptedWait(
            "Interrupted while waiting; the transaction was sent.", _later(txid), txid=txid
        ) from error
    result = view.result or {}
    return Sent(txid, True, view.height, view.time_ms, int(result.get("fee", fee)), tuple(result.get("events", ())))


def tell(app: Application, sent: Sent, report: Report | None) -> None:
    """Show what became of a transaction."""
    data, lines = report(sent) if report else ({}, ())
    known: dict[str, Any] = {
        **data,
        "txid": sent.txid,
        "status": "final" if sent.final else "pending",
        "height": sent.height,
        "time_ms": sent.time_ms,
        "fee": str(sent.fee),
        "events": list(sent.events),
    }

    def human() -> str:
        if not sent.final:
            return details([("transaction", sent.txid), ("status", "pending")])
        tail = [
            ("transaction", sent.txid),
            ("final", f"at height {sent.height}, {local_time(sent.time_ms)}"),
            ("fee", amount(sent.fee)),
        ]
        return details([*lines, *tail])

    app.show(known, human)


def describe(body: "Body", prefix: str) -> list[tuple[str, str]]:
    """Every field of a transaction in human units, times and durations included."""
    from chain.transaction import describe_body

    lines = [(name, readable(name, text)) for name, text in describe_body(body, prefix)]
    return [(name.removeprefix("1. "), text) for name, text in lines] if len(body.actions) == 1 else lines


def describe_actions(actions: Sequence["Action"], prefix: str) -> list[tuple[str, str]]:
    """Every field of actions in human units."""
    from chain.action import describe_action

    return [(name, readable(name, text)) for action in actions for name, text in describe_action(action, prefix)]


def readable(name: str, text: str) -> str:
    """A described field with times and durations in human units."""
    if not text.isdigit():
        return text
    if name.endswith(" ms"):
        return local_time(int(text)) if int(text) else "now"
    if name.endswith("seconds"):
        return output.duration(int(text))
    return text


def require_success(simulation: "Simulation") -> None:
    """Raise Refused if the ledger would refuse the transaction now."""
    error = simulation.error
    if error is not None:
        raise Refused("The ledger would refuse this", error.hint, error.code, error.name, error.data)


def _require_same_network(wallet: "Wallet", network: "Network") -> None:
    if wallet.prefix != network.prefix:
        raise CliError(
            f"Wallet {wallet.name} is for addresses that begin with {wallet.prefix}1, "
            f"and the node serves {network.chain_id}, whose begin with {network.prefix}1.",
            "Choose another wallet with --wallet, or another node with --node.",
        )


def _public_key(wallet: "Wallet") -> bytes:
    if wallet.public_key is None:
        raise CliError(
            f"Wallet {wallet.name} knows an address but not its key.",
            "Import it again with `aitbc wallet import NAME --watch PUBLIC_KEY` to build transactions for it.",
        )
    return wallet.public_key


def _build(app: Application, wallet: "Wallet", network: "Network", actions: Sequence["Action"], memo: str) -> "Body":
    from wallet.transactions import VALIDITY_MS, build

    if app.settings.build_file is None and not wallet.can_sign:
        from wallet.errors import WatchOnlyWallet

        raise WatchOnlyWallet(wallet=wallet.name)
    sequence = app.call("account.next_sequence", address=wallet.address_text).next
    return build(
        network,
        wallet.address,
        _public_key(wallet),
        sequence,
        actions,
        tip=app.settings.tip,
        memo=memo,
        valid_for_ms=VALIDITY_MS if app.settings.build_file is None else OFFLINE_VALIDITY_MS,
    )


def _simulate(app: Application, body: "Body") -> tuple["Simulation", bool]:
    """The node's opinion, and whether it counts: it knows nothing of pending transactions that come before."""
    from chain.record import encode_record

    simulation = app.call("tx.simulate", body=encode_record(body).hex())
    waits = simulation.error is not None and simulation.error.name == "sequence_mismatch"
    return simulation, not waits


def _sign_and_submit(
    app: Application, wallet: "Wallet", network: "Network", body: "Body", actions: Sequence["Action"], memo: str
) -> "Transaction":
    """Sign and hand in. Where commands of one account race, whoever comes late takes the next sequence."""
    from wallet.client import NodeUnreachable
    from wallet.transactions import TransactionRejected, sign, submit

    attempts = ATTEMPTS
    while True:
        transaction = sign(app.unlock(wallet), body)
        app.note(f"Sending transaction {transaction.txid.hex()} …")
        try:
            submit(app.client(), transaction)
        except NodeUnreachable as error:
            raise _lost(transaction.txid.hex(), "may have been sent", error) from error
        except TransactionRejected as error:
            attempts -= 1
            if error.rejection not in _TAKEN or not attempts:
                raise
            body = _build(app, wallet, network, actions, memo)
        else:
            return transaction


def _summary(body: "Body", network: "Network", wallet: "Wallet", summary: Pairs) -> str:
    lines = [(name, text) for name, text in describe(body, network.prefix) if name not in ("network", "from", "memo")]
    memo = [("memo", body.memo)] if body.memo else []
    heading = f"Transaction of wallet {wallet.name} on {body.chain_id}:"
    return f"{heading}\n{details([*lines, *memo, *summary], indent='  ')}"


def _write_unsigned(app: Application, body: "Body", network: "Network", summary: Pairs) -> None:
    from wallet.transactions import to_file

    path = Path(app.settings.build_file or "")
    path.write_bytes(to_file(body))
    lines = [*describe(body, network.prefix), *summary, ("unsigned", str(path))]
    data = {"file": str(path), "chain_id": body.chain_id, "sequence": body.sequence, "fee": str(body.fee)}
    app.show(data, lambda: details(lines))
    app.note("Sign it where the key is: aitbc wallet sign FILE --out SIGNED")


def _show_simulation(
    app: Application, body: "Body", network: "Network", summary: Pairs, simulation: "Simulation"
) -> None:
    error = simulation.error
    verdict = "succeeds" if error is None else f"fails: {explain(error.name, error.data)}"
    lines = [
        *describe(body, network.prefix),
        *summary,
        ("result now", verdict),
        ("weight", str(simulation.weight)),
        ("size", f"{simulation.size} bytes"),
    ]
    app.show(simulation, lambda: details(lines))
    require_success(simulation)
    app.note("Nothing was sent.")
