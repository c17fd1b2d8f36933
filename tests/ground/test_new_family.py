"""A made-up family of actions: one new file and its line in the registry, and it is everywhere.

The test copies the rooms, writes the family into the copy, and looks at it there in a process of its own.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("chain", "cli", "genesis", "node", "wallet", "localnet")
LINE = "from chain.actions.staking import FAMILY as STAKING\n"

FAMILY = '''"""Parking: somebody says where a machine stands."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from chain.action import Action, Context, Family
from chain.errors import LedgerError
from chain.record import record
from chain.schema import Address, Amount, String
from chain.state.tables import Table, TableId


class NoSpace(LedgerError):
    code = 9901
    hint = "Take another place."


@record(version=1)
@dataclass(frozen=True, slots=True)
class Place:
    owner: Address
    rent: Amount


PLACES: Table[Place] = Table(TableId(0x30), Place)


@record(version=1)
@dataclass(frozen=True, slots=True)
class Park(Action):
    code: ClassVar[int] = 990
    name: ClassVar[str] = "parking.park"
    base_weight: ClassVar[int] = 3

    place: Annotated[str, String(32, 1)]
    rent: Amount

    def check(self, context: Context) -> None:
        if self.place == "nowhere":
            raise NoSpace(place=self.place)

    def apply(self, context: Context) -> None:
        context.emit("parking.parked", [("account", context.sender)], rent=self.rent)


FAMILY = Family("parking", (Park,))
'''

LOOK = """
import json
import sys

from click.testing import CliRunner

from chain.action import action_from_json, action_to_json
from chain.actions.parking import Park
from chain.schema import COIN
from chain.transaction import Transaction
from cli.main import aitbc
from cli.wallet_offline import read_actions
from cli.writing import describe
from node.rpc.openrpc import document
from tests.market import Market
from wallet.transactions import to_file

assert sys.modules["chain"].__file__.startswith(sys.argv[1]), "the copy is what runs"
market = Market()
parking = market.sign(market.renter, Park("level 2", 3 * COIN // 2))
codec = Transaction.decode(parking.envelope)
assert codec.body.actions == (Park("level 2", 3 * COIN // 2),)
assert market.block(codec)[0].events[0].kind == "parking.parked"
assert market.refused(market.renter, Park("nowhere", 1)) == ("no_space", {"place": "nowhere"})

plain = action_to_json(codec.body.actions[0], "dait")
assert plain == {"action": "parking.park", "place": "level 2", "rent": "1500000000"}
assert action_from_json(plain, "dait") == codec.body.actions[0]

schema = document()["components"]["schemas"]["Action.parking.park"]
assert set(schema["properties"]) == {"action", "place", "rent"}

text = dict(describe(codec.body, "dait"))
assert ("parking.park", "level 2", "1.5 AITBC") == tuple(text[name] for name in ("action", "place", "rent")), text

signed, actions = f"{sys.argv[1]}/signed", f"{sys.argv[1]}/actions.json"
open(signed, "wb").write(to_file(codec))
open(actions, "w").write(json.dumps([plain]))
assert read_actions(actions, "dait") == list(codec.body.actions)
done = CliRunner().invoke(aitbc, ["--output", "json", "wallet", "verify", signed])
assert done.exit_code == 0, done.output
shown = json.loads(done.stdout)
assert shown["transaction"]["actions"] == [plain], shown
print("everywhere")
"""


def test_a_new_family_takes_one_file_and_one_line_in_the_registry(tmp_path: Path) -> None:
    for room in ROOMS:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "chain/actions/parking.py").write_text(FAMILY)
    registry = tmp_path / "chain/actions/__init__.py"
    text = registry.read_text()
    assert text.count(LINE) == 1
    registry.write_text(text.replace(LINE, LINE + LINE.replace("staking", "parking").replace("STAKING", "PARKING")))
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "everywhere"
