"""What lies behind a path, and what the operating system says about it, in words."""

from __future__ import annotations

import contextlib
import difflib
import errno
import logging
import os
import re
import select
import stat
from typing import TYPE_CHECKING, BinaryIO

from int8cal.errors import OutputError, UsageError
from int8cal.io.lacks import raise_if_lacking
from int8cal.io.safe_text import printable, short_name

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_TOO_LARGE = "Raise the limit on the size of files (ulimit -f), or write to another file system."
"""What to do about a file that may not become larger, whatever is free."""
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
_MOST_NAMES = 8
NOT_SUPPORTED = frozenset(
    {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EMLINK, errno.EXDEV}
)
"""What a file system answers that does not know an operation."""


class NotRegularError(OSError):
    """Behind the name lies a folder, pipe, socket or device."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(errno.EINVAL, "not a regular file", os.fspath(path))


def given_path(path: object, what: str) -> str:
    """A path that a caller gave, as text.

    Args:
        path: any value.
        what: what it is a path of, for the message.

    Raises:
        UsageError: it is not a path.
    """
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise UsageError(
            f"the path of {what} cannot be of the type {type(path).__name__}", hint="Give a str or a pathlib.Path."
        )
    return os.fspath(path)


def near_names(path: str, otherwise: str) -> str:
    """The hint for a path that is not there: what lies beside it and is called nearly so.

    Else it is what is said otherwise, and what lies there, if that is little.
    """
    folder, name = os.path.split(path.rstrip("/"))
    names: list[str] = []
    with contextlib.suppress(OSError, ValueError):
        names = sorted(one for one in os.listdir(folder or os.curdir) if not one.startswith("."))
    if near := difflib.get_close_matches(name, names, n=3, cutoff=0.6):
        return f"Did you mean {' or '.join(printable(os.path.join(folder, one)) for one in near)}?"
    if not folder or not 0 < len(names) <= _MOST_NAMES:
        return otherwise
    return f"{otherwise} {printable(folder)} has {', '.join(map(short_name, names))}."


def absolute(path: str) -> str:
    """As `os.path.abspath`, in a working directory that may be gone: a shell keeps a deleted one as its own.

    Raises:
        UsageError: the path is relative, and there is no folder that it starts from.
    """
    try:
        return os.path.abspath(path)
    except FileNotFoundError as error:
        raise UsageError(
            "cannot be found from a working directory that is gone",
            where=path,
            hint="Change to a folder that is there, or give absolute paths.",
        ) from error


def scheme_of(path: str) -> str | None:
    """The scheme of what looks like the address of a remote file or folder: ``s3`` of ``s3://bucket/key``.

    One slash does, for that is what `os.path.normpath` leaves of two.
    """
    address = _ADDRESS.match(path)
    return address[1].lower() if address else None


def refuse_address(path: str) -> None:
    """Refuse the address of a remote file as the name of an output: a local folder ``s3:`` is not what was meant.

    Raises:
        UsageError: it is one.
    """
    if scheme := scheme_of(path):
        raise UsageError(
            f"is a remote address ({scheme}:), and int8cal writes local files only",
            where=path,
            hint="Give a local path, such as that of a mounted folder, and upload the result from there.",
        )


def refuse_missing_address(path: str) -> None:
    """Say of an input that is not there that it is the address of a remote file, when it is.

    Raises:
        UsageError: it is one, and nothing has that name here.
    """
    if (scheme := scheme_of(path)) and not os.path.exists(path):
        raise UsageError(
            f"is a remote address ({scheme}:), and int8cal reads local files only",
            where=path,
            hint="Mount or download it, and give the local path.",
        )


def open_regular(path: str | os.PathLike[str], *, follow_links: bool = True, buffering: int = -1) -> BinaryIO:
    """Open a regular file for reading; a pipe or device behind the name is never waited for.

    Args:
        path: the file.
        follow_links: whether the name itself may be a symbolic link.
        buffering: as for `open`.

    Raises:
        NotRegularError: it is there, but it is not a regular file.
        UsageError: it is not there, for it is the address of a remote file.
        OSError: it cannot be opened.
        ValueError: no file can have the name: it holds a NUL, or what the file system's encoding does not.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow_links else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        refuse_missing_address(os.fspath(path))
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotRegularError(path)
    return os.fdopen(descriptor, "rb", buffering)


class NoWriterError(OSError):
    """A named pipe has no writer, and nobody opens it for writing."""


def read_once(path: str, most: int, *, writer_seconds: float) -> bytes:
    """Read a file or pipe, which cannot be read a second time.

    A named pipe that no program opens for writing would block for ever. Once there is a writer, however slow, it is
    read to its end.

    Args:
        path: the file.
        most: bytes that are read at most; one more tells that there is more.
        writer_seconds: how long a pipe may have no writer.

    Raises:
        NoWriterError: a pipe has no writer.
        OSError: it cannot be read.
        ValueError: no file can have the name.
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        beginning = b""
        if stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
            beginning = _from_pipe(file.fileno(), writer_seconds)
        os.set_blocking(file.fileno(), True)
        return beginning + file.read(most + 1 - len(beginning))


def _from_pipe(descriptor: int, writer_seconds: float) -> bytes:
    """What had to be read of a pipe to learn that it has a writer, or has had one."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    if poll.poll(writer_seconds * 1000):
        return b""  # data, or a writer that has gone again
    try:
        if beginning := os.read(descriptor, 1):
            return beginning
    except BlockingIOError:  # nothing to read yet
        return b""
    raise NoWriterError(errno.EPIPE, f"a pipe to which no program has written for {writer_seconds:.0f} seconds")


def kind_of_file(path: str, *, follow_links: bool = False) -> str | None:
    """What has this name: ``a file`` for a regular one, ``a folder``, ``a link``, …; None when nothing has it.

    Raises:
        OSError: it cannot be found out.
    """
    try:
        return kind_of_mode(os.stat(path, follow_symlinks=follow_links).st_mode)
    except FileNotFoundError:
        return None


def kind_of_mode(mode: int) -> str:
    """As `kind_of_file`, of what `os.stat` gave."""
    return _KINDS.get(stat.S_IFMT(mode), "a file")


def flush(descriptor: int) -> None:
    """Have the disk hold what was written to an open file or folder, where the file system can be asked to.

    Raises:
        OSError: it does not hold it.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NOT_SUPPORTED:
            raise


def remove_remains(path: str) -> None:
    """Delete a file of ours that the finished work has no use for; where that fails, say so and go on."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        log.warning("%s is of no use any more, and cannot be deleted: %s", printable(path), error.strerror)


@contextlib.contextmanager
def output_errors(path: str, message: str, *, hint: str) -> Iterator[None]:
    """Turn what the operating system refuses in the block into an `OutputError` with its reason, or what it lacks.

    Args:
        path: the file that the error is about.
        message: what could not be done.
        hint: what to do about it.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise_if_lacking(error, path)
        if error.errno == errno.EFBIG:
            hint = _TOO_LARGE
        raise OutputError(f"{message}: {error.strerror or error}", where=path, hint=hint) from error


def cannot(what: str, error: OSError, where: str, folder: str | None = None) -> OutputError:
    """The error for what the system refused, with what can be done about it.

    Args:
        what: was tried.
        error: came of it.
        where: the place that the user gave.
        folder: that ``where`` goes into; None: ``where`` is a folder itself.

    Raises:
        MemoryError, ResourceError: the system lacks something, and nothing is wrong with the place.
    """
    raise_if_lacking(error, where)
    blocking = _file_among_folders(folder or where)
    if blocking:
        hint = f"{blocking} is a file, not a folder: choose another place."
    elif error.errno in {errno.EEXIST, errno.ELOOP, errno.EISDIR} and error.filename:
        hint = f"Remove {error.filename}, which is in the way."
    elif error.errno == errno.EPERM and error.filename and os.path.lexists(error.filename):
        hint = f"{error.filename}, which another user left, is in the way: have it removed, or choose another name."
    elif error.errno == errno.ENAMETOOLONG:
        hint = "Choose a shorter name."
    elif error.errno == errno.EFBIG:
        hint = _TOO_LARGE
    else:
        hint = "Check free space, quota and permissions of the folder."
    return OutputError(f"cannot {what}: {error.strerror or error}", where=where, hint=hint)


def _file_among_folders(folder: str) -> str | None:
    """The part of a folder's path that is there and is not a folder."""
    folder = absolute(folder)
    while not os.path.lexists(folder) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    return None if os.path.isdir(folder) else folder
