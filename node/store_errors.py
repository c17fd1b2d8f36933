"""What can be wrong with the database, each with what to do about it. Met while running, every one stops the node."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import plyvel

from chain.errors import LedgerError


class StoreError(LedgerError):
    """The database cannot be used."""

    code = 2020


class StoreMissing(StoreError):
    code = 2021
    hint = "There is no database here. Check the path, or create one from the genesis file with `aitbc-node init`."


class StoreExists(StoreError):
    code = 2022
    hint = "There is something at this path already. Choose another, or move it away."


class StoreLocked(StoreError):
    code = 2023
    hint = "Another process uses this database. Stop it first; two nodes never share one."


class StoreCorrupted(StoreError):
    code = 2024
    hint = (
        "The database is damaged and nothing in it is trusted. Move it away, then restore a snapshot or resync from"
        " the other nodes. Keep the signer's record. If it happens again, check disk and memory."
    )


class StoreSchemaUnknown(StoreError):
    code = 2025
    hint = "Another version of the software wrote this database. Use that version, or move it away and resync."


class StoreWrongChain(StoreError):
    code = 2026
    hint = "The database belongs to another network than the genesis file."


class StoreNotWritable(StoreError):
    code = 2027
    hint = "The database cannot be written. Check the owner of the directory and how its disk is mounted."


class StoreFull(StoreError):
    code = 2028
    hint = "The disk is full, or a quota is used up. Make room and start again; nothing acknowledged is lost."


class StoreFailed(StoreError):
    code = 2029
    hint = "Reading or writing failed. Check the disk, then start again; nothing acknowledged is lost."


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_WRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS}
_TEXTS = {
    "No space left on device": StoreFull,
    "Disk quota exceeded": StoreFull,
    "File too large": StoreFull,
    "Permission denied": StoreNotWritable,
    "Operation not permitted": StoreNotWritable,
    "Read-only file system": StoreNotWritable,
}


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turns the errors of LevelDB and of the operating system into ours."""
    try:
        yield
    except (plyvel.Error, OSError) as error:
        raise translate(error) from error


def translate(error: Exception) -> StoreError:
    """The coded error for one of LevelDB's, which come as text, or of the operating system's."""
    reason = str(error).removeprefix("b'").removesuffix("'")[:200]
    if isinstance(error, OSError) and not isinstance(error, plyvel.Error):
        if error.errno in _FULL:
            return StoreFull(reason=reason)
        return StoreNotWritable(reason=reason) if error.errno in _NOT_WRITABLE else StoreFailed(reason=reason)
    if isinstance(error, plyvel.CorruptionError) or "Corruption:" in reason:
        return StoreCorrupted(reason=reason)
    for text, kind in _TEXTS.items():
        if text in reason:
            return kind(reason=reason)
    if "No such file" in reason:
        return StoreCorrupted(reason=reason)
    return StoreFailed(reason=reason)
