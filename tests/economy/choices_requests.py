"""What renters who ask and providers who bid attempt."""

from chain.actions.requests import AcceptBid, CancelRequest, OpenRequest, PlaceBid, WithdrawBid
from chain.job import GpuFilter
from chain.schema import COIN
from tests.economy.books import MOST
from tests.economy.choices import Attempted
from tests.economy.choices_market import MarketChoices
from tests.economy.requests import ModelRequest

WANTED = (GpuFilter(),) * 4 + (GpuFilter("RTX 4090"), GpuFilter("", "eu-west"))
UNKNOWN = (GpuFilter("H100"), GpuFilter("", "mars"), GpuFilter("", "", 99_999), GpuFilter("", "", 0, 99_999))


class RequestChoices(MarketChoices):
    """Attempts with requests and bids."""

    def request(self) -> Attempted:
        """Somebody asks for GPUs."""
        rng, now = self.rng, self.model.now
        sender = self.anybody()
        start = rng.choice((0, 0, 0, now + rng.randint(60_000, 3_000_000)))
        expires = rng.choice((start or now + 3_600_000, min(start or MOST, now + rng.randint(1, 5_000_000))))
        if rng.random() < 0.08:
            start = rng.choice((0, now, now + 366 * 86_400_000))
            expires = rng.choice((now, now + 30 * 86_400_000 + rng.randint(0, 1), start + 1))
        seconds = rng.choice((60, 60, 61, 600, 3_600, rng.randint(60, 10_000)))
        if rng.random() < 0.03:
            seconds = rng.choice((59, 90 * 86_400 + 1))
        has = min(self.model.has(sender), 3_000 * COIN)
        most = rng.choice((COIN, rng.randint(0, has), rng.randint(0, has // 10 + 1), rng.randint(1, 20 * COIN), 0))
        if rng.random() < 0.02:
            most = rng.choice((MOST, 10**16))
        return sender, OpenRequest(
            gpu_filter=rng.choice(WANTED if rng.random() < 0.9 else UNKNOWN),
            count=rng.choice((1, 1, 1, 2, 3)),
            start_ms=start,
            seconds=seconds,
            max_cost=most,
            expires_ms=expires,
            sealing_key=bytes(32),
        )

    def bid(self) -> Attempted | None:
        """Something with an open request."""
        rng, model = self.rng, self.model
        if not model.requests:
            return None
        contested = [item for item in model.requests.items() if item[1].bids]
        request_id, request = rng.choice(
            contested if contested and rng.random() < 0.5 else list(model.requests.items())
        )
        if rng.random() < 0.02:
            request_id = bytes(32)
        bidders = list(request.bids)
        wanted = ["place"] * 8 + ["accept"] * 2 * len(bidders) + ["withdraw"] * bool(bidders)
        wanted += ["cancel"] * (rng.random() < 0.4)
        match rng.choice(wanted if rng.random() < 0.98 else ["withdraw"]):
            case "place":
                return self.placing(request_id, request)
            case "accept":
                provider = rng.choice(bidders) if rng.random() < 0.95 else self.anybody()
                bid = request.bids.get(provider)
                number = bid.number if bid and rng.random() < 0.95 else rng.randint(1, 5)
                return self.mostly(request.renter), AcceptBid(request_id, provider, number)
            case "withdraw":
                return self.mostly(rng.choice(bidders)) if bidders else self.anybody(), WithdrawBid(request_id)
        return self.mostly(request.renter), CancelRequest(request_id)

    def placing(self, request_id: bytes, request: ModelRequest) -> Attempted | None:
        """A provider offers what he has."""
        rng, model = self.rng, self.model
        wanted = request.wanted
        start = wanted.start_ms or model.now
        end = start + wanted.seconds * 1_000
        fitting = [
            gpu_id
            for gpu_id in self.listed()
            if rng.random() < 0.03
            or (
                model.gpus[gpu_id].status == "active"
                and wanted.gpu_filter in WANTED
                and not model.taken((gpu_id,), start, end)
            )
        ]
        owners = [model.gpus[gpu_id].owner for gpu_id in fitting]
        able = [owner for owner in owners if owner != request.renter and owners.count(owner) >= wanted.count]
        if not able and rng.random() < 0.9:
            return None
        sender = self.mostly(rng.choice(able or [self.anybody()]))
        own = [gpu_id for gpu_id in fitting if model.gpus[gpu_id].owner == sender or rng.random() < 0.02]
        own = own or list(model.gpus) or [bytes(32)]
        count = wanted.count if rng.random() < 0.95 else rng.randint(1, 3)
        gpus = tuple(rng.sample(own, k=min(count, len(own))))
        versions = tuple(self.version(gpu_id) for gpu_id in gpus)
        limit = wanted.max_cost * 3_600 // wanted.seconds
        rate = rng.choice((limit, rng.randint(0, limit), rng.randint(0, limit), rng.randint(0, limit // 10)))
        if rng.random() < 0.06:
            rate = rng.choice((limit + 1, MOST))
        if rng.random() < 0.9 and request.bids and limit:
            worst = max(bid.rate for bid in request.bids.values())
            rate = rng.choice((worst, rng.randint(0, worst), rng.randint(0, worst)))
        return sender, PlaceBid(request_id, gpus, versions, min(rate, MOST))

    def version(self, gpu_id: bytes) -> int:
        """Of a GPU's terms; seldom another."""
        gpu = self.model.gpus.get(gpu_id)
        return 1 if gpu is None else gpu.offer.version - (self.rng.random() < 0.02)
