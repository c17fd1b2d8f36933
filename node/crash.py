"""Named places where a test can kill the process: between every two steps that touch the disk.

Setting the environment variable AITBC_CRASH_POINT to a name, or to name:N for the Nth time it is passed, kills the
process there with SIGKILL: no handler, no flush, no exit code of its own. Nothing happens without the variable.
"""

import os
import signal

VARIABLE = "AITBC_CRASH_POINT"

_name, _, _count = os.environ.get(VARIABLE, "").partition(":")
_left = int(_count) if _count.isdecimal() else 1


def crash_point(name: str) -> None:
    """Kill this process if `name` is the armed point and has now been passed often enough."""
    global _left
    if name != _name:
        return
    _left -= 1
    if _left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
