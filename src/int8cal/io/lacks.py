"""What the system lacks when something fails: memory, open files, or a library. No input is to blame for it."""

from __future__ import annotations

import errno

from int8cal.errors import ResourceError, UnavailableError
from int8cal.io.safe_text import first_line

_NO_MEMORY = (
    "out of memory",
    "insufficient memory",
    "cannot allocate memory",
    "bad_alloc",
    "bad allocation",
    "z_mem_error",
    "failed to map segment",
    "failed to allocate memory",
)
"""How C libraries, and what loads them, say that they got no memory."""

_NO_FILES = "too many open files"

_LONGEST_CHAIN = 8
"""Exceptions that are looked at, from one to what it was raised from: such chains may be circles."""


def lack_of(error: BaseException, where: str | None = None) -> MemoryError | ResourceError | None:
    """What an exception comes of, when the system lacks memory or open files; None when it says nothing of that.

    The number of a system error decides, for its text names a file; of others the words.

    Args:
        error: it, and those that it was raised from.
        where: what was to be read or written, for the message.
    """
    seen: BaseException | None = error
    for _ in range(_LONGEST_CHAIN):
        if seen is None:
            break
        if isinstance(seen, (MemoryError, ResourceError)):
            return seen
        number = seen.errno if isinstance(seen, OSError) else None
        words = str(seen).lower() if number is None else ""
        if number == errno.ENOMEM or any(known in words for known in _NO_MEMORY):
            return MemoryError(getattr(seen, "strerror", None) or str(seen))
        if number in (errno.EMFILE, errno.ENFILE) or _NO_FILES in words:
            return ResourceError(
                "too many open files: the system gives this process no more",
                where=where,
                hint="Raise its limit (ulimit -n), or use fewer --workers.",
            )
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return None


def raise_if_lacking(error: Exception, where: str | None = None) -> None:
    """Raise what an exception comes of when the system lacks something; called where it becomes an input's error.

    Raises:
        MemoryError, ResourceError: as `lack_of` finds.
        UnavailableError: a library cannot be loaded.
    """
    lack = lack_of(error, where)
    if lack is error:
        raise error
    if lack:
        raise lack from error
    if isinstance(error, ImportError):
        raise UnavailableError(
            f"a library cannot be loaded: {first_line(error)}",
            where=where,
            hint="Install int8cal again; or raise the limit of open files, if it is low (ulimit -n).",
        ) from error
