"""Runs an economy by hand.

python -m tests.economy SEED BLOCKS                   a random one; prints a digest of all that it did
python -m tests.economy steps SEED FAMILY:SEED ...    the steps of a failing state machine, with their outcomes
python -m tests.economy trace < FILE                  the digest of a recorded run, applied again from its bytes
"""

import sys

from tests.economy.world import FORGETFUL, Economy, replay, run


def main(arguments: list[str]) -> None:
    if arguments[0] == "trace":
        print(replay(sys.stdin.read()))
    elif arguments[0] == "steps":
        economy = Economy(int(arguments[1]), parameters=FORGETFUL)
        economy.open_market()
        economy.open_council()
        for step in arguments[2:]:
            family, _, seed = step.partition(":")
            print(step, economy.step(family, int(seed)))
    else:
        print(run(int(arguments[0]), int(arguments[1]), parameters=FORGETFUL).digest.hexdigest())


main(sys.argv[1:])
