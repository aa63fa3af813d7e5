"""Output files that are complete under their final name, or not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from int8cal.errors import Int8calError, OutputError, OutputExistsError


def check_free(path: str | os.PathLike[str], overwrite: bool) -> None:
    """Refuse a final name that is taken, before any work is done.

    Raises:
        OutputExistsError: the file exists and may not be overwritten.
        OutputError: the name is a folder's, or its folder does not exist.
    """
    final = Path(path)
    if final.is_dir():
        raise OutputError("is a folder", where=str(final))
    if final.exists() and not overwrite:
        raise OutputExistsError("exists already", where=str(final), hint="choose another name, or overwrite: --overwrite")
    if not final.parent.is_dir():
        raise OutputError("the folder does not exist", where=str(final.parent), hint="make it first")


@contextmanager
def written_whole(path: str | os.PathLike[str], overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary name beside ``path``; what was written there gets the final name when the block ends well.

    Raises:
        OutputExistsError, OutputError: see `check_free`; or the disk refuses.
    """
    check_free(path, overwrite)
    final = Path(path)
    try:
        with tempfile.TemporaryDirectory(prefix=".int8cal-", dir=final.parent) as folder:
            temporary = Path(folder, final.name)
            yield temporary
            _flush(temporary)
            _name_finally(temporary, final, overwrite)
    except OSError as error:
        if isinstance(error, Int8calError):
            raise
        raise OutputError(f"cannot be written: {error.strerror or error}", where=str(final)) from error


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _name_finally(temporary: Path, final: Path, overwrite: bool) -> None:
    if overwrite:
        temporary.replace(final)
        return
    try:
        os.link(temporary, final)  # unlike a rename, fails when another process took the name meanwhile
    except FileExistsError:
        raise OutputExistsError("exists already", where=str(final)) from None
    except OSError:  # a file system without hard links
        check_free(final, overwrite)
        temporary.replace(final)
    else:
        with suppress(OSError):
            temporary.unlink()
