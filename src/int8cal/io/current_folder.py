"""Relative paths made absolute, in a working directory that may be gone: a shell keeps a deleted one as its own."""

from __future__ import annotations

import os

from int8cal.errors import UsageError


def absolute(path: str) -> str:
    """As `os.path.abspath`.

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
