"""`aitbc blockchain`: what the network has agreed on, who agreed, and how a node is doing."""

from typing import Any

import click

from cli.context import Application
from cli.errors import BadInput
from cli.framework import Group, application
from cli.output import (
    Column,
    amount,
    brief_time,
    details,
    duration,
    event_amounts,
    local_time,
    number,
    share,
    short,
    table,
    zoned,
)
from cli.proofs import write_proof
from cli.resolving import transaction_id
from cli.types import ID, NUMBER


@click.group(cls=Group)
def blockchain() -> None:
    """Blocks, transactions, nodes, supply, proofs."""


@blockchain.command()
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="Blocks at most.")
@click.option("--from-height", type=NUMBER, help="Newest block shown [the head].")
@application
def blocks(app: Application, limit: int, from_height: int | None) -> None:
    """List blocks, newest first."""
    view = app.call("chain.blocks", limit=limit, from_height=from_height)
    columns = (
        Column("height", right=True),
        Column(zoned("time")),
        Column("transactions", right=True),
        Column("epoch", right=True, optional=True),
        Column("view", right=True, optional=True),
        Column("hash"),
        Column("proposer", optional=True),
    )
    rows = [
        [
            str(each.height),
            brief_time(each.time_ms),
            str(each.transactions),
            str(each.epoch),
            str(each.view),
            short(each.hash),
            short(each.proposer),
        ]
        for each in view.items
    ]
    app.show(view, lambda: table(columns, rows))


@blockchain.command()
@click.argument("which", metavar="HASH|HEIGHT")
@application
def block(app: Application, which: str) -> None:
    """Show a block by its height or hash, with its transactions."""
    wanted = _block_reference(which)
    view = app.call("chain.block", **wanted)
    header = view.header
    lines = [
        ("height", str(view.height)),
        ("hash", view.hash),
        ("time", local_time(header["time_ms"])),
        ("parent", header["parent_hash"]),
        ("proposer", header["proposer"]),
        ("epoch, view", f"{header['epoch']}, {header['view']}"),
        ("state root", header["state_root"]),
        ("size", f"{view.size} bytes"),
        ("by itself", ", ".join(event["kind"] for event in view.system_events) or "-"),
        ("transactions", str(len(view.transactions))),
    ]
    columns = (
        Column("", right=True),
        Column("transaction"),
        Column("from"),
        Column("actions", shrinks=True),
        Column("result", shrinks=True),
        Column("fee, AITBC", right=True, optional=True),
    )
    rows = [
        [
            str(each.index),
            short(each.txid),
            short(each.sender),
            _counted(each.actions),
            "ok" if each.succeeded else each.error,
            number(each.fee),
        ]
        for each in view.transactions
    ]
    app.show(view, lambda: details(lines) + (f"\n\n{table(columns, rows)}" if rows else ""))


def _block_reference(which: str) -> dict[str, Any]:
    text = which.strip().lower()
    if text.isascii() and text.isdigit() and len(text) < 17:
        return {"height": int(text)}
    if len(text) == 64 and all(character in "0123456789abcdef" for character in text):
        return {"hash": text}
    raise BadInput(f"{which[:80]!r} is neither a height nor a block hash.", "A hash has 64 hexadecimal digits.")


def _counted(names: tuple[str, ...]) -> str:
    counts = {name: names.count(name) for name in dict.fromkeys(names)}
    return ", ".join(name if count == 1 else f"{name} ×{count}" for name, count in counts.items())


@blockchain.command()
@click.argument("txid", type=ID, metavar="ID")
@click.option("--proof", metavar="FILE", help="Also write a proof of it, for `aitbc blockchain verify-proof`.")
@application
def transaction(app: Application, txid: str, proof: str | None) -> None:
    """Show what became of a transaction, and what it did."""
    txid = transaction_id(app, txid)
    view = app.call("tx.get", txid=txid)
    lines = [("transaction", view.txid), ("status", view.status)]
    if view.reason is not None:
        lines.append(("reason", f"{view.reason.name}: {view.reason.hint}"))
    if view.height is not None:
        lines.append(("block", f"{view.height}, {local_time(view.time_ms)}"))
    if view.transaction is not None:
        lines += _body_lines(view.transaction)
    if view.result is not None:
        lines += _result_lines(view.result)
    if proof is not None:
        write_proof(app, proof, "proof.transaction", txid=txid)
    app.show(view, lambda: details(lines))
    if view.status == "unknown":
        app.note("This node has never seen it, or forgot it because it can no longer become final. Ask another node.")


def _body_lines(body: dict[str, Any]) -> list[tuple[str, str]]:
    lines = [("from", str(body["sender"])), ("sequence", str(body["sequence"]))]
    if body.get("memo"):
        lines.append(("memo", str(body["memo"])))
    actions = body["actions"]
    for position, action in enumerate(actions[:20], 1):
        fields = _action_fields(action, str(body["sender"]).rpartition("1")[0])
        lines.append((f"{position}. {action['action']}", fields if len(fields) < 400 else f"{fields[:400]}…"))
    if len(actions) > 20:
        lines.append(("", f"and {len(actions) - 20} more actions"))
    return lines


def _action_fields(action: dict[str, Any], prefix: str) -> str:
    """An action in human units; as the node shows it, if this software does not know it."""
    import chain.actions  # noqa: F401 - the registry must be filled before a name means anything
    from chain.action import action_from_json, describe_action
    from chain.errors import LedgerError
    from cli.writing import readable

    try:
        told = describe_action(action_from_json(action, prefix), prefix)[1:]
        return ", ".join(f"{name} {readable(name, text)}" for name, text in told)
    except LedgerError:
        return ", ".join(f"{key} {value}" for key, value in action.items() if key != "action")


def _result_lines(result: dict[str, Any]) -> list[tuple[str, str]]:
    succeeded = not result["code"]
    data = ", ".join(f"{pair['name']} {pair['value']}" for pair in result["error_data"])
    lines = [("result", "ok" if succeeded else f"{result['error']} ({data})"), ("fee", amount(result["fee"]))]
    for event in result["events"][:20]:
        who = [f"{pair['role']} {short(pair['id'])}" for pair in event["subjects"]]
        lines.append((event["kind"], ", ".join(filter(None, [*who, event_amounts(event["amounts"])]))))
    return lines


@blockchain.command()
@application
def status(app: Application) -> None:
    """Show where the node stands, and what keeps it from working, if anything does."""
    view = app.call("node.status")
    told = "ready" if view.ready else view.waiting or ("syncing" if view.syncing else "not ready")
    lines = [
        ("node", f"{app.client().url} ({view.role}, version {view.version})"),
        ("network", view.chain_id),
        ("status", told),
        ("height", f"{view.height}" + (f" of {view.target_height}" if view.syncing else "")),
        ("head", view.head_hash),
        ("head time", local_time(view.head_time_ms)),
        ("epoch, view", f"{view.epoch}, {view.view}"),
        ("authorities", f"{view.authorities_connected} of {view.authorities_total} linked, {view.quorum} needed"),
        ("waiting transactions", str(view.mempool_size)),
    ]
    app.show(view, lambda: details(lines))


@blockchain.command("sync-status")
@application
def sync_status(app: Application) -> None:
    """Show how far the node is with fetching blocks."""
    view = app.call("node.status")
    missing = max(0, view.target_height - view.height)
    data = {
        "syncing": view.syncing,
        "height": view.height,
        "target_height": view.target_height,
        "missing": missing,
        "ready": view.ready,
        "waiting": view.waiting,
    }
    told = f"fetching, {missing} blocks to go" if view.syncing else "up to date"
    lines = [("sync", told), ("height", str(view.height)), ("target", str(view.target_height))]
    if view.waiting:
        lines.append(("waiting", view.waiting))
    app.show(data, lambda: details(lines))


@blockchain.command()
@application
def peers(app: Application) -> None:
    """List the nodes that the node is linked to."""
    view = app.call("node.peers")
    columns = (
        Column("key"),
        Column("address"),
        Column("direction"),
        Column("authority"),
        Column("latency", right=True),
        Column("for", right=True),
        Column("in", right=True, optional=True),
        Column("out", right=True, optional=True),
    )
    rows = [
        [
            short(each.key),
            f"{each.host}:{each.port}",
            each.direction,
            "yes" if each.is_authority else "no",
            "-" if each.latency_ms is None else f"{each.latency_ms} ms",
            duration(each.connected_seconds),
            f"{each.bytes_in:,}",
            f"{each.bytes_out:,}",
        ]
        for each in view.items
    ]
    app.show(view, lambda: table(columns, rows, "The node is linked to nobody."))


@blockchain.command()
@application
def info(app: Application) -> None:
    """Show which network this is, and its parameters."""
    chain, params = (app.call("chain.info"), app.call("chain.params"))
    lines = [
        ("network", chain.chain_id),
        ("address prefix", chain.prefix),
        ("genesis", chain.genesis_hash),
        ("genesis time", local_time(chain.genesis_time_ms)),
        ("interface", chain.interface_version),
    ]
    lines += [(_label(name), _parameter(name, value)) for name, value in params.parameters.items()]
    app.show({"chain": chain, "parameters": params.parameters}, lambda: details(lines))


_SHARES = frozenset("fee_staker_share market_fee market_fee_staker_share release_charge".split())


def _label(name: str) -> str:
    return name.removesuffix("_seconds").removesuffix("_ms").replace("_", " ")


def _parameter(name: str, value: Any) -> str:
    if isinstance(value, str):
        return amount(value)
    if name in _SHARES:
        return share(value)
    if name.endswith("_seconds"):
        return duration(value)
    return f"{value:,} ms" if name.endswith("_ms") else f"{value:,}"


@blockchain.command()
@application
def supply(app: Application) -> None:
    """Show where all money is."""
    view = app.call("chain.supply")
    places = ("balances", "escrow", "staked", "unbonding", "deposits", "rewards", "epoch_pot", "treasury")
    names = ("issued", "burnt", *places)
    lines = [(name.replace("_", " "), amount(getattr(view, name))) for name in names]
    lines.append(("as of", f"height {view.as_of.height}, {local_time(view.as_of.time_ms)}"))
    app.show(view, lambda: details(lines))


@blockchain.command()
@click.option("--epoch", type=NUMBER, help="Of which epoch [the present one].")
@application
def validators(app: Application, epoch: int | None) -> None:
    """List the authorities, who finalise blocks."""
    view = app.call("chain.authorities", epoch=epoch)
    columns = (Column("", right=True), Column("operator", shrinks=True), Column("node key"), Column("BLS key"))
    rows = [
        [str(position), each["operator"], short(each["node_key"]), short(each["bls_key"])]
        for position, each in enumerate(view.members)
    ]
    app.show(view, lambda: table(columns, rows))
    app.note(f"Epoch {view.epoch}: {view.quorum} of {len(view.members)} make a block final.")


@blockchain.command("verify-proof")
@click.argument("file")
@click.option("--genesis", "genesis_file", metavar="FILE", help="Genesis file of the network [the local network's].")
@application
def verify_proof(app: Application, file: str, genesis_file: str | None) -> None:
    """Check a proof against the genesis file alone, without asking any node."""
    from chain.record import to_json
    from chain.state.proof import ProvenTransaction
    from chain.transaction import Transaction
    from cli.genesis import read_specification
    from cli.proofs import verify_file

    path = genesis_file or app.environment.get("AITBC_GENESIS") or str(app.localnet_directory() / "genesis.json")
    specification = read_specification(path)
    checked = verify_file(file, specification)
    proven, header, prefix = checked.proven, checked.proven.header, specification.prefix
    signed = f"{checked.signers} of {checked.authorities} authorities" if header.height else "nobody: it is genesis"
    lines = [
        ("proof", "holds: this is final"),
        ("network", specification.chain_id),
        ("block", f"{header.height}, {local_time(header.time_ms)}"),
        ("block hash", checked.block_hash.hex()),
        ("signed by", signed),
    ]
    data: dict[str, Any] = {
        "valid": True,
        "chain_id": specification.chain_id,
        "height": header.height,
        "block_hash": checked.block_hash.hex(),
        "signers": checked.signers,
        "authorities": checked.authorities,
    }
    if isinstance(proven, ProvenTransaction):
        shown = Transaction.decode(proven.envelope).to_json(prefix)
        result = to_json(proven.result, prefix)
        data |= {"transaction": shown, "result": result}
        lines += [("transaction", proven.txid.hex()), *_body_lines(shown), *_result_lines(result)]
    else:
        kind, identifier, record = _proven_record(proven.key, proven.value, prefix)
        data |= {"kind": kind, "id": identifier, "present": record is not None, "record": record}
        lines += [(kind, identifier), ("record", "none: there is no such record" if record is None else "")]
        lines += [(f"  {name}", _told(name, value)) for name, value in (record or {}).items()]
    app.show(data, lambda: details(lines))


def _proven_record(key: bytes, value: bytes | None, prefix: str) -> tuple[str, str, dict[str, Any] | None]:
    """(kind, id, record) of what a proof shows."""
    from chain.actions.accounts import StoredProfile
    from chain.actions.multisig import Multisig, Proposal
    from chain.actions.reviews import Review
    from chain.bank import Account
    from chain.booking import Booking
    from chain.crypto.address import format_address
    from chain.dispute import Dispute
    from chain.escrow import Escrow
    from chain.inventory import Gpu
    from chain.job import Job
    from chain.record import decode_record, to_json
    from chain.request import Bid, Request
    from chain.stake import Stake
    from chain.state.tables import TableId

    classes: dict[int, type] = {
        TableId.ACCOUNTS: Account,
        TableId.STAKES: Stake,
        TableId.PROFILES: StoredProfile,
        TableId.GPUS: Gpu,
        TableId.BOOKINGS: Booking,
        TableId.ESCROWS: Escrow,
        TableId.REQUESTS: Request,
        TableId.BIDS: Bid,
        TableId.JOBS: Job,
        TableId.REVIEWS: Review,
        TableId.DISPUTES: Dispute,
        TableId.MULTISIGS: Multisig,
        TableId.PROPOSALS: Proposal,
    }
    cls = classes.get(key[0]) if key else None
    if cls is None:
        raise BadInput("The proof is of a record of unknown kind.", "Update the software.")
    identifier = format_address(prefix, key[1:]) if len(key) == 34 else key[1:].hex()
    kind = TableId(key[0]).name.lower().removesuffix("s")
    return kind, identifier, None if value is None else to_json(decode_record(cls, value), prefix)


def _told(name: str, value: Any) -> str:
    money = ("balance", "amount", "collateral", "cost", "locked", "net", "fee", "refunded", "deposit")
    if name in money and isinstance(value, str):
        return amount(value)
    if name.endswith("_ms") and isinstance(value, int) and "live" not in name:
        return local_time(value)
    return str(value)
