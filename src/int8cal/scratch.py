"""Temporary files that one run at a time may write: their lock, and a private folder for them below a scratch folder.

Scratch folders may be open to everybody (``/tmp``), so nothing there is opened by a name that others could have made:
the private folder must be new, or a folder of this user that nobody else can enter.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat

from int8cal.errors import OutputError


class PrivateFolder:
    """A folder of this user alone below a scratch folder, the same for every run on the same output.

    Args:
        scratch_dir: where it lies.
        target: the output.
    """

    def __init__(self, scratch_dir: str, target: str) -> None:
        self.parent = os.path.abspath(scratch_dir)
        key = f"{os.geteuid()}:".encode() + os.fsencode(os.path.realpath(target))
        self.path = os.path.join(self.parent, f".int8cal-{hashlib.sha256(key).hexdigest()[:16]}")
        self._lock = -1

    def claim(self) -> None:
        """Make it, or take over what a dead run left.

        Raises:
            OutputError: it cannot be made, something else has its name, or a living run uses it.
        """
        try:
            os.makedirs(self.parent, exist_ok=True)
            try:
                os.mkdir(self.path, 0o700)
            except FileExistsError:
                self._refuse_foreign()
            self._lock = locked(os.path.join(self.path, "lock"))
        except OSError as error:
            raise in_use(self.path, error) or cannot("use the scratch folder", error, self.parent) from error

    def _refuse_foreign(self) -> None:
        found = os.lstat(self.path)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise OutputError(
                "is in the way: no private folder of this user",
                where=self.path,
                hint="Remove it, or choose another --scratch_dir.",
            )

    def remove(self, content: str) -> None:
        """Delete it with the one file that was made in it, if it was claimed."""
        if self._lock < 0:
            return
        for leftover in (content, os.path.join(self.path, "lock")):
            with contextlib.suppress(OSError):
                os.unlink(leftover)
        os.close(self._lock)
        with contextlib.suppress(OSError):  # somebody put something into it
            os.rmdir(self.path)


def locked(path: str) -> int:
    """Descriptor of an empty file at ``path`` that this process alone holds locked.

    Raises:
        BlockingIOError: another process holds it.
        OSError: it cannot be made, or something else has its name.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise FileExistsError(errno.EEXIST, "something else has the name of the temporary file", path)
            with contextlib.suppress(FileNotFoundError):
                if found.st_nlink > 1:  # its owner died with the final name given: it is not ours to empty
                    os.unlink(path)
                elif os.path.samestat(found, os.lstat(path)):
                    os.ftruncate(descriptor, 0)
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its former owner removed it between open and lock: once more


def in_use(path: str, error: OSError) -> OutputError | None:
    """The error for a lock that another run holds; None for other errors."""
    if not isinstance(error, BlockingIOError):
        return None
    return OutputError("another run is writing this file", where=path, hint="Wait for it, or choose another output.")


def cannot(what: str, error: OSError, where: str, folder: str | None = None) -> OutputError:
    """The error for what the system refused, with what can be done about it.

    Args:
        what: was tried.
        error: came of it.
        where: the place that the user gave.
        folder: that ``where`` goes into; None: ``where`` is a folder itself.
    """
    blocking = _file_among_folders(folder or where)
    if blocking:
        hint = f"{blocking} is a file, not a folder: choose another place."
    elif error.errno in {errno.EEXIST, errno.ELOOP, errno.EISDIR} and error.filename:
        hint = f"Remove {error.filename}, which is in the way."
    elif error.errno == errno.ENAMETOOLONG:
        hint = "Choose a shorter name."
    else:
        hint = "Check free space, quota and permissions of the folder."
    return OutputError(f"cannot {what}: {error.strerror or error}", where=where, hint=hint)


def _file_among_folders(folder: str) -> str | None:
    """The part of a folder's path that is there and is no folder."""
    folder = os.path.abspath(folder)
    while not os.path.lexists(folder) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    return None if os.path.isdir(folder) else folder
