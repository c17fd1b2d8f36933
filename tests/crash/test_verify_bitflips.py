"""One flipped bit anywhere in the database of a real chain is reported by verification, or changes no value at all.

The raw store has a test like it; here the whole way is taken, from the genesis file through every block, signature and
certificate, as an operator takes it who doubts a disk. AITBC_EXTENDED=1 tries a thousand flips.
"""

import random
import shutil
import time
from pathlib import Path

import pytest

from chain.parameters import Parameters
from node import store as store_module
from node import store_tables as tables
from node.store import Store
from node.store_errors import StoreCorrupted
from node.verify import VerifyFailed, verify
from tests.conftest import EXTENDED
from tests.killed import copy_as_killed
from tests.ledger import Person, make_specification
from tests.solo import AUTHORITY, Solo, pay, trade

PEOPLE = tuple(Person(name) for name in ("provider", "renter", "carol"))
SPECIFICATION = make_specification(
    PEOPLE, parameters=Parameters(epoch_blocks=8, dispute_window_seconds=3), authorities=(AUTHORITY,)
)
BLOCKS = 24
FLIPS = 1_000 if EXTENDED else 60
SECONDS = 900 if EXTENDED else 20
"""Where the machine is slow, fewer flips are tried, but never fewer than a third."""

Contents = dict[bytes, bytes]


def grow(image: Path, *, write_buffer: int) -> None:
    """A chain's database as SIGKILL leaves it: copied while it is open, the latest writes only in the log."""
    building = image.with_name(image.name + "-building")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(store_module._OPTIONS, "write_buffer_size", write_buffer)
        with Solo(building, specification=SPECIFICATION) as solo:
            trade(solo, PEOPLE, BLOCKS)
            waiting = solo.sign(PEOPLE[2], pay(PEOPLE[0], 1))
            solo.store.put_submitted({waiting.txid: waiting.envelope})
            solo.executor.persist([solo.build()], [])
            copy_as_killed(building, image)
    shutil.rmtree(building)


def contents(path: Path) -> Contents:
    with Store.open(path) as store:
        return dict(store.read_range(tables.LOWEST + b"\x00", tables.HIGHEST))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Contents]]:
    """A young database, all in its log; one after many flushes; and one that was opened again, all in tables."""
    place = tmp_path_factory.mktemp("bitflips")
    grow(place / "young", write_buffer=4 << 20)
    grow(place / "flushed", write_buffer=32 << 10)
    grow(place / "rested", write_buffer=4 << 20)
    contents(place / "rested")
    found = []
    for name in ("young", "flushed", "rested"):
        copy = place / f"{name}-copy"
        shutil.copytree(place / name, copy)
        assert verify(copy, SPECIFICATION).height == BLOCKS
        found.append((place / name, contents(copy)))
    return found


def flip(path: Path, rng: random.Random) -> str:
    """Flip one bit of one file, each kind of file as likely as another; returns where."""
    kinds: dict[str, list[Path]] = {}
    for file in sorted(path.rglob("*")):
        # What LevelDB notes for people in LOG is read by nobody.
        if file.is_file() and file.stat().st_size and not file.name.startswith("LOG"):
            kinds.setdefault(file.suffix or file.name.partition("-")[0], []).append(file)
    file = rng.choice(kinds[rng.choice(sorted(kinds))])
    data = bytearray(file.read_bytes())
    at, bit = rng.randrange(len(data)), rng.randrange(8)
    data[at] ^= 1 << bit
    file.write_bytes(bytes(data))
    return f"{file.relative_to(path)}, byte {at} of {len(data)}, bit {bit}"


def test_no_flipped_bit_passes_verification_with_another_content(
    tmp_path: Path, images: list[tuple[Path, Contents]], rng: random.Random
) -> None:
    deadline = time.monotonic() + SECONDS
    reported = harmless = 0
    copy = tmp_path / "copy"
    for number in range(FLIPS):
        if time.monotonic() > deadline and number >= FLIPS // 3:
            break
        image, expected = rng.choice(images)
        shutil.copytree(image, copy)
        place = f"{image.name}/{flip(copy, rng)}"
        print(place)
        try:
            verify(copy, SPECIFICATION)
        except (StoreCorrupted, VerifyFailed):
            reported += 1
        else:
            assert contents(copy) == expected, f"silent damage by {place}"
            harmless += 1
        shutil.rmtree(copy)
    print(f"{reported} reported, {harmless} harmless")
    assert reported > (reported + harmless) // 3
