"""A second ledger in plain dictionaries, by the words of the money table.

It knows every GPU and booking and looks at all of them after each block, so it has no queue, no deadlines and no order
of settlement to get wrong; its arithmetic is in fractions.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor

from chain.action import Action
from chain.actions.accounts import RotateKey, Transfer
from chain.actions.bookings import Activate, Cancel, Confirm, Extend, ProviderCancel, Release, Reserve, Settle
from chain.actions.gpus import (
    CommitHardware,
    EndMaintenance,
    Heartbeat,
    RegisterGpu,
    RetireGpu,
    SetMaintenance,
    UpdateGpu,
    commitment_of,
)
from chain.actions.staking import AddStake, RemoveStake
from chain.inventory import Terms
from chain.parameters import Parameters
from tests.ledger import GENESIS_TIME_MS
from tests.market import derived_id

BINDING_BYTES = 164
"""Of a key and its address at their fullest: 40 + 47 and 40 + 37."""


@dataclass
class ModelGpu:
    owner: bytes
    offer: Terms
    device: str
    offline_live: int
    windows: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    offline: bool = False
    retiring: bool = False
    retired: bool = False

    @property
    def status(self) -> str:
        return next((name for name in ("retired", "retiring", "offline") if getattr(self, name)), "active")


@dataclass
class ModelBooking:
    renter: bytes
    provider: bytes
    gpus: tuple[bytes, ...]
    rates: list[tuple[int, int]]
    """(block time from which it holds, rate) of each segment."""
    end: int
    cost: int
    slice: int
    minimum: int
    notice: int
    share: int
    state: str = "reserved"
    activated: int | None = None
    gross: int = 0
    pay_live: int = 0
    paid: int = 0

    @property
    def start(self) -> int:
        return self.rates[0][0]

    @property
    def since(self) -> int:
        return max(self.start, self.activated or 0)


@dataclass
class Model:
    """Who owns what, by the words of the money table."""

    parameters: Parameters
    balance: dict[bytes, int]
    stake: dict[bytes, int]
    locked: dict[bytes, int] = field(default_factory=dict)
    unbonding: list[tuple[int, bytes, int]] = field(default_factory=list)
    pots: int = 0
    deposits: int = 0
    gpus: dict[bytes, ModelGpu] = field(default_factory=dict)
    bookings: dict[bytes, ModelBooking] = field(default_factory=dict)
    promises: dict[tuple[bytes, bytes], tuple[int, int]] = field(default_factory=dict)
    """(owner, commitment) to (blocks so far, block time at which it lapses)."""
    keys: set[bytes] = field(default_factory=set)
    """Every key that signs or has signed for somebody."""
    blocks: list[tuple[int, int]] = field(default_factory=lambda: [(GENESIS_TIME_MS, 0)])
    """(block time, live time) of every block."""

    @property
    def now(self) -> int:
        return self.blocks[-1][0]

    @property
    def live(self) -> int:
        return self.blocks[-1][1]

    def live_at(self, instant: int, *, resumed: bool = True) -> int:
        """Live time of a past instant; within an outage that of its end, or else of its beginning."""
        for index in range(len(self.blocks) - 1, 0, -1):
            (time, live), (next_time, next_live) = self.blocks[index - 1 : index + 1]
            if time < instant <= next_time:
                if next_time - time > self.parameters.maximum_gap_ms:
                    return next_live if resumed else live
                return live + instant - time
        raise AssertionError(f"{instant} is not past")

    def undisputed(self) -> int:
        """The last instant of block time that lies further back than the dispute window."""
        past = self.live - self.parameters.dispute_window_seconds * 1_000
        last = GENESIS_TIME_MS
        for (time, live), (next_time, next_live) in pairwise(self.blocks):
            if next_time - time > self.parameters.maximum_gap_ms:
                last = next_time if next_live <= past else last
            elif live < past:
                last = time + min(next_time - time, past - live)
        return last

    def reserved(self, owner: bytes) -> int:
        """Collateral of an account, counted from what is live."""
        listed = sum(
            self.parameters.collateral_per_gpu for gpu in self.gpus.values() if gpu.owner == owner and not gpu.retired
        )
        open_states = ("reserved", "active", "closing")
        return listed + sum(
            booking.slice
            for booking in self.bookings.values()
            if booking.provider == owner and booking.state in open_states
        )

    def free(self, owner: bytes) -> int:
        return self.stake.get(owner, 0) - self.reserved(owner)

    def busy(self, gpu_id: bytes) -> list[tuple[int, int]]:
        booked = [
            (booking.start, booking.end)
            for booking in self.bookings.values()
            if gpu_id in booking.gpus and booking.state in ("reserved", "active")
        ]
        return booked + list(self.gpus[gpu_id].windows.values())

    def taken(self, gpus: tuple[bytes, ...], start: int, end: int) -> bool:
        return any(begins < end and start < ends for gpu_id in gpus for begins, ends in self.busy(gpu_id))

    def pay(self, account: bytes, amount: int) -> None:
        self.balance[account] = self.balance.get(account, 0) + amount

    def step(self, time: int) -> None:
        """A block begins: the clocks move and everything that is due happens."""
        self.blocks.append((time, self.live + min(time - self.now, self.parameters.maximum_gap_ms)))
        for due, owner, amount in [item for item in self.unbonding if item[0] <= time]:
            self.unbonding.remove((due, owner, amount))
            self.pay(owner, amount)
        for booking in self.bookings.values():
            self.settle(booking)
        for gpu_id, gpu in self.gpus.items():
            gpu.windows = {key: window for key, window in gpu.windows.items() if window[1] > time}
            gpu.offline = gpu.offline or (not gpu.retiring and self.live >= gpu.offline_live)
            gpu.retired = gpu.retired or (gpu.retiring and not self.busy(gpu_id))

    def settle(self, booking: ModelBooking) -> None:
        grace = min(self.parameters.activation_grace_seconds * 1_000, booking.end - booking.start)
        if booking.state == "reserved" and self.now >= booking.start:
            began = self.live_at(booking.start)
            over = self.now >= booking.end
            waited = (self.live_at(booking.end, resumed=False) if over else self.live) - began
            if waited >= grace:
                booking.state = "no_show"
                self.pay(booking.renter, booking.cost + booking.slice)
                self.stake[booking.provider] -= booking.slice
            elif over:
                booking.state = "cancelled"
                self.pay(booking.renter, booking.cost)
        if booking.state == "active" and self.now >= booking.end:
            self.close(booking, booking.end, self.earned(booking, booking.end))
        if booking.state == "closing" and self.live >= booking.pay_live:
            self.finish(booking)

    @staticmethod
    def earned(booking: ModelBooking, until: int) -> int:
        total = Fraction(0)
        for (begins, rate), (ends, _) in pairwise([*booking.rates, (booking.end, 0)]):
            time = max(0, min(ends, until) - max(begins, booking.since))
            total += Fraction(rate * time, 3_600_000)
        return floor(total)

    def charge_for_leaving(self, booking: ModelBooking) -> Fraction:
        share = self.parameters.release_charge
        if booking.start - booking.notice * 1_000 <= self.now < booking.start:
            share = max(share, booking.share)
        return Fraction(share, 10_000)

    def close(self, booking: ModelBooking, time: int, gross: int) -> None:
        booking.state, booking.gross = "closing", gross
        booking.pay_live = self.live_at(time) + self.parameters.dispute_window_seconds * 1_000
        self.pay(booking.renter, booking.cost - gross)
        self.mature(booking)

    def mature(self, booking: ModelBooking) -> None:
        earned = self.earned(booking, self.undisputed())
        self.reward(booking, earned if booking.state == "active" else min(earned, booking.gross))

    def finish(self, booking: ModelBooking) -> None:
        booking.state = "closed"
        self.reward(booking, booking.gross)

    def reward(self, booking: ModelBooking, gross: int) -> None:
        """Pay up to this gross, all payments together."""
        rate = Fraction(self.parameters.market_fee, 10_000)
        gross = max(gross, booking.paid)
        fee = floor(gross * rate) - floor(booking.paid * rate)
        self.pay(booking.provider, gross - booking.paid - fee)
        self.pots += fee
        booking.paid = gross

    def charge(self, sender: bytes, fee: int, required: int, proposer: bytes) -> None:
        self.balance[sender] -= fee
        self.pots += required
        self.pay(proposer, fee - required)

    def attempt(self, sender: bytes, action: Action, txid: bytes) -> str:
        """Do what the action says, or name the error for which it cannot be done."""
        return str(getattr(self, "do_" + action.name.replace(".", "_"))(sender, action, txid) or "")

    def hold(self, payer: bytes, size: int) -> bool:
        """Take the deposit for something that stays for ever, if it can be paid."""
        deposit = size * self.parameters.storage_deposit_per_byte
        if self.balance[payer] < deposit:
            return False
        self.balance[payer] -= deposit
        self.deposits += deposit
        return True

    def do_account_transfer(self, sender: bytes, action: Transfer, txid: bytes) -> str | None:
        if self.balance[sender] < action.amount:
            return "insufficient_funds"
        self.balance[sender] -= action.amount
        self.pay(action.to, action.amount)
        return None

    def do_stake_add(self, sender: bytes, action: AddStake, txid: bytes) -> str | None:
        if self.balance[sender] < action.amount:
            return "insufficient_funds"
        self.balance[sender] -= action.amount
        self.stake[sender] = self.stake.get(sender, 0) + action.amount
        self.locked[sender] = max(self.locked.get(sender, 0), self.now + action.lock_seconds * 1_000)
        return None

    def do_stake_remove(self, sender: bytes, action: RemoveStake, txid: bytes) -> str | None:
        if self.now < self.locked.get(sender, 0):
            return "stake_locked"
        if self.free(sender) < action.amount:
            return "insufficient_stake"
        self.stake[sender] -= action.amount
        self.unbonding.append((self.now + self.parameters.unbonding_seconds * 1_000, sender, action.amount))
        return None

    def do_gpu_register(self, sender: bytes, action: RegisterGpu, txid: bytes) -> str | None:
        if not self.allowed(action.terms):
            return "terms_out_of_range"
        device = action.hardware.hardware_hash.hex()
        if any(gpu.device == device and not gpu.retired for gpu in self.gpus.values()):
            return "hardware_taken"
        if self.free(sender) < self.parameters.collateral_per_gpu:
            return "insufficient_collateral"
        promise = (sender, commitment_of(sender, action.hardware.hardware_hash, action.salt))
        if not self.promised(promise) or self.promises[promise][0] >= len(self.blocks):
            return "commitment_refused"
        del self.promises[promise]
        offline = self.live + self.parameters.heartbeat_timeout_seconds * 1_000
        self.gpus[derived_id(txid, "gpu")] = ModelGpu(sender, action.terms, device, offline)
        return None

    def allowed(self, offer: Terms) -> bool:
        return offer.minimum_seconds >= self.parameters.booking_minimum_seconds

    def promised(self, promise: tuple[bytes, bytes]) -> bool:
        return promise in self.promises and self.now < self.promises[promise][1]

    def do_gpu_commit_hardware(self, sender: bytes, action: CommitHardware, txid: bytes) -> str | None:
        if self.promised((sender, action.commitment)):
            return "commitment_refused"
        self.promises[sender, action.commitment] = (len(self.blocks), self.now + 24 * 3_600_000)
        return None

    def do_account_rotate_key(self, sender: bytes, action: RotateKey, txid: bytes) -> str | None:
        if action.new_key in self.keys:
            return "key_taken"
        if not self.hold(sender, BINDING_BYTES):
            return "insufficient_funds"
        self.keys.add(action.new_key)
        return None

    def owned(self, sender: bytes, gpu_id: bytes) -> str | None:
        if gpu_id not in self.gpus:
            return "not_found"
        if self.gpus[gpu_id].owner != sender:
            return "not_authorized"
        return "gpu_retired" if self.gpus[gpu_id].retired else None

    def do_gpu_heartbeat(self, sender: bytes, action: Heartbeat, txid: bytes) -> str | None:
        for gpu_id in action.gpus:
            if error := self.owned(sender, gpu_id):
                return error
        for gpu_id in action.gpus:
            gpu = self.gpus[gpu_id]
            gpu.offline, gpu.offline_live = False, self.live + self.parameters.heartbeat_timeout_seconds * 1_000
        return None

    def do_gpu_retire(self, sender: bytes, action: RetireGpu, txid: bytes) -> str | None:
        if error := self.owned(sender, action.gpu):
            return error
        gpu = self.gpus[action.gpu]
        if gpu.retiring:
            return "gpu_retired"
        gpu.windows = {}
        gpu.retiring, gpu.retired = True, not self.busy(action.gpu)
        return None

    def do_gpu_update(self, sender: bytes, action: UpdateGpu, txid: bytes) -> str | None:
        if error := self.owned(sender, action.gpu):
            return error
        gpu = self.gpus[action.gpu]
        if action.terms.version != gpu.offer.version + 1:
            return "terms_version_mismatch"
        if not self.allowed(action.terms):
            return "terms_out_of_range"
        gpu.offer = action.terms
        return None

    def do_gpu_set_maintenance(self, sender: bytes, action: SetMaintenance, txid: bytes) -> str | None:
        if error := self.owned(sender, action.gpu):
            return error
        gpu = self.gpus[action.gpu]
        if gpu.retiring:
            return "gpu_retired"
        start = action.start_ms or self.now
        if not self.now <= start <= self.now + self.parameters.booking_horizon_seconds * 1_000:
            return "maintenance_time_refused"
        if len(gpu.windows) == 16:
            return "too_much_maintenance"
        end = start + action.seconds * 1_000
        if self.taken((action.gpu,), start, end):
            return "booking_conflict"
        gpu.windows[derived_id(txid, "maintenance")] = (start, end)
        return None

    def do_gpu_end_maintenance(self, sender: bytes, action: EndMaintenance, txid: bytes) -> str | None:
        for gpu_id, gpu in self.gpus.items():
            if action.maintenance in gpu.windows:
                if error := self.owned(sender, gpu_id):
                    return error
                del gpu.windows[action.maintenance]
                return None
        return "not_found"

    def do_booking_reserve(self, sender: bytes, action: Reserve, txid: bytes) -> str | None:
        if any(gpu_id not in self.gpus for gpu_id in action.gpus):
            return "not_found"
        gpus = [self.gpus[gpu_id] for gpu_id in action.gpus]
        for gpu, version in zip(gpus, action.terms_versions, strict=True):
            if gpu.owner != gpus[0].owner:
                return "different_providers"
            if gpu.offline or gpu.retiring:
                return "gpu_unavailable"
            if version != gpu.offer.version:
                return "terms_moved"
        start = action.start_ms or self.now
        end = start + action.seconds * 1_000
        offers = [gpu.offer for gpu in gpus]
        minimum = max(offer.minimum_seconds for offer in offers)
        if start < self.now or start > self.now + 90 * 86_400_000 or not minimum <= action.seconds <= 30 * 86_400:
            return "booking_time_refused"
        rate = sum(offer.price_per_hour for offer in offers)
        cost = ceil(Fraction(rate * action.seconds, 3_600))
        if cost > action.max_cost:
            return "terms_moved"
        if self.taken(action.gpus, start, end):
            return "booking_conflict"
        if gpus[0].owner == sender:
            return "own_gpu"
        if self.balance[sender] < cost:
            return "insufficient_funds"
        part = min(ceil(Fraction(cost, 10)), self.parameters.collateral_per_gpu * len(gpus))
        if self.free(gpus[0].owner) < part:
            return "insufficient_collateral"
        self.balance[sender] -= cost
        self.bookings[derived_id(txid, "booking")] = ModelBooking(
            renter=sender,
            provider=gpus[0].owner,
            gpus=action.gpus,
            rates=[(start, rate)],
            end=end,
            cost=cost,
            slice=part,
            minimum=minimum,
            notice=max(offer.notice_seconds for offer in offers),
            share=max(offer.cancellation_share for offer in offers),
        )
        return None

    def do_booking_extend(self, sender: bytes, action: Extend, txid: bytes) -> str | None:
        if error := self.found(sender, action.booking, "renter", "reserved", "active"):
            return error
        booking = self.bookings[action.booking]
        gpus = [self.gpus[gpu_id] for gpu_id in booking.gpus]
        if booking.state == "reserved" and self.now >= booking.start:
            return "wrong_booking_status"
        if len(booking.rates) == 16:
            return "booking_time_refused"
        if any(gpu.offline or gpu.retiring for gpu in gpus):
            return "gpu_unavailable"
        end = booking.end + action.seconds * 1_000
        if end - booking.start > 30 * 86_400_000:
            return "booking_time_refused"
        rate = sum(gpu.offer.price_per_hour for gpu in gpus)
        cost = ceil(Fraction(rate * action.seconds, 3_600))
        if cost > action.max_cost:
            return "terms_moved"
        if self.taken(booking.gpus, booking.end, end):
            return "booking_conflict"
        if self.balance[sender] < cost:
            return "insufficient_funds"
        part = min(ceil(Fraction(booking.cost + cost, 10)), self.parameters.collateral_per_gpu * len(gpus))
        if self.free(booking.provider) < part - booking.slice:
            return "insufficient_collateral"
        self.balance[sender] -= cost
        booking.rates.append((booking.end, rate))
        booking.end, booking.cost, booking.slice = end, booking.cost + cost, part
        return None

    def do_booking_provider_cancel(self, sender: bytes, action: ProviderCancel, txid: bytes) -> str | None:
        if error := self.found(sender, action.booking, "provider", "reserved", "active"):
            return error
        booking = self.bookings[action.booking]
        early = booking.state == "reserved" and self.now < booking.start - booking.notice * 1_000
        forfeited = booking.slice // 2 if early else booking.slice
        self.stake[sender] -= forfeited
        self.pay(booking.renter, forfeited)
        if booking.state == "active":
            booking.slice = 0
            self.close(booking, self.now, self.earned(booking, self.now))
        else:
            booking.state = "provider_cancelled"
            self.pay(booking.renter, booking.cost)
        self.vacated(booking)
        return None

    def do_booking_settle(self, sender: bytes, action: Settle, txid: bytes) -> str | None:
        booking = self.bookings.get(action.booking)
        if booking is None:
            return "not_found"
        if booking.state in ("active", "closing"):
            self.mature(booking)
        return None

    def found(self, sender: bytes, booking_id: bytes, party: str, *states: str) -> str | None:
        booking = self.bookings.get(booking_id)
        if booking is None:
            return "not_found"
        if getattr(booking, party) != sender:
            return "not_authorized"
        return None if booking.state in states else "wrong_booking_status"

    def do_booking_activate(self, sender: bytes, action: Activate, txid: bytes) -> str | None:
        if error := self.found(sender, action.booking, "provider", "reserved"):
            return error
        booking = self.bookings[action.booking]
        booking.state, booking.activated = "active", self.now
        return None

    def do_booking_release(self, sender: bytes, action: Release, txid: bytes) -> str | None:
        if error := self.found(sender, action.booking, "renter", "active"):
            return error
        booking = self.bookings[action.booking]
        if any(self.live >= self.gpus[gpu_id].offline_live for gpu_id in booking.gpus):
            gross = self.earned(booking, self.now)
        else:
            used = self.earned(booking, max(self.now, booking.since + booking.minimum * 1_000))
            gross = used + floor((booking.cost - used) * self.charge_for_leaving(booking))
        self.close(booking, self.now, gross)
        self.vacated(booking)
        return None

    def do_booking_confirm(self, sender: bytes, action: Confirm, txid: bytes) -> str | None:
        if error := self.found(sender, action.booking, "renter", "closing"):
            return error
        self.finish(self.bookings[action.booking])
        return None

    def do_booking_cancel(self, sender: bytes, action: Cancel, txid: bytes) -> str | None:
        if error := self.found(sender, action.booking, "renter", "reserved", "active"):
            return error
        booking = self.bookings[action.booking]
        if self.now >= booking.start:
            return "booking_started"
        booking.state = "cancelled"
        booking.gross = floor(booking.cost * self.charge_for_leaving(booking))
        self.reward(booking, booking.gross)
        self.pay(booking.renter, booking.cost - booking.gross)
        self.vacated(booking)
        return None

    def vacated(self, booking: ModelBooking) -> None:
        for gpu_id in booking.gpus:
            gpu = self.gpus[gpu_id]
            gpu.retired = gpu.retired or (gpu.retiring and not self.busy(gpu_id))
