"""What lies near a path that is not there.

Nothing of this is looked at before something was not found: each function asks the file system for a bounded number of
names, and what cannot be read is as if it were not there.
"""

from __future__ import annotations

import difflib
import glob
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice, pairwise
from typing import NamedTuple

from int8cal.errors import DataError
from int8cal.io.safe_text import short_name
from int8cal.samples.folders import PICTURE_SUFFIXES
from int8cal.samples.glob import expand
from int8cal.samples.paths import path_text

_MOST_FOLDERS = 400
_MOST_SHORTENED = 2
_DEEPEST = 3
_SHORTEST_STEM = 3
_MOST_NAMES = 20_000
_NEAR = 0.75
_MOST_PARTS = 64
"""Of a path that is looked for elsewhere: each of its ends is asked for in every folder."""
_COMMON_NAMES = frozenset(("data", "dataset", "images", "test", "train", "val"))
"""A folder of such a name says nothing by itself of what should be in it."""
_SHOWN = 3
_ANOTHER_FORM = (
    "A file there has the same name in another form of Unicode (NFC, NFD): rename the files, or write the names as ls "
    "prints them."
)
_ESCAPED = re.compile(r"\[([*?\[])\]")
"""A character of a name as `glob.escape` writes it."""


class Moved(NamedTuple):
    """A beginning of a path as it is written, and the folder that stands for it here."""

    old: str
    new: str


def moved(written: str, path: str, roots: Sequence[str], *, records: bool = False) -> Moved | None:
    """Where the data of a path lie that was written elsewhere.

    A misspelt component is looked for first; then the longest tail of the path that lies in or below one of the roots,
    where nothing of it is on this machine, at last without its last one or two components, which may be called
    otherwise here.

    Args:
        written: the path or glob pattern as the spec has it.
        path: the same, joined to what it starts from.
        roots: folders to look in.
        records: it is of files that are taken by a pattern.
    """
    if os.path.lexists(path) or len(_parts(written)) > _MOST_PARTS:
        return None
    found = _misspelt(written, path) or _flat(written, path, records=records) or _elsewhere(written, roots)
    if not found and not existing_part(path)[0]:
        shortened = (_elsewhere(written, roots, without) for without in range(1, _MOST_SHORTENED + 1))
        found = next(filter(None, shortened), None)
    return found if found and os.path.abspath(found.new) != found.old else None


def near_by(path: str) -> str:
    """The longest part of a path or pattern that exists, and what is there in place of the rest, in sentences."""
    path = _ESCAPED.sub(r"\1", path)
    folder, rest = existing_part(path)
    if rest and os.path.isfile(os.path.join(folder, rest[0])):
        return f"{path_text(os.path.join(folder, rest[0]))} is a file, not a folder."
    if not folder:
        near = [] if path.startswith("/") or not rest else _near(rest[0], sorted(_names("")))
        return f"The working directory has {_listed(near)}, not {short_name(rest[0])}." if near else ""
    if rest and os.path.islink(link := os.path.join(folder, rest[0])):
        return f"{path_text(link)} leads to {path_text(os.path.realpath(link))}, which is not there."
    names = sorted(name for name in _names(folder) if not name.startswith("."))
    near = _near(rest[0], names) if rest else []
    if near:
        return f"{path_text(folder)} exists and has {_listed(near)}, not {short_name(rest[0])}."
    there = f"holds {_listed(names)}" if names else "is empty"
    return f"The longest part that exists is {path_text(folder)}; it {there}."


def image_instead(path: str, name: str) -> str | None:
    """What lies in place of an image that is not there, and which field of the spec to change, as a sentence.

    Args:
        path: where the image should be: folder, name and extension.
        name: the name of the image in its folder, as records give it: without the extension.
    """
    stem, _, extension = path.rpartition(".")
    if "\\" in name and os.path.isfile(path.replace("\\", "/")):
        return "The records name images with backslashes: make them again with / in the paths."
    if stem.endswith(".") and os.path.isfile(f"{stem}{extension}"):
        return f'Write image_extension without the dot: "{extension}".'
    repeated = _without_repeated(path)
    if repeated and os.path.isfile(repeated):
        twice = _repeated(path)
        return f"Take {short_name(twice)} off the end of image_directory_path: the records name that folder, too."
    if _looks_the_same(path):
        return _ANOTHER_FORM
    found = _with_other_suffix(path)
    if found:
        return f'{short_name(found)} lies there: set image_extension: "{short_name(found.rpartition(".")[2])}".'
    root = path[: -len(f"{name}.{extension}")] if path.endswith(f"{name}.{extension}") else ""
    for below in islice(folders_below(root), 1, None) if root else ():
        if os.path.isfile(os.path.join(below, f"{name}.{extension}")):
            return f'It lies in {path_text(below)}: set image_directory_path: "{path_text(below)}".'
    return None


def named_instead(path: str) -> str | None:
    """What lies in place of an image that a list or an annotation file names, and how to correct it, as a sentence.

    Args:
        path: where the image should be.
    """
    if "\\" in path and os.path.isfile(path.replace("\\", "/")):
        return "The names have backslashes: write them with / in the file that gives them."
    if _looks_the_same(path):
        return _ANOTHER_FORM
    found = _with_other_suffix(path)
    return f"{short_name(found)} lies there: correct the names in the file that gives them." if found else None


def _looks_the_same(path: str) -> bool:
    """Whether a file beside a path has its name in the other form of Unicode: archives of macOS hold such names."""
    folder, name = os.path.split(path)
    if name.isascii():
        return False
    form = unicodedata.normalize("NFC", name)
    return any(found != name and unicodedata.normalize("NFC", found) == form for found in _names(folder))


def _with_other_suffix(path: str) -> str | None:
    """The first image beside a path that has its name but for the suffix, which the path may lack."""
    folder, name = os.path.split(path)
    bases = {name, os.path.splitext(name)[0]}
    others = [found for found in _names(folder) if found != name and os.path.splitext(found)[0] in bases]
    images = (found for found in sorted(others) if os.path.splitext(found)[1].lower() in PICTURE_SUFFIXES)
    return next((found for found in images if os.path.isfile(os.path.join(folder, found))), None)


def folders_below(root: str) -> Iterator[str]:
    """A folder and those below it, the nearest first; hidden ones and links are left out, and so is what is far."""
    waiting = [(root, 0)]
    for _ in range(_MOST_FOLDERS):
        if not waiting:
            return
        folder, depth = waiting.pop(0)
        yield folder
        if depth < _DEEPEST:
            with suppress(OSError, ValueError), os.scandir(folder) as entries:
                inside = [one.path for one in islice(entries, _MOST_NAMES) if _enterable(one)]
                waiting += ((path, depth + 1) for path in sorted(inside))


def _enterable(entry: os.DirEntry[str]) -> bool:
    try:
        return not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _misspelt(written: str, path: str) -> Moved | None:
    """A folder whose name is nearly the one that is written, and under which all the rest is there."""
    folder, rest = existing_part(path)
    kept = len(_parts(written)) - len(rest)  # components of the written path that exist
    if (not folder and path.startswith("/")) or not rest or kept < 0 or _is_wild(rest[0]):
        return None
    for name in _near(rest[0], sorted(_names(folder))):
        if _is_there(os.path.join(glob.escape(folder), glob.escape(name), *rest[1:])):
            lead = "/" if written.startswith("/") else ""
            return Moved(lead + "/".join(_parts(written)[: kept + 1]), os.path.join(folder, name))
    return None


def _flat(written: str, path: str, *, records: bool) -> Moved | None:
    """Files whose names begin as a folder is called that is not there: ``trainval-*`` in place of ``trainval/*``.

    Of records, also in place of the beginning of their names alone, ``trainval``, as it is given to dataset_convert.
    """
    folder, rest = existing_part(path)
    stem = re.split(r"[*?\[]", rest[0])[0].rstrip("-_.") if folder and rest else ""
    if len(stem) < _SHORTEST_STEM or not (_is_wild(rest[-1]) or (records and len(rest) == 1)):
        return None
    for end in ("-*", "_*", ".*"):
        if any(name.startswith(f"{stem}{end[0]}") for name in _names(folder)):
            return Moved(written, os.path.join(glob.escape(folder), f"{stem}{end}"))
    return None


def _elsewhere(written: str, roots: Sequence[str], without: int = 0) -> Moved | None:
    """The folder in or below one of the roots that has the longest tail of the path, the nearest first.

    Args:
        written: the path.
        roots: where to look.
        without: number of components at its end that need not be there.
    """
    parts = _parts(written)
    parts = parts[: len(parts) - without]
    if ".." in parts:
        return None
    lead = "/" if written.startswith("/") else ""
    folders = list(dict.fromkeys(folder for root in roots for folder in folders_below(root)))
    for length in range(len(parts), 0, -1):
        head, tail = parts[:-length], parts[-length:]
        if all(not part.strip("*?.") for part in tail) or (not head and _is_wild(tail[0])):
            continue
        if without and len(tail) == 1 and tail[0] in _COMMON_NAMES:
            continue
        for folder in folders:
            if _is_there(os.path.join(glob.escape(folder), *tail)):
                if head:
                    return Moved(lead + "/".join(head), folder)
                return Moved(lead + tail[0], os.path.join(folder, tail[0]))
    return None


def existing_part(path: str) -> tuple[str, list[str]]:
    """The longest beginning of a path that is a folder (empty: none but the root), and the components after it."""
    parts = _parts(path)
    lead = "/" if path.startswith("/") else ""
    for count in range(len(parts), 0, -1):
        folder = lead + "/".join(parts[:count])
        with suppress(ValueError):
            if os.path.isdir(folder):
                return folder, parts[count:]
    return "", parts


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _is_wild(name: str) -> bool:
    return any(character in name for character in "*?[")


def _is_there(pattern: str) -> bool:
    with suppress(DataError, OSError, ValueError):
        return next(iter(expand(pattern)), None) is not None
    return False


def _names(folder: str) -> list[str]:
    with suppress(OSError, ValueError), os.scandir(folder or os.curdir) as entries:
        return [entry.name for entry in islice(entries, _MOST_NAMES)]
    return []


def _near(name: str, names: Sequence[str]) -> list[str]:
    """Names that somebody who wrote this one may have meant."""
    same = [other for other in names if other.lower() == name.lower()]
    return same or difflib.get_close_matches(name, names, n=_SHOWN, cutoff=_NEAR)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(short_name, names[:_SHOWN])) + more


def _repeated(path: str) -> str:
    """The first component that stands twice in succession; empty: none does."""
    parts = path.split("/")
    return next((one for one, other in pairwise(parts) if one and one == other), "")


def _without_repeated(path: str) -> str:
    twice = _repeated(path)
    return path.replace(f"/{twice}/{twice}/", f"/{twice}/", 1) if twice else ""
