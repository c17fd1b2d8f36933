"""Who may import whom, and what keeps chain/ pure, read from the source itself.

The rules are those of the README of each room: chain/ is a deterministic function, so nothing in it may depend on a
clock, a disk, a network, chance, the environment, floating point, or an interpreter's hash seed.
"""

import ast
import pathlib
import sys
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
LAYERS = {
    "chain": set(),
    "genesis": {"chain"},
    "wallet": {"chain"},
    "node": {"chain", "genesis"},
    "cli": {"wallet", "chain", "genesis"},
    "localnet": {"chain", "wallet", "genesis"},
}
CHAIN_THIRD_PARTY = {"cbor2", "nacl", "py_arkworks_bls12381"}
# unicodedata differs between Python versions, and decimal depends on a context that is set elsewhere.
IMPURE_MODULES = set(
    "aiohttp asyncio builtins concurrent ctypes datetime decimal gc http importlib inspect io locale logging"
    " multiprocessing os pathlib platform plyvel queue random secrets select selectors shutil signal socket sqlite3 ssl"
    " subprocess sys tempfile threading time unicodedata urllib uuid warnings weakref zoneinfo".split()
)
IMPURE_CALLS = {"__import__", "compile", "eval", "exec", "float", "globals", "hash", "id", "input", "open", "print"}
SOLE_IMPORTERS = {"cbor2": "chain/codec.py"}


def sources(room: str) -> list[pathlib.Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imports(tree: ast.AST, package: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Every (line, absolute module name) a module imports, wherever in the module it does so."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            anchor = package[: len(package) - node.level + 1] if node.level else ()
            yield node.lineno, ".".join([*anchor, *([node.module] if node.module else [])])


def layer_faults(room: str, name: str, source: str) -> list[str]:
    """What `source`, a module of `room` at path `name`, imports and must not."""
    faults = []
    for line, module in imports(ast.parse(source), pathlib.PurePath(name).parent.parts):
        top = module.partition(".")[0]
        ours = top in LAYERS or top == "tests"
        foreign = room == "chain" and not ours and top not in sys.stdlib_module_names | CHAIN_THIRD_PARTY
        if (ours and top != room and top not in LAYERS[room]) or foreign or SOLE_IMPORTERS.get(top, name) != name:
            faults.append(f"{name}:{line} imports {module}")
    return faults


def impurities(name: str, source: str) -> list[str]:
    """What in `source`, a module of chain/ at path `name`, could make two machines disagree."""
    tree = ast.parse(source)
    package = pathlib.PurePath(name).parent.parts
    faults = [
        f"{name}:{line} imports {m}" for line, m in imports(tree, package) if m.partition(".")[0] in IMPURE_MODULES
    ]
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=float() | complex()):
                faults.append(f"{name}:{node.lineno} has the float {node.value}")
            case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
                faults.append(f"{name}:{node.lineno} divides into a float")
            case ast.Call(func=ast.Name(id=called)) if called in IMPURE_CALLS:
                faults.append(f"{name}:{node.lineno} calls {called}()")
    return faults


@pytest.mark.parametrize("room", LAYERS)
def test_rooms_import_only_what_lies_below_them(room: str) -> None:
    files = sources(room)
    assert files, f"{room}/ has no modules"
    faults = [
        f for path in files for f in layer_faults(room, path.relative_to(ROOT).as_posix(), path.read_text("utf-8"))
    ]
    assert not faults, "\n".join(faults)


def test_chain_is_pure() -> None:
    faults = [
        f for path in sources("chain") for f in impurities(path.relative_to(ROOT).as_posix(), path.read_text("utf-8"))
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("chain", "import node.store"),
        ("chain", "from aiohttp import web"),
        ("chain", "import cbor2"),
        ("wallet", "def late():\n    from node import rpc"),
        ("cli", "import node"),
        ("node", "from wallet.client import Client"),
        ("genesis", "import tests.helpers"),
    ],
)
def test_layer_faults_are_found(room: str, source: str) -> None:
    assert layer_faults(room, f"{room}/module.py", source)


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("node", "from . import store\nfrom .rpc import server\nimport aiohttp, chain.codec"),
        ("chain", "import nacl.bindings, math"),
    ],
)
def test_allowed_imports_are_no_faults(room: str, source: str) -> None:
    assert not layer_faults(room, f"{room}/part/module.py", source)


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "from os import path",
        "def f():\n    import random",
        "x = 1e3",
        "x = a / b",
        "a /= 2",
        "hash(x)",
        "open('f')",
    ],
)
def test_impurities_are_found(source: str) -> None:
    assert impurities("chain/module.py", source)


def test_integer_arithmetic_is_pure() -> None:
    assert not impurities("chain/module.py", "import hashlib\nx = (a // 2 + 3) % 7\ny = x.hash()\n")
