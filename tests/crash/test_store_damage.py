"""Flipped bits anywhere in the files of a database are reported, or every stored value is still what it was.

What must not happen is the third case: the store opens without a word and something is missing, older or different.
LevelDB alone falls into it (see `node.store_head` and `node.store`), so half of the flips go where it is blind: the
lengths in logs and manifest, the ends of tables.
"""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from chain.crypto.hashing import sha256
from node import store as store_module
from node import store_tables as tables
from node.store import Store
from node.store_errors import StoreError
from tests.conftest import EXTENDED
from tests.killed import copy_as_killed
from tests.leveldb_log import read_fragments, read_records, write_records
from tests.storage_chain import GENESIS_HASH, Chain

FLIPS = 1_000 if EXTENDED else 150
SEED = 5

Contents = dict[bytes, bytes]


def killed(path: Path, blocks: int, *, small: bool) -> None:
    """A database as SIGKILL leaves it after some blocks; with `small` buffers after many flushes and compactions."""
    chain = Chain(SEED)
    building = path.with_name(path.name + "-building")
    with pytest.MonkeyPatch.context() as patch:
        if small:
            patch.setitem(store_module._OPTIONS, "write_buffer_size", 32 << 10)
        Store.create(building, GENESIS_HASH, chain.genesis)
        with Store.open(building) as store:
            for _ in range(blocks):
                store.commit(chain.advance())
                store.prune(100, chain.height - 5)
            store.persist([Chain(SEED + 1).advance().block], chain.certificates_above())
            store.put_submitted({sha256(b"%d" % number): b"envelope %d" % number for number in range(30)})
            copy_as_killed(building, path)
    shutil.rmtree(building)


def rested(path: Path) -> None:
    """Closed and opened again, so that everything is in tables and the manifest is new."""
    killed(path, 25, small=False)
    Store.open(path).close()
    Store.open(path).close()


def flushing(path: Path) -> None:
    """Killed during a flush, so that an older log is still needed beside the newest."""
    killed(path, 12, small=False)
    (log,) = (path / "database").glob("*.log")
    records = read_records(log)
    write_records(log, records[:7])
    write_records(log.with_name(f"{int(log.stem) + 5:06d}.log"), records[7:])


IMAGES: dict[str, Callable[[Path], None]] = {
    "compacted": lambda path: killed(path, 60, small=True),
    "young": lambda path: killed(path, 6, small=False),
    "rested": rested,
    "flushing": flushing,
}


def contents(path: Path, expected: Contents | None = None) -> Contents:
    """Everything in the database, read key by key as `expected`, forwards and backwards. Raises StoreError."""
    with Store.open(path) as store:
        for key, value in (expected or {}).items():
            assert store.read(key) == value, f"silent damage: {key.hex()} reads differently"
        found = list(store.read_range(tables.LOWEST + b"\x00", tables.HIGHEST))
        assert list(store.read_range(tables.LOWEST + b"\x00", tables.HIGHEST, reverse=True)) == found[::-1]
        return dict(found)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Contents]]:
    place = tmp_path_factory.mktemp("images")
    found = {}
    for name, make in IMAGES.items():
        make(place / name)
        shutil.copytree(place / name, place / "whole")
        found[name] = (place / name, contents(place / "whole"))
        shutil.rmtree(place / "whole")
    return found


def choose_byte(file: Path, rng: random.Random) -> int:
    """A place in the file; half of the time one where a flip is most likely to be overlooked."""
    size = file.stat().st_size
    if rng.random() < 0.5:
        if file.suffix == ".ldb":
            return max(0, size - rng.randrange(1, 300))
        if file.suffix == ".log" or file.name.startswith("MANIFEST"):
            fragments = read_fragments(file)
            if fragments:
                return rng.choice(fragments[-8:]).offset + rng.randrange(7)
    return rng.randrange(size)


def damaged(image: Path, copy: Path, rng: random.Random) -> str:
    """Make a copy with one flipped bit. Returns where it is."""
    shutil.copytree(image, copy)
    kinds: dict[str, list[Path]] = {}
    for file in sorted(copy.rglob("*")):
        if file.is_file() and file.stat().st_size:
            kinds.setdefault(file.suffix or file.name.partition("-")[0], []).append(file)
    file = rng.choice(kinds[rng.choice(sorted(kinds))])
    at, bit = choose_byte(file, rng), rng.randrange(8)
    data = bytearray(file.read_bytes())
    data[at] ^= 1 << bit
    file.write_bytes(bytes(data))
    return f"{image.name}/{file.relative_to(copy)}, byte {at} of {len(data)}, bit {bit}"


def test_no_flipped_bit_passes_unnoticed(
    tmp_path: Path, images: dict[str, tuple[Path, Contents]], rng: random.Random
) -> None:
    reported = harmless = 0
    for _ in range(FLIPS):
        image, expected = images[rng.choice(sorted(images))]
        copy = tmp_path / "copy"
        place = damaged(image, copy, rng)
        print(place)
        try:
            found = contents(copy, expected)
        except StoreError:
            reported += 1
        else:
            lost = sorted(set(expected.items()) - set(found.items()))
            assert found == expected, f"silent damage by {place}: {len(lost)} values, e.g. {lost[:1]}"
            harmless += 1
        shutil.rmtree(copy)
    print(f"{reported} reported, {harmless} harmless")
    assert reported > FLIPS // 3
    assert harmless > 0


def test_every_flip_in_the_small_files(tmp_path: Path, images: dict[str, tuple[Path, Contents]]) -> None:
    """The head file and CURRENT, bit by bit where they hold anything."""
    image, expected = images["young"]
    copy = tmp_path / "copy"
    shutil.copytree(image, copy)
    head = (copy / "head").read_bytes()
    places = [("head", at) for at in range(len(head)) if head[at]]
    places += [("database/CURRENT", at) for at in range((copy / "database" / "CURRENT").stat().st_size)]
    for number, (name, at) in enumerate(places):
        shutil.rmtree(copy)
        shutil.copytree(image, copy)
        data = bytearray((copy / name).read_bytes())
        data[at] ^= 1 << number % 8
        (copy / name).write_bytes(bytes(data))
        try:
            assert contents(copy, expected) == expected, f"silent damage by {name}, byte {at}"
        except StoreError:
            assert name != "head", "one slot of the head file is enough"


@pytest.mark.parametrize("damage", ["truncate", "zero", "swap"])
def test_torn_and_zeroed_files(
    tmp_path: Path, images: dict[str, tuple[Path, Contents]], rng: random.Random, damage: str
) -> None:
    """Beyond single bits: the end of a file gone, a sector of zeros, two sectors exchanged."""
    for _ in range(200 if EXTENDED else 12):
        image, expected = images[rng.choice(sorted(images))]
        copy = tmp_path / "copy"
        shutil.copytree(image, copy)
        files = [file for file in sorted((copy / "database").iterdir()) if file.suffix in (".ldb", ".log")]
        file = rng.choice([file for file in files if file.stat().st_size > 600])
        data = bytearray(file.read_bytes())
        at, other = (512 * rng.randrange(len(data) // 512) for _ in range(2))
        if damage == "truncate":
            data = data[: rng.randrange(len(data))]
        elif damage == "zero":
            data[at : at + 512] = bytes(len(data[at : at + 512]))
        else:
            data[at : at + 512], data[other : other + 512] = data[other : other + 512], data[at : at + 512]
        file.write_bytes(bytes(data))
        try:
            found = contents(copy, expected)
        except StoreError:
            found = expected
        assert found == expected, f"silent damage: {damage} {image.name}/{file.name} at {at}"
        shutil.rmtree(copy)
