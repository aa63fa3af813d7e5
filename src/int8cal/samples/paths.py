"""From the paths that specs and records name to files on disk."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Mapping
from typing import BinaryIO

from int8cal.errors import DataError, MissingDataError
from int8cal.io.lacks import raise_if_lacking
from int8cal.io.paths import NotRegularError, open_regular
from int8cal.io.safe_text import printable
from int8cal.samples.glob import expand

DATA_ROOT_HINT = "Relative paths are joined to DATA_BASE_PATH (else ~/datasets)."
WORKING_DIRECTORY_HINT = "Relative paths start from the working directory."

_ADDRESS_INSIDE = re.compile(r"(?:^|/)([A-Za-z][A-Za-z0-9+.-]+):/")
_DRIVE_INSIDE = re.compile(r"(?:^|/)[A-Za-z]:[\\\0-\x1f]")
"""``C:`` and a backslash, or what an escape sequence made of it."""

_LONGEST_PATH = 4096
"""Characters that a path may have on any system we know."""

_LONGEST_SHOWN = 1000


def path_text(path: str) -> str:
    """A path for messages: printable, and cut in the middle when it is longer than any sensible path."""
    if len(path) <= _LONGEST_SHOWN:
        return printable(path)
    edge = _LONGEST_SHOWN // 20
    return f"{printable(path[:edge])}…{printable(path[-edge:])} ({len(path)} characters)"


def data_root(environment: Mapping[str, str]) -> str:
    """Folder to which the relative paths of a spec are joined: ``DATA_BASE_PATH``, else ``~/datasets``."""
    return environment.get("DATA_BASE_PATH") or os.path.expanduser("~/datasets")


def working_directory(environment: Mapping[str, str]) -> str:
    """For networks whose reference opens relative paths as they stand: nothing is joined to them."""
    del environment
    return ""


def matching_files(pattern: str, *, hint: str = DATA_ROOT_HINT) -> tuple[str, ...]:
    """Paths that match a glob pattern, sorted (the reference takes them in directory order).

    Args:
        pattern: as for `int8cal.samples.glob.expand`: ``**`` acts as ``*``.
        hint: what to say when nothing matches.

    Raises:
        MissingDataError: there is none.
        DataError: the pattern has ``..`` after a wildcard, or matches too much.
    """
    impossible = "\0" in pattern or len(pattern) > _LONGEST_PATH
    paths = () if impossible else tuple(sorted(expand(pattern)))
    if not paths:  # these words, and those of `require_folder`, are the reference's
        deeper = "** stands for one folder here, as * does: write */* for two." if "**" in pattern else None
        raise MissingDataError(
            f"No files match pattern {path_text(pattern)}.", hint=path_hint(pattern) or deeper or hint, filename=pattern
        )
    return paths


def path_hint(path: str) -> str | None:
    """What a path that nothing has tells by itself: it holds, be it behind a folder, what no path here does."""
    if address := _ADDRESS_INSIDE.search(path):
        scheme = address[1].lower()
        return f"It is a remote address ({scheme}:), and int8cal reads local files only: mount or download it first."
    if _DRIVE_INSIDE.search(path):
        return "It is a path of Windows: write / in it, and the folder where that drive is mounted, such as /mnt/c."
    if any(character in "\a\b\t\n\v\f\r" for character in path):
        return "A backslash in a spec begins an escape sequence, such as \\t: write / in paths."
    return None


def require_folder(path: str, what: str) -> None:
    """Make sure that a folder is there.

    Raises:
        MissingDataError: it is not, and ``what`` (such as ``dataset image directory``) names it.
    """
    if not os.path.isdir(path):
        raise MissingDataError(
            f"No {what} found at path: '{path_text(path)}'",
            hint=path_hint(path) or DATA_ROOT_HINT,
            filename=path,
        )


def leads_out(name: str) -> bool:
    """Whether a path that data names may leave its folder: it is absolute, climbs with ``..``, or has a NUL character.

    One that climbs back into it counts, too: behind a link, ``..`` is another folder.
    """
    return name.startswith("/") or "\0" in name or ".." in name.split("/")


def path_inside(folder: str, name: str, extension: str, where: str) -> str:
    """Path of a file that data names, which must not leave its folder.

    Args:
        folder: with or without a slash at the end.
        name: relative path of the file, without its extension.
        extension: without the dot.
        where: place of the record that names it, for the message.

    Returns:
        Folder, name and extension joined as plain strings, as the reference does.

    Raises:
        DataError: the name is absolute, climbs with ``..``, or has a NUL character.
    """
    file_name = f"{name}.{extension}"
    if leads_out(name) or leads_out(file_name):
        raise DataError(
            f"the image name '{path_text(name)}' leads out of the image directory",
            where=where,
            hint="Names must be relative to image_directory_path, without '..'.",
        )
    return f"{folder}{file_name}" if folder.endswith("/") else f"{folder}/{file_name}"


def read_text_file(path: str, what: str, most_bytes: int, *, hint: str, too_long: str) -> str:
    """A small text file whole, without a byte-order mark; bytes that are not UTF-8 become surrogate escapes.

    Args:
        path: the file.
        what: what it should be, for messages: ``label file``.
        most_bytes: whole MiB that it may have.
        hint: what to do when it cannot be opened.
        too_long: what to do when it has more.

    Raises:
        MissingDataError: there is no such file.
        DataError: it is not a regular file, cannot be opened, or is too long.
    """
    with open_data_file(path, what, DataError, hint=hint) as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise DataError(f"the {what} has more than {most_bytes >> 20} MiB", where=path_text(path), hint=too_long)
    return data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")


def open_data_file(path: str, what: str, error: type[DataError], *, hint: str, buffering: int = -1) -> BinaryIO:
    """Open a regular file for reading; a pipe or device behind the name is never waited for.

    Args:
        path: the file.
        what: what it should be, for messages: ``TFRecord file``.
        error: class of the error when it cannot be opened.
        hint: what to do when it cannot be opened.
        buffering: as for `open`.

    Raises:
        MissingDataError: there is no such file.
        DataError: of the class given: it is not a regular file, or cannot be opened.
        MemoryError, ResourceError: the system lacks what opening it takes.
    """
    where = path_text(path)
    try:
        return open_regular(path, buffering=buffering)
    except (FileNotFoundError, NotADirectoryError) as missing:  # the latter: a file stands where a folder should
        raise MissingDataError(
            f"the {what} is missing: {missing.strerror or 'No such file or directory'}",
            where=where,
            hint=hint,
            filename=path,
        ) from missing
    except NotRegularError:
        if os.path.isdir(path):
            raise error(f"the {what} is a folder", where=where, hint=hint) from None
        raise error(f"the {what} is not a regular file", where=where, hint=hint) from None
    except OSError as problem:
        raise_if_lacking(problem, where)
        if isinstance(problem, PermissionError):
            hint = "Make it readable for this user."
        raise error(f"the {what} cannot be opened: {problem.strerror}", where=where, hint=hint) from problem
    except ValueError as problem:
        raise error(f"the {what} cannot be opened: {problem}", where=where, hint=hint) from problem
