"""`aitbc blockchain`, `genesis`, multisig accounts and proofs, at a real node and without one."""

import json
from pathlib import Path
from typing import Any

import pytest

from chain.schema import COIN
from tests.shell import RunningNode, Shell


def test_blocks(market: Shell) -> None:
    sent = market.ok("wallet", "send", "other", "1", wallet="renter")
    block = market.ok("blockchain", "block", str(sent["height"]))
    assert [each["txid"] for each in block["transactions"]] == [sent["txid"]]
    assert market.ok("blockchain", "block", block["hash"]) | {"as_of": 0} == block | {"as_of": 0}
    assert sent["txid"][:12] in market("blockchain", "block", str(sent["height"])).out
    view = market.ok("blockchain", "blocks", "--limit", "3", "--from-height", str(sent["height"]))
    assert [each["height"] for each in view["items"]] == [sent["height"] - back for back in range(3)]
    assert (
        str(sent["height"]) in market("blockchain", "blocks", "--limit", "3", "--from-height", str(sent["height"])).out
    )
    for which in ("99999999999", "0" * 64):
        assert market.fails(1, "blockchain", "block", which)["name"] == "not_found"
    for which in ("-1", "abc", "1.5", "9" * 30):
        assert market("-o", "json", "blockchain", "block", "--", which).code == 2


def test_transactions(market: Shell) -> None:
    sent = market.ok("wallet", "send", "other", "1.25", wallet="renter")
    shown = market("blockchain", "transaction", sent["txid"][:10], wallet="renter").out
    assert "1.25 AITBC" in shown
    assert sent["txid"] in shown
    assert market.ok("blockchain", "transaction", "00" * 32)["status"] == "unknown"
    assert "another node" in market("blockchain", "transaction", "00" * 32).err
    assert market.fails(1, "blockchain", "transaction", "0000000000", wallet="renter")["name"] == "nothing_found"


def test_the_state_of_node_and_network(market: Shell) -> None:
    assert "ready" in market("blockchain", "status").out
    assert market.ok("blockchain", "sync-status")["missing"] == 0
    assert "linked to nobody" in market("blockchain", "peers").out
    assert market.ok("blockchain", "info")["chain"]["prefix"] == "dait"
    assert "market fee" in market("blockchain", "info").out
    supply = market.ok("blockchain", "supply")
    parts = ("balances", "escrow", "staked", "unbonding", "deposits", "rewards", "epoch_pot", "treasury", "burnt")
    assert int(supply["issued"]) == sum(int(supply[name]) for name in parts)
    assert "AITBC" in market("blockchain", "supply").out
    assert len(market.ok("blockchain", "validators")["members"]) == 1
    assert "dait1" in market("blockchain", "validators").out


def test_a_node_may_be_named_by_url_or_number(market: Shell, tmp_path: Path) -> None:
    (tmp_path / "nodes.json").write_text(json.dumps({"3": {"rpc": market.node}}))
    market.environment["AITBC_LOCALNET_DIR"] = str(tmp_path)
    try:
        assert market.ok("blockchain", "status", "--node", "3")["chain_id"]
        assert market.ok("--node", market.node, "blockchain", "status")["chain_id"]
        assert market.ok("--node", market.node.removeprefix("http://"), "blockchain", "status")["chain_id"]
        assert "no node 2" in market.fails(2, "blockchain", "status", "--node", "2")["message"]
    finally:
        del market.environment["AITBC_LOCALNET_DIR"]
    for url in ("ftp://host", "http://", "http://host:99999", "http://[", "nonsense.invalid"):
        assert market.fails(3, "blockchain", "status", "--node", url)["name"] == "node_unreachable"


class TestProofs:
    """What a node proves is checked against the genesis file alone, and nothing that was changed passes."""

    @pytest.fixture
    def genesis(self, running_node: RunningNode) -> str:
        return str(running_node.layout.genesis)

    def check(self, shell: Shell, proof: Path, genesis: str, code: int = 0) -> Any:
        words = ("-o", "json", "blockchain", "verify-proof", str(proof), "--genesis", genesis)
        offline = Shell(shell.folder, "http://127.0.0.1:9")
        done = offline(*words)
        assert done.code == code, done.err
        return done.error if code else done.data

    def test_a_balance(self, market: Shell, genesis: str, tmp_path: Path) -> None:
        path = tmp_path / "proof"
        shown = market.ok("wallet", "balance", "other", "--proof", str(path))
        proven = self.check(market, path, genesis)
        assert (proven["id"], proven["kind"]) == (shown["address"], "account")
        assert int(proven["record"]["balance"]) == int(shown["balance"])

    def test_the_absence_of_an_account(self, market: Shell, genesis: str, tmp_path: Path) -> None:
        path = tmp_path / "proof"
        assert market("wallet", "create", "unused", "--no-passphrase").code == 0
        market.ok("wallet", "balance", "unused", "--proof", str(path))
        assert self.check(market, path, genesis)["present"] is False

    def test_a_transaction_and_its_result(self, market: Shell, genesis: str, tmp_path: Path) -> None:
        path = tmp_path / "proof"
        sent = market.ok("wallet", "send", "other", "1", wallet="renter")
        market.ok("blockchain", "transaction", sent["txid"], "--proof", str(path))
        proven = self.check(market, path, genesis)
        assert proven["transaction"]["txid"] == sent["txid"]
        assert proven["result"]["fee"] == sent["fee"]
        assert proven["height"] == sent["height"]

    @pytest.mark.parametrize("at", [0.0, 0.01, 0.1, 0.3, 0.5, 0.8, 0.99])
    @pytest.mark.parametrize("kind", ["state", "transaction"])
    def test_a_changed_proof(self, market: Shell, genesis: str, tmp_path: Path, kind: str, at: float) -> None:
        path = tmp_path / "proof"
        if kind == "state":
            market.ok("wallet", "balance", "other", "--proof", str(path))
        else:
            sent = market.ok("wallet", "send", "other", "1", wallet="renter")
            market.ok("blockchain", "transaction", sent["txid"], "--proof", str(path))
        content = json.loads(path.read_text())
        assert content["kind"] == kind
        data = bytearray.fromhex(content["proof"])
        data[int(at * len(data))] ^= 1
        path.write_text(json.dumps({**content, "proof": data.hex()}))
        assert self.check(market, path, genesis, 1)["name"] == "proof_refused"

    def test_another_network(self, market: Shell, tmp_path: Path) -> None:
        path, genesis = tmp_path / "proof", tmp_path / "genesis.json"
        market.ok("wallet", "balance", "other", "--proof", str(path))
        build_genesis(market, tmp_path, genesis)
        assert "another chain" in self.check(market, path, str(genesis), 1)["message"]

    @pytest.mark.parametrize(
        "content", ["", "{}", "[]", '{"format": "aitbc-proof", "version": 1, "method": "proof.account"}', "[" * 9_999]
    )
    def test_what_is_no_proof(self, market: Shell, genesis: str, tmp_path: Path, content: str) -> None:
        path = tmp_path / "proof"
        path.write_text(content)
        assert self.check(market, path, genesis, 2)["name"] == "bad_input"


def build_genesis(shell: Shell, folder: Path, out: Path, *words: str) -> Any:
    from node import keys

    keys.generate(folder / "node")
    public = keys.public_keys(folder / "node")
    names = ("node_key", "bls_key", "proof_of_possession")
    (folder / "keys.json").write_text(json.dumps({name: getattr(public, name).hex() for name in names}))
    usual = (
        "--authority",
        str(folder / "keys.json"),
        "renter",
        "--allocation",
        "renter=1000.5:100",
        "--allocation",
        "other=5:20",
    )
    return shell("-o", "json", "genesis", "build", *usual, "--out", str(out), *words)


def test_building_a_genesis(market: Shell, tmp_path: Path) -> None:
    out = tmp_path / "genesis.json"
    made = build_genesis(
        market, tmp_path, out, "--parameter", "market_fee=300", "--time", "2030-01-01T00:00:00+00:00"
    ).data
    specification = made["specification"]
    assert specification["time_ms"] == 1_893_456_000_000
    assert specification["parameters"]["market_fee"] == 300
    owned = {(each["balance"], each["stake"]) for each in specification["allocations"]}
    assert owned == {(str(1_000 * COIN + COIN // 2), str(100 * COIN)), (str(5 * COIN), str(20 * COIN))}
    assert market.ok("genesis", "check", str(out))["valid"] is True
    assert market.ok("genesis", "show", str(out))["chain_id"] == made["chain_id"]
    assert "1,000.5 AITBC" in market("genesis", "show", str(out)).out
    usual = ("--authority", str(tmp_path / "keys.json"), "renter", "--allocation", "renter=1:100")
    again = market("-o", "json", "genesis", "build", *usual, "--out", str(out))
    assert (again.code, again.error["name"]) == (2, "bad_input")
    out.write_text(out.read_text().replace('"market_fee": 300', '"market_fee": 301'))
    assert market.fails(1, "genesis", "check", str(out))["name"] == "invalid_genesis"
    for content in ("", "{}", "\x00", "[" * 9_999):
        out.write_text(content)
        assert market.fails(1, "genesis", "check", str(out))["name"] == "invalid_genesis"
    out.write_bytes(b"\xff")
    assert market.fails(2, "genesis", "check", str(out))["name"] == "bad_input"


@pytest.mark.parametrize(
    "words",
    [
        ("--allocation", "renter"),
        ("--allocation", "renter=-1"),
        ("--allocation", "nobody=1"),
        ("--allocation", "=1"),
        ("--parameter", "no_such=1"),
        ("--parameter", "market_fee=x"),
        ("--time", "yesterday"),
        ("--authority", "/nonexistent", "renter"),
    ],
)
def test_a_genesis_that_cannot_be(market: Shell, tmp_path: Path, words: tuple[str, ...]) -> None:
    assert build_genesis(market, tmp_path, tmp_path / "genesis.json", *words).code in (1, 2)
    assert not (tmp_path / "genesis.json").exists()


def test_keys_that_are_none(market: Shell, tmp_path: Path) -> None:
    for content in (
        "",
        "{}",
        "[1]",
        '{"node_key": 5}',
        '{"node_key": "00", "bls_key": "00", "proof_of_possession": "00"}',
    ):
        (tmp_path / "keys.json").write_text(content)
        words = ("--authority", str(tmp_path / "keys.json"), "renter", "--out", str(tmp_path / "out"))
        done = market("-o", "json", "genesis", "build", *words)
        assert done.code in (1, 2)
        assert done.error["name"] in ("bad_input", "invalid_field", "invalid_genesis")


def test_an_account_that_two_control(market: Shell, tmp_path: Path) -> None:
    made = market.ok("wallet", "multisig-create", "--threshold", "2", "renter", "other", wallet="renter")
    account = made["address"]
    market.ok("wallet", "send", account, "25", wallet="renter")
    proposed = market.ok("wallet", "multisig-propose", account, "--send", "provider", "10", wallet="renter")
    assert proposed["executed"] is False
    listed = market("wallet", "multisig-list", wallet="other")
    assert (listed.code, account in listed.out) == (0, True)
    assert "10 AITBC" in market("wallet", "multisig-list", account, wallet="other").out
    assert (
        market.fails(5, "wallet", "multisig-sign", proposed["proposal"], wallet="renter")["name"] == "already_approved"
    )
    stranger = market.fails(1, "wallet", "multisig-sign", proposed["proposal"], wallet="provider")
    assert stranger["name"] == "nothing_found"
    signed = market.ok("wallet", "multisig-sign", proposed["proposal"][:8], "--account", account, wallet="other")
    assert signed["executed"] is True
    assert market.ok("wallet", "balance", account)["balance"] == str(15 * COIN)
    gone = market.fails(1, "wallet", "multisig-sign", proposed["proposal"], wallet="other")
    assert gone["name"] == "nothing_found"

    actions = tmp_path / "actions.json"
    actions.write_text(json.dumps({"action": "stake.add", "amount": str(COIN), "lock_seconds": 0}))
    second = market.ok("wallet", "multisig-propose", account, "--actions", str(actions), wallet="other")
    market.ok("wallet", "multisig-sign", second["proposal"], wallet="renter")
    assert market.ok("wallet", "staking-info", account)["stake"]["total"] == str(COIN)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--threshold", "3", "renter", "other"), 2),
        (("--threshold", "0", "renter"), 2),
        (("--threshold", "1", "renter", "renter"), 2),
        (("--threshold", "1", "nobody"), 2),
        (("renter",), 2),
    ],
)
def test_multisig_accounts_that_cannot_be(market: Shell, words: tuple[str, ...], code: int) -> None:
    market.fails(code, "wallet", "multisig-create", *words, wallet="renter")


def test_proposals_that_cannot_be(market: Shell) -> None:
    account = market.ok("wallet", "multisig-create", "--threshold", "1", "renter", "poor", wallet="renter")["address"]
    for words in ((), ("--send", "other"), ("--send", "other", "1", "--actions", "x"), ("--send", "other", "0")):
        assert market("-o", "json", "wallet", "multisig-propose", account, *words, "--yes", wallet="renter").code == 2
    late = market.fails(
        5, "wallet", "multisig-propose", account, "--send", "other", "1", "--expires", "90d", wallet="renter"
    )
    assert late["name"] == "proposal_time_refused"
    foreign = market.fails(5, "wallet", "multisig-propose", account, "--send", "other", "1", wallet="provider")
    assert foreign["name"] == "not_authorized"


def test_localnet_is_handed_on(alone: Shell, capfd: pytest.CaptureFixture[str]) -> None:
    assert alone("localnet", "status").code == 1
    assert alone("localnet", "--help").code == 0
    shown = capfd.readouterr()
    assert "Usage: aitbc localnet" in shown.out
    assert "no local network" in shown.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_installed(alone: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    done = alone("--install-completion", shell)
    assert done.code == 0
    (script,) = [path for path in tmp_path.rglob("*aitbc*") if path.is_file()]
    assert "_AITBC_COMPLETE" in script.read_text()
    assert str(script) in done.err


def test_completion_knows_the_commands() -> None:
    from click.shell_completion import ShellComplete

    from cli.main import aitbc

    complete = ShellComplete(aitbc, {}, "aitbc", "_AITBC_COMPLETE")
    assert [each.value for each in complete.get_completions(["marketplace", "gpu"], "bo")] == ["book"]
    assert [each.value for each in complete.get_completions([], "mark")] == ["marketplace"]
