"""An operator who is a provider too: what he must keep as an authority never secures a deal.

Collateral goes to the renter at once when the provider gives a booking up, and a renter may be the provider's other
self. If an operator's minimum could be collateral, he could take it away before he is convicted.
"""

from chain.actions.bookings import Extend, ProviderCancel
from chain.actions.jobs import ClaimJob, SubmitJob
from chain.actions.staking import RemoveStake
from chain.authorities import read_authorities, stake_bound
from chain.bank import adjust
from chain.crypto.hashing import sha256
from chain.job import Unit
from chain.schema import COIN
from chain.stake import seize
from tests.ledger import Person, subject
from tests.market import UNHURRIED, Market, altered, registration

MINIMUM = 100 * COIN
OPERATOR = Person("provider")
RULES = altered(UNHURRIED, authority_minimum_stake=MINIMUM, epoch_blocks=20)


def office(spare: int, gpus: int = 1, price: int = 1_000 * COIN) -> Market:
    """A market whose provider operates an authority and has so much more than the collateral of his GPUs."""
    stake = MINIMUM + gpus * 25 * COIN + spare
    operators = (OPERATOR, Person("operator 1"), Person("operator 2"))
    return Market(gpus, parameters=RULES, operators=operators, stake=stake, price=price)


def bound(market: Market) -> int:
    return stake_bound(market.view, RULES, market.height // 20, OPERATOR.address)


def test_what_an_operator_must_keep_does_not_list_a_gpu() -> None:
    market = office(25 * COIN - 1)
    market.commit("more")
    assert market.refused(market.provider, registration("more")) == (
        "insufficient_collateral",
        {"account": OPERATOR.address, "needed": 25 * COIN, "available": 25 * COIN - 1},
    )
    assert market.stake(market.provider).free == MINIMUM + 25 * COIN - 1


def test_what_an_operator_must_keep_does_not_secure_a_booking() -> None:
    market = office(10 * COIN)
    expected = {"account": OPERATOR.address, "needed": 25 * COIN, "available": 10 * COIN}
    assert market.refused(market.renter, market.reservation()) == ("insufficient_collateral", expected)
    booking = market.active(seconds=360)  # costs a hundred, secured by ten
    assert market.stake(market.provider).free == MINIMUM
    refused, data = market.refused(market.renter, Extend(booking, 360, 10**15))
    assert (refused, data["available"]) == ("insufficient_collateral", 0)


def test_what_an_operator_must_keep_does_not_secure_a_job() -> None:
    market = office(COIN)
    job = SubmitJob("train", sha256(b"input"), Unit.ITEM, 20, COIN, 600, market.time_ms + 10**6)
    job_id = subject(market.do(market.renter, job), "job.submitted", "job")
    refused, data = market.refused(market.provider, ClaimJob(job_id, market.gpus[0]))
    assert (refused, data["available"]) == ("insufficient_collateral", COIN)


def test_an_operator_cannot_forfeit_to_himself_what_he_must_keep() -> None:
    market = office(50 * COIN, gpus=2)
    for _ in range(10):
        market.run(market.renter, market.reservation(market.gpus[:1]))
        result = market.run(market.renter, market.reservation(market.gpus[1:]))
        if not result.succeeded:
            break
        market.do(market.provider, ProviderCancel(subject(result, "booking.reserved", "booking")))
    held = market.stake(market.provider)
    assert held.free >= MINIMUM == bound(market)


def test_what_an_operator_must_keep_is_not_unstaked_instead_of_collateral() -> None:
    market = office(5 * COIN)
    error, data = market.refused(market.provider, RemoveStake(5 * COIN + 1))
    assert (error, data["available"]) == ("authority_stake_locked", MINIMUM - 1)
    market.do(market.provider, RemoveStake(5 * COIN))


def test_who_has_the_minimum_only_with_collateral_leaves() -> None:
    market = office(0)
    with market.system() as context:
        seize(context, OPERATOR.address, 1)
        adjust(context.view, burnt=1)
    assert market.stake(market.provider).amount > MINIMUM
    while market.height % 20:
        market.block()
    assert OPERATOR.address not in read_authorities(market.view).operators
    assert bound(market) == MINIMUM, "what is left stays until he can no longer be convicted"
