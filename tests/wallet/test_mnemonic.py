"""Recovery words against the published BIP-39 vectors, and every way to mistype them."""

import json
import random
from pathlib import Path

import pytest

from wallet.errors import InvalidMnemonic
from wallet.mnemonic import entropy_from_mnemonic, generate_mnemonic, mnemonic_from_entropy, seed_from_mnemonic

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "bip39_english.json").read_text())["english"]
ACCEPTED = [row for row in VECTORS if len(row[1].split()) in (12, 24)]
REFUSED = [row for row in VECTORS if len(row[1].split()) not in (12, 24)]
WORDS = "legal winner thank year wave sausage worth useful legal winner thank yellow"


@pytest.mark.parametrize(("entropy", "words", "seed", "_root"), ACCEPTED)
def test_published_vectors(entropy: str, words: str, seed: str, _root: str) -> None:
    assert mnemonic_from_entropy(bytes.fromhex(entropy)) == words
    assert entropy_from_mnemonic(words).hex() == entropy
    assert seed_from_mnemonic(words, "TREZOR").hex() == seed


def test_the_vectors_have_both_lengths() -> None:
    assert {len(row[1].split()) for row in ACCEPTED} == {12, 24}
    assert REFUSED


@pytest.mark.parametrize(("entropy", "words", "_seed", "_root"), REFUSED)
def test_other_lengths_are_refused(entropy: str, words: str, _seed: str, _root: str) -> None:
    with pytest.raises(InvalidMnemonic, match="12 or 24 words, and there are 18"):
        entropy_from_mnemonic(words)
    with pytest.raises(InvalidMnemonic):
        mnemonic_from_entropy(bytes.fromhex(entropy))


@pytest.mark.parametrize("count", [12, 24])
def test_generated_words_are_valid_and_fresh(count: int) -> None:
    made = {generate_mnemonic(count) for _ in range(5)}
    assert len(made) == 5
    for words in made:
        assert len(words.split()) == count
        assert mnemonic_from_entropy(entropy_from_mnemonic(words)) == words


@pytest.mark.parametrize("count", [0, 11, 15, 18, 21, 25])
def test_generating_other_lengths_is_refused(count: int) -> None:
    with pytest.raises(InvalidMnemonic):
        generate_mnemonic(count)


@pytest.mark.parametrize(
    "text", [WORDS.upper(), f"  {WORDS}\n", WORDS.replace(" ", "\t \n"), WORDS.replace(" ", "\u3000")]
)
def test_case_and_spacing_do_not_matter(text: str) -> None:
    assert entropy_from_mnemonic(text) == b"\x7f" * 16
    assert seed_from_mnemonic(text) == seed_from_mnemonic(WORDS)


def test_reasons_name_positions_and_no_words() -> None:
    cases = {
        WORDS.replace("sausage", "sausages"): "word 6 is not on the list",
        WORDS.replace("winner thank year", "thank winner year"): "the checksum is wrong",
        WORDS.replace("yellow", "zoo"): "the checksum is wrong",
        WORDS.rsplit(" ", 1)[0]: "there are 11",
        "": "there are 0",
        "zoo " * 1000: "too long",
    }
    for text, reason in cases.items():
        with pytest.raises(InvalidMnemonic, match=reason) as caught:
            seed_from_mnemonic(text)
        shown = f"{caught.value!r} {caught.value} {caught.value.hint}"
        assert not any(word in shown for word in ("sausage", "winner", "zoo", "yellow"))
        assert caught.value.__context__ is None


def test_a_random_word_in_place_of_another_is_mostly_noticed(rng: random.Random) -> None:
    # Four bits of checksum: a replaced word passes one time in sixteen.
    words = WORDS.split()
    passed = 0
    for _ in range(400):
        changed = [*words]
        changed[rng.randrange(12)] = rng.choice(mnemonic_from_entropy(rng.randbytes(32)).split())
        if changed == words:
            continue
        try:
            entropy_from_mnemonic(" ".join(changed))
        except InvalidMnemonic:
            continue
        passed += 1
    assert passed < 80


@pytest.mark.parametrize("text", [None, 7, WORDS.encode(), WORDS.split()])
def test_other_types_are_refused(text: object) -> None:
    with pytest.raises(InvalidMnemonic):
        entropy_from_mnemonic(text)  # type: ignore[arg-type]
