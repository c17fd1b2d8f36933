"""Building, signing and carrying transactions, and sealing messages: what happens without a node."""

from pathlib import Path

import pytest

from chain.actions.accounts import Transfer
from chain.crypto.hashing import sha256
from chain.fees import required_fee
from chain.parameters import Parameters
from chain.transaction import Body, Transaction, body_weight
from tests.ledger import GENESIS_TIME_MS, Ledger, Person, make_specification
from wallet.keystore import Keystore
from wallet.sealing import CannotOpenSeal, seal, sealing_key, unseal
from wallet.transactions import (
    Network,
    UnreadableTransactionFile,
    WrongWallet,
    build,
    from_file,
    sign,
    to_file,
)
from wallet.wallet_file import CHEAPEST_COST, UnlockedWallet

NETWORK = Network("devnet-00000000", "dait", Parameters(), GENESIS_TIME_MS)


@pytest.fixture
def wallets(tmp_path: Path) -> tuple[UnlockedWallet, UnlockedWallet]:
    keystore = Keystore(tmp_path / "wallets", cost=CHEAPEST_COST)
    made = [
        keystore.create(name, "simple", sha256(name.encode()), prefix="dait", allow_empty_passphrase=True)
        for name in ("one", "two")
    ]
    return made[0].unlock(), made[1].unlock()


def transfer(wallet: UnlockedWallet, network: Network = NETWORK, **options: object) -> Body:
    action = Transfer(Person("receiver").address, "AITBC", 5)
    return build(network, wallet.wallet.address, wallet.public_key, 0, [action], now_ms=GENESIS_TIME_MS, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{}, {"memo": "for the GPU"}, {"idempotency_id": bytes(32)}, {"tip": 10**12}])
def test_the_fee_is_exactly_what_the_ledger_needs_and_the_tip(
    wallets: tuple[UnlockedWallet, UnlockedWallet], options: dict[str, object]
) -> None:
    transaction = sign(wallets[0], transfer(wallets[0], **options))
    body = transaction.body
    needed = required_fee(NETWORK.parameters, transaction.size, body_weight(body))
    assert 0 <= body.fee - needed - int(str(options.get("tip", 0))) <= 4 * NETWORK.parameters.fee_per_byte


def test_a_ledger_takes_what_was_built(wallets: tuple[UnlockedWallet, UnlockedWallet]) -> None:
    payer = Person("payer")
    payer.address = wallets[0].wallet.address
    ledger = Ledger(make_specification([payer]))
    network = Network(ledger.chain_id, "dait", Parameters(), ledger.time_ms)
    (result,) = ledger.block(sign(wallets[0], transfer(wallets[0], network)))
    assert result.succeeded
    assert ledger.balance(Person("receiver")) == 5


def test_validity_counts_from_the_later_of_both_clocks(wallets: tuple[UnlockedWallet, UnlockedWallet]) -> None:
    ahead = Network(NETWORK.chain_id, "dait", Parameters(), GENESIS_TIME_MS + 3_600_000)
    assert transfer(wallets[0]).valid_until_ms == GENESIS_TIME_MS + 600_000
    assert transfer(wallets[0], ahead).valid_until_ms == GENESIS_TIME_MS + 4_200_000


def test_only_the_senders_wallet_signs(wallets: tuple[UnlockedWallet, UnlockedWallet]) -> None:
    with pytest.raises(WrongWallet):
        sign(wallets[1], transfer(wallets[0]))


def test_files_carry_what_was_written(wallets: tuple[UnlockedWallet, UnlockedWallet]) -> None:
    body = transfer(wallets[0])
    signed = sign(wallets[0], body)
    assert from_file(to_file(body)) == body
    assert from_file(to_file(signed)) == signed
    assert isinstance(from_file(to_file(signed)), Transaction)
    golden = "942ee177df9435fe55af6a882025d958aaddb090420511964c123204f7a31119"
    assert sha256(to_file(signed)).hex() == golden


@pytest.mark.parametrize("data", [b"", b"text", b"\x82\x61a\x40", b"\x83\x01\x02\x03"])
def test_what_is_no_transaction_file_says_so(data: bytes) -> None:
    with pytest.raises(UnreadableTransactionFile):
        from_file(data)


def test_every_changed_byte_of_a_file_is_noticed(wallets: tuple[UnlockedWallet, UnlockedWallet]) -> None:
    signed = sign(wallets[0], transfer(wallets[0]))
    data = to_file(signed)
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1
        try:
            other = from_file(bytes(changed))
        except UnreadableTransactionFile:
            continue
        assert isinstance(other, Transaction)
        with pytest.raises(Exception, match="bad_signature"):
            other.verify_signature()


def test_only_its_wallet_opens_a_sealed_message(wallets: tuple[UnlockedWallet, UnlockedWallet]) -> None:
    sealed = seal(b"ssh key", sealing_key(wallets[0]))
    assert unseal(wallets[0], sealed) == b"ssh key"
    for wallet, message in ((wallets[1], sealed), (wallets[0], sealed[:-1]), (wallets[0], b"")):
        with pytest.raises(CannotOpenSeal):
            unseal(wallet, message)
