"""Opening regular files, whatever lies behind their names."""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO


class NotRegularError(OSError):
    """Behind the name lies a folder, pipe, socket or device."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(errno.EINVAL, "not a regular file", os.fspath(path))


def open_regular(path: str | os.PathLike[str], *, follow_links: bool = True, buffering: int = -1) -> BinaryIO:
    """Open a regular file for reading; a pipe or device behind the name is never waited for.

    Args:
        path: the file.
        follow_links: whether the name itself may be a symbolic link.
        buffering: as for `open`.

    Raises:
        NotRegularError: it is there, but no regular file.
        OSError: it cannot be opened.
        ValueError: no file can have the name: it holds a NUL, or what the file system's encoding does not.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow_links else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotRegularError(path)
    return os.fdopen(descriptor, "rb", buffering)
