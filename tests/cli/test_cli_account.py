"""`aitbc wallet` at a real node: paying, staking, profile, and files that travel to where the key is."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chain.schema import COIN
from tests.shell import UNHURRIED, Finished, RunningNode, Shell, import_people


def balance(shell: Shell, who: str) -> int:
    return int(shell.ok("wallet", "balance", who)["balance"])


def test_a_payment_arrives_to_the_base_unit(market: Shell) -> None:
    before = balance(market, "renter"), balance(market, "other")
    sent = market.ok("wallet", "send", "other", "1.000000001", "--desc", "thanks", wallet="renter")
    assert sent["status"] == "final"
    assert sent["amount"] == str(COIN + 1)
    assert balance(market, "other") - before[1] == COIN + 1
    assert before[0] - balance(market, "renter") == COIN + 1 + int(sent["fee"])
    entry = market.ok("wallet", "history", "--limit", "1", wallet="renter")["items"][0]
    assert (entry["txid"], entry["memo"], entry["height"]) == (sent["txid"], "thanks", sent["height"])
    shown = market("wallet", "history", "other").out
    assert "+1.000000001 " in shown
    assert "thanks" in shown


def test_a_summary_comes_before_and_the_txid_with_it(market: Shell) -> None:
    done = market("wallet", "send", "other", "2", "--yes", wallet="renter")
    assert done.code == 0
    summary, _, sending = done.err.partition("Sending transaction ")
    for told in ("fee at most", "2 AITBC", "account.transfer"):
        assert told in summary
    assert sending.split()[0] in done.out


def test_json_leaves_stderr_empty(market: Shell) -> None:
    done = market("-o", "json", "wallet", "send", "other", "2", "--yes", wallet="renter")
    assert done.err == ""


def test_verbose_names_the_calls(market: Shell) -> None:
    done = market("-v", "wallet", "balance", "other")
    assert "account.get" in done.err
    assert "params" not in done.err


@pytest.mark.parametrize("amount", ["0", "-1", "1e3", "1.0000000001", "abc", "NaN", "99999999999999"])
def test_bad_amounts(market: Shell, amount: str) -> None:
    done = market("-o", "json", "wallet", "send", "other", "--yes", "--", amount, wallet="renter")
    assert done.code == 2
    assert done.error["name"] in ("usage", "invalid_field")


def test_a_field_is_named_in_words(market: Shell) -> None:
    assert market.fails(2, "wallet", "send", "other", "0")["message"] == "Amount: must be more than zero."


def test_foreign_and_mistyped_addresses(market: Shell) -> None:
    good = market("wallet", "address", wallet="other").out.strip()
    assert market("wallet", "create", "elsewhere", "--network", "testnet", "--no-passphrase").code in (0, 1)
    foreign = market("wallet", "address", wallet="elsewhere").out.strip()
    assert market.fails(2, "wallet", "send", foreign, "1", wallet="renter")["name"] == "wrong_network_address"
    assert market.fails(2, "wallet", "balance", foreign)["name"] == "wrong_network_address"
    mistyped = good[:-1] + ("q" if good[-1] != "q" else "p")
    for text in (mistyped, good[:20], "nobody", good.upper()[:30] + good[30:]):
        assert market.fails(2, "wallet", "send", text, "1", wallet="renter")["name"] == "bad_input"
    assert market.ok("wallet", "send", good.upper(), "1", wallet="renter")["status"] == "final"


def test_too_little_money_costs_no_fee(market: Shell) -> None:
    before = balance(market, "renter")
    error = market.fails(5, "wallet", "send", "other", "1000000", wallet="renter")
    assert (error["code"], error["name"]) == (1101, "insufficient_funds")
    assert error["data"]["needed"] == str(1_000_000 * COIN)
    assert "1,000,000 AITBC" in error["message"]
    assert market.fails(5, "wallet", "send", "other", "1", wallet="poor")["name"] == "insufficient_funds"
    assert balance(market, "renter") == before


def test_a_dry_run_sends_nothing(market: Shell) -> None:
    before = balance(market, "renter")
    assert market.ok("wallet", "send", "other", "1", "--dry-run", wallet="renter")["succeeded"] is True
    failing = market("-o", "json", "wallet", "send", "other", "1000000", "--dry-run", wallet="renter")
    assert (failing.code, failing.data["succeeded"]) == (5, False)
    assert failing.error["name"] == "insufficient_funds"
    assert "succeeds" in market("--dry-run", "wallet", "send", "other", "1", wallet="renter").out
    assert balance(market, "renter") == before


def test_without_waiting_the_txid_is_all_there_is(market: Shell) -> None:
    sent = market.ok("wallet", "send", "other", "1", "--no-wait", wallet="renter")
    assert (sent["status"], sent["height"]) == ("pending", None)
    following = market.ok("wallet", "send", "other", "1", wallet="renter")
    assert following["status"] == "final"
    assert market.ok("blockchain", "transaction", sent["txid"])["status"] == "final"


def test_a_tip_is_paid_on_top(market: Shell) -> None:
    plain = market.ok("wallet", "send", "other", "1", wallet="renter")
    tipped = market.ok("wallet", "send", "other", "1", "--tip", "0.5", wallet="renter")
    assert int(tipped["fee"]) - int(plain["fee"]) >= COIN // 2


def test_commands_of_one_account_that_race_take_turns(market: Shell, running_node: RunningNode) -> None:
    """Processes share nothing but the node; threads stand for them by each calling the writing code on its own."""
    from cli.context import Application, Settings
    from cli.writing import write

    failures: list[Exception] = []

    def pay(amount: int) -> None:
        from chain.actions.accounts import Transfer

        settings = Settings(output="json", wallet="renter", assume_yes=True)
        app = Application({"AITBC_CONFIG_DIR": str(market.folder), "AITBC_NODE": running_node.url}, settings)
        try:
            write(app, [Transfer(app.address("other"), "AITBC", amount)])
        except Exception as error:
            failures.append(error)
        finally:
            app.close()

    before = balance(market, "other")
    threads = [threading.Thread(target=pay, args=(amount,)) for amount in (1, 2, 4, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not failures
    assert balance(market, "other") - before == 15


def test_payout(market: Shell, tmp_path: Path) -> None:
    before = balance(market, "other"), balance(market, "provider")
    table = tmp_path / "pay.csv"
    provider = market("wallet", "address", wallet="provider").out.strip()
    table.write_text(f"address,amount\nother,1.5\n{provider},0.25\n\nother,1\n")
    sent = market.ok("wallet", "payout", str(table), wallet="renter")
    assert (sent["payments"], sent["total"]) == (3, str(2_750_000_000))
    plain = tmp_path / "pay.json"
    plain.write_text('[{"address": "other", "amount": 0.1}, {"address": "other", "amount": "2"}]')
    assert market.ok("wallet", "payout", str(plain), wallet="renter")["total"] == "2100000000"
    after = balance(market, "other"), balance(market, "provider")
    assert (after[0] - before[0], after[1] - before[1]) == (4_600_000_000, 250_000_000)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "other",
        "other,1e5",
        "nobody,1",
        "other,1\nother,-1",
        "[1, 2]",
        '[{"address": "other"}]',
        '[{"address": "other", "amount": true}]',
        "[{",
        "\x00,\x00",
        "other,1\n" * 1_001,
        "[" * 10_000,
    ],
)
def test_bad_payout_files(market: Shell, tmp_path: Path, content: str) -> None:
    path = tmp_path / "pay"
    path.write_text(content)
    assert market.fails(2, "wallet", "payout", str(path), wallet="renter")["name"] == "bad_input"


def test_stake_and_unstake(market: Shell) -> None:
    staked = market.ok("wallet", "stake", "10", wallet="other")
    assert market.ok("wallet", "staking-info", "other")["stake"]["total"] == staked["stake"]
    left = market.ok("wallet", "unstake", "4", wallet="other")
    assert left["due_ms"] > 0
    view = market.ok("wallet", "staking-info", wallet="other")
    assert view["stake"]["unbonding"] == str(4 * COIN)
    assert "arriving" in market("wallet", "staking-info", "other").out
    assert market.fails(5, "wallet", "unstake", "1000", wallet="other")["name"] == "insufficient_stake"
    assert market.fails(2, "wallet", "stake", "1", "--lock", "9999d", wallet="other")["name"] == "invalid_field"
    market.ok("wallet", "stake", "1", "--lock", "1h", wallet="other")
    assert market.fails(5, "wallet", "unstake", "1", wallet="other")["name"] == "stake_locked"


EPOCH = 20


@pytest.fixture
def brief(tmp_path: Path) -> Iterator[Shell]:
    """A shell at a node of its own, whose epochs have a few blocks."""
    node = RunningNode(tmp_path / "network", parameters=replace(UNHURRIED, epoch_blocks=EPOCH))
    shell = Shell(tmp_path / "home", node.url)
    import_people(shell)
    yield shell
    node.stop()


def test_rewards(brief: Shell) -> None:
    """Stake, wait for an epoch that begins afterwards to end with fees in its pot, claim."""
    assert brief.fails(5, "wallet", "claim-rewards", wallet="other")["name"] == "nothing_to_claim"
    for _ in range(30):  # an epoch may end between the two commands
        brief.ok("wallet", "stake", "1", wallet="renter")
        if "counts from the next epoch" in brief("wallet", "rewards", wallet="renter").out:
            break
    else:
        pytest.fail("what was added is never shown as added")
    for _ in range(200):
        brief.ok("wallet", "send", "other", "1", wallet="provider")
        view = brief.ok("wallet", "rewards", wallet="renter")
        if int(view["stake"]["rewards"]) and view["stake"]["counted"] == view["stake"]["total"]:
            break
    earned = int(view["stake"]["rewards"])
    assert earned > 0
    pot, mine, total = (
        int(each) for each in (view["epoch"]["pot"], view["stake"]["counted"], view["epoch"]["counted"])
    )
    assert 0 < mine <= total
    assert int(view["share"]) == pot * mine // total
    assert view["epoch"]["ends_height"] % EPOCH == 0
    shown = brief("wallet", "rewards", "renter").out
    assert "until block" in shown
    assert "counts from the next epoch" not in shown
    assert int(brief.ok("wallet", "balance", "renter")["stake"]["rewards"]) >= earned
    assert "rewards" in brief("wallet", "staking-info", "renter").out
    before = balance(brief, "renter")
    sent = brief.ok("wallet", "claim-rewards", wallet="renter")
    assert int(sent["amount"]) >= earned
    assert balance(brief, "renter") == before + int(sent["amount"]) - int(sent["fee"])
    newest = brief.ok("wallet", "history", "renter", "--limit", "1")["items"][0]
    assert [event["kind"] for event in newest["events"]] == ["stake.rewards_claimed"]


def test_profile(market: Shell) -> None:
    first = market.ok("wallet", "profile", "set", "--name", "Other", "--contact", "me@example", wallet="other")
    assert len(first["sealing_key"]) == 64
    again = market.ok("wallet", "profile", "set", "--name", "New", wallet="other")
    assert again["sealing_key"] == first["sealing_key"]
    shown = market.ok("wallet", "profile", "show", "other")["profile"]
    assert shown == {"name": "New", "contact": "me@example", "encryption_key": first["sealing_key"]}
    assert market.ok("wallet", "profile", wallet="other")["profile"] == shown
    assert "New" in market("wallet", "profile", "other").out
    assert market.fails(2, "wallet", "profile", "set", "--name", "x" * 65, wallet="other")["name"] == "invalid_field"
    assert (
        market.fails(2, "wallet", "profile", "set", "--name", "a\x1b[31mb", wallet="other")["name"] == "invalid_field"
    )


def test_signing_where_no_network_is(market: Shell, alone: Shell, tmp_path: Path) -> None:
    import_people(alone)
    unsigned, signed = str(tmp_path / "unsigned"), str(tmp_path / "signed")
    address = market("wallet", "info", "-o", "json", wallet="renter").data["public_key"]
    watching = Shell(tmp_path / "watching", market.node)
    assert watching("wallet", "import", "eyes", "--watch", address).code == 0
    other = market("wallet", "address", wallet="other").out.strip()
    assert watching.fails(4, "wallet", "send", other, "3")["name"] == "watch_only_wallet"
    built = watching.ok("wallet", "send", other, "3", "--build", unsigned)
    assert built["file"] == unsigned

    assert alone("wallet", "sign", unsigned, "--out", signed, wallet="renter").code == 2
    assert not Path(signed).exists()
    assert alone.fails(4, "wallet", "sign", unsigned, "--out", signed, wallet="other")["name"] == "wrong_wallet"
    done = alone("wallet", "sign", unsigned, "--out", signed, "--yes", wallet="renter")
    assert "3 AITBC" in done.err
    txid = alone.ok("wallet", "verify", signed)["transaction"]["txid"]
    assert alone.ok("wallet", "verify", unsigned)["signature_valid"] is False

    before = balance(market, "other")
    sent = watching.ok("wallet", "submit", signed)
    assert (sent["txid"], sent["status"]) == (txid, "final")
    assert watching.ok("wallet", "submit", signed)["height"] == sent["height"]
    assert balance(market, "other") - before == 3 * COIN


def test_a_changed_file_is_noticed(market: Shell, tmp_path: Path) -> None:
    unsigned, signed = tmp_path / "unsigned", tmp_path / "signed"
    market.ok("wallet", "send", "other", "3", "--build", str(unsigned), wallet="renter")
    market.ok("wallet", "sign", str(unsigned), "--out", str(signed), wallet="renter")
    data = bytearray(signed.read_bytes())
    data[-1] ^= 1
    signed.write_bytes(data)
    assert "signature is wrong" in market.fails(1, "wallet", "verify", str(signed))["message"]
    assert market.fails(5, "wallet", "submit", str(signed))["name"] == "bad_signature"
    for content in (b"", b"rubbish", bytes(data[:-3]), b"\xff" * 100):
        signed.write_bytes(content)
        assert market.fails(2, "wallet", "verify", str(signed))["name"] == "unreadable_transaction_file"
        assert market.fails(2, "wallet", "submit", str(signed))["name"] == "unreadable_transaction_file"
    assert market.fails(2, "wallet", "submit", str(unsigned))["name"] == "bad_input"


def test_building_from_a_file_of_actions(market: Shell, tmp_path: Path) -> None:
    other = market("wallet", "address", wallet="other").out.strip()
    actions, unsigned = tmp_path / "actions.json", str(tmp_path / "unsigned")
    actions.write_text(json.dumps([{"action": "account.transfer", "to": other, "asset": "AITBC", "amount": "7"}]))
    market.ok("wallet", "build", str(actions), "--out", unsigned, "--desc", "seven", wallet="renter")
    shown = market.ok("wallet", "verify", unsigned)["transaction"]
    assert (shown["actions"][0]["amount"], shown["memo"]) == ("7", "seven")
    for content in ("", "[]", "[1]", '{"action": "nothing.known"}', '{"action": "account.transfer"}', "[" * 9_999):
        actions.write_text(content)
        assert market.fails(2, "wallet", "build", str(actions), "--out", unsigned)["name"] == "bad_input"


def test_a_network_that_waits_for_a_quorum(tmp_path: Path) -> None:
    """One of two authorities: the transaction is taken, and the command says why it does not become final."""
    node = RunningNode(tmp_path / "network", authorities=2)
    try:
        shell = Shell(tmp_path / "home", node.url)
        import_people(shell)
        assert "quorum" in shell("blockchain", "status").out
        error = shell.fails(6, "wallet", "send", "other", "1", "--timeout", "1", wallet="renter")
        assert error["name"] == "still_pending"
        assert "quorum" in error["message"]
        assert len(error["data"]["txid"]) == 64
        done: Finished = shell("blockchain", "transaction", error["data"]["txid"])
        assert "pending" in done.out
    finally:
        node.stop()
