"""Space on file systems: whether a result fits, and room set aside for a file that grows."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import shutil
from collections.abc import Callable
from typing import Final

from int8cal.errors import OutputError, ResourceError
from int8cal.io.paths import absolute

_KEEP_SIZE: Final = 1  # FALLOC_FL_KEEP_SIZE of fallocate(2)
_PLENTY: Final = 64  # times as much must be free, so that nobody else lacks what is set aside


def require_free_space(
    folder: str, needed: int, *, hint: str = "Free some space, choose another folder, or ask for fewer batches."
) -> None:
    """Refuse work whose result will not fit. A mount that does not tell its size, as of an object store, has room.

    Args:
        folder: where the result goes; it or a parent of it exists.
        needed: expected size in bytes.
        hint: what to do when there is too little.

    Raises:
        OutputError: less than ``needed`` bytes are free.
    """
    folder = absolute(folder)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    try:
        disk = shutil.disk_usage(folder)
    except OSError:
        return
    if disk.total and disk.free < needed:
        raise OutputError(
            f"about {_megabytes(needed)} MB are needed and {_megabytes(disk.free)} MB are free",
            where=folder,
            hint=hint,
        )


def require_file_size(folder: str, needed: int, *, cause: Exception) -> None:
    """Refuse a file that the system does not let this process write: where a library fails without saying why.

    Args:
        folder: where it goes.
        needed: expected size in bytes.
        cause: what came of it.

    Raises:
        ResourceError: files may have fewer bytes.
    """
    try:
        import resource  # late: for few runs, and not on Windows
    except ImportError:
        return
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if limit != resource.RLIM_INFINITY and limit < needed:
        raise ResourceError(
            f"about {_megabytes(needed)} MB are needed in one file, and this process may write {_megabytes(limit)} MB",
            where=folder,
            hint="Raise its limit on the size of files (ulimit -f).",
        ) from cause


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f}" if size >= 10_000_000 else f"{size / 1e6:.3f}"


def reserve(descriptor: int, begin: int, nbytes: int) -> bool:
    """Set room aside for what will be written to a file; its size stays.

    Writing takes less time then, and the file lies in fewer pieces. Room that nothing is written to stays taken until
    `give_back`. Where room is short, it is left to others.

    Returns:
        Whether it was done: False where the system or the file system cannot, or less than `_PLENTY` times as much is
        free.
    """
    fallocate = _fallocate()
    if fallocate is None or not _is_free(descriptor, _PLENTY * nbytes):
        return False
    if fallocate(descriptor, _KEEP_SIZE, begin, nbytes) == 0:
        return True
    give_back(descriptor)  # ext4 keeps what it took before a quota or the disk was full
    return False


def give_back(file: str | int) -> None:
    """Free the room behind the end of a file. Where that cannot be done, it stays taken, which is no error.

    Args:
        file: its path, or a descriptor open for writing.
    """
    with contextlib.suppress(OSError):
        os.truncate(file, os.stat(file).st_size)


def _is_free(descriptor: int, nbytes: int) -> bool:
    try:
        return shutil.disk_usage(descriptor).free >= nbytes
    except OSError:
        return False


@functools.cache
def _fallocate() -> Callable[[int, int, int, int], int] | None:
    """Linux's; Python has only ``posix_fallocate``, which writes zeros where the file system has no such call."""
    try:
        found = ctypes.CDLL(None).fallocate
    except (OSError, AttributeError, TypeError):  # TypeError: Windows
        return None
    found.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long)  # its off_t is a long
    return found
