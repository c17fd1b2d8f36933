"""Hostile actions at wire level: however built, they fail with a coded error or work, and never break the ledger.

Each round mutates the fields of real actions against a market in which ids exist, signs what comes out and lets a
proposer build a block from it. No exception but a coded one may appear, what the proposer took must be valid for
everybody, every record written must be in range, and every invariant must hold after every block.
"""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from chain.action import ACTIONS, BlockContext, Clock, decode_action
from chain.actions.evidence import SubmitEvidence
from chain.actions.gpus import RetireGpu
from chain.actions.multisig import MULTISIGS, PROPOSALS
from chain.actions.reviews import REVIEWS
from chain.actions.staking import AddStake
from chain.bank import account
from chain.booking import BOOKINGS, BookingStatus
from chain.certificate import VoteKind
from chain.codec import encode
from chain.crypto.address import KEY
from chain.crypto.ed25519 import PrivateKey
from chain.crypto.hashing import sha256
from chain.dispute import DISPUTES, DisputeStatus, Fault
from chain.errors import InvalidBlock, LedgerError
from chain.governance import MEASURES, GovernedAction
from chain.invariants import check_all
from chain.inventory import GPUS, GpuStatus
from chain.job import JOBS, JobStatus
from chain.maintenance import MAINTENANCE
from chain.parameter_ranges import RANGES
from chain.parameters import PARAMETERS as PARAMETERS_TABLE
from chain.parameters import read_parameters
from chain.record import Nested, decode_record, encode_record, layout, to_plain
from chain.request import BIDS, REQUESTS
from chain.result import SystemResult, TransactionResult
from chain.schedule import DUE, DueItem, Subject
from chain.schema import COIN, AddressKind, Items, Kind, Maybe, Octets, Unsigned
from chain.state.view import MemoryReader, View
from chain.transaction import Transaction, signing_bytes
from chain.transition import BlockExecution, BlockOutcome, apply_block
from tests.conftest import EXTENDED
from tests.council import Officer
from tests.ledger import Person
from tests.market import SALT, Market, altered, commitment, hardware, rotation, terms
from tests.records import example, mutate_fields

BLOCKS = 4_000 if EXTENDED else 600
PARAMETERS = altered(
    heartbeat_timeout_seconds=3_600,
    dispute_window_seconds=60,
    unbonding_seconds=30,
    epoch_blocks=25,
    authority_minimum_stake=COIN,
    treasury_delay_epochs=0,
    ready_epochs=50,
)
LATE_BLOCKS = 2_000 if EXTENDED else 200
MONEY = {"insufficient_funds", "insufficient_stake", "insufficient_collateral"}
"""Errors that depend on money which a deadline moves."""
STEPS_MS = (1, 1, 1_000, 1_000, 1_000, 1_000, 5_000, 14_000, 14_000, 61_000, 600_000, 3 * 3_600_000)


OVER = (
    GpuStatus.RETIRED,
    BookingStatus.CANCELLED,
    BookingStatus.NO_SHOW,
    BookingStatus.PROVIDER_CANCELLED,
    JobStatus.CANCELLED,
    JobStatus.EXPIRED,
    DisputeStatus.RULED,
    DisputeStatus.UNDECIDED,
    DisputeStatus.UNANSWERED,
)
"""Where nothing can happen any more; a closed booking and an accepted job may still be reviewed."""


class Arena:
    """A market, the ids in it, and people who send anything."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        judges = (Person("judge"), Person("other"))
        self.market = Market(gpus=3, parameters=PARAMETERS, stake=3_000 * COIN, operators=judges)
        self.people: list[Person] = [self.market.provider, self.market.renter, self.market.other, judges[0]]
        candidates = [Officer.of(person, person.name) for person in self.people]
        self.officers = [*(Officer.of(person, str(index)) for index, person in enumerate(judges)), *candidates]
        for person in self.people:
            self.market.do(person, AddStake(1))
        self.view = self.market.view
        self.accounts: list[bytes] = [person.address for person in self.people]
        self.outcomes: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        """Successes by the first action of the transaction."""
        self.keys = [PrivateKey(sha256(f"fuzz {index}".encode())) for index in range(200)]
        self.last: tuple[BlockContext, list[bytes]] | None = None
        self.outcome: BlockOutcome | None = None

    def plausible(self, name: str, kind: Kind, plain: Any) -> Any:
        """A value for the field of this name that may well be right in the present state."""
        rng, now = self.rng, self.market.time_ms
        if isinstance(kind, Maybe):
            return None if rng.random() < 0.5 else self.plausible(name, kind.inner, plain)
        if isinstance(kind, Nested) and name not in self.offers:
            layouts = layout(kind.cls)
            parts = zip(layouts.names, layouts.kinds, plain, strict=True)
            return tuple(self.plausible(part, each, item) for part, each, item in parts)
        if isinstance(kind, AddressKind):
            return rng.choice(self.accounts)
        if name == "gpus":
            pool = self.pool("gpu")
            return tuple(rng.sample(pool, k=min(len(pool), rng.randint(1, 3))))
        if name in self.offers:
            return self.offers[name]()
        if isinstance(kind, Octets) and kind.minimum == kind.maximum == 32:
            return rng.choice(self.pool(name))
        if isinstance(kind, Unsigned) and name.endswith("_ms"):
            return now + rng.randint(1, 100_000)
        if isinstance(kind, Unsigned) and kind.maximum > 1_000:
            return rng.choice((1, 60, 100, rng.randint(1, 10 * COIN)))
        if isinstance(kind, Items):
            return tuple(self.plausible(name, kind.inner, item) for item in plain)
        return plain

    @property
    def offers(self) -> dict[str, Any]:
        rng, now = self.rng, self.market.time_ms
        return {
            "asset": lambda: "AITBC",
            "terms": lambda: _tuples(to_plain(terms(price=rng.randint(0, COIN)))),
            "start_ms": lambda: rng.choice((0, 0, now + rng.randint(0, 10_000_000))),
            "seconds": lambda: rng.choice((60, 61, 600, 3_600, 7_200)),
            "max_cost": lambda: 10**15,
            "claim_seconds": lambda: rng.choice((1, 60, 600)),
            "deadline_ms": lambda: now + rng.randint(1, 1_000_000),
            "lock_seconds": lambda: rng.choice((0, 0, 10)),
            "gpu_filter": lambda: ("", "", 0, 0),
            "count": lambda: rng.randint(1, 2),
            "rate": lambda: rng.choice((0, 1, 100, rng.randint(1, 10 * COIN))),
            "expires_ms": lambda: now + rng.randint(1, 1_000_000),
            "unit_price": lambda: rng.choice((0, 1, 1_000)),
            "execution_weight": lambda: rng.choice((0, 400)),
            "renter_share": lambda: rng.choice((0, 1, 3_333, 10_000)),
            "slash_share": lambda: rng.choice((0, 1, 3_333, 10_000)),
            "fault": lambda: int(rng.choice(list(Fault))),
        }

    def pool(self, name: str) -> list[bytes]:
        """Ids of the records that a field of this name may be about."""
        tables: dict[str, Any] = {
            "gpu": GPUS,
            "booking": BOOKINGS,
            "job": JOBS,
            "proposal": PROPOSALS,
            "measure": MEASURES,
            "maintenance": MAINTENANCE,
            "review": REVIEWS,
            "request": REQUESTS,
            "dispute": DISPUTES,
        }
        if name == "subject":
            name = self.rng.choice(("booking", "job", "review"))
        known = list(tables[name].scan(self.view)) if name in tables else []
        open_now = [key for key, record in known if not any(getattr(record, "status", None) is over for over in OVER)]
        chosen = open_now if self.rng.random() < 0.8 else [key for key, _ in known]
        return chosen[-12:] or [self.rng.randbytes(32)]

    def fitting(self, name: str, fields: tuple[Any, ...]) -> tuple[Any, ...]:
        """The fields, with those made to fit that depend on each other."""
        rng = self.rng
        device = f"device {rng.randrange(6)}"
        person = rng.choice(self.people)
        match name:
            case "booking.reserve":
                gpus = [GPUS.get(self.view, gpu_id) for gpu_id in fields[0]]
                return (*fields[:4], tuple(1 if gpu is None else gpu.terms.version for gpu in gpus), fields[5])
            case "request.open":
                closing_ms = min(fields[5], fields[2] or fields[5])
                return (*fields[:4], rng.randint(1, 100 * COIN), closing_ms, fields[6])
            case "request.place_bid":
                request = REQUESTS.get(self.view, fields[0])
                gpus = self.of_one(1 if request is None else request.count)
                versions = [GPUS.get(self.view, gpu_id) for gpu_id in gpus]
                return (fields[0], gpus, tuple(1 if gpu is None else gpu.terms.version for gpu in versions), fields[3])
            case "request.accept_bid":
                known = list(BIDS.scan(self.view))
                if known and rng.random() < 0.9:
                    key, bid = rng.choice(known)
                    return (key[:32], key[32:], bid.number)
            case "gpu.update":
                gpu = GPUS.get(self.view, fields[0])
                return (fields[0], (*fields[1][:6], 2 if gpu is None else gpu.terms.version + 1))
            case "gpu.commit_hardware":
                return (commitment(person, device)[0].commitment,)
            case "gpu.register":
                return (_tuples(to_plain(hardware(device))), fields[1], SALT)
            case "account.rotate_key":
                key = rng.choice(self.keys)
                return (*_tuples(to_plain(rotation(self.market.chain_id, person.address, key))),)
            case "dispute.vote":
                return (*fields[:2], fields[2] if fields[3] == Fault.PROVIDER else 0, fields[3])
            case "multisig.create" | "multisig.set_members":
                members = tuple(sorted(rng.sample([each.address for each in self.people], k=rng.randint(1, 3))))
                return (rng.randint(1, len(members)), members)
            case "governance.propose":
                return (self.measure(), fields[1])
            case "governance.set_parameter":
                return (rng.choice(list(RANGES)), rng.choice((1, 50, 300, 90_000, fields[1])))
            case "authority.add":
                officer = rng.choice(self.officers)
                return tuple(_tuples(to_plain(officer.addition)))
            case "authority.ready":
                officer = rng.choice(self.officers)
                epoch = self.market.height // PARAMETERS.epoch_blocks
                return tuple(_tuples(to_plain(officer.ready(self.market.chain_id, epoch))))
            case "evidence.submit":
                return self.evidence()
            case "multisig.propose":
                owned = [address for address, _ in MULTISIGS.scan(self.view)] or [fields[0]]
                actions = tuple((code, _tuples(inner)) for code, inner in [self.action() for _ in range(2)])
                return (rng.choice(owned), actions if rng.random() < 0.8 else fields[1], fields[2])
        return fields

    def of_one(self, count: int) -> tuple[bytes, ...]:
        """So many GPUs of one owner, if somebody has them."""
        records = [(gpu_id, GPUS.get(self.view, gpu_id)) for gpu_id in self.pool("gpu")]
        owner = self.rng.choice([gpu.owner for _, gpu in records if gpu is not None] or [b""])
        own = [gpu_id for gpu_id, gpu in records if gpu is not None and gpu.owner == owner]
        return tuple(self.rng.sample(own, k=min(len(own), count))) or (self.rng.randbytes(32),)

    def measure(self) -> tuple[Any, ...]:
        """Actions that a measure may hold, and now and then one that it may not."""
        rng = self.rng
        governed = [code for code, cls in ACTIONS.items() if issubclass(cls, GovernedAction)]
        chosen = [rng.choice(governed) for _ in range(rng.choice((1, 1, 2)))]
        made = [self.action(code) for code in chosen]
        return tuple((code, _tuples(inner)) for code, inner in made)

    def evidence(self) -> tuple[Any, ...]:
        """Two votes of an authority that exclude each other, of this epoch or the one before."""
        rng, officer = self.rng, self.rng.choice(self.officers)
        epoch = max(0, self.market.height // PARAMETERS.epoch_blocks - rng.choice((0, 0, 1)))
        kind = rng.choice((VoteKind.PROPOSAL, VoteKind.NOTARIZE, VoteKind.FINALIZE))
        hashes = (rng.randbytes(32), rng.randbytes(32))
        votes = [officer.vote(self.market.chain_id, kind, epoch, 1, block_hash) for block_hash in hashes]
        return tuple(_tuples(to_plain(SubmitEvidence(officer.authority.node_key, *votes))))

    def action(self, code: int | None = None) -> list[Any]:
        """The wire form of an action: plausible, or plausible with some fields mutated."""
        rng = self.rng
        code = rng.choice(list(ACTIONS)) if code is None else code
        cls = ACTIONS[code]
        compiled = layout(cls)
        plain = _tuples(to_plain(example(cls, full=rng.random() < 0.7)))
        parts = zip(compiled.names, compiled.kinds, plain, strict=True)
        fields = tuple(self.plausible(name, kind, item) for name, kind, item in parts)
        fields = self.fitting(cls.name, fields)
        if rng.random() < 0.12:
            fields = mutate_fields(cls, fields, rng)
        if rng.random() < 0.02:
            code = rng.choice((0, -1, True, "x", None, 9_999))  # type: ignore[assignment]
        return [code, fields]

    def able(self, execution: BlockExecution, action: list[Any]) -> Person | None:
        """Somebody who may do this."""
        self.rng.shuffle(self.people)
        for person in self.people:
            mark = execution.view.checkpoint()
            try:
                decode_action(_tuples(action)).check(execution._context(person.address, bytes(32)))
                return person
            except LedgerError:
                continue
            finally:
                execution.view.rollback(mark)
        return None

    def attempt(self, execution: BlockExecution) -> tuple[Person, list[list[Any]]]:
        """Actions and somebody who sends them; most of the time somebody who may do the first, which is seldom done."""
        rng = self.rng
        rest = [self.action() for _ in range(rng.choice((0, 0, 0, 1, 4)))]
        drawn = [self.action() for _ in range(rng.choice((1, 4, 12)))]
        drawn.sort(key=lambda action: self.done[ACTIONS[action[0]].name] if action[0] in ACTIONS else 0)
        for first in drawn:
            person = self.able(execution, first)
            if person is not None and not (first[0] == RetireGpu.code and rng.random() < 0.8):
                return person, [first, *rest]
        return rng.choice(self.people), [drawn[0], *rest]

    def envelope(self, execution: BlockExecution) -> bytes:
        """A well-signed transaction of somebody, with all but its actions in order most of the time."""
        rng = self.rng
        person, actions = self.attempt(execution)
        body: list[Any] = [
            1,
            self.market.chain_id,
            person.address,
            person.key.public_key,
            account(execution.view, person.address).sequence,
            execution.block.time_ms + 3_600_000,
            rng.choice((None, None, None, None, rng.randbytes(32), bytes([rng.randrange(4)] * 32))),
            COIN // 10,
            actions,
            "",
        ]
        if rng.random() < 0.05:
            index = rng.randrange(len(body))
            body[index] = rng.choice((None, 0, -1, (1 << 64) - 1, b"", b"\x01" * 33, "", True, []))
        body_bytes = encode(body)
        return encode([body_bytes, person.key.sign(signing_bytes(body_bytes))])

    def round(self) -> None:
        """One block: propose from what comes in, have it judged, keep it."""
        market, rng = self.market, self.rng
        context = market.next_block(market.time_ms + rng.choice(STEPS_MS))
        execution = BlockExecution(View(market.reader), context)
        taken: list[bytes] = []
        for _ in range(rng.randint(0, 8)):
            self.view = execution.view
            envelope = self.envelope(execution)
            try:
                transaction = Transaction.decode(envelope)
                transaction.verify_signature()
                result = execution.apply_transaction(transaction)
            except LedgerError as error:
                self.outcomes[f"refused {error.name}"] += 1
                continue
            taken.append(envelope)
            self.outcomes[result.error or "succeeded"] += 1
            if result.succeeded:
                self.done[transaction.body.actions[0].name] += 1
            self.learn(result)
        self.last = context, taken
        judged = View(market.reader)
        outcome = apply_block(judged, context, [Transaction.decode(envelope) for envelope in taken])
        assert outcome == execution.outcome()
        self.outcome = outcome
        changes = judged.changes()
        assert changes == execution.view.changes()
        for record in (outcome.system, *outcome.results):
            cls = SystemResult if record is outcome.system else TransactionResult
            assert decode_record(cls, encode_record(record)) == record
        market.reader.apply(changes)
        market.height, market.time_ms = context.height, context.time_ms
        check_all(market.view)

    def learn(self, result: TransactionResult) -> None:
        """Remember the accounts that exist, so that later actions are about them."""
        for event in result.events:
            if event.kind == "account.key_rotated":
                names = dict(event.subjects)
                person = next(person for person in self.people if person.address == names["account"])
                person.key = next(key for key in self.keys if key.public_key == names["key"])
            for _, identifier in event.subjects:
                if len(identifier) == 33 and identifier not in self.accounts and len(self.accounts) < 12:
                    self.accounts.append(identifier)


def _tuples(plain: Any) -> Any:
    return tuple(_tuples(item) for item in plain) if isinstance(plain, list | tuple) else plain


@pytest.mark.timeout(900)
def test_no_action_breaks_the_ledger(rng: random.Random) -> None:
    arena = Arena(rng)
    for _ in range(BLOCKS):
        arena.round()
    print(dict(arena.outcomes.most_common()))
    print(dict(arena.done.most_common()), "never:", {cls.name for cls in ACTIONS.values()} - set(arena.done))
    assert arena.outcomes["succeeded"] > BLOCKS // 4, "the fuzzer must reach the effects"
    assert len(arena.outcomes) > 15, "and many ways to fail"
    assert len(arena.done) > 20, "and most of the actions"
    assert all(address[0] <= KEY + 2 for address in arena.accounts)
    assert list(GPUS.scan(arena.market.view))


def crowded(arena: Arena) -> MemoryReader:
    """The arena's state with little room for due items and very many in front of all others."""
    reader = MemoryReader(dict(arena.market.reader.values))
    view = View(reader)
    PARAMETERS_TABLE.put(view, replace(read_parameters(view), due_weight=100))
    for clock in Clock:
        for index in range(10 * LATE_BLOCKS):
            DUE.put(
                view, bytes([clock]) + bytes(8) + bytes([Subject.IDEMPOTENCY]) + index.to_bytes(4, "big"), DueItem(0)
            )
    reader.apply(view.changes())
    return reader


def test_a_late_queue_decides_nothing(rng: random.Random) -> None:
    """Whatever comes in, jobs and multisig accounts included, has the same outcome when nothing runs in time."""
    arena = Arena(rng)
    late = crowded(arena)
    for _ in range(LATE_BLOCKS):
        arena.round()
        assert arena.last is not None
        assert arena.outcome is not None
        context, taken = arena.last
        view = View(late)
        outcome = apply_block(view, context, [Transaction.decode(envelope) for envelope in taken])
        late.apply(view.changes())
        for ours, theirs in zip(outcome.results, arena.outcome.results, strict=True):
            if ours.error != theirs.error and {ours.error, theirs.error} & MONEY:
                return
            assert ours.error == theirs.error, (context.height, ours.error_data, theirs.error_data)
    check_all(View(late))


def single_fields() -> Iterator[tuple[int, int]]:
    for code, cls in sorted(ACTIONS.items()):
        for index in range(len(layout(cls).names)):
            yield code, index


@pytest.mark.parametrize(("code", "index"), list(single_fields()))
def test_every_field_of_every_action_takes_anything(code: int, index: int) -> None:
    """Each field alone with values of every type and both ends of the range: a coded error, or an action."""
    person = Person("alice")
    cls = ACTIONS[code]
    deep: Any = ()
    for _ in range(9):
        deep = (deep,)
    hostile = (
        None, True, False, 0, 1, -1, (1 << 64) - 1, -(1 << 63), b"", b"\x00" * 32, b"\x00" * 33, b"\xff" * 5_000,
        "", "x" * 5_000, "\x00", "\u202e", (), (0,) * 2_000, ((),), (b"",), deep, (True, ()), ((1, ()),),
    )  # fmt: skip
    for full in (True, False):
        for value in hostile:
            fields = list(_tuples(to_plain(example(cls, full=full))))
            fields[index] = value
            body = [1, "devnet-0", person.address, person.key.public_key, 0, 0, None, 0, [[code, fields]], ""]
            try:
                transaction = Transaction.decode(encode([encode(body), bytes(64)]))
            except LedgerError:
                continue
            assert transaction.weight > 0
            assert transaction.to_json("dait")
            assert transaction.describe("dait")


def test_a_state_with_hostile_blocks_refuses_them(rng: random.Random) -> None:
    """A block context of a lying proposer raises InvalidBlock and nothing else."""
    market = Market(gpus=1)
    for _ in range(300):
        height = rng.choice((0, 1, market.height, market.height + 1, (1 << 64) - 1))
        time_ms = rng.choice((0, market.time_ms, market.time_ms + 1, 1 << 53))
        context = BlockContext(
            market.chain_id, height, rng.randrange(5), time_ms, rng.choice((bytes(33), b"\x02" * 33))
        )
        view = View(MemoryReader(dict(market.reader.values)))
        try:
            apply_block(view, context, [market.sign(market.renter, market.reservation())])
        except InvalidBlock:
            continue
        view.changes()
