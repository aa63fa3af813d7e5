"""Output folders that get their final name only when they are complete: as `int8cal.io.files`, for many files."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from typing import TYPE_CHECKING

from int8cal.errors import Int8calError, OutputExistsError
from int8cal.io.locks import Lock, hidden_name, in_use
from int8cal.io.paths import absolute, cannot, refuse_address

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator


@contextlib.contextmanager
def new_folder(path: str, *, holding: re.Pattern[str], replacing: bool = False) -> Iterator[str]:
    """A folder that gets its final name when the block ends well, and is removed when it does not.

    Args:
        path: the final name; nothing is ever replaced here.
        holding: what the names in it are like. What a dead run left behind is removed if it holds nothing else.
        replacing: whether the block itself removes what has the final name, as its last step.

    Yields:
        Path of the folder to fill.

    Raises:
        OutputExistsError: the final name is taken.
        OutputError: another run is writing this folder, or it cannot be made, or what the block writes into it.
        UsageError: the name is the address of a remote folder.
    """
    refuse_address(path)
    taken = OutputExistsError("already exists", where=path, hint="Choose another name.")
    if os.path.lexists(path) and not replacing:
        raise taken
    parent, name = os.path.split(absolute(path))
    part = os.path.join(parent, hidden_name(name, "part"))
    lock = Lock(os.path.join(parent, hidden_name(name, "lock")))
    try:
        os.makedirs(parent, exist_ok=True)
        lock.take()
    except BlockingIOError as error:
        raise in_use(path) from error
    except OSError as error:
        raise cannot("make the folder", error, path, parent) from error
    try:
        try:
            if lock.exclusive and os.path.isdir(part) and all(map(holding.fullmatch, os.listdir(part))):
                shutil.rmtree(part)
            os.mkdir(part)
        except OSError as error:
            raise cannot("make the folder", error, path, parent) from error
        try:
            yield part
            try:
                os.rename(part, path)
            except OSError as error:
                if error.errno in {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}:
                    raise taken from error
                raise cannot("finish the folder", error, path, parent) from error
        except BaseException as error:  # not in the end: with its final name, the temporary one may be another run's
            shutil.rmtree(part, ignore_errors=True)
            if isinstance(error, OSError) and not isinstance(error, Int8calError):
                raise cannot("write the folder", error, path, parent) from error
            raise
    finally:
        lock.release()
