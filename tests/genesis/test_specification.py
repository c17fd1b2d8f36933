"""The genesis specification: what it refuses, and that its file cannot be edited unnoticed."""

import json
from dataclasses import fields, replace
from typing import Any

import pytest

from chain.crypto.address import module_address
from chain.errors import InvalidGenesis
from chain.parameters import Parameters
from chain.record import decode_record, encode_record
from chain.schema import U64
from genesis.networks import DEVNET, MAINNET, NETWORKS, TESTNET, Network, network
from genesis.specification import Allocation, Specification, from_file, to_file
from tests.ledger import Person, make_authority, make_specification

ALICE, BOB = Person("alice"), Person("bob")
GOOD = make_specification([ALICE, BOB], authorities=[make_authority(name)[0] for name in "012"])

FIRST, SECOND, _ = GOOD.authorities


def test_file_and_bytes_round_trip() -> None:
    assert from_file(to_file(GOOD)) == GOOD
    assert decode_record(Specification, encode_record(GOOD)) == GOOD
    assert to_file(GOOD).endswith("}\n")


def test_the_chain_id_carries_the_hash() -> None:
    assert GOOD.chain_id == f"devnet-{GOOD.hash.hex()[:8]}"


def test_every_part_changes_the_hash() -> None:
    others = [
        replace(GOOD, name="other"),
        replace(GOOD, prefix="ait"),
        replace(GOOD, time_ms=GOOD.time_ms + 1),
        replace(GOOD, authorities=GOOD.authorities[:2]),
        replace(GOOD, authorities=GOOD.authorities[::-1]),
        replace(GOOD, allocations=GOOD.allocations[:1]),
        replace(GOOD, allocations=(replace(GOOD.allocations[0], stake=1), GOOD.allocations[1])),
        *(
            replace(GOOD, parameters=replace(GOOD.parameters, **{item.name: getattr(GOOD.parameters, item.name) + 1}))
            for item in fields(Parameters)
        ),
    ]
    assert len({specification.hash for specification in [GOOD, *others]}) == len(others) + 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "Devnet"}, "name"),
        ({"name": "9net"}, "name"),
        ({"name": "dev net"}, "name"),
        ({"name": "devnet\n"}, "name"),
        ({"prefix": "DAIT"}, "prefix"),
        ({"prefix": "d1"}, "prefix"),
        ({"allocations": (Allocation(ALICE.address, 1), Allocation(ALICE.address, 2))}, "allocations"),
        ({"allocations": (Allocation(module_address("treasury"), 1),)}, "allocations"),
        ({"allocations": (Allocation(ALICE.address, U64), Allocation(BOB.address, 0, 1))}, "allocations"),
        ({"authorities": (FIRST, FIRST)}, "authorities"),
        ({"authorities": (FIRST, replace(SECOND, operator=FIRST.operator))}, "authorities"),
        ({"authorities": (replace(FIRST, operator=module_address("treasury")),)}, "authorities"),
        ({"authorities": (replace(FIRST, proof_of_possession=SECOND.proof_of_possession),)}, "authorities"),
        ({"authorities": (replace(FIRST, bls_key=b"\xc0" + bytes(47)),)}, "authorities"),
        ({"authorities": ()}, "authorities"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidGenesis) as caught:
        replace(GOOD, **changes).check()
    assert caught.value.data["field"] == field


def test_every_operator_needs_the_stake() -> None:
    operators = [member.operator for member in GOOD.authorities]
    demanding = replace(GOOD, parameters=replace(GOOD.parameters, authority_minimum_stake=5))
    enough = [Allocation(operator, 0, 5) for operator in operators]
    replace(demanding, allocations=tuple(enough)).check()
    for short in ([*enough[:2], Allocation(operators[2], 5, 4)], enough[:2]):
        with pytest.raises(InvalidGenesis) as caught:
            replace(demanding, allocations=tuple(short)).check()
        assert caught.value.data["account"] == operators[2]
        assert caught.value.data["needed"] == 5


def test_all_the_money_there_can_be() -> None:
    replace(GOOD, allocations=(Allocation(ALICE.address, U64),)).check()


@pytest.mark.parametrize(
    "changes",
    [
        {"epoch_blocks": 0},
        {"maximum_block_weight": 1_100},
        {"due_weight": 99},
        {"due_weight": 18_901},
        {"maximum_gap_ms": 999},
        {"activation_grace_seconds": 29},
        {"heartbeat_timeout_seconds": 29},
        {"booking_minimum_seconds": 0},
        {"booking_maximum_seconds": 59},
    ],
)
def test_parameters_that_contradict_each_other(changes: dict[str, int]) -> None:
    with pytest.raises(InvalidGenesis):
        replace(GOOD, parameters=replace(Parameters(), **changes)).check()


class TestFile:
    def edited(self, **changes: Any) -> str:
        plain = json.loads(to_file(GOOD))
        plain.update(changes)
        return json.dumps(plain)

    @pytest.mark.parametrize("text", ["", "{", "[]", "5", "null", "[" * 5_000, '{"format": "other"}', "1" * 5_000])
    def test_what_is_no_genesis_file(self, text: str) -> None:
        with pytest.raises(InvalidGenesis):
            from_file(text)

    @pytest.mark.parametrize("version", [0, 2, None, "1", True, 1.0])
    def test_another_version(self, version: Any) -> None:
        with pytest.raises(InvalidGenesis):
            from_file(self.edited(version=version))

    @pytest.mark.parametrize("specification", [None, [], {}, {"prefix": 5}, {"prefix": "dait"}])
    def test_what_is_no_specification(self, specification: Any) -> None:
        with pytest.raises(InvalidGenesis):
            from_file(self.edited(specification=specification))

    @pytest.mark.parametrize(
        ("path", "value"),
        [
            (("allocations", 0, "balance"), "20000000000000"),
            (("parameters", "market_fee"), 100),
            (("time_ms",), 1_800_000_000_001),
            (("allocations",), []),
        ],
    )
    def test_an_edit_is_noticed(self, path: tuple[Any, ...], value: Any) -> None:
        plain = json.loads(to_file(GOOD))
        place = plain["specification"]
        for key in path[:-1]:
            place = place[key]
        assert place[path[-1]] != value
        place[path[-1]] = value
        with pytest.raises(InvalidGenesis) as caught:
            from_file(json.dumps(plain))
        assert "edited" in str(caught.value.data["reason"])

    @pytest.mark.parametrize("name", ["hash", "chain_id"])
    def test_hash_and_chain_id_must_match(self, name: str) -> None:
        for value in ("00" * 32, None, 5, "devnet-00000000"):
            with pytest.raises(InvalidGenesis):
                from_file(self.edited(**{name: value}))

    @pytest.mark.parametrize("value", [1.5, float("nan"), "x", -1, U64 + 1, None, True])
    def test_a_field_of_another_type(self, value: Any) -> None:
        plain = json.loads(to_file(GOOD))
        plain["specification"]["time_ms"] = value
        with pytest.raises(InvalidGenesis):
            from_file(json.dumps(plain))

    def test_an_address_of_another_network(self) -> None:
        plain = json.loads(to_file(GOOD))
        plain["specification"]["prefix"] = "ait"
        with pytest.raises(InvalidGenesis):
            from_file(json.dumps(plain))

    def test_a_specification_that_breaks_a_rule_is_refused_though_its_hash_is_right(self) -> None:
        with pytest.raises(InvalidGenesis):
            from_file(to_file(replace(GOOD, name="Devnet")))


class TestNetworks:
    @pytest.mark.parametrize("known", NETWORKS.values(), ids=lambda known: known.name)
    def test_each_can_start(self, known: Network) -> None:
        specification = replace(GOOD, name=known.name, prefix=known.prefix, parameters=known.parameters)
        needed = known.parameters.authority_minimum_stake
        staked = tuple(Allocation(member.operator, 0, needed) for member in GOOD.authorities)
        replace(specification, allocations=staked).check()
        assert network(known.name) is known

    def test_prefixes_differ(self) -> None:
        assert (DEVNET.prefix, TESTNET.prefix, MAINNET.prefix) == ("dait", "tait", "ait")

    def test_the_numbers_of_the_development_network(self) -> None:
        """As the design lists them."""
        numbers = DEVNET.parameters
        assert numbers.market_fee == 200
        assert numbers.collateral_per_gpu == 25 * 10**9
        assert numbers.activation_grace_seconds == 60
        assert numbers.unbonding_seconds == 60
        assert numbers.dispute_window_seconds == 300
        assert numbers.heartbeat_timeout_seconds == 120
        assert (numbers.booking_minimum_seconds, numbers.booking_maximum_seconds) == (60, 90 * 86_400)
        assert numbers.booking_horizon_seconds == 365 * 86_400

    def test_the_numbers_of_the_main_network(self) -> None:
        numbers = MAINNET.parameters
        assert numbers.activation_grace_seconds == 900
        assert numbers.unbonding_seconds == 21 * 86_400
        assert numbers.dispute_window_seconds == 72 * 3_600
        assert numbers.heartbeat_timeout_seconds == 300

    def test_an_unknown_one(self) -> None:
        with pytest.raises(InvalidGenesis) as caught:
            network("moonnet")
        assert "devnet" in str(caught.value.data["reason"])
