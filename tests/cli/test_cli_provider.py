"""What a provider does beside listing: two transactions for one GPU, new terms, maintenance, giving up, answering."""

from collections.abc import Callable
from pathlib import Path

import pytest

from chain.schema import COIN
from tests.shell import Shell

Register = Callable[..., str]
CARD = ("--name", "Card", "--memory", "24GB", "--cuda-cores", "1", "--price-per-hour", "1")


def balance(market: Shell, wallet: str) -> int:
    return int(market.ok("wallet", "balance", wallet=wallet)["balance"])


class TestRegister:
    def test_tells_of_both_transactions(self, market: Shell) -> None:
        before = balance(market, "provider")
        made = market.ok("marketplace", "gpu", "register", *CARD, wallet="provider")
        commitment = made["commitment"]
        assert (made["status"], len(made["txid"]), len(commitment["txid"])) == ("final", 64, 64)
        assert commitment["txid"] != made["txid"]
        assert commitment["height"] < made["height"]
        assert commitment["events"][0]["kind"] == "gpu.hardware_committed"
        held = [int(each["amounts"][0]["value"]) for each in made["events"] if each["kind"] == "deposit.taken"]
        spent = int(made["fee"]) + int(commitment["fee"]) + sum(held)
        assert balance(market, "provider") == before - spent
        found = market.ok("blockchain", "transaction", commitment["txid"])["transaction"]
        assert [action["action"] for action in found["actions"]] == ["gpu.commit_hardware"]

    def test_shows_a_person_everything_before_either_is_signed(self, market: Shell) -> None:
        done = market("marketplace", "gpu", "register", *CARD, "--notice", "2h", "--yes", wallet="provider")
        assert done.code == 0
        first, _, rest = done.err.partition("Sending transaction")
        for text in (
            "gpu.commit_hardware",
            "in a second transaction",
            "gpu.register",
            "Card",
            "seconds 7200",
            "25 AITBC",
        ):
            assert text in first
        assert "salt" not in first
        assert "listing" in rest
        for text in ("gpu ", "collateral", "commitment", "at height", "transaction"):
            assert text in done.out

    def test_costs_nothing_where_it_would_fail(self, market: Shell) -> None:
        """No commitment is sent for a listing that the ledger would refuse anyway."""
        for words, who, name in (((), "renter", "insufficient_collateral"), (("--min-seconds", "1"), "provider", "")):
            before = balance(market, who)
            error = market.fails(5, "marketplace", "gpu", "register", *CARD, *words, wallet=who)
            assert error["name"] == (name or "terms_out_of_range")
            assert balance(market, who) == before

    def test_a_dry_run_sends_nothing(self, market: Shell) -> None:
        before = balance(market, "provider")
        shown = market.ok("marketplace", "gpu", "register", *CARD, "--dry-run", wallet="provider")
        assert shown["succeeded"] is True
        assert balance(market, "provider") == before

    def test_cannot_be_built_for_signing_elsewhere(self, market: Shell, tmp_path: Path) -> None:
        words = ("--build", str(tmp_path / "unsigned"))
        error = market.fails(2, "marketplace", "gpu", "register", *CARD, *words, wallet="provider")
        assert (error["name"], "gpu.commit_hardware" in error["hint"]) == ("bad_input", True)

    def test_need_not_be_waited_for_to_the_end(self, market: Shell) -> None:
        made = market.ok("marketplace", "gpu", "register", *CARD, "--no-wait", wallet="provider")
        assert made["status"] == "pending"
        assert made["commitment"]["height"]
        assert market.ok("blockchain", "transaction", made["txid"])["status"] in ("pending", "final")

    def test_publishes_a_profile_in_the_first_of_two(self, market: Shell) -> None:
        made = market.ok("miner", "register", *CARD, "--provider-name", "Rack", "--contact", "r@x", wallet="provider")
        kinds = [event["kind"] for event in made["commitment"]["events"]]
        kinds = [kind for kind in kinds if not kind.startswith("deposit.")]
        assert kinds == ["account.profile_set", "gpu.hardware_committed"]


class TestUpdate:
    def test_changes_what_is_given_and_nothing_else(self, market: Shell, register: Register) -> None:
        gpu = register("Update", "2", max_seconds="7d")
        words = ("--price-per-hour", "3", "--notice", "1d", "--cancellation-share", "12.5")
        changed = market.ok("marketplace", "gpu", "update", gpu[:8], *words, wallet="provider")
        assert (changed["gpu"], changed["terms_version"]) == (gpu, 2)
        terms = market.ok("marketplace", "gpu", "details", gpu)["view"]["gpu"]["terms"]
        assert terms == {
            "price_per_hour": str(3 * COIN),
            "minimum_seconds": 60,
            "maximum_seconds": 7 * 86_400,
            "horizon_seconds": 365 * 86_400,
            "notice_seconds": 86_400,
            "cancellation_share": 1_250,
            "version": 2,
        }
        shown = market("marketplace", "gpu", "details", gpu).out
        assert "12.5 % of the cost within 1 d of the start" in shown
        quote = market("marketplace", "quote", gpu, "--hours", "1", "--start", "+2d").out
        assert "cancelled before the notice" in quote
        assert "cancelled within the notice" in quote

    @pytest.mark.parametrize(
        ("words", "code", "name"),
        [
            ((), 2, "usage"),
            (("--cancellation-share", "100.01"), 2, "usage"),
            (("--cancellation-share", "x"), 2, "usage"),
            (("--min-seconds", "2h", "--max-seconds", "1h"), 2, "invalid_field"),
            (("--min-seconds", "1"), 5, "terms_out_of_range"),
        ],
    )
    def test_what_cannot_be(
        self, market: Shell, register: Register, words: tuple[str, ...], code: int, name: str
    ) -> None:
        gpu = register("Bounds")
        assert market.fails(code, "marketplace", "gpu", "update", gpu, *words, wallet="provider")["name"] == name

    def test_by_another(self, market: Shell, register: Register) -> None:
        words = ("marketplace", "gpu", "update", register("Foreign"), "--price-per-hour", "0")
        assert market.fails(5, *words, wallet="other")["name"] == "not_authorized"


class TestMaintenance:
    def test_set_list_and_end(self, market: Shell, register: Register) -> None:
        gpu = register("Broken")
        made = market.ok("marketplace", "gpu", "maintenance", "set", gpu, "--hours", "2", wallet="provider")
        assert made["end_ms"] - made["start_ms"] == 7_200_000
        later = ("marketplace", "gpu", "maintenance", gpu, "--start", "+10h", "--seconds", "90m")
        planned = market.ok(*later, wallet="provider")["maintenance"]
        listed = market.ok("marketplace", "gpu", "maintenance", "list", gpu, wallet="renter")["items"]
        assert [each["id"] for each in listed] == [made["maintenance"], planned]
        assert {each["gpu"] for each in listed} == {gpu}
        assert planned in [
            each["id"] for each in market.ok("marketplace", "gpu", "maintenance", "list", wallet="provider")["items"]
        ]
        shown = market("marketplace", "gpu", "details", gpu).out
        assert "maintenance, free in" in shown
        assert "maintenance" in market("marketplace", "gpu", "availability", gpu).out
        listed_gpus = market.ok("marketplace", "gpu", "list", "--status", "maintenance")["items"]
        assert gpu in [each["id"] for each in listed_gpus]
        conflict = market.fails(5, "marketplace", "gpu", "book", gpu, "--hours", "1", wallet="renter")
        assert conflict["name"] == "booking_conflict"
        several = market.fails(2, "marketplace", "gpu", "maintenance", "end", gpu, wallet="provider")
        assert planned in several["hint"]
        ended = market.ok("marketplace", "gpu", "maintenance", "end", planned[:8], wallet="provider")
        assert ended["maintenance"] == planned
        market.ok("marketplace", "gpu", "maintenance", "end", gpu[:8], wallet="provider")
        assert market.ok("marketplace", "gpu", "maintenance", "list", gpu, wallet="provider")["items"] == []
        market.ok("marketplace", "gpu", "book", gpu, "--hours", "1", wallet="renter")
        error = market.fails(1, "marketplace", "gpu", "maintenance", "end", planned, wallet="provider")
        assert error["name"] == "nothing_found"

    @pytest.mark.parametrize("words", [(), ("--hours", "1", "--seconds", "5"), ("--hours", "0"), ("--seconds", "100d")])
    def test_of_what_length(self, market: Shell, register: Register, words: tuple[str, ...]) -> None:
        found = market.ok("marketplace", "gpu", "list", "--mine", wallet="provider")["items"]
        gpu = found[0]["id"] if found else register()
        error = market.fails(2, "marketplace", "gpu", "maintenance", "set", gpu, *words, wallet="provider")
        assert error["name"] in ("usage", "invalid_field")


class TestBookings:
    def test_extended_settled_and_given_up(self, market: Shell, register: Register) -> None:
        gpu = register("Longer", "2")
        booking = market.ok("marketplace", "gpu", "book", gpu, "--hours", "1", wallet="renter")["booking"]
        early = market.fails(5, "marketplace", "booking", "extend", booking, "--hours", "1", wallet="renter")
        assert early["name"] == "wrong_booking_status"
        market.ok("marketplace", "booking", "activate", booking, "--access", "x", wallet="provider")
        market.ok("marketplace", "gpu", "update", gpu, "--price-per-hour", "5", wallet="provider")
        words = ("marketplace", "gpu", "extend", gpu[:10], "--hours", "2", "--max-price")
        assert market.fails(2, *words, "9", wallet="renter")["name"] == "bad_input"
        longer = market.ok(*words, "10", wallet="renter")
        assert (longer["booking"], longer["locked"]) == (booking, str(10 * COIN))
        shown = market("marketplace", "booking", "show", booking, wallet="renter").out
        assert "at 5 AITBC an hour" in shown
        settled = market.ok("marketplace", "booking", "settle", booking, wallet="other")
        assert (settled["net"], settled["market_fee"]) == ("0", "0"), "nothing is older than the window yet"
        before = balance(market, "renter")
        done = market.ok("marketplace", "booking", "provider-cancel", gpu[:10], wallet="provider")
        assert done["forfeited"] == str(12 * COIN // 10)
        assert balance(market, "renter") == before + int(done["refund"]) + int(done["forfeited"])
        assert market.ok("marketplace", "booking", "show", booking, wallet="renter")["view"]["status"] == "closing"
        money = market("marketplace", "booking", "money", booking, wallet="renter").out
        assert "booking.provider_cancelled" in money

    def test_given_up_in_time_and_within_the_notice(self, market: Shell, register: Register) -> None:
        gpu = register("Notice", "2", notice="3h", cancellation_share="50")
        for start, part, share in (("+5h", "0.1 AITBC", 2), ("+1h", "0.2 AITBC", 1)):
            words = ("marketplace", "gpu", "book", gpu, "--hours", "1", "--start", start)
            booking = market.ok(*words, wallet="renter")["booking"]
            giving_up = ("marketplace", "booking", "provider-cancel", booking)
            assert f"{part} of your stake" in market(*giving_up, wallet="provider").err
            done = market.ok(*giving_up, wallet="provider")
            assert (done["forfeited"], done["refund"]) == (str(2 * COIN // 10 // share), str(2 * COIN))
        listed = market.ok("marketplace", "booking", "list", "--status", "provider_cancelled", wallet="renter")["items"]
        assert len([each for each in listed if gpu in each["booking"]["gpus"]]) == 2

    def test_cancelled_within_the_notice(self, market: Shell, register: Register) -> None:
        gpu = register("Strict", "2", notice="3h", cancellation_share="50")
        market.ok("marketplace", "gpu", "book", gpu, "--hours", "1", "--start", "+1h", wallet="renter")
        assert "50 % of the cost within 3 h" in market("marketplace", "booking", "show", gpu, wallet="renter").out
        assert market.ok("marketplace", "booking", "cancel", gpu, wallet="renter")["refund"] == str(COIN)

    def test_rights(self, market: Shell, register: Register) -> None:
        gpu = register("Whose")
        booking = market.ok("marketplace", "gpu", "book", gpu, "--hours", "1", wallet="renter")["booking"]
        for words, who in ((("extend", booking, "--hours", "1"), "other"), (("provider-cancel", booking), "renter")):
            assert market.fails(5, "marketplace", "booking", *words, wallet=who)["name"] == "not_authorized"


def test_reviews_are_answered(market: Shell, register: Register) -> None:
    gpu = register("Answer", "100")
    booking = market.ok("marketplace", "gpu", "book", gpu, "--hours", "1", wallet="renter")["booking"]
    nothing = market.fails(1, "marketplace", "review", "reply", gpu[:20], "--comment", "x", wallet="provider")
    assert nothing["name"] == "nothing_found"
    market.ok("marketplace", "booking", "activate", booking, "--access", "x", wallet="provider")
    market.ok("marketplace", "gpu", "release", booking, wallet="renter")
    market.ok("marketplace", "booking", "confirm", booking, wallet="renter")
    market.ok("marketplace", "review", booking, "--rating", "1", "--comment", "slow", wallet="renter")
    replying = ("marketplace", "review", "reply")
    assert market.fails(5, *replying, booking, "--comment", "x", wallet="renter")["name"] == "not_authorized"
    assert market.fails(2, *replying, booking, "--comment", "x" * 501, wallet="provider")["name"] == "invalid_field"
    answered = market.ok(*replying, gpu[:8], "--comment", " a new disk is in ", wallet="provider")
    assert answered["subject"] == booking
    (item,) = market.ok("marketplace", "reviews", gpu)["items"]
    assert (item["comment"], item["reply"]) == ("slow", "a new disk is in")
    assert "a new disk is in" in market("marketplace", "reviews", gpu).out
    assert market.fails(5, *replying, booking, "--comment", "more", wallet="provider")["name"] == "already_replied"
