"""What the system lacks when something fails: memory, open files, or a library. No input is to blame for it."""

from __future__ import annotations

import errno
from typing import TypeAlias

from int8cal.errors import ResourceError, UnavailableError
from int8cal.io.safe_text import first_line

Lack: TypeAlias = MemoryError | ResourceError | UnavailableError

_NO_MEMORY = ("out of memory", "insufficient memory", "cannot allocate memory", "z_mem_error", "failed to map segment")
"""How C libraries, and what loads them, say that they got no memory."""

_NO_FILES = "too many open files"
_LONGEST_CHAIN = 8


def lack_of(error: BaseException, where: str | None = None) -> Lack | None:
    """What an exception comes of, whoever raised it, when the system lacks something; None when it says nothing of it.

    Args:
        error: it, and those that it was raised from or while handling.
        where: what was to be read, for the message.
    """
    seen: BaseException | None = error
    for _ in range(_LONGEST_CHAIN):
        if seen is None:
            break
        if isinstance(seen, (MemoryError, ResourceError)):
            return seen
        number, words = getattr(seen, "errno", None), str(seen).lower()
        if number == errno.ENOMEM or any(known in words for known in _NO_MEMORY):
            return MemoryError(getattr(seen, "strerror", None) or str(seen))
        if number in (errno.EMFILE, errno.ENFILE) or _NO_FILES in words:
            return ResourceError(
                "too many open files: the system gives this process no more",
                where=where,
                hint="Raise its limit (ulimit -n), or use fewer --workers.",
            )
        seen = seen.__cause__ or seen.__context__
    if isinstance(error, ImportError):
        return UnavailableError(
            f"a library cannot be loaded: {first_line(error)}",
            where=where,
            hint="Raise the limit of open files, if it is low (ulimit -n), or install int8cal again.",
        )
    return None


def raise_if_lacking(error: Exception, where: str | None = None) -> None:
    """Raise what `lack_of` finds, if it finds something; to be called where an exception becomes an input's error.

    Raises:
        MemoryError, ResourceError, UnavailableError: the system lacks something.
    """
    lack = lack_of(error, where)
    if lack is error:
        raise error
    if lack:
        raise lack from error
