"""A renter who asks for GPUs and providers who bid: the stage on which the tests of requests play."""

from collections.abc import Sequence
from typing import Any

from chain.actions.requests import AcceptBid, CancelRequest, OpenRequest, PlaceBid, WithdrawBid
from chain.bank import totals
from chain.inventory import read_gpu
from chain.job import ANY_GPU
from chain.parameters import Parameters
from chain.request import BIDS, MAXIMUM_BIDS, REQUESTS, Bid, Request, bids_of
from chain.result import TransactionResult
from chain.schema import COIN
from tests.ledger import DEFAULT_FEE, Ledger, Person, make_specification, subject
from tests.market import Market, altered, commitment, registration, terms

HOUR = 3_600
MAXIMUM = 3 * COIN
"""What a request holds unless a test says otherwise."""
DAY_MS = 86_400_000
PRICED = altered(storage_deposit_per_byte=1_000)
"""A network whose state has a price, and whose GPUs stay online by themselves."""


class Bidding(Market):
    """A market of several providers with the same number of GPUs each; `renter` asks, `other` looks on."""

    def __init__(
        self, providers: int = 2, *, gpus: int = 1, parameters: Parameters = PRICED, check: bool = True
    ) -> None:
        self.renter, self.other = Person("renter"), Person("other")
        self.providers = [Person(f"provider {index}") for index in range(providers)]
        self.provider = self.providers[0]
        people = (self.renter, self.other, *self.providers)
        Ledger.__init__(self, make_specification(people, stake=1_000 * COIN, parameters=parameters), check=check)
        names = {person: [f"{person.name} {number}" for number in range(gpus)] for person in self.providers}
        self.block(*(self.sign(person, *commitment(person, *names[person]), fee=COIN) for person in self.providers))
        listings = [[registration(name, terms()) for name in names[person]] for person in self.providers]
        listed = self.block(
            *(self.sign(person, *each, fee=COIN) for person, each in zip(self.providers, listings, strict=True))
        )
        self.owned = {
            person: [dict(event.subjects)["gpu"] for event in result.events if event.kind == "gpu.registered"]
            for person, result in zip(self.providers, listed, strict=True)
        }
        self.gpus = tuple(self.owned[self.provider])

    def request_action(self, **changes: Any) -> OpenRequest:
        plain: dict[str, Any] = {
            "gpu_filter": ANY_GPU,
            "count": 1,
            "start_ms": 0,
            "seconds": HOUR,
            "max_cost": MAXIMUM,
            "expires_ms": self.time_ms + DAY_MS,
            "sealing_key": b"\x09" * 32,
        }
        return OpenRequest(**{**plain, **changes})

    def ask(self, **changes: Any) -> bytes:
        """The id of a new request of the renter."""
        return subject(self.do(self.renter, self.request_action(**changes)), "request.opened", "request")

    def offer(self, request: bytes, provider: Person, rate: int, gpus: Sequence[bytes] = ()) -> PlaceBid:
        """The action that bids GPUs (all of the provider's if none is given) at their present terms."""
        chosen = tuple(gpus) or tuple(self.owned[provider])
        versions = tuple(read_gpu(self.view, gpu_id).terms.version for gpu_id in chosen)
        return PlaceBid(request, chosen, versions, rate)

    def bid(self, request: bytes, provider: Person, rate: int, gpus: Sequence[bytes] = ()) -> TransactionResult:
        return self.do(provider, self.offer(request, provider, rate, gpus))

    def fill(self, request: bytes, rates: Sequence[int]) -> None:
        """A bid of each provider, in one block."""
        bidders = zip(self.providers, rates, strict=False)
        offers = [self.sign(person, self.offer(request, person, rate)) for person, rate in bidders]
        results = self.block(*offers)
        assert all(result.succeeded for result in results), results

    def acceptance(self, request: bytes, provider: Person) -> AcceptBid:
        """The action that takes the provider's present bid."""
        found = BIDS.get(self.view, request + provider.address)
        return AcceptBid(request, provider.address, 1 if found is None else found.number)

    def accept(self, request: bytes, provider: Person) -> bytes:
        """The id of the booking that the provider's bid becomes."""
        return subject(self.do(self.renter, self.acceptance(request, provider)), "request.bid_accepted", "booking")

    def withdraw(self, request: bytes, provider: Person) -> TransactionResult:
        return self.do(provider, WithdrawBid(request))

    def drop(self, request: bytes) -> TransactionResult:
        return self.do(self.renter, CancelRequest(request))

    def request(self, request: bytes) -> Request | None:
        return REQUESTS.get(self.view, request)

    def bids(self, request: bytes) -> list[tuple[bytes, Bid]]:
        return bids_of(self.view, request)


class Purses:
    """What everybody owned at a moment, deposits and locked money apart."""

    def __init__(self, market: Bidding) -> None:
        self.market = market
        self.people = (market.renter, market.other, *market.providers)
        self.before = {person.name: market.wealth(person) for person in self.people}
        self.deposits = totals(market.view).deposits

    @property
    def deposited(self) -> int:
        """What is on deposit more than then."""
        return totals(self.market.view).deposits - self.deposits

    def gained(self, person: Person, fees: int = 0) -> int:
        """What he has more than then, beside the fees of so many transactions."""
        return self.market.wealth(person) - self.before[person.name] + fees * DEFAULT_FEE


def crowd(more: int) -> Bidding:
    """As many providers as one request takes bids, and some more."""
    return Bidding(providers=MAXIMUM_BIDS + more)
