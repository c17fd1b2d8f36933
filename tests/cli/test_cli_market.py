"""`aitbc marketplace` at a real node: from a listed GPU to a review, and what is refused on the way."""

from collections.abc import Callable
from pathlib import Path

import pytest

from chain.schema import COIN
from tests.shell import Shell

Register = Callable[..., str]


def test_the_whole_way(market: Shell, register: Register) -> None:
    gpu = register("RTX 4090", "2", region="eu-west")
    listed = market.ok("marketplace", "gpu", "list", "--provider", "provider")["items"]
    assert gpu in [each["id"] for each in listed]

    quote = market.ok("marketplace", "quote", gpu, "--hours", "1.5")
    assert quote["cost"] == str(3 * COIN)
    booked = market.ok("marketplace", "gpu", "book", gpu, "--hours", "1.5", wallet="renter")
    booking = booked["booking"]
    (deposit,) = [each for each in booked["events"] if each["kind"] == "deposit.taken"]
    assert deposit["amounts"] == [{"name": "amount", "value": quote["deposit"]}]
    assert int(quote["debit"]) == 3 * COIN + int(quote["deposit"])
    assert (booked["locked"], booked["end_ms"] - booked["start_ms"]) == (str(3 * COIN), 5_400_000)

    error = market.fails(1, "marketplace", "gpu", "access", booking, wallet="renter")
    assert error["name"] == "nothing_found"
    market.ok("marketplace", "booking", "activate", booking, "--access", "ssh root@example", wallet="provider")
    assert market("marketplace", "gpu", "access", booking, wallet="renter").out == "ssh root@example\n"
    assert market.fails(4, "marketplace", "gpu", "access", booking, wallet="provider")["name"] == "cannot_open_seal"

    released = market.ok("marketplace", "gpu", "release", booking, wallet="renter")
    assert int(released["gross"]) + int(released["refund"]) == 3 * COIN
    assert market.ok("marketplace", "booking", "show", booking, wallet="renter")["view"]["status"] == "closing"
    confirmed = market.ok("marketplace", "booking", "confirm", booking, wallet="renter")
    assert int(confirmed["net"]) + int(confirmed["market_fee"]) == int(released["gross"])
    money = market.ok("marketplace", "booking", "money", booking, wallet="renter")
    assert (money["remaining"], money["in_state"], money["deposit"]) == ("0", True, quote["deposit"])
    assert [step["event"]["kind"] for step in money["steps"]] == [
        "booking.reserved",
        "deposit.taken",
        "booking.activated",
        "booking.released",
        "booking.closed",
    ]
    assert "still held" in market("marketplace", "booking", "money", booking, wallet="renter").out

    market.ok("marketplace", "review", "add", booking, "--rating", "4", "--comment", "quiet", wallet="renter")
    found = market.ok("marketplace", "reviews", gpu)
    assert found["rating"]["average_hundredths"] == 400
    assert found["items"][0]["comment"] == "quiet"
    assert "★★★★" in market("marketplace", "reviews", gpu).out
    again = market.fails(5, "marketplace", "review", booking, "--rating", "5", wallet="renter")
    assert again["name"] == "not_eligible_to_review"
    assert booking[:12] in market("marketplace", "booking", "list", wallet="provider").out


def test_a_booking_is_guarded_by_what_was_quoted(market: Shell, register: Register, tmp_path: Path) -> None:
    """What is signed names the quoted cost and terms, so that nothing that moves meanwhile can make it dearer."""
    gpu, unsigned = register("Guard", "3"), str(tmp_path / "unsigned")
    market.ok("marketplace", "gpu", "book", gpu, "--hours", "2", "--build", unsigned, wallet="renter")
    (action,) = market.ok("wallet", "verify", unsigned)["transaction"]["actions"]
    assert (action["action"], action["max_cost"], action["terms_versions"]) == ("booking.reserve", str(6 * COIN), [1])
    assert (action["gpus"], action["seconds"], action["start_ms"]) == ([gpu], 7_200, 0)


def test_a_gpu_stands_for_the_only_booking_of_it(market: Shell, register: Register) -> None:
    gpu = register()
    first = market.ok("marketplace", "gpu", "book", gpu[:10], "--hours", "1", wallet="renter")["booking"]
    market.ok("marketplace", "booking", "activate", gpu[:10], "--access", "x", wallet="provider")
    done = market.ok("marketplace", "gpu", "release", gpu, wallet="renter")
    assert done["booking"] == first
    error = market.fails(1, "marketplace", "gpu", "release", gpu, wallet="renter")
    assert error["name"] == "nothing_found"
    assert "active" in error["message"]
    assert market.fails(1, "marketplace", "booking", "show", gpu, wallet="other")["name"] == "nothing_found"


def test_several_bookings_are_listed_instead_of_guessed_at(market: Shell, register: Register) -> None:
    gpu = register()
    bookings = [
        market.ok("marketplace", "gpu", "book", gpu, "--hours", "1", "--start", start, wallet="renter")["booking"]
        for start in ("+2h", "+4h")
    ]
    error = market.fails(2, "marketplace", "booking", "cancel", gpu, wallet="renter")
    assert error["name"] == "ambiguous_id"
    assert all(booking in error["hint"] for booking in bookings)
    human = market("marketplace", "booking", "cancel", gpu, "--yes", wallet="renter")
    assert all(booking in human.err for booking in bookings)
    cancelled = market.ok("marketplace", "booking", "cancel", bookings[0], wallet="renter")
    assert int(cancelled["refund"]) == 2 * COIN * 99 // 100
    assert market.ok("marketplace", "booking", "cancel", gpu[:6], wallet="renter")["booking"] == bookings[1]


def test_a_booking_that_was_activated_early_may_still_be_cancelled(market: Shell, register: Register) -> None:
    gpu = register("Early")
    market.ok("marketplace", "gpu", "book", gpu, "--hours", "1", "--start", "+2h", wallet="renter")
    market.ok("marketplace", "booking", "activate", gpu, "--access", "x", wallet="provider")
    assert market.ok("marketplace", "booking", "cancel", gpu, wallet="renter")["refund"] == str(2 * COIN * 99 // 100)


def test_registering_several_cards_at_once(market: Shell) -> None:
    words = ["--name", "A100", "--memory", "80GB", "--cuda-cores", "6912", "--price-per-hour", "3"]
    cards = ["--hardware-id", "serial-1", "--hardware-id", "serial-2"]
    made = market.ok("marketplace", "gpu", "register", *words, *cards, wallet="provider")
    assert len(made["gpus"]) == 2
    taken = market.fails(5, "marketplace", "gpu", "register", *words, "--hardware-id", "serial-1", wallet="provider")
    assert taken["name"] == "hardware_taken"
    twice = ["--hardware-id", "x", "--hardware-id", "x"]
    assert market.fails(2, "marketplace", "gpu", "register", *words, *twice, wallet="provider")["name"] == "bad_input"
    booked = market.ok("marketplace", "gpu", "book", *made["gpus"], "--hours", "1", wallet="renter")
    assert booked["locked"] == str(6 * COIN)
    beat = market.ok("marketplace", "gpu", "heartbeat", *made["gpus"], wallet="provider")
    assert sorted(beat["gpus"]) == sorted(made["gpus"])
    assert len(market.ok("miner", "heartbeat", wallet="provider")["gpus"]) >= 2
    retired = market.ok("marketplace", "gpu", "retire", made["gpus"][0], wallet="provider")
    assert retired["retired"] is False


@pytest.mark.parametrize(
    ("words", "code", "name"),
    [
        (("--price-per-hour", "-1"), 2, "usage"),
        (("--price-per-hour", "1.23456789012"), 2, "usage"),
        (("--memory", "0"), 2, "usage"),
        (("--cuda-cores", "many"), 2, "usage"),
        (("--name", ""), 2, "invalid_field"),
        (("--name", "x" * 65), 2, "invalid_field"),
        (("--name", "a\x1b[31m"), 2, "invalid_field"),
        (("--region", "r" * 33), 2, "invalid_field"),
        (("--min-seconds", "2h", "--max-seconds", "1h"), 2, "invalid_field"),
        (("--min-seconds", "10"), 5, "terms_out_of_range"),
        (("--max-seconds", "100d"), 5, "terms_out_of_range"),
        (("--horizon", "400d"), 5, "terms_out_of_range"),
    ],
)
def test_gpus_that_cannot_be_listed(market: Shell, words: tuple[str, ...], code: int, name: str) -> None:
    good = ["--name", "RTX", "--memory", "24GB", "--cuda-cores", "1", "--price-per-hour", "1"]
    assert market.fails(code, "marketplace", "gpu", "register", *good, *words, wallet="provider")["name"] == name


def test_listing_takes_stake(market: Shell) -> None:
    words = ["--name", "RTX", "--memory", "24GB", "--cuda-cores", "1", "--price-per-hour", "1"]
    error = market.fails(5, "marketplace", "gpu", "register", *words, wallet="renter")
    assert error["name"] == "insufficient_collateral"


def test_filters_and_order(market: Shell, register: Register) -> None:
    cheap, dear = register("Filter One", "0.5", region="moon"), register("Filter Two", "7", region="mars")

    def found(*words: str) -> list[str]:
        return [each["id"] for each in market.ok("marketplace", "gpu", "list", "--model", "filter*", *words)["items"]]

    assert found() == [cheap, dear]
    assert found("--order", "-price") == [dear, cheap]
    assert found("--price-max", "1") == [cheap]
    assert found("--region", "mars") == [dear]
    assert found("--memory-min", "25GB") == []
    assert found("--model", "Filter_T*") == [dear]
    market.ok("marketplace", "gpu", "book", cheap, "--hours", "1", wallet="renter")
    assert found("--available") == [dear]
    assert found("--start", "+2h", "--seconds", "1h") == [cheap, dear]
    shown = market("marketplace", "gpu", "list", "--model", "filter*").out
    assert "Filter One" in shown
    assert "AITBC/h" in shown
    assert " 0.5 " in shown
    assert "in " in shown
    assert market("marketplace", "gpu", "list", "--model", "no such").out == "No GPU fits.\n"
    page = market.ok("marketplace", "gpu", "list", "--model", "filter*", "--limit", "1")
    following = found("--limit", "1", "--cursor", page["next_cursor"])
    assert following == [dear]
    lines = market("-o", "ndjson", "marketplace", "gpu", "list", "--model", "filter*").out.splitlines()
    assert len(lines) == 2


def test_details_and_availability(market: Shell, register: Register) -> None:
    gpu = register("Detail", "2")
    market.ok("marketplace", "gpu", "book", gpu, "--hours", "2", "--start", "+1h", wallet="renter")
    assert "self-declared" in market("marketplace", "gpu", "details", gpu[:8]).out
    view = market.ok("marketplace", "gpu", "availability", gpu)
    assert (len(view["booked"]), len(view["free"])) == (1, 2)
    assert "booked" in market("marketplace", "gpu", "availability", gpu).out


@pytest.mark.parametrize(
    ("words", "code", "name"),
    [
        ((), 2, "usage"),
        (("--hours", "1", "--seconds", "5"), 2, "usage"),
        (("--hours", "0"), 2, "usage"),
        (("--seconds", "1"), 5, "booking_time_refused"),
        (("--hours", "9999"), 5, "booking_time_refused"),
        (("--hours", "1", "--start", "2001-01-01T00:00:00"), 5, "booking_time_refused"),
        (("--hours", "1", "--start", "+9999d"), 5, "booking_time_refused"),
        (("--hours", "1", "--max-price", "1"), 2, "bad_input"),
    ],
)
def test_bookings_that_cannot_be(
    market: Shell, register: Register, words: tuple[str, ...], code: int, name: str
) -> None:
    gpu = _shared_gpu(market, register)
    assert market.fails(code, "marketplace", "gpu", "book", gpu, *words, wallet="renter")["name"] == name


def _shared_gpu(market: Shell, register: Register) -> str:
    found = market.ok("marketplace", "gpu", "list", "--model", "Shared", "--status", "active")["items"]
    return str(found[0]["id"]) if found else register("Shared")


def test_who_may_do_what(market: Shell, register: Register) -> None:
    gpu = register("Rights")
    assert market.fails(5, "marketplace", "gpu", "book", gpu, "--hours", "1", wallet="provider")["name"] == "own_gpu"
    assert (
        market.fails(5, "marketplace", "gpu", "book", gpu, "--hours", "1", wallet="poor")["name"]
        == "insufficient_funds"
    )
    booking = market.ok("marketplace", "gpu", "book", gpu, "--hours", "1", wallet="renter")["booking"]
    conflict = market.fails(5, "marketplace", "gpu", "book", gpu, "--hours", "1", wallet="other")
    assert conflict["name"] == "booking_conflict"
    assert "UTC" in conflict["message"]
    for command, words, who in (
        (("booking", "activate"), ("--access", "x"), "other"),
        (("gpu", "release"), (), "other"),
        (("booking", "cancel"), (), "other"),
        (("gpu", "retire"), (), "other"),
    ):
        subject = gpu if command == ("gpu", "retire") else booking
        assert market.fails(5, "marketplace", *command, subject, *words, wallet=who)["name"] == "not_authorized"
    assert (
        market.fails(5, "marketplace", "booking", "confirm", booking, wallet="renter")["name"] == "wrong_booking_status"
    )
    assert market.fails(5, "marketplace", "booking", "cancel", booking, wallet="renter")["name"] == "booking_started"
    assert market.fails(5, "marketplace", "review", booking, "--rating", "5", wallet="renter")["name"] == (
        "not_eligible_to_review"
    )


def test_access_details(market: Shell, register: Register, tmp_path: Path) -> None:
    gpu = register("Access")
    booking = market.ok("marketplace", "gpu", "book", gpu, "--hours", "1", wallet="renter")["booking"]
    for words in ((), ("--access", "a", "--access-file", "b")):
        assert (
            market.fails(2, "marketplace", "booking", "activate", booking, *words, wallet="provider")["name"] == "usage"
        )
    path = tmp_path / "access"
    path.write_bytes(b"x" * 977)
    activating = ("marketplace", "booking", "activate", booking, "--access-file", str(path))
    assert market.fails(2, *activating, wallet="provider")["name"] == "bad_input"
    path.write_bytes(b"")
    assert market.fails(2, *activating, wallet="provider")["name"] == "bad_input"
    path.write_text("ssh root@example\npassword: \x1b[31mhush\n")
    done = market(*activating, "--yes", wallet="provider")
    assert done.code == 0
    assert "hush" not in done.out + done.err
    assert (
        market.ok("marketplace", "gpu", "access", booking, wallet="renter")["access"].splitlines()[0]
        == "ssh root@example"
    )


def test_beginnings_of_ids(market: Shell, register: Register) -> None:
    gpu = register("Prefix")
    assert market.ok("marketplace", "gpu", "details", gpu[:6].upper())["view"]["id"].startswith(gpu[:6])
    assert market.fails(1, "marketplace", "gpu", "details", "ffffffffffff")["name"] == "nothing_found"
    assert market.fails(1, "marketplace", "gpu", "details", "f" * 64)["name"] == "not_found"
    for text in (gpu[:5], "not-an-id", "g" * 64, gpu + "0"):
        assert market.fails(2, "marketplace", "gpu", "details", text)["name"] == "usage"


def test_the_details_of_hostile_text_are_harmless(market: Shell, register: Register) -> None:
    gpu = register("ev\u202eil\u200b", "1")
    shown = market("marketplace", "gpu", "details", gpu).out
    assert "\u202e" not in shown
    assert "ev" in shown
