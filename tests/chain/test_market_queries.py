"""What the market is shown as: reputation, prices, orders, offers, statistics, statements; by hand-computed numbers."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from chain.action import BlockContext
from chain.actions.bookings import Extend
from chain.actions.gpus import CommitHardware, RegisterGpu, RetireGpu, SetMaintenance, UpdateGpu, commitment_of
from chain.actions.jobs import AcceptJob
from chain.actions.reviews import REVIEWS
from chain.booking import BOOKINGS
from chain.escrow import ESCROWS
from chain.inventory import GPUS
from chain.job import JOBS
from chain.parameters import read_parameters
from chain.queries.bookings import present_booking
from chain.queries.earnings import Occurrence, Statement, flows, statement
from chain.queries.offers import offer
from chain.queries.orders import booking_order, job_order
from chain.queries.present import present
from chain.queries.pricing import Pricing, pricing, sold
from chain.queries.reputation import Components, components, raters
from chain.queries.statistics import statistics
from chain.reputation import Reputation, reputation_of
from chain.result import Event
from chain.schema import COIN
from chain.trades import DAY_MS, HOUR_MS, TRADES, Trades, price_step, trade_key
from chain.transaction import Transaction
from chain.transition import BlockOutcome
from tests.bidding import Bidding
from tests.chain.test_jobs import Workshop
from tests.chain.test_reputation import deal
from tests.economy.attempts import BOOKING_FAMILIES
from tests.economy.world import run
from tests.ledger import GENESIS_TIME_MS, Ledger, Person, subject
from tests.market import PRICE, SALT, UNHURRIED, Market, altered, booking_bytes, clog, hardware, terms

MODEL = "RTX 4090"
DAY = GENESIS_TIME_MS // DAY_MS


def reputation(market: Market) -> Components:
    """Of the provider, now."""
    view = market.view
    gpus = [gpu for _, gpu in GPUS.scan(view) if gpu.owner == market.provider.address]
    reviews = [review for _, review in REVIEWS.scan(view)]
    return components(reputation_of(view, market.provider.address), gpus, market.live_ms, reviews)


class TestReputation:
    def test_of_somebody_new(self) -> None:
        found = components(Reputation(), (), 0, ())
        shares = (found.served_share, found.no_show_share, found.uptime_share, found.jobs_accepted_share)
        assert shares == (None,) * 4
        assert (found.weighted_hundredths, found.raters.weighted_hundredths, found.raters.largest_share) == (
            None,
            None,
            0,
        )

    def test_shares_with_their_samples(self) -> None:
        counters = Reputation(
            completed=5,
            released=1,
            cancelled=100,
            no_shows=1,
            cancelled_in_time=1,
            cancelled_late=1,
            disputes_lost=1,
            jobs_accepted=2,
            jobs_failed=1,
        )
        found = components(counters, (), 0, ())
        assert (found.bookings, found.jobs) == (9, 3)
        assert (found.served_share, found.no_show_share, found.provider_cancel_share) == (6_666, 1_111, 2_222)
        assert (found.jobs_accepted_share, found.dispute_lost_share) == (6_666, 833)

    def test_uptime_counts_the_present_stretch(self) -> None:
        market = Market(gpus=2, parameters=altered(heartbeat_timeout_seconds=100))
        for _ in range(14):
            market.block(after_ms=10_000)
        listed = [market.gpu(gpu).since_live_ms for gpu in market.gpus]
        online, offline = 200_000, sum(market.live_ms - since for since in listed)
        found = reputation(market)
        assert (found.online_ms, found.offline_ms) == (online, offline)
        assert found.uptime_share == online * 10_000 // (online + offline)

    def test_overdue_but_not_written_counts_as_offline(self) -> None:
        market = Market(parameters=altered(heartbeat_timeout_seconds=100, due_weight=100))
        clog(market, items=500)
        market.wait(150_000)
        assert reputation_of(market.view, market.provider.address).online_ms == 0
        found = reputation(market)
        assert found.online_ms == 100_000
        assert found.offline_ms == market.live_ms - market.gpu(market.gpus[0]).since_live_ms - 100_000

    def test_self_booking_for_ratings_shows_as_what_it_is(self) -> None:
        """Ten flawless ratings by an own second account: the mean rises, the weighted rating and who paid do not."""
        market = Market()
        deal(market, market.renter, market.gpus[0], 7_200, 2)
        for _ in range(10):
            deal(market, market.other, market.gpus[0], 60, 5)
        found = reputation(market)
        assert found.rating_hundredths == 472
        assert found.weighted_hundredths == 222
        honest, cheap = 79_988_888, 655_555
        by = found.raters
        assert (by.reviews, by.renters, by.fees) == (11, 2, honest + 10 * cheap)
        assert by.weighted_hundredths == found.weighted_hundredths
        assert by.largest_share == honest * 10_000 // by.fees == 9_242

    def test_one_mans_word(self) -> None:
        market = Market()
        for _ in range(3):
            deal(market, market.renter, market.gpus[0], 60, 5)
        by = raters(review for _, review in REVIEWS.scan(market.view))
        assert (by.reviews, by.renters, by.largest_share) == (3, 1, 10_000)


def trade(price: int, gpu_ms: int, day: int = DAY, model: str = MODEL) -> tuple[bytes, Trades]:
    """A record of one deal at this price, with a market fee of two percent."""
    gross = price * gpu_ms // HOUR_MS
    return trade_key(model, day, price_step(price)), Trades(1, gpu_ms, gross, gross // 50)


def figures(market: Market, coming_days: int = 7, past_days: int = 30, model: str = MODEL) -> Pricing:
    view = market.view
    gpus = [(gpu_id, gpu) for gpu_id, gpu in GPUS.scan(view) if gpu.hardware.model == model]
    return pricing(view, model, gpus, market.time_ms, coming_days, past_days)


class TestPricing:
    def test_listed(self) -> None:
        market = Market(gpus=0)
        for index, price in enumerate((3, 1, 9, 2)):
            market.register(str(index), terms(price * COIN))
        retired = market.register("x", terms(100 * COIN))
        market.do(market.provider, RetireGpu(retired))
        found = figures(market)
        assert (found.listed, found.active) == (4, 4)
        assert (found.low, found.median, found.high) == (1 * COIN, 2 * COIN, 9 * COIN)
        assert (found.recommended, found.basis) == (2 * COIN, "listings")

    def test_nothing_is_known(self) -> None:
        found = figures(Market(gpus=0))
        assert (found.low, found.booked_share, found.sold_share) == (None, None, None)
        assert (found.recommended, found.basis) == (None, "none")

    def test_the_share_of_the_coming_days_that_is_booked(self) -> None:
        """A day of one GPU and half a day of another, of two GPUs and four days: 3/16; maintenance is no booking."""
        market = Market(gpus=2)
        market.reserve(market.gpus[:1], seconds=86_400, after_seconds=100)
        market.reserve(market.gpus[1:], seconds=86_400, after_seconds=4 * 86_400 - 43_200)
        market.do(market.provider, SetMaintenance(market.gpus[0], market.time_ms + 2 * DAY_MS, 3_600), after_ms=1)
        beyond = 1_001
        taken = 86_400_000 + 43_200_000 + beyond
        found = figures(market, coming_days=4)
        assert (found.calendars, found.booked_share) == (2, taken * 10_000 // (8 * DAY_MS))

    def test_what_has_begun_counts_from_now_on(self) -> None:
        market = Market()
        market.active(seconds=86_400)
        market.wait(43_200_000, step_ms=600_000)
        assert figures(market, coming_days=1).booked_share == 5_000

    def test_an_answer_looks_at_so_many_calendars_and_entries(self, monkeypatch: pytest.MonkeyPatch) -> None:
        market = Market(gpus=5)
        for gpu in market.gpus:
            for hours in (1, 3, 5):
                market.reserve([gpu], seconds=3_600, after_seconds=hours * 3_600)
        assert figures(market).calendars == 5
        monkeypatch.setattr("chain.queries.pricing.MAXIMUM_CALENDARS", 4)
        found = figures(market, coming_days=1)
        assert (found.calendars, found.booked_share) == (4, 3 * 10_000 // 24)
        monkeypatch.setattr("chain.queries.pricing.MAXIMUM_INTERVALS", 7)
        found = figures(market, coming_days=1)
        assert (found.calendars, found.booked_share) == (2, 3 * 10_000 // 24)

    def test_sold(self) -> None:
        market = Market()
        booking_id = market.active(seconds=7_200)
        market.wait_until(market.booking(booking_id).end_ms)
        market.confirm(booking_id)
        found = figures(market)
        assert found.sold.middle_price == found.sold.mean_price == found.recommended == PRICE
        assert (found.basis, found.sold.deals, found.sold.gpu_ms) == ("trades", 1, 2 * HOUR_MS)
        past_ms = market.time_ms - (DAY - 30) * DAY_MS
        assert found.sold_share == 2 * HOUR_MS * 10_000 // past_ms

    @pytest.mark.parametrize(("gpu_ms", "price", "basis"), [(HOUR_MS - 1, 2, "listings"), (HOUR_MS, 8, "trades")])
    def test_what_was_sold_for_less_than_an_hour_does_not_outweigh_the_listings(
        self, gpu_ms: int, price: int, basis: str
    ) -> None:
        market = Market(gpus=0)
        market.register("a", terms(2 * COIN))
        view = market.view
        TRADES.put(view, *trade(8 * COIN, gpu_ms))
        market.reader.apply(view.changes())
        found = figures(market)
        assert (found.recommended, found.basis) == (price * COIN, basis)

    def test_trades_count_for_the_days_asked_for(self) -> None:
        market = Market()
        view = market.view
        for day, price in ((DAY, 2), (DAY - 3, 4), (DAY - 4, 8)):
            key, found = trade(price * COIN, HOUR_MS, day)
            TRADES.put(view, key, found)
        market.reader.apply(view.changes())
        deals = {days: figures(market, past_days=days).sold.deals for days in (1, 2, 3, 4, 90)}
        assert deals == {1: 1, 2: 1, 3: 2, 4: 3, 90: 3}

    def test_the_middle_is_weighted_by_fee(self) -> None:
        found = sold([trade(1 * COIN, 3 * HOUR_MS), trade(2 * COIN, HOUR_MS), trade(4 * COIN, HOUR_MS)])
        assert (found.deals, found.gross, found.fee) == (3, 9 * COIN, 9 * COIN // 50)
        assert found.middle_price == 2 * COIN
        assert found.mean_price == 9 * COIN // 5

    def test_the_lower_one_of_two_in_the_middle(self) -> None:
        assert sold([trade(2 * COIN, HOUR_MS), trade(1 * COIN, 2 * HOUR_MS)]).middle_price == COIN

    @pytest.mark.parametrize(
        "fake",
        [
            trade(1_000, 100_000 * HOUR_MS),
            trade(60_000 * COIN, 30_000),
        ],
        ids=["days of time for next to nothing", "a minute for a fortune"],
    )
    def test_selling_to_oneself_moves_the_mean_but_hardly_the_middle(self, fake: tuple[bytes, Trades]) -> None:
        """A hundred honest hours at about two coins; a fake deal costs its market fee."""
        honest = [trade(2 * COIN, 60 * HOUR_MS), trade(21 * COIN // 10, 60 * HOUR_MS, DAY - 1)]
        honest += [trade(23 * COIN // 10, 300 * HOUR_MS, DAY - 2)]
        before, after = sold(honest), sold([*honest, fake])
        assert before.middle_price == after.middle_price == 23 * COIN // 10
        assert before.mean_price is not None
        assert after.mean_price is not None
        assert not before.mean_price // 1.4 < after.mean_price < before.mean_price * 1.4


class TestOrders:
    def test_a_booking(self) -> None:
        market = Market()
        booking_id = market.active(seconds=7_200)
        market.wait(3_600_000)
        found = booking_order(present_booking(market.view, booking_id), market.time_ms)
        assert (found.kind, found.status, found.locked, found.earned) == ("booking", "active", 2 * PRICE, PRICE)
        assert (found.fee, found.paid, found.refunded, found.remaining) == (PRICE // 50, 0, 0, 2 * PRICE)
        assert (found.seconds_left, found.seconds_until_empty) == (3_600, 3_600)
        market.settle(booking_id)
        found = booking_order(present_booking(market.view, booking_id), market.time_ms)
        assert found.locked == found.paid + found.refunded + found.remaining
        assert found.paid == PRICE * 3_301 // 3_600

    def test_before_its_start_and_after_its_end(self) -> None:
        market = Market()
        booking_id = market.reserve(seconds=3_600, after_seconds=100)
        found = booking_order(present_booking(market.view, booking_id), market.time_ms)
        assert (found.earned, found.seconds_left, found.seconds_until_empty) == (0, 3_600, 3_600)
        market.cancel(booking_id)
        found = booking_order(present_booking(market.view, booking_id), market.time_ms)
        assert (found.seconds_until_empty, found.paid, found.refunded) == (None, PRICE // 100, PRICE - PRICE // 100)

    def test_activated_late_the_money_lasts_longer_than_the_booking(self) -> None:
        market = Market()
        booking_id = market.reserve(seconds=3_600)
        market.activate(booking_id, after_ms=50_000)
        found = booking_order(present_booking(market.view, booking_id), market.time_ms)
        assert (found.seconds_left, found.seconds_until_empty) == (3_550, 3_600)

    def test_extended_at_another_rate(self) -> None:
        market = Market()
        booking_id = market.active(seconds=3_600)
        market.do(market.provider, UpdateGpu(market.gpus[0], terms(3 * PRICE, version=2)), after_ms=599_000)
        market.do(market.renter, Extend(booking_id, 1_800, 2 * PRICE))
        found = booking_order(present_booking(market.view, booking_id), market.time_ms)
        assert (found.seconds_left, found.seconds_until_empty) == (4_800, 4_800)

    def test_for_free_it_never_runs_empty(self) -> None:
        market = Market(price=0)
        assert booking_order(present_booking(market.view, market.active()), market.time_ms).seconds_until_empty is None

    def test_a_job(self) -> None:
        shop = Workshop()
        job_id = shop.shared()
        latest = shop.report(job_id, 20)
        found = job_order(present(shop.view), job_id)
        assert (found.kind, found.status, found.provider) == ("job", "payload_shared", shop.provider.address)
        assert (found.locked, found.earned, found.fee, found.paid) == (5 * COIN, 2 * COIN, COIN // 25, 0)
        assert (found.gpus, found.seconds_left) == ((shop.gpus[0],), 119)
        shop.do(shop.renter, AcceptJob(job_id, latest))
        shop.do(shop.renter, AcceptJob(job_id, shop.report(job_id, 30, final=True)))
        found = job_order(present(shop.view), job_id)
        assert (found.status, found.earned, found.paid, found.refunded) == ("accepted", 3 * COIN, 3 * COIN, 2 * COIN)

    def test_a_job_that_nobody_has_claimed(self) -> None:
        shop = Workshop()
        job_id = shop.submit()
        found = job_order(present(shop.view), job_id)
        assert (found.provider, found.earned, found.remaining, found.seconds_left) == (None, 0, 5 * COIN, 3_599)


class TestOffers:
    def test_what_a_reservation_would_come_to(self) -> None:
        market = Market()
        market.reserve(seconds=3_600, after_seconds=7_200)
        start_ms = market.time_ms + 7_200_000
        found = offer(present(market.view), market.gpus[0], 0, 3_600)
        assert found is not None
        assert (found.start_ms, found.end_ms) == (market.time_ms, market.time_ms + 3_600_000)
        assert (found.cost, found.collateral, found.free_until_ms) == (PRICE, PRICE // 10, start_ms)
        shortest = offer(present(market.view), market.gpus[0], start_ms + 3_600_000, None)
        assert shortest is not None
        assert (shortest.end_ms - shortest.start_ms, shortest.free_until_ms) == (60_000, None)

    @pytest.mark.parametrize("why", ["taken", "too long", "retired", "no collateral", "unknown", "maintenance"])
    def test_what_would_be_refused_is_no_offer(self, why: str) -> None:
        market = Market(stake=25 * COIN + (1 if why == "no collateral" else COIN))
        gpu, seconds = market.gpus[0], 60
        match why:
            case "taken":
                market.do(market.renter, market.reservation(seconds=60))
            case "too long":
                seconds = 31 * 86_400
            case "retired":
                market.do(market.provider, RetireGpu(gpu))
            case "no collateral":
                assert PRICE * seconds // 36_000 > 1
            case "unknown":
                gpu = bytes(32)
            case "maintenance":
                market.do(market.provider, SetMaintenance(gpu, 0, 60))
        assert offer(present(market.view), gpu, 0, seconds) is None

    def test_what_is_over_by_the_clocks_is_free(self) -> None:
        market = Market(parameters=altered(UNHURRIED, due_weight=100))
        market.active(seconds=60)
        clog(market, items=200)
        market.wait(60_000)
        assert offer(present(market.view), market.gpus[0], 0, 60) is not None


def test_statistics() -> None:
    market = Market(gpus=3)
    device = replace(hardware("h"), model="H100")
    market.do(market.other, CommitHardware(commitment_of(market.other.address, device.hardware_hash, SALT)))
    market.do(market.other, RegisterGpu(device, terms(), SALT))
    market.do(market.provider, RetireGpu(market.gpus[2]))
    closed = market.active(market.gpus[:1], seconds=3_600)
    market.wait_until(market.booking(closed).end_ms)
    market.confirm(closed)
    market.active(market.gpus[:1])
    market.reserve(market.gpus[1:2], after_seconds=100)
    view = market.view
    found = statistics(
        (gpu for _, gpu in GPUS.scan(view)),
        (booking for _, booking in BOOKINGS.scan(view)),
        (job for _, job in JOBS.scan(view)),
        TRADES.scan(view),
    )
    assert (found.gpus, found.models) == ({"active": 3}, {MODEL: 2, "H100": 1})
    assert (found.providers, found.renters, found.jobs) == (2, 1, {})
    assert found.bookings == {"active": 1, "reserved": 1}
    ((day, of_day),) = found.days.items()
    assert (day, of_day.deals, of_day.gpu_ms, of_day.gross, of_day.fee) == (DAY, 1, HOUR_MS, PRICE, PRICE // 50)


ME, YOU = b"\x00" + bytes(32), b"\x00" + b"\x01" * 32
BOOKING = b"\x05" * 32


def event(kind: str, *roles: tuple[str, bytes], **amounts: int) -> Event:
    return Event(kind, roles, tuple(amounts.items()))


def told(*events: Event, fee: int = 0) -> Statement:
    return statement(ME, [Occurrence(DAY_MS, events, fee)], 0, 1 << 53)


class TestStatements:
    def test_both_sides_of_a_booking(self) -> None:
        ended = event(
            "booking.released",
            ("booking", BOOKING),
            ("renter", YOU),
            ("provider", ME),
            refund=7,
            net=90,
            fee=3,
            gross=99,
        )
        assert flows(ME, ended) == {"gross": 93, "net": 90, "fee": 3}
        assert flows(YOU, ended) == {"paid": 93, "refunded": 7}
        assert flows(bytes(33), replace(ended, subjects=ended.subjects[:2])) == {}
        assert told(ended).deals == {("booking", BOOKING): Counter(gross=93, net=90, fee=3)}

    def test_penalties_rewards_transfers_and_deposits(self) -> None:
        found = told(
            event("booking.no_show", ("renter", ME), ("provider", YOU), forfeited=5, refund=10),
            event("job.failed", ("renter", YOU), ("provider", ME), forfeited=2, units=9),
            event("stake.rewards_claimed", ("account", ME), amount=11),
            event("account.transfer", ("from", ME), ("to", YOU), amount=13),
            event("account.transfer", ("from", YOU), ("to", ME), amount=17),
            event("deposit.taken", ("payer", ME), ("account", YOU), amount=19),
            event("deposit.taken", ("payer", YOU), ("account", ME), amount=23),
            event("deposit.returned", ("payer", ME), amount=29),
            fee=31,
        )
        expected = {
            "penalties_received": 5,
            "refunded": 10,
            "penalties_paid": 2,
            "rewards": 11,
            "sent": 13,
            "received": 17,
            "deposits_taken": 19,
            "deposits_returned": 29,
            "transaction_fees": 31,
        }
        assert found.total == expected
        assert found.days == {1: expected}

    def test_a_request_that_became_a_booking_was_locked_twice_and_refunded_once(self) -> None:
        market = Bidding()
        opened = market.do(market.renter, market.request_action())
        request = subject(opened, "request.opened", "request")
        market.bid(request, market.provider, 2 * COIN)
        accepted = market.do(market.renter, market.acceptance(request, market.provider))
        found: Counter[str] = Counter()
        for each in (*opened.events, *accepted.events):
            found.update(flows(market.renter.address, each))
        assert (found["locked"], found["refunded"]) == (5 * COIN, 3 * COIN)
        price = read_parameters(market.view).storage_deposit_per_byte
        assert found["deposits_taken"] - found["deposits_returned"] == booking_bytes() * price

    @pytest.mark.parametrize(("from_ms", "until_ms", "fees"), [(10, 20, 2), (11, 20, 0), (10, 21, 6), (9, 9, 0)])
    def test_the_period_is_half_open(self, from_ms: int, until_ms: int, fees: int) -> None:
        times = [Occurrence(10, (), 2), Occurrence(20, (), 4)]
        assert statement(ME, times, from_ms, until_ms).total["transaction_fees"] == fees

    def test_a_statement_explains_every_change_of_a_balance(self, rng: random.Random) -> None:
        """In a random economy: what flowed, and what was staked, is the whole difference; but tips have no events."""
        seed = rng.randrange(1 << 32)
        print(f"replay: run({seed}, 130, wealth=10**5 * COIN, families=BOOKING_FAMILIES)")
        lived = run(seed, 130, wealth=10**5 * COIN, families=BOOKING_FAMILIES)
        view = lived.ledger.view
        for person in lived.people:
            if person.address == lived.ledger.proposer:
                continue
            occurrences, staked = history(lived.history, person)
            found = statement(person.address, occurrences, 0, 1 << 53).total
            earned = found["net"] + found["rewards"] + found["refunded"]
            earned += found["penalties_received"] + found["received"]
            spent = found["locked"] + found["transaction_fees"] + found["sent"]
            change = earned - spent + found["deposits_returned"] - found["deposits_taken"] - staked
            assert lived.ledger.balance(person) == 10**5 * COIN + change
            held = sum(item.remaining for _, item in ESCROWS.scan(view) if item.payer == person.address)
            assert found["locked"] == found["paid"] + found["refunded"] + held
            assert found["gross"] == reputation_of(view, person.address).gross + unfinished(lived.ledger, person)


def history(
    blocks: list[tuple[BlockContext, list[Transaction], BlockOutcome]], person: Person
) -> tuple[list[Occurrence], int]:
    """Everything that names a person or that he paid for, and what has left his balance for his stake."""
    found, staked = [], 0
    for context, transactions, outcome in blocks:
        parts = [(outcome.system.events, 0)]
        for transaction, result in zip(transactions, outcome.results, strict=True):
            own = transaction.body.sender == person.address
            parts.append((result.events, result.fee if own else 0))
        for events, fee in parts:
            mine = tuple(each for each in events if any(who == person.address for _, who in each.subjects))
            found.append(Occurrence(context.time_ms, mine, fee))
            for each in mine:
                moved = {"stake.added": 1, "stake.released": -1}.get(each.kind, 0)
                staked += moved * dict(each.amounts).get("amount", 0)
    return found, staked


def unfinished(ledger: Ledger, person: Person) -> int:
    """Gross that was paid for bookings that are not closed yet, which a reputation does not count."""
    view = ledger.view
    return sum(
        item.gross
        for booking_id, item in ESCROWS.scan(view)
        for booking in [BOOKINGS.get(view, booking_id)]
        if booking is not None and booking.provider == person.address and booking.status.name in ("ACTIVE", "CLOSING")
    )
