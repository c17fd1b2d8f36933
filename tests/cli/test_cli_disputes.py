"""`aitbc marketplace dispute` and its relatives at a real node: from a complaint to the ruling of an authority."""

from collections.abc import Callable

import pytest

from chain.crypto.hashing import sha256
from chain.schema import COIN
from tests.shell import Shell

Register = Callable[..., str]
DISPUTE = ("marketplace", "dispute")


@pytest.fixture(scope="module")
def judge(market: Shell) -> str:
    """The wallet of the operator of the network's only authority, with money for fees."""
    seed = market.folder / "judge.seed"
    seed.write_text(sha256(b"test person operator authority0").hex())
    assert market("wallet", "import", "judge", "--seed-file", str(seed), "--no-passphrase").code == 0
    market.ok("wallet", "send", "judge", "5", wallet="renter")
    return "judge"


def rented(market: Shell, gpu: str) -> str:
    """The id of a booking that is active."""
    booking = market.ok("marketplace", "gpu", "book", gpu, "--hours", "2", wallet="renter")["booking"]
    market.ok("marketplace", "booking", "activate", booking, "--access", "ssh it", wallet="provider")
    return str(booking)


def test_the_whole_way(market: Shell, register: Register, judge: str) -> None:
    gpu = register("Disputed", "3")
    booking = rented(market, gpu)
    words = (*DISPUTE, "open", gpu[:8], "--text", "Ten times too slow.")
    human = market(*words, "--dry-run", wallet="renter")
    assert "succeeds" in human.out
    assert "or you are right" in human.out
    for deposit in ("1 AITBC, returned as far as you win", "0.000613 AITBC, returned later"):
        assert deposit in human.out
    opened = market.ok(*words, wallet="renter")
    dispute = opened["dispute"]
    assert opened["deposit"] == str(COIN)
    assert int(opened["disputed"]) == int(opened["earned"]) > 0
    assert market.fails(5, *DISPUTE, "open", booking, "--text", "x", wallet="provider")["name"] == "already_disputed"
    refused = market.fails(5, "marketplace", "booking", "confirm", booking, wallet="renter")
    assert (refused["name"], refused["data"]["status"]) == ("wrong_booking_status", "disputed")
    assert dispute in market("marketplace", "booking", "show", booking, wallet="renter").out
    (listed,) = market.ok("marketplace", "booking", "list", "--status", "disputed", wallet="provider")["items"]
    assert listed["id"] == booking

    waiting = market(*DISPUTE, "show", booking)
    assert "Ten times too slow." in waiting.out
    assert "to answer" in waiting.out
    refused = market.fails(5, *DISPUTE, "vote", dispute, "--fault", "nobody", wallet=judge)
    assert (refused["name"], refused["data"]["status"]) == ("wrong_dispute_status", "open")
    assert market.fails(5, *DISPUTE, "respond", dispute, "--text", "x", wallet="renter")["name"] == "not_authorized"
    market.ok(*DISPUTE, "respond", booking[:10], "--text", "It ran at full speed.", wallet="provider")

    (mine,) = market.ok(*DISPUTE, "list", "--to-vote", wallet=judge)["items"]
    assert (mine["id"], mine["response"]) == (dispute, "It ran at full speed.")
    assert market.fails(2, *DISPUTE, "vote", dispute, "--slash", "5", "--fault", "renter", wallet=judge)["code"] == 1002
    verdict = ("--to-renter", "25", "--slash", "50", "--fault", "provider")
    assert market.fails(5, *DISPUTE, "vote", dispute, *verdict, wallet="other")["name"] == "not_in_electorate"
    assert market.ok(*DISPUTE, "vote", dispute[:8], *verdict, wallet=judge)["ruled"] is True
    assert market.ok(*DISPUTE, "list", "--to-vote", wallet=judge)["items"] == []
    assert dispute in [each["id"] for each in market.ok(*DISPUTE, "list", "--status", "ruled")["items"]]
    assert dispute[:12] in market(*DISPUTE, "list", "--mine", wallet="renter").out
    shown = market(*DISPUTE, "show", dispute).out
    assert "25 % to the renter, 50 % of the collateral, fault of provider" in shown

    story = market("marketplace", "booking", "money", booking, wallet="renter").out
    for told in ("dispute.opened", "dispute.answered", "dispute.ruled", "booking.closed"):
        assert told in story
    money = market.ok("marketplace", "booking", "money", booking, wallet="renter")
    assert int(money["locked"]) == sum(int(money[name]) for name in ("net", "fee", "refunded"))
    last = {pair["name"]: pair["value"] for pair in money["steps"][-1]["event"]["amounts"]}
    assert (last["renter_share"], last["deposit_to_opener"]) == ("2500", str(COIN // 4))


def test_a_job(market: Shell, judge: str) -> None:
    words = ["--name", "Jobber", "--memory", "24GB", "--cuda-cores", "1", "--price-per-hour", "1"]
    market.ok("miner", "register", *words, "--provider-name", "P", wallet="provider")
    usual = ("--max-units", "10", "--unit-price", "0.5", "--unit", "item", "--gpu-model", "Jobber", "--attempt", "1m")
    job = market.ok("client", "submit", "inference", "--prompt", "x", *usual, wallet="renter")["job"]
    assert market.fails(5, "client", "dispute", job, "--text", "x", wallet="renter")["name"] == "not_disputable"
    market.ok("miner", "claim", job, wallet="provider")
    market.ok("client", "share", job, wallet="renter")
    market.ok("miner", "deliver", job, "--units", "10", "--result", "nonsense", wallet="provider")
    opened = market.ok("client", "dispute", job[:8], "--text", "Nonsense.", wallet="renter")
    assert opened["disputed"] == str(5 * COIN)
    assert market.ok("client", "status", job, wallet="renter")["view"]["status"] == "disputed"
    market.ok(*DISPUTE, "respond", job, "--text", "As asked.", wallet="provider")
    market.ok(*DISPUTE, "vote", job, "--to-renter", "100", "--fault", "provider", wallet=judge)
    shown = market.ok("client", "status", job, wallet="renter")
    assert (shown["view"]["status"], shown["escrow"]["refunded"]) == ("closed", str(5 * COIN))
    assert opened["dispute"] in market("client", "status", job, wallet="renter").out


def test_a_challenge(market: Shell, register: Register, judge: str) -> None:
    gpu = register("Boaster", "1")
    opened = market.ok("marketplace", "gpu", "challenge", gpu[:10], "--text", "It is a 1080.", wallet="other")
    assert (opened["deposit"], opened["collateral"]) == (str(25 * COIN // 20), str(25 * COIN))
    assert "challenged in" in market("marketplace", "gpu", "details", gpu).out
    error = market.fails(5, "marketplace", "gpu", "challenge", gpu, "--text", "x", wallet="provider")
    assert error["name"] == "not_authorized"
    market.ok(*DISPUTE, "respond", gpu, "--text", "It is not.", wallet="provider")
    market.ok(*DISPUTE, "vote", gpu, "--slash", "100", "--fault", "provider", wallet=judge)
    details = market("marketplace", "gpu", "details", gpu).out
    assert "refuted by a challenge" in details
    assert "retired" in details


def test_what_nobody_knows(market: Shell) -> None:
    assert market.fails(1, *DISPUTE, "show", "77" * 32)["name"] == "not_found"
    assert market.fails(1, *DISPUTE, "show", "777777")["name"] == "nothing_found"
    assert market.fails(1, *DISPUTE, "open", "777777", "--text", "x", wallet="renter")["name"] == "nothing_found"
    error = market.fails(2, "marketplace", "gpu", "challenge", "77" * 32, "--text", "x" * 501, wallet="renter")
    assert (error["name"], error["code"]) == ("invalid_field", 1002)
