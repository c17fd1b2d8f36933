"""`aitbc marketplace offers, pricing, orders, stats, reviews` and what accounts earned and spent."""

import time
from collections.abc import Callable

import pytest

from chain.schema import COIN
from tests.shell import Shell

Register = Callable[..., str]


@pytest.fixture(scope="module")
def dealt(market: Shell) -> tuple[str, str]:
    """A GPU of the model `Dealt Card`, and a booking of it that is over, paid and reviewed."""
    words = ["--name", "Dealt Card", "--memory", "24GB", "--cuda-cores", "1", "--price-per-hour", "36"]
    gpu = market.ok("marketplace", "gpu", "register", *words, wallet="provider")["gpu"]
    booking = market.ok("marketplace", "gpu", "book", gpu, "--hours", "1", wallet="renter")["booking"]
    market.ok("marketplace", "booking", "activate", booking, "--access", "x", wallet="provider")
    market.ok("marketplace", "gpu", "release", booking, wallet="renter")
    market.ok("marketplace", "booking", "confirm", booking, wallet="renter")
    market.ok("marketplace", "review", booking, "--rating", "4", "--comment", "fine", wallet="renter")
    return gpu, booking


def test_offers(market: Shell, register: Register) -> None:
    cheap, dear = register("Offer One", "0.5", region="moon"), register("Offer Two", "7", memory="80GB")

    def found(*words: str) -> list[str]:
        return [each["id"] for each in market.ok("marketplace", "offers", "--model", "offer*", *words)["items"]]

    assert found() == [cheap, dear]
    assert found("--order", "-price") == [dear, cheap]
    assert found("--price-max", "1") == found("--region", "MOON") == [cheap]
    assert found("--memory-min", "80GB") == found("--model", "Offer_T*") == [dear]
    assert found("--provider", "renter") == []
    market.ok("marketplace", "gpu", "book", cheap, "--hours", "1", wallet="renter")
    assert found() == [dear]
    assert found("--start", "+2h", "--hours", "1.5") == [cheap, dear]
    (offer,) = market.ok("marketplace", "offers", "--model", "offer two", "--hours", "1.5")["items"]
    assert (offer["cost"], offer["end_ms"] - offer["start_ms"]) == (str(7 * COIN * 3 // 2), 5_400_000)
    shown = market("marketplace", "offers", "--model", "offer*", "--seconds", "2h").out
    assert "Offer Two" in shown
    assert "2 h" in shown
    assert "14" in shown
    assert market("marketplace", "offers", "--model", "nothing").out == "Nothing of that can be booked.\n"
    page = market.ok("marketplace", "offers", "--model", "offer*", "--start", "+2h", "--limit", "1")
    assert found("--start", "+2h", "--cursor", page["next_cursor"]) == [dear]
    assert market.fails(2, "marketplace", "offers", "--hours", "1", "--seconds", "5")["name"] == "usage"


def test_pricing(market: Shell, dealt: tuple[str, str]) -> None:
    (found,) = market.ok("marketplace", "pricing", "dealt_card")["items"]
    assert (found["model"], found["median"], found["basis"]) == ("Dealt Card", str(36 * COIN), "listings")
    assert (found["deals"], found["recommended"]) == (1, str(36 * COIN))
    assert len(market.ok("marketplace", "pricing")["items"]) >= 1
    shown = market("marketplace", "pricing", "Dealt*").out
    assert "recommended" in shown
    assert "listings" in market("marketplace", "pricing").out
    assert market("marketplace", "pricing", "nothing").out == "No such model is or was on the market.\n"
    assert market.fails(2, "marketplace", "pricing", "--days", "91")["name"] == "usage"


def test_orders(market: Shell, dealt: tuple[str, str]) -> None:
    _, booking = dealt
    for words in (("orders",), ("orders", "list"), ("orders", "--status", "closed"), ("orders", "--as", "renter")):
        found = market.ok("marketplace", *words, wallet="renter")["items"]
        (mine,) = [each for each in found if each["id"] == booking]
        assert int(mine["locked"]) == int(mine["paid"]) + int(mine["refunded"]) == 36 * COIN
        assert mine["remaining"] == "0"
    for words in (("--status", "active"), ("--open",), ("--kind", "job"), ("--as", "provider")):
        found = market.ok("marketplace", "orders", *words, wallet="renter")["items"]
        assert booking not in [each["id"] for each in found]
    assert booking in [each["id"] for each in market.ok("marketplace", "orders", "--all")["items"]]
    assert market.ok("marketplace", "orders", "--account", "poor")["items"] == []
    assert booking[:12] in market("marketplace", "orders", wallet="provider").out
    assert market("marketplace", "orders", wallet="poor").out == "No order fits.\n"


def test_stats(market: Shell, dealt: tuple[str, str]) -> None:
    found = market.ok("marketplace", "stats")
    assert {"name": "Dealt Card", "count": 1} in found["models"]
    assert sum(day["deals"] for day in found["days"]) >= 1
    shown = market("marketplace", "stats", "--days", "1").out
    assert "Dealt Card" in shown
    assert "in escrow" in shown
    assert "traded, AITBC" in shown


def test_reviews_and_details_show_what_ratings_have_cost(market: Shell, dealt: tuple[str, str]) -> None:
    gpu, _ = dealt
    rating = market.ok("marketplace", "reviews", gpu)["rating"]
    assert (rating["weighted_hundredths"], rating["average_hundredths"], rating["largest_share"]) == (400, 400, 10_000)
    assert "4.00 of 5 weighted by fee" in market("marketplace", "reviews", gpu).out
    shown = market("marketplace", "gpu", "details", gpu).out
    assert "this device" in shown
    assert "100 % served, 0 % no-shows, 0 % cancelled; of 1" in shown
    assert "all of its provider" in shown
    assert "uptime" in shown
    assert market.ok("marketplace", "gpu", "details", gpu)["device"]["bookings"] == 1


def test_a_device_without_a_past(market: Shell, register: Register) -> None:
    shown = market("marketplace", "gpu", "details", register("Fresh")).out
    assert "none yet" in shown
    assert "no reviews yet" in shown


def test_earnings(market: Shell, dealt: tuple[str, str]) -> None:
    _, booking = dealt
    found = market.ok("miner", "earnings", wallet="provider")
    (entry,) = [each for each in found["items"] if each["id"] == booking]
    escrow = market.ok("marketplace", "booking", "money", booking)
    assert (entry["what"], entry["net"], entry["fee"]) == ("booking", escrow["net"], escrow["fee"])
    assert int(found["net"]) == sum(int(day["net"]) for day in found["days"]) >= int(entry["net"])
    assert found["complete"] is True
    shown = market("miner", "earnings", "--days", "36500", wallet="provider").out
    assert booking[:12] in shown
    assert "market fee" in shown
    assert market("miner", "earnings", wallet="poor").out.startswith("earned")
    assert market.fails(2, "miner", "earnings", "--days", "0", wallet="provider")["name"] == "usage"


def test_the_last_days_are_counted_from_now(
    market: Shell, dealt: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the clock of whoever asks: a year later nothing is left of today."""
    before = market.ok("miner", "earnings", "--days", "2", wallet="provider")
    assert before["items"]
    real = time.time_ns()
    monkeypatch.setattr("cli.statements.time.time_ns", lambda: real + 365 * 86_400 * 10**9)
    after = market.ok("miner", "earnings", "--days", "2", wallet="provider")
    assert (after["items"], after["net"]) == ([], "0")


def test_wallet_stats(market: Shell, dealt: tuple[str, str]) -> None:
    found = market.ok("wallet", "stats", wallet="renter")
    spending = found["spending"]
    held = int(spending["locked"]) - int(spending["paid"]) - int(spending["refunded"])
    own = market.ok("marketplace", "orders", "--as", "renter", "--limit", "100", wallet="renter")["items"]
    assert held == sum(int(each["remaining"]) for each in own)
    assert int(spending["transaction_fees"]) > 0
    assert found["earnings"]["gross"] == "0"
    net = market.ok("miner", "earnings", wallet="provider")["net"]
    assert market.ok("wallet", "stats", "provider")["earnings"]["net"] == net
    shown = market("wallet", "stats", "renter").out
    assert "held for what is not over" in shown
    assert "transaction fees" in shown
    assert "held for" not in market("wallet", "stats", "renter", "--days", "3").out


def test_statements_of_several_parts_are_added_up(
    market: Shell, dealt: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = market.ok("wallet", "stats", wallet="renter")
    monkeypatch.setattr("node.rpc.statement.MAXIMUM_PLACES", 3)
    again = market.ok("wallet", "stats", wallet="renter")
    assert again["spending"]["complete"] is True
    for name in ("locked", "paid", "refunded", "transaction_fees", "sent"):
        assert again["spending"][name] == whole["spending"][name]
    monkeypatch.setattr("cli.statements.MAXIMUM_PARTS", 1)
    done = market("-o", "json", "wallet", "stats", wallet="renter")
    assert done.data["spending"]["complete"] is False
