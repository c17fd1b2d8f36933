"""The handshake: what it must achieve, its exact bytes, and each way of cheating at it."""

import hashlib
import hmac
import random

import pytest

from chain.crypto.ed25519 import verify
from node.network import handshake
from node.network.handshake import (
    ANSWER_SIZE,
    MAGIC,
    OFFER_SIZE,
    PROOF_SIZE,
    REFUSAL_SIZE,
    CloseCode,
    Initiator,
    LinkClosed,
    Opener,
    Responder,
    Sealer,
    decode_refusal,
    encode_refusal,
)
from tests.network_support import ALICE, ALICE_EPHEMERAL, BOB, BOB_EPHEMERAL, CAROL, GENESIS, shake_hands

GOLDEN_OFFER = bytes.fromhex(
    "61697462636c6e6b010001000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f8a88e3dd74"
    "09f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c8139770ea87d175f56a35466c34c7ecccb8d8a91b4"
    "ee37a25df60f5b8fc9b3947b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13"
)
GOLDEN_ANSWER = bytes.fromhex(
    "020faa684ed28867b97f4a6a2dee5df8ce974e76b7018e3f22a1c4cf2678570f202509345d6ce7244b55afc54f0448fb"
    "c5d1785902a3ec6e981133a64f5e7e6b7691f2c4d4d02feb12feb50c8ef5f32f8c7d9163fdc4c99ddab0d5a693abb8c3"
    "2680b0478fd3aaa18e1380fc52fcab5f0f"
)
GOLDEN_PROOF = bytes.fromhex(
    "037b6f02b360511004d3442cb09ec8e8f8610f97fbafb78caffe22d5113c2546b9b1648a670935b4cadd4d5191e783bc"
    "4d2a2310414513c55c6f1a5e171e4146e1dfa05092e55f797919d5c53cddfa6753"
)
GOLDEN_LINK_ID = bytes.fromhex("af5dbc092c7d51d796d55b3de5dcf66047fc765bf5d55c6457bfd5a2132329a3")
GOLDEN_KEY_TO_BOB = bytes.fromhex("92482031b1b15a10c04a05f90f0ab195091ddb500e3144c1be430d7c1419a276")
GOLDEN_KEY_TO_ALICE = bytes.fromhex("2bb7b1fe0ac4fcb247910a56f5cfdf8002b332ca944791688e4b51ae8d5dfaa9")
GOLDEN_RECORD = bytes.fromhex("0100080000000000000007100004766f7465120005626c6f636b11000b7472616e73616374696f6e")
GOLDEN_FIRST_SEALED = bytes.fromhex(
    "a6b6fcf840493f83f504d6228746142ab363c7c8986d8b32f4be78b3ebea76450303332290b34df6a1bf64c8f4a90a171534e6c0b4314daa"
)
GOLDEN_SECOND_SEALED = bytes.fromhex(
    "2b5ac42fa5dc02cc366097aab38ec65e2dde3e3c64aaf2ac59fb1214e8963382b3c49f305d264765b90128b7c307e68b79272261e404af61"
)

# The u-coordinates of low order of RFC 7748's curve, as listed in "May the Fourth Be With You" (CCS 2017), table 1.
PRIME = 2**255 - 19
LOW_ORDER = [
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    PRIME - 1,
    PRIME,
    PRIME + 1,
]


def open_all(records: list[bytes]) -> list[bytes]:
    opener = Opener(GOLDEN_KEY_TO_BOB)
    return [opener.open(sealed) for sealed in records]


def test_both_sides_agree() -> None:
    _, _, _, alice, bob = shake_hands()
    assert (alice.peer_key, bob.peer_key) == (BOB.public_key, ALICE.public_key)
    assert alice.link_id == bob.link_id
    assert (alice.send_key, alice.receive_key) == (bob.receive_key, bob.send_key)
    assert alice.send_key != alice.receive_key


def test_golden_transcript() -> None:
    offer, answer, proof, alice, _ = shake_hands()
    assert (offer, answer, proof) == (GOLDEN_OFFER, GOLDEN_ANSWER, GOLDEN_PROOF)
    assert (len(offer), len(answer), len(proof)) == (OFFER_SIZE, ANSWER_SIZE, PROOF_SIZE)
    assert alice.link_id == GOLDEN_LINK_ID
    assert alice.send_key == GOLDEN_KEY_TO_BOB
    assert alice.receive_key == GOLDEN_KEY_TO_ALICE


def test_golden_records() -> None:
    sealer = Sealer(GOLDEN_KEY_TO_BOB)
    assert sealer.seal(GOLDEN_RECORD) == GOLDEN_FIRST_SEALED
    assert sealer.seal(GOLDEN_RECORD) == GOLDEN_SECOND_SEALED


def test_transcript_by_its_definition() -> None:
    """The golden bytes follow from the documented construction, written here from primitives."""
    from nacl.bindings import crypto_aead_chacha20poly1305_ietf_decrypt as decrypt
    from nacl.bindings import crypto_scalarmult

    def tagged(domain: bytes, *parts: bytes) -> bytes:
        data = bytes([len(domain)]) + domain
        for part in parts:
            data += len(part).to_bytes(8, "big") + part
        return hashlib.sha256(data).digest()

    def mac(key: bytes, data: bytes) -> bytes:
        return hmac.new(key, data, "sha256").digest()

    shared = crypto_scalarmult(ALICE_EPHEMERAL, GOLDEN_ANSWER[1:33])
    transcript = tagged(b"aitbc/link/1/answer", tagged(b"aitbc/link/1/offer", GOLDEN_OFFER), GOLDEN_ANSWER[1:33])
    secret = mac(transcript, shared)
    signature = decrypt(GOLDEN_ANSWER[33:], transcript, bytes(12), mac(secret, b"aitbc/link/1/answer\x01"))
    assert verify(BOB.public_key, b"aitbc/link/1/responder:" + transcript, signature)
    transcript = tagged(b"aitbc/link/1/answer/sealed", transcript, GOLDEN_ANSWER[33:])
    signature = decrypt(GOLDEN_PROOF[1:], transcript, bytes(12), mac(secret, b"aitbc/link/1/proof\x01"))
    assert verify(ALICE.public_key, b"aitbc/link/1/initiator:" + transcript, signature)
    transcript = tagged(b"aitbc/link/1/proof/sealed", transcript, GOLDEN_PROOF[1:])
    final = mac(transcript, secret)
    assert mac(final, b"aitbc/link/1/initiator to responder\x01") == GOLDEN_KEY_TO_BOB
    assert mac(final, b"aitbc/link/1/responder to initiator\x01") == GOLDEN_KEY_TO_ALICE
    assert tagged(b"aitbc/link/1/id", transcript) == GOLDEN_LINK_ID


def test_session_keys_are_not_shown() -> None:
    _, _, _, alice, _ = shake_hands()
    assert alice.send_key.hex() not in repr(alice)
    assert repr(alice.send_key) not in repr(alice)


@pytest.mark.parametrize("message", ["offer", "answer", "proof"])
def test_every_changed_byte_fails(message: str, rng: random.Random) -> None:
    """A man in the middle who changes any one byte stops the handshake, before the side he spoke to has a session."""
    size = {"offer": OFFER_SIZE, "answer": ANSWER_SIZE, "proof": PROOF_SIZE}[message]
    for position in range(size):
        # The top bit too: X25519 ignores the one of its last byte, the transcript does not.
        for change in (0x80, rng.randrange(1, 256)):

            def tamper(name: str, data: bytes, at: int = position, mask: int = change) -> bytes:
                return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :] if name == message else data

            with pytest.raises(LinkClosed):
                shake_hands(tamper)


@pytest.mark.parametrize("message", ["offer", "answer", "proof"])
def test_every_truncation_and_extension_fails(message: str) -> None:
    offer, answer, proof, _, _ = shake_hands()
    for length in [*range(len({"offer": offer, "answer": answer, "proof": proof}[message])), -1]:

        def cut(name: str, data: bytes, to: int = length) -> bytes:
            if name != message:
                return data
            return data + b"\x00" if to == -1 else data[:to]

        with pytest.raises(LinkClosed) as closed:
            shake_hands(cut)
        assert closed.value.code == CloseCode.VIOLATION


def test_replayed_messages_fail() -> None:
    offer, answer, proof, _, _ = shake_hands()
    responder = Responder(BOB, GENESIS, b"\x33" * 32)
    assert responder.read_offer(offer) == ALICE.public_key
    responder.answer()
    with pytest.raises(LinkClosed, match="proof is not authentic"):
        responder.read_proof(proof)
    initiator = Initiator(ALICE, GENESIS, BOB.public_key, b"\x44" * 32)
    with pytest.raises(LinkClosed, match="answer is not authentic"):
        initiator.read_answer(answer)


def test_reflected_messages_fail() -> None:
    initiator = Initiator(ALICE, GENESIS, BOB.public_key, ALICE_EPHEMERAL)
    with pytest.raises(LinkClosed) as closed:
        Responder(ALICE, GENESIS, BOB_EPHEMERAL).read_offer(initiator.offer)
    assert closed.value.code == CloseCode.OWN_KEY
    with pytest.raises(LinkClosed):
        Initiator(ALICE, GENESIS, ALICE.public_key, ALICE_EPHEMERAL)
    # What Bob sealed in his role cannot serve as a proof in the other.
    responder = Responder(BOB, GENESIS, BOB_EPHEMERAL)
    responder.read_offer(initiator.offer)
    answer = responder.answer()
    with pytest.raises(LinkClosed, match="not authentic"):
        responder.read_proof(bytes([handshake.PROOF_KIND]) + answer[33:])


def test_someone_else_cannot_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    initiator = Initiator(ALICE, GENESIS, BOB.public_key, ALICE_EPHEMERAL)
    mallory = Responder(CAROL, GENESIS, BOB_EPHEMERAL)
    monkeypatch.setattr(mallory, "_offer", initiator.offer)
    with pytest.raises(LinkClosed, match="responder does not hold its key"):
        initiator.read_answer(mallory.answer())


def test_someone_else_cannot_claim_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    mallory = Initiator(CAROL, GENESIS, BOB.public_key, ALICE_EPHEMERAL)
    claimed = mallory.offer.replace(CAROL.public_key, ALICE.public_key)
    monkeypatch.setattr(mallory, "offer", claimed)
    responder = Responder(BOB, GENESIS, BOB_EPHEMERAL)
    assert responder.read_offer(claimed) == ALICE.public_key
    proof, _ = mallory.read_answer(responder.answer())
    with pytest.raises(LinkClosed, match="initiator does not hold its key"):
        responder.read_proof(proof)


def test_unknown_key_share_fails() -> None:
    """Carol cannot have Bob believe that the link Alice opens with him is Carol's: he refuses what names another."""
    to_carol = Initiator(ALICE, GENESIS, CAROL.public_key, ALICE_EPHEMERAL)
    with pytest.raises(LinkClosed) as closed:
        Responder(BOB, GENESIS, BOB_EPHEMERAL).read_offer(to_carol.offer)
    assert closed.value.code == CloseCode.WRONG_IDENTITY
    to_bob = Initiator(ALICE, GENESIS, BOB.public_key, ALICE_EPHEMERAL)
    responder = Responder(BOB, GENESIS, BOB_EPHEMERAL)
    responder.read_offer(to_bob.offer.replace(ALICE.public_key, CAROL.public_key))
    with pytest.raises(LinkClosed, match="answer is not authentic"):
        to_bob.read_answer(responder.answer())


def test_another_network_is_refused_with_its_reason() -> None:
    initiator = Initiator(ALICE, bytes(32), BOB.public_key, ALICE_EPHEMERAL)
    with pytest.raises(LinkClosed, match=GENESIS.hex()) as closed:
        Responder(BOB, GENESIS, BOB_EPHEMERAL).read_offer(initiator.offer)
    assert closed.value.code == CloseCode.WRONG_NETWORK


def test_another_version_is_refused() -> None:
    """There is one version: none can be negotiated down to."""
    offer = bytearray(GOLDEN_OFFER)
    offer[len(MAGIC) + 2] = 2
    with pytest.raises(LinkClosed, match="version 2") as closed:
        Responder(BOB, GENESIS, BOB_EPHEMERAL).read_offer(bytes(offer))
    assert closed.value.code == CloseCode.UNSUPPORTED_VERSION


def test_another_protocol_is_refused() -> None:
    with pytest.raises(LinkClosed, match="not a link offer"):
        Responder.check_prefix(b"GET / HTTP/")


@pytest.mark.parametrize("point", LOW_ORDER)
def test_low_order_ephemeral_keys_are_refused(point: int) -> None:
    weak = point.to_bytes(32, "little")
    responder = Responder(BOB, GENESIS, BOB_EPHEMERAL)
    responder.read_offer(GOLDEN_OFFER[:-32] + weak)
    with pytest.raises(LinkClosed, match="low order"):
        responder.answer()
    with pytest.raises(LinkClosed, match="low order"):
        Initiator(ALICE, GENESIS, BOB.public_key, ALICE_EPHEMERAL).read_answer(
            GOLDEN_ANSWER[:1] + weak + GOLDEN_ANSWER[33:]
        )


def test_a_refusal_carries_its_reason() -> None:
    refusal = encode_refusal(CloseCode.FULL)
    assert refusal == bytes.fromhex("7f00010007")
    assert len(refusal) == REFUSAL_SIZE
    closed = decode_refusal(refusal)
    assert (closed.code, closed.remote, str(closed)) == (CloseCode.FULL, True, "full by peer")
    unknown = decode_refusal(bytes.fromhex("7f00020309"))
    assert str(unknown) == "code_777 by peer: peer has version 2"


def test_records_only_open_once_and_in_order() -> None:
    sealer = Sealer(GOLDEN_KEY_TO_BOB)
    first, second, third = (sealer.seal(text) for text in (b"first", b"second", b"third"))
    for wrong in ([second], [first, first], [first, third], [first[:-1]], [first + b"\x00"], [b"short"], [b""]):
        with pytest.raises(LinkClosed):
            open_all(wrong)
    assert open_all([first, second, third]) == [b"first", b"second", b"third"]


def test_a_record_of_the_other_direction_does_not_open() -> None:
    with pytest.raises(LinkClosed, match="not authentic"):
        Opener(GOLDEN_KEY_TO_ALICE).open(Sealer(GOLDEN_KEY_TO_BOB).seal(b"reflected"))


def test_every_changed_record_byte_fails() -> None:
    for position in range(len(GOLDEN_FIRST_SEALED)):
        changed = bytearray(GOLDEN_FIRST_SEALED)
        changed[position] ^= 1
        with pytest.raises(LinkClosed, match="not authentic"):
            Opener(GOLDEN_KEY_TO_BOB).open(bytes(changed))


def test_keys_roll_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "_REKEY_INTERVAL", 4)
    rolling = Sealer(GOLDEN_KEY_TO_BOB)
    sealed = [rolling.seal(b"%d" % number) for number in range(10)]
    assert open_all(sealed) == [b"%d" % number for number in range(10)]
    monkeypatch.setattr(handshake, "_REKEY_INTERVAL", 1 << 16)
    fixed = Sealer(GOLDEN_KEY_TO_BOB)
    same = [fixed.seal(b"%d" % number) == sealed[number] for number in range(10)]
    assert same == [True] * 4 + [False] * 6


def test_a_used_up_counter_stops_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "_RECORD_LIMIT", 2)
    sealer = Sealer(GOLDEN_KEY_TO_BOB)
    sealer.seal(b"")
    sealer.seal(b"")
    with pytest.raises(LinkClosed, match="exhausted"):
        sealer.seal(b"")
