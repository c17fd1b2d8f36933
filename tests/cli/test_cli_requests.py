"""`aitbc marketplace request` and `bid` at a real node: asking, bidding, accepting, and what is refused on the way."""

from collections.abc import Callable

from chain.schema import COIN
from tests.shell import Shell

Register = Callable[..., str]
REQUEST = ("marketplace", "request")
BID = ("marketplace", "bid")


def ask(market: Shell, *words: str, price: str = "5", wallet: str = "renter") -> str:
    """The id of a new request for two hours."""
    opening = ("open", "--hours", "2", "--max-price", price, *words)
    return str(market.ok(*REQUEST, *opening, wallet=wallet)["request"])


def test_the_whole_way(market: Shell, register: Register) -> None:
    gpu = register("Wanted", "2")
    opened = market.ok(
        *REQUEST, "open", "--hours", "2", "--max-price", "5", "--model", "Wanted", "--open-for", "3h", wallet="renter"
    )
    request = opened["request"]
    assert opened["locked"] == str(5 * COIN)
    assert request in [each["id"] for each in market.ok(*REQUEST, "list", "--model", "wanted")["items"]]
    assert market.ok(*REQUEST, "list", "--bidding", wallet="provider")["items"] == []
    empty = market(*REQUEST, "show", request[:8])
    assert "There are no bids yet." in empty.out
    assert "1 GPU: Wanted" in empty.out

    placed = market.ok(*BID, "place", request[:8], gpu[:8], "--price-per-hour", "1.5", wallet="provider")
    assert (placed["number"], placed["rate"], placed["cost"]) == (1, str(3 * COIN // 2), str(3 * COIN))
    found = market.ok(*REQUEST, "show", request)
    (bid,) = found["bids"]
    assert (bid["cost"], bid["refusal"], bid["bid"]["gpus"]) == (str(3 * COIN), None, [gpu])
    assert "can be accepted" in market(*REQUEST, "show", request).out
    (listed,) = market.ok(*REQUEST, "list", "--bidding", wallet="provider")["items"]
    assert (listed["id"], listed["cheapest"]) == (request, str(3 * COIN))

    human = market(*REQUEST, "accept", request, "--dry-run", wallet="renter")
    assert "succeeds" in human.out
    assert "returns at once" in human.out
    accepted = market.ok(*REQUEST, "accept", request[:8], wallet="renter")
    assert (accepted["cost"], accepted["saved"]) == (str(3 * COIN), str(2 * COIN))
    booking = market.ok("marketplace", "booking", "show", accepted["booking"], wallet="renter")["view"]
    assert (booking["booking"]["rate"], booking["status"]) == (str(3 * COIN // 2), "reserved")
    market.ok("marketplace", "booking", "activate", gpu, "--access", "ssh it", wallet="provider")
    assert market("marketplace", "gpu", "access", gpu, wallet="renter").out == "ssh it\n"
    assert market.fails(1, *REQUEST, "show", request)["name"] == "not_found"


def test_a_bid_at_the_listed_price_and_anew(market: Shell, register: Register) -> None:
    gpus = [register("Pair", "1"), register("Pair", "1.25")]
    request = ask(market, "--count", "2", "--start", "+3h")
    first = market.ok(*BID, "place", request, *gpus, wallet="provider")
    assert first["rate"] == str(COIN * 9 // 4)
    again = market.ok(*BID, "place", request, *gpus, "--price-per-hour", "2", wallet="provider")
    assert again["number"] == 2
    error = market.fails(2, *BID, "place", request, *gpus, "--price-per-hour", "2.6", wallet="provider")
    assert error["name"] == "bad_input"
    market.ok(*BID, "withdraw", request[:7], wallet="provider")
    error = market.fails(1, *REQUEST, "accept", request, wallet="renter")
    assert error["name"] == "nothing_found"
    error = market.fails(1, *REQUEST, "accept", request, "provider", wallet="renter")
    assert "has no bid" in error["message"]
    assert market.fails(1, *BID, "withdraw", request[:7], wallet="provider")["name"] == "nothing_found"
    assert market.ok(*REQUEST, "cancel", request, wallet="renter")["refund"] == str(5 * COIN)


def test_a_provider_may_be_named(market: Shell, register: Register) -> None:
    request, gpu = ask(market), register("Named", "1")
    market.ok(*BID, "place", request, gpu, wallet="provider")
    market.ok("marketplace", "gpu", "book", gpu, "--hours", "1", wallet="other")
    assert "booking_conflict" in market(*REQUEST, "show", request).out
    assert market.fails(1, *REQUEST, "accept", request, wallet="renter")["name"] == "nothing_found"
    error = market.fails(5, *REQUEST, "accept", request, "provider", wallet="renter")
    assert error["name"] == "booking_conflict"
    market.ok(*REQUEST, "cancel", request[:6], wallet="renter")


def test_what_cannot_be(market: Shell, register: Register) -> None:
    gpu = register("Odd", "1")
    for words in ((), ("--hours", "1"), ("--max-price", "1"), ("--hours", "1", "--max-price", "1", "--count", "17")):
        assert market.fails(2, *REQUEST, "open", *words, wallet="renter")["name"] == "usage"
    error = market.fails(5, *REQUEST, "open", "--seconds", "1", "--max-price", "1", wallet="renter")
    assert error["name"] == "request_time_refused"
    error = market.fails(5, *REQUEST, "open", "--hours", "1", "--max-price", "1", "--open-for", "31d", wallet="renter")
    assert (error["name"], error["data"]["field"]) == ("request_time_refused", "expires_ms")
    error = market.fails(5, *REQUEST, "open", "--hours", "1", "--max-price", "1", wallet="poor")
    assert error["name"] == "insufficient_funds"
    request = ask(market, "--model", "Even")
    error = market.fails(5, *BID, "place", request, gpu, wallet="provider")
    assert error["name"] == "gpu_not_wanted"
    assert market.fails(5, *REQUEST, "cancel", request, wallet="other")["name"] == "not_authorized"
    own = ask(market, wallet="provider")
    assert market.fails(5, *BID, "place", own, gpu, wallet="provider")["name"] == "own_gpu"
    assert market.fails(1, *REQUEST, "show", "ab" * 32)["name"] == "not_found"
    assert market.fails(1, *REQUEST, "show", "abcdef")["name"] == "nothing_found"
    for renter, each in (("renter", request), ("provider", own)):
        market.ok(*REQUEST, "cancel", each, wallet=renter)
