"""Glob patterns as Python's ``glob.glob`` expands them, with an end to the work that a pattern can ask for.

``*``, ``?`` and ``[...]`` match within one name; ``**`` acts as ``*``; names that begin with a dot are matched only by
patterns that do; links are followed. A folder that cannot be read is an error here: for ``glob.glob`` it holds nothing,
and images would be missing without a word.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import re
from collections.abc import Iterator

from int8cal.errors import DataError
from int8cal.io.lacks import raise_if_lacking
from int8cal.io.safe_text import printable, short_name

MAX_NAMES = 1_000_000
"""File names that are looked at for one pattern: far more than a data set has shards, and a matter of seconds."""

_MAX_FOLDERS = 50_000
_MAX_PARTS, _MAX_WILDCARDS = 256, 16
"""Names of folders in a pattern, and those of them with wildcards: no path of a system is longer."""
_WILDCARD = re.compile(r"[*?[]")


def expand(pattern: str) -> Iterator[str]:
    """Paths that match, in no order; those that are links to nothing included.

    Args:
        pattern: without NUL characters.

    Raises:
        DataError: the pattern goes up (``..``) after a wildcard, a folder that it asks for cannot be read, or more than
            `MAX_NAMES` names had to be looked at.
    """
    wild, parts = False, pattern.split("/")
    if len(parts) > _MAX_PARTS or sum(bool(_WILDCARD.search(name)) for name in parts) > _MAX_WILDCARDS:
        raise DataError(
            f"the pattern {short_name(pattern)} has more than {_MAX_PARTS} parts, or wildcards in more than "
            f"{_MAX_WILDCARDS} of them",
            hint="Name the folder of the files, and use wildcards in the last part of the path only.",
        )
    for name in parts:
        if wild and name == "..":
            raise DataError(
                f"the pattern {printable(pattern)} goes up ('..') after a wildcard",
                hint="Write the folder that is meant in place of WILDCARD/.. .",
            )
        wild |= bool(_WILDCARD.search(name))
    return _Expansion(pattern).paths(pattern)


class _Expansion:
    """The work on one pattern, counted."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._names = self._folders = 0

    def paths(self, pattern: str) -> Iterator[str]:
        if not _WILDCARD.search(pattern):
            if self._is_there(pattern):
                yield pattern
            return
        folder, name = os.path.split(pattern)
        for parent in self.paths(folder) if folder else ("",):
            if _WILDCARD.search(name):
                yield from (os.path.join(parent, found) for found in self._matching(parent, name))
            elif self._is_there(path := os.path.join(parent, name)):
                yield path

    def _is_there(self, path: str) -> bool:
        self._count()
        try:
            os.lstat(path)  # of a path that ends with a slash, the folder is asked for
        except ValueError:  # no name of a file
            return False
        except OSError as error:
            self._require_absent(error, path)
            return False
        return True

    def _matching(self, folder: str, pattern: str) -> Iterator[str]:
        matches = re.compile(fnmatch.translate(pattern)).match
        self._count()
        self._folders += 1
        if self._folders > _MAX_FOLDERS:
            raise DataError(
                f"the pattern {printable(self._pattern)} asks for more than {_MAX_FOLDERS} folders to be listed",
                hint="Name the folder of the files, and use wildcards in the last part of the path only.",
            )
        try:
            with os.scandir(folder or os.curdir) as entries:
                for entry in entries:
                    self._count()
                    if (pattern[0] == "." or entry.name[0] != ".") and matches(entry.name):
                        yield entry.name
        except OSError as error:
            self._require_absent(error, folder or os.curdir)

    def _require_absent(self, error: OSError, path: str) -> None:
        """Raise unless there is nothing of that name: no such file, a file in place of a folder, a link in a circle."""
        where = printable(path)
        raise_if_lacking(error, where)
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG):
            raise DataError(
                f"cannot be read: {error.strerror}",
                where=where,
                hint=f"The pattern {printable(self._pattern)} asks for what is in it. Make it readable for this user, "
                "or name the folders of the files in the pattern.",
            ) from error

    def _count(self) -> None:
        self._names += 1
        if self._names > MAX_NAMES:
            raise DataError(
                f"the pattern {printable(self._pattern)} asks for more than {MAX_NAMES} file names to be looked at",
                hint="Name the folder of the files, and use wildcards in the last part of the path only.",
            )
