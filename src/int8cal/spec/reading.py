"""The bytes of a spec, from a file or a pipe, read exactly once.

A pipe cannot be read a second time, so that whoever needs a spec twice (to find its network, then to parse it) passes
the bytes on. ``-e /dev/stdin`` and ``-e <(command)`` work as files do. A named pipe that no program opens for writing
would block for ever; it is refused after `WRITER_SECONDS`. Once there is a writer, however slow, it is read to its end.
"""

from __future__ import annotations

import errno
import os
import select
import stat

from int8cal.errors import SpecError
from int8cal.io.safe_text import printable

MAX_BYTES = 16 * 1024 * 1024
WRITER_SECONDS = 5.0
"""How long a pipe may have no writer."""


def read_bytes(path: str) -> bytes:
    """Read a spec file, at most `MAX_BYTES` of it.

    Raises:
        SpecError: the file is not there, cannot be read or is too large, or a pipe has no writer.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            data = _beginning(file.fileno(), path) + file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _unreadable(path, error) from None
    if len(data) > MAX_BYTES:
        raise SpecError(
            f"the file is larger than {MAX_BYTES // 1024 // 1024} MB, which no spec is",
            where=printable(path),
            hint="Is this the spec file? Give the text file with the training configuration.",
        )
    return data


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for the other end of a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


def _beginning(descriptor: int, path: str) -> bytes:
    """Wait until a pipe has a writer, or has had one, and let reads block again; what was read of it on the way."""
    beginning = _awaited(descriptor) if stat.S_ISFIFO(os.fstat(descriptor).st_mode) else b""
    if beginning is None:
        raise SpecError(
            f"this is a pipe to which no program has written for {WRITER_SECONDS:.0f} seconds",
            where=printable(path),
            hint="Start the program that writes the spec, or give a file.",
        )
    os.set_blocking(descriptor, True)
    return beginning


def _awaited(descriptor: int) -> bytes | None:
    """What had to be read of a pipe to learn that it has a writer; None when it has none."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    if poll.poll(WRITER_SECONDS * 1000):
        return b""  # data, or a writer that has gone again
    try:
        return os.read(descriptor, 1) or None  # nothing to read and no writer is the end of the file
    except BlockingIOError:  # nothing to read yet
        return b""


def _unreadable(path: str, error: OSError | ValueError) -> SpecError:
    reasons = {
        errno.ENOENT: "there is no such spec file",
        errno.EISDIR: "this is a folder, not a spec file",
        errno.EACCES: "no permission to read the spec file",
    }
    code = error.errno if isinstance(error, OSError) else None
    reason = reasons.get(code or 0) or f"the spec file cannot be read ({getattr(error, 'strerror', None) or error})"
    return SpecError(reason, where=printable(path), hint="Check the path of the experiment spec.")
