"""Transactions without any state: encoding, identity, signature, weight, and what a person is shown."""

import dataclasses
import random
from typing import Any

import pytest

from chain.action import MAXIMUM_ACTIONS, action_from_json, action_to_json, encode_action
from chain.actions.accounts import Transfer
from chain.actions.bookings import Reserve
from chain.actions.gpus import Heartbeat
from chain.codec import encode
from chain.crypto.hashing import sha256
from chain.errors import (
    BadSignature,
    InvalidField,
    LedgerError,
    MalformedEncoding,
    TransactionTooLarge,
    UnknownAction,
    UnknownVersion,
)
from chain.record import to_plain
from chain.schema import COIN
from chain.transaction import (
    MAXIMUM_TRANSACTION_BYTES,
    TRANSACTION_DOMAIN,
    Body,
    Transaction,
    body_weight,
    describe_body,
    encode_envelope,
    signing_bytes,
)
from tests.conftest import EXTENDED
from tests.ledger import GENESIS_TIME_MS, Person

ALICE, BOB = Person("alice"), Person("bob")


def body(**changes: Any) -> Body:
    plain: dict[str, Any] = {
        "chain_id": "devnet-00000000",
        "sender": ALICE.address,
        "public_key": ALICE.key.public_key,
        "sequence": 7,
        "valid_until_ms": GENESIS_TIME_MS,
        "idempotency_id": None,
        "fee": COIN // 100,
        "actions": (Transfer(BOB.address, "AITBC", 3 * COIN),),
        "memo": "für Bob",
    }
    return Body(**{**plain, **changes})


def envelope(plain_body: list[Any]) -> bytes:
    body_bytes = encode(plain_body)
    return encode([body_bytes, ALICE.key.sign(signing_bytes(body_bytes))])


def plain() -> list[Any]:
    return [1, *to_plain(body())]


def test_round_trip() -> None:
    signed = Transaction.sign(body(), ALICE.key)
    decoded = Transaction.decode(signed.envelope)
    assert decoded == signed
    decoded.verify_signature()
    assert decoded.txid == sha256(signed.body_bytes)
    assert decoded.size == len(signed.envelope)
    assert signing_bytes(b"body") == TRANSACTION_DOMAIN + b"body"
    assert encode_envelope(signed.body_bytes, signed.signature) == signed.envelope
    assert envelope(plain()) == signed.envelope


def test_the_signature_is_no_part_of_the_id() -> None:
    signed = Transaction.sign(body(), ALICE.key)
    other = Transaction.decode(encode_envelope(signed.body_bytes, bytes(64)))
    assert other.txid == signed.txid
    with pytest.raises(BadSignature) as caught:
        other.verify_signature()
    assert caught.value.data == {"txid": signed.txid}


def test_a_signature_covers_domain_and_every_byte(rng: random.Random) -> None:
    signed = Transaction.sign(body(), ALICE.key)
    plain_signature = ALICE.key.sign(signed.body_bytes)
    with pytest.raises(BadSignature):
        Transaction.decode(encode_envelope(signed.body_bytes, plain_signature)).verify_signature()
    with pytest.raises(BadSignature):
        Transaction.sign(body(), BOB.key).verify_signature()
    for _ in range(50):
        damaged = bytearray(signed.signature)
        damaged[rng.randrange(64)] ^= 1 << rng.randrange(8)
        with pytest.raises(BadSignature):
            Transaction.decode(encode_envelope(signed.body_bytes, bytes(damaged))).verify_signature()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        encode([]),
        encode([b"x"]),
        encode([encode(plain()), bytes(63)]),
        encode([encode(plain()), bytes(65)]),
        encode([encode(plain()), "x" * 64]),
        encode([plain(), bytes(64)]),
        encode([encode(plain()), bytes(64), 0]),
        encode([b"", bytes(64)]),
        encode([encode(plain()) + b"\x00", bytes(64)]),
        encode([encode(5), bytes(64)]),
        encode(encode(plain())),
    ],
)
def test_what_is_no_envelope(data: bytes) -> None:
    with pytest.raises(MalformedEncoding):
        Transaction.decode(data)


@pytest.mark.parametrize("version", [0, 2, True, None, "1"])
def test_another_version(version: Any) -> None:
    with pytest.raises(UnknownVersion):
        Transaction.decode(envelope([version, *plain()[1:]]))


def test_an_unknown_action() -> None:
    changed = plain()
    changed[8] = [[60_000, []]]
    with pytest.raises(UnknownAction) as caught:
        Transaction.decode(envelope(changed))
    assert caught.value.data == {"code": 60_000}


@pytest.mark.parametrize(
    "actions",
    [
        None,
        [],
        5,
        [5],
        [[1]],
        [[1, []]],
        [[1, 5]],
        [["1", []]],
        [[True, to_plain(Transfer(BOB.address, "AITBC", 1))]],
        [[1, [*to_plain(Transfer(BOB.address, "AITBC", 1)), 0]]],
        [encode_action(Transfer(BOB.address, "AITBC", 1))] * (MAXIMUM_ACTIONS + 1),
        [[1, [BOB.address, "AITBC", 0]]],
    ],
)
def test_what_is_no_list_of_actions(actions: Any) -> None:
    changed = plain()
    changed[8] = actions
    with pytest.raises(InvalidField):
        Transaction.decode(envelope(changed))


def test_as_many_actions_as_allowed() -> None:
    many = Transaction.sign(body(actions=(Transfer(BOB.address, "AITBC", 1),) * MAXIMUM_ACTIONS), ALICE.key)
    assert len(Transaction.decode(many.envelope).body.actions) == MAXIMUM_ACTIONS
    assert many.weight == 1 + MAXIMUM_ACTIONS


def test_size() -> None:
    beats = tuple(Heartbeat(tuple(bytes([index, at]) + bytes(30) for at in range(100))) for index in range(80))
    huge = Transaction.sign(body(actions=beats), ALICE.key)
    assert huge.size > MAXIMUM_TRANSACTION_BYTES
    with pytest.raises(TransactionTooLarge) as caught:
        Transaction.decode(huge.envelope)
    assert caught.value.data == {"size": huge.size, "maximum": MAXIMUM_TRANSACTION_BYTES}


@pytest.mark.parametrize(("field", "value"), [("memo", "x" * 257), ("fee", -1), ("idempotency_id", b"x")])
def test_a_body_out_of_range_is_not_signed(field: str, value: Any) -> None:
    with pytest.raises(InvalidField):
        Transaction.sign(body(**{field: value}), ALICE.key)


def test_an_action_that_cannot_be_right_is_not_signed() -> None:
    with pytest.raises(InvalidField):
        Transaction.sign(body(actions=(Transfer(BOB.address, "AITBC", 0),)), ALICE.key)


def test_mutated_envelopes_decode_to_themselves_or_to_a_coded_error(rng: random.Random) -> None:
    """One byte string per transaction: whatever is accepted encodes to exactly what was received."""
    reserve = Reserve((b"\x01" * 32,), 0, 60, 1, (1,), b"\x02" * 32)
    signed = Transaction.sign(body(actions=(Transfer(BOB.address, "AITBC", 1), reserve)), ALICE.key)
    accepted = 0
    for _ in range(100_000 if EXTENDED else 5_000):
        data = bytearray(signed.body_bytes)
        for _ in range(rng.randint(1, 2)):
            data[rng.randrange(len(data))] = rng.choice((0, 1, 0x17, 0x18, 0x20, 0xF4, 0xF5, 0xF6, rng.randrange(256)))
        received = encode([bytes(data), signed.signature])
        try:
            decoded = Transaction.decode(received)
        except LedgerError:
            continue
        accepted += 1
        assert encode([1, *to_plain(decoded.body)]) == bytes(data)
        if bytes(data) != signed.body_bytes:
            with pytest.raises(BadSignature):
                decoded.verify_signature()
    assert accepted > 100


def test_weight() -> None:
    assert Transaction.sign(body(), ALICE.key).weight == 2
    assert body_weight(body(idempotency_id=b"\x01" * 32)) == 8
    reserve = Reserve((b"\x01" * 32, b"\x02" * 32), 0, 60, 1, (1, 1), b"\x02" * 32)
    assert body_weight(body(actions=(reserve, Transfer(BOB.address, "AITBC", 1)))) == 1 + 60 + 1


def test_json_and_text_show_every_field() -> None:
    signed = Transaction.sign(body(), ALICE.key)
    shown = signed.to_json("dait")
    assert shown["txid"] == signed.txid.hex()
    assert shown["actions"][0]["action"] == "account.transfer"
    assert shown["actions"][0]["amount"] == "3000000000"
    assert set(shown) == {field.name for field in dataclasses.fields(Body)} | {"txid", "signature"}
    lines = dict(signed.describe("dait"))
    assert lines == dict(describe_body(signed.body, "dait"))
    assert lines["network"] == "devnet-00000000"
    assert lines["fee at most"] == "0.01 AITBC"
    assert lines["1. amount"] == "3 AITBC"
    assert lines["memo"] == "für Bob"


@pytest.mark.parametrize(
    "value", [None, [], "account.transfer", {}, {"action": 1}, {"action": "account.transfer", "to": 1}]
)
def test_what_is_no_action_in_json(value: Any) -> None:
    with pytest.raises(InvalidField):
        action_from_json(value, "dait")


def test_actions_in_json() -> None:
    action = Transfer(BOB.address, "AITBC", 5)
    assert action_from_json(action_to_json(action, "dait"), "dait") == action
    with pytest.raises(UnknownAction):
        action_from_json({"action": "account.steal"}, "dait")
