"""The files of a database as SIGKILL would leave them, while LevelDB goes on compacting in the background.

A copy takes time, in which tables come and go; so it counts only if nothing has changed while it was made.
"""

import shutil
from pathlib import Path

ATTEMPTS = 1_000


def copy_as_killed(building: Path, image: Path) -> None:
    """Copy the files of an open database, into which nobody writes just now, as they are at one moment."""
    for _ in range(ATTEMPTS):
        before = _files(building)
        try:
            shutil.copytree(building, image)
        except (shutil.Error, FileNotFoundError):  # a table went away
            pass
        else:
            if _files(building) == before:
                return
        shutil.rmtree(image, ignore_errors=True)
    raise AssertionError(f"{building} does not come to rest")


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    """(size, time of the last write) of every file; a file that goes away meanwhile is none."""
    found = {}
    for file in folder.rglob("*"):
        try:
            told = file.stat()
        except FileNotFoundError:
            continue
        found[str(file.relative_to(folder))] = (told.st_size, told.st_mtime_ns)
    return found
