"""A host that connects and connects leaves room for the others."""

from node.network.accepting import BURST_SECONDS, MAXIMUM_HOSTS, AcceptRates
from tests.network_support import ManualClock


async def test_one_host_cannot_use_up_what_all_share() -> None:
    clock = ManualClock()
    rates = AcceptRates(clock, 2.0, 5.0)
    burst = int(2 * BURST_SECONDS)
    assert sum(rates.allows("10.0.0.1") for _ in range(1_000)) == burst + 1
    assert rates.allows("10.0.0.2")
    await clock.advance(1.0)
    assert sum(rates.allows("10.0.0.1") for _ in range(1_000)) == 2


async def test_all_together_have_a_rate_too() -> None:
    clock = ManualClock()
    rates = AcceptRates(clock, 2.0, 5.0)
    assert sum(rates.allows(f"10.0.{number // 250}.{number % 250}") for number in range(1_000)) == 5 * BURST_SECONDS + 1
    assert len(rates._hosts) <= MAXIMUM_HOSTS
    for number in range(2 * MAXIMUM_HOSTS):
        rates.allows(str(number))
    assert len(rates._hosts) == MAXIMUM_HOSTS
