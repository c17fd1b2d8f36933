"""Golden bytes of everything that is signed or stored: a changed format is a different ledger and must be intended.

`AITBC_REGENERATE=1 pytest tests/chain/test_records.py` writes `tests/vectors/records.json` anew; then raise the version
of each record whose bytes changed, unless no network has ever run with the old ones.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from chain.action import ACTIONS, BlockContext, Clock, Context, encode_action
from chain.actions.accounts import Transfer, rotation_bytes
from chain.actions.gpus import commitment_of
from chain.block import Block, Header, transactions_root
from chain.certificate import AuthoritySet, Certificate, VoteKind, vote_bytes
from chain.codec import encode
from chain.crypto.address import module_address, multisig_address
from chain.crypto.hashing import merkle_root, sha256
from chain.parameters import Parameters
from chain.record import decode_record, encode_record, layout, to_json
from chain.result import SystemResult, TransactionResult, results_root
from chain.schedule import Subject, schedule
from chain.state.view import MemoryReader, View
from chain.transaction import Body, Transaction
from tests.ledger import make_specification
from tests.records import ALICE, example, stored_records

PATH = Path(__file__).parent.parent / "vectors" / "records.json"
PREFIX = "dait"


def name_of(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def record_vector(cls: type) -> dict[str, Any]:
    """Both examples of a record as readable fields and bytes."""
    vector: dict[str, Any] = {"version": layout(cls).version}
    for label, full in (("full", True), ("least", False)):
        obj = example(cls, full=full)
        vector[label] = {"fields": to_json(obj, PREFIX), "hex": encode_record(obj).hex()}
    return vector


def action_vector(code: int) -> dict[str, Any]:
    """The wire form of an action inside a body."""
    action = example(ACTIONS[code], full=True)
    return {"code": code, "hex": encode(encode_action(action)).hex()}


def derived_vector() -> dict[str, Any]:
    """What is computed from records: envelopes, ids, hashes, roots, signing bytes, state keys."""
    body = Body(
        chain_id="devnet-00000000",
        sender=ALICE.address,
        public_key=ALICE.key.public_key,
        sequence=3,
        valid_until_ms=1_800_000_000_000,
        idempotency_id=b"\x07" * 32,
        fee=10_000_000,
        actions=(Transfer(ALICE.address, "AITBC", 5),),
        memo="memo",
    )
    signed = Transaction.sign(body, ALICE.key)
    header = example(Header, full=True)
    block = Block.of(
        Header(
            **{name: getattr(header, name) for name in layout(Header).names}
            | {"transactions_root": transactions_root((signed.envelope,))}
        ),
        (signed.envelope,),
    )
    results = (example(TransactionResult, full=True), example(TransactionResult, full=False))
    view = View(MemoryReader())
    context = Context(
        view, BlockContext("devnet-00000000", 9, 0, 1, ALICE.address), 1, Parameters(), ALICE.address, signed.txid
    )
    schedule(context, Clock.LIVE, 258, Subject.BOOKING, b"\x05" * 32)
    certificate = Certificate(VoteKind.NOTARIZE, 1, 2, b"\x01" * 32, b"\x07", b"\x02" * 96)
    specification = make_specification()
    found: dict[str, bytes] = {
        "body": signed.body_bytes,
        "envelope": signed.envelope,
        "txid": signed.txid,
        "block": block.encode(),
        "block hash": block.hash,
        "results root": results_root(SystemResult(0, ()), results),
        "first id": context.new_id("booking"),
        "second id": context.new_id("booking"),
        "due item": next(iter(view.changes())),
        "vote to notarize": vote_bytes("devnet-00000000", 1, 2, VoteKind.NOTARIZE, b"\x01" * 32),
        "vote to nullify": vote_bytes("devnet-00000000", 1, 2, VoteKind.NULLIFY, b""),
        "certificate": certificate.encode(),
        "authorities hash": AuthoritySet(0, specification.authorities).hash(),
        "genesis hash": specification.hash,
        "key address": ALICE.address,
        "module address": module_address("treasury"),
        "multisig address": multisig_address(ALICE.address, 3, 2, [ALICE.address, b"\x00" * 33]),
        "hardware commitment": commitment_of(ALICE.address, b"\x08" * 32, b"\x09" * 32),
        "rotation bytes": rotation_bytes("devnet-00000000", ALICE.address, b"\x0a" * 32),
        "merkle root": merkle_root([sha256(b"a"), sha256(b"b"), sha256(b"c")]),
    }
    return {name: value.hex() for name, value in found.items()}


def vectors() -> dict[str, Any]:
    return {
        "records": {name_of(cls): record_vector(cls) for cls in stored_records()},
        "actions": {cls.name: action_vector(code) for code, cls in sorted(ACTIONS.items())},
        "derived": derived_vector(),
    }


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    if os.environ.get("AITBC_REGENERATE") == "1":
        PATH.write_text(json.dumps(vectors(), indent=1, ensure_ascii=False) + "\n")
    loaded: dict[str, Any] = json.loads(PATH.read_text())
    return loaded


def explain(name: str, expected: Any, found: Any, path: str = "") -> list[str]:
    """The places where two vectors differ, one line each."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return [
            line
            for key in {**expected, **found}
            for line in explain(name, expected.get(key), found.get(key), f"{path}.{key}" if path else str(key))
        ]
    return [] if expected == found else [f"{name} {path}: was {expected!r}, is {found!r}"]


@pytest.mark.parametrize("cls", stored_records(), ids=name_of)
def test_record(cls: type, golden: dict[str, Any]) -> None:
    name = name_of(cls)
    assert name in golden["records"], f"{name} has no golden bytes yet: see the head of this file"
    assert not (lines := explain(name, golden["records"][name], record_vector(cls))), "\n" + "\n".join(lines)
    for label in ("full", "least"):
        data = bytes.fromhex(golden["records"][name][label]["hex"])
        assert encode_record(decode_record(cls, data)) == data


@pytest.mark.parametrize("code", sorted(ACTIONS), ids=lambda code: ACTIONS[code].name)
def test_action(code: int, golden: dict[str, Any]) -> None:
    name = ACTIONS[code].name
    assert not (lines := explain(name, golden["actions"].get(name), action_vector(code))), "\n" + "\n".join(lines)


def test_derived(golden: dict[str, Any]) -> None:
    assert not (lines := explain("derived", golden["derived"], derived_vector())), "\n" + "\n".join(lines)


def test_nothing_that_was_stored_has_vanished(golden: dict[str, Any]) -> None:
    assert set(golden["records"]) == {name_of(cls) for cls in stored_records()}
    assert set(golden["actions"]) == {cls.name for cls in ACTIONS.values()}


def test_a_changed_format_is_explained() -> None:
    """The comparison itself: a renamed field and changed bytes are both named."""
    before = {"version": 1, "full": {"fields": {"balance": "1"}, "hex": "00"}}
    after = {"version": 1, "full": {"fields": {"amount": "1"}, "hex": "01"}}
    assert explain("Account", before, after) == [
        "Account full.fields.balance: was '1', is None",
        "Account full.fields.amount: was None, is '1'",
        "Account full.hex: was '00', is '01'",
    ]
