"""Files of folders, in an order that does not depend on the file system."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from int8cal.errors import DataError, MissingDataError
from int8cal.samples.paths import WORKING_DIRECTORY_HINT, path_text


def names_in(folder: str, what: str) -> list[str]:
    """Sorted names in a folder.

    Args:
        folder: the folder.
        what: what it is, for messages (``image folder``).

    Raises:
        MissingDataError: it is not there.
        DataError: it is no folder or cannot be read.
    """
    try:
        return sorted(os.listdir(folder))
    except (OSError, ValueError) as error:
        raise _unreadable(folder, what, error) from error


def count_files(folder: str, names: Iterable[str]) -> int:
    """How many of the names in a folder are not those of folders."""
    return sum(not os.path.isdir(os.path.join(folder, name)) for name in names)


def files_below(folder: str, what: str) -> Iterator[str]:
    """Paths of the files below a folder, relative to it: folders ordered by path, names sorted in each.

    Links to folders are not followed.

    Raises:
        MissingDataError: the folder is not there.
        DataError: it is no folder, or it or a folder below cannot be read.
    """

    def stop(error: OSError) -> None:
        raise _unreadable(error.filename or folder, what, error) from error

    try:
        walked = sorted(os.walk(folder, onerror=stop))
    except ValueError as error:
        raise _unreadable(folder, what, error) from error
    for parent, _, names in walked:
        for name in sorted(names):
            yield os.path.relpath(os.path.join(parent, name), folder)


def _unreadable(folder: str, what: str, error: OSError | ValueError) -> DataError:
    where = path_text(folder)
    if isinstance(error, FileNotFoundError):
        return MissingDataError(f"There is no such {what}.", where=where, hint=WORKING_DIRECTORY_HINT, filename=folder)
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return DataError(
        f"The {what} cannot be read: {reason}.", where=where, hint="It must be a folder that this user may list."
    )
