"""Runs an economy by hand.

python -m tests.economy SEED BLOCKS                   a random one; prints a digest of all that it did
python -m tests.economy steps SEED FAMILY:SEED ...    the steps of a failing state machine, with their outcomes
python -m tests.economy trace < FILE                  the digest of a recorded run, applied again from its bytes
"""

import sys

from tests.economy.steps import Watched
from tests.economy.world import FORGETFUL, replay, run


def main(arguments: list[str]) -> None:
    if arguments[0] == "trace":
        print(replay(sys.stdin.read()))
    elif arguments[0] == "steps":
        economy = Watched(int(arguments[1]))
        economy.open()
        for step in arguments[2:]:
            family, _, seed = step.partition(":")
            print(step, economy.step(family, int(seed)))
    else:
        print(run(int(arguments[0]), int(arguments[1]), parameters=FORGETFUL).digest.hexdigest())


main(sys.argv[1:])
