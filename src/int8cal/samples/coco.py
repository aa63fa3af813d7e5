"""COCO annotation files → the images that they list. Read as a stream: a file of any size takes little memory.

What a file can cost is bounded: how deep values lie in one another, how long a text is, how many images are listed.
Annotations are passed over unless they are asked for; the file must be JSON to its end all the same.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import ijson

from int8cal.errors import DataError
from int8cal.io.safe_text import short_repr
from int8cal.samples.glob import expand
from int8cal.samples.paths import open_data_file, path_text

MAX_DEPTH = 64
MAX_IMAGES = 2_000_000
MAX_TEXT = 1 << 24
"""Bytes from one quotation mark to the next: of a text, or of numbers between two texts."""

_FIND = "Check the path of the annotations in the spec, and the folder from which it starts."
_REPAIR = "Make the annotation file anew; it must be one JSON mapping with a list named images."
_MAX_SIDE = 1 << 16
_KEPT: Mapping[str, frozenset[str]] = {
    "images": frozenset({"id", "file_name", "height", "width"}),
    "categories": frozenset({"id", "name"}),
    "annotations": frozenset({"image_id", "category_id", "bbox"}),
}
"""Keys of the entries that are read, by section: an entry may hold anything else, of any size."""
_MOST_NUMBERS = 5
"""Of a list that are kept: a box has four."""
_NO_NUMBERS = (b"NaN", b"Infinity")
_MISPLACED = ((2, "start_map"), (3, "start_array"))
"""What cannot begin in ``images``, by the level that it opens."""
_UNFINISHED = b"\\-NaInfity"
_TEXT_OR_NO_NUMBER = re.compile(rb'"(?:[^"\\]|\\.)*+"?|-?(?:NaN|Infinity)', re.DOTALL)
_DEEPER = {"start_map": 1, "start_array": 1, "end_map": -1, "end_array": -1}


@dataclass(frozen=True, slots=True)
class CocoImage:
    """One entry of ``images``: its id and its file; whether it says its width and height, and which (0: unusable)."""

    id: int | str | float
    file_name: str
    sized: bool
    height: int = 0
    width: int = 0


@dataclass(frozen=True)
class CocoFile:
    """What a file lists.

    Attributes:
        images: sorted by id; of several with one id, the last, unless every one was asked for.
        sections: names of its top-level keys.
        doubles: how many entries have the id of a later one.
    """

    images: tuple[CocoImage, ...]
    sections: frozenset[str]
    doubles: int = 0


@dataclass(frozen=True)
class CocoBoxes:
    """Labels of some images: file name → (category name, left, top, width, height) each."""

    of_file: dict[str, list[tuple[str, float, float, float, float]]] = field(default_factory=dict)


def matching_files(pattern: str) -> list[str]:
    """The files of ``json_file``: itself when it ends in ``.json``, else all that the pattern matches, sorted.

    Raises:
        DataError: the pattern matches nothing, asks for too much, or its suffix is another one.
    """
    suffix = os.path.splitext(pattern)[1]
    if suffix == ".json":
        return [pattern]
    if suffix:
        raise DataError(
            f"annotations end in .json, or are a pattern without a suffix, not in {suffix}",
            where=path_text(pattern),
            hint="Write folder/* for all files of a folder.",
        )
    found = sorted(path for path in expand(pattern) if not os.path.isdir(path))
    if not found:
        raise DataError("no annotation file matches", where=path_text(pattern), hint=_FIND)
    return found


def read_coco(path: str, *, every: bool = False) -> CocoFile:
    """Read which images a COCO file lists.

    Args:
        path: the file.
        every: keep all images that share an id, in their order, not the last alone.

    Raises:
        MissingDataError: the file is not there.
        DataError: it is not JSON to its end, not a mapping, lists images without id or name, or is beyond the limits.
    """
    entries: list[CocoImage] = []
    walk = _Walk(path, frozenset({"images"}))
    for _, entry in walk.entries():
        if len(entries) == MAX_IMAGES:
            raise walk.error(f"it lists more than {MAX_IMAGES} images")
        entries.append(_image(entry, len(entries) + 1, walk))
    if "images" not in walk.sections:
        raise walk.error("it has no list named images")
    last = {image.id: image for image in entries}
    try:
        ordered = sorted(entries if every else last.values(), key=lambda image: image.id)
    except TypeError:
        raise walk.error("the ids of its images are numbers and texts, which have no order") from None
    return CocoFile(tuple(ordered), frozenset(walk.sections), len(entries) - len(last))


def read_boxes(path: str, file_names: Iterable[str]) -> CocoBoxes:
    """Read the boxes of some images.

    Raises:
        MissingDataError: the file is not there.
        DataError: as `read_coco`.
    """
    wanted = set(file_names)
    files: dict[Any, str] = {}
    names: dict[Any, str] = {}
    found: list[tuple[Any, Any, list[float]]] = []
    walk = _Walk(path, frozenset({"images", "categories", "annotations"}))
    for section, entry in walk.entries():
        if section == "images" and (name := _single(entry, "file_name", walk)) in wanted:
            files[_single(entry, "id", walk)] = name
        elif section == "categories":
            names[_single(entry, "id", walk)] = str(entry.get("name"))
        elif section == "annotations" and _is_box(entry.get("bbox")):
            image = _single(entry, "image_id", walk)
            if "images" in walk.sections and image not in files:
                continue  # of another image: not kept; where the images come last, it is not known yet
            found.append((image, _single(entry, "category_id", walk), entry["bbox"]))
    boxes = CocoBoxes()
    for image, category, (left, top, width, height) in found:
        if image in files:
            label = names.get(category, str(category))
            boxes.of_file.setdefault(files[image], []).append((label, left, top, width, height))
    return boxes


def _single(entry: Mapping[str, Any], name: str, walk: _Walk) -> Any:
    """A value of an entry that is a name or a number, or is not there."""
    value = entry.get(name)
    if isinstance(value, list | dict):
        raise walk.error(f"the {name} of an entry is {short_repr(value)}, not a number or text")
    return value


def _image(entry: dict[str, Any], number: int, walk: _Walk) -> CocoImage:
    key, name = entry.get("id"), entry.get("file_name")
    of = f"image {number} of the list"
    if name is None:
        raise walk.error(f"{of} has no file_name")
    if not isinstance(name, str):
        raise walk.error(f"{of} has the file_name {short_repr(name)}, which is not text")
    if key is None:
        raise walk.error(f"{of} ({short_repr(name)}) has no id")
    if not isinstance(key, int | float | str) or isinstance(key, bool):
        raise walk.error(f"{of} ({short_repr(name)}) has the id {short_repr(key)}, which is no number and no text")
    return CocoImage(
        key, name, "width" in entry and "height" in entry, *map(_side, (entry.get("height"), entry.get("width")))
    )


def _side(value: object) -> int:
    return value if isinstance(value, int) and 0 < value <= _MAX_SIDE else 0


def _is_box(value: object) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(isinstance(one, int | float) for one in value)


class _Walk:
    """One pass over a file: the entries of some of its top-level lists, with their single values and lists of such."""

    def __init__(self, path: str, wanted: frozenset[str]) -> None:
        self._path = path
        self._wanted = wanted
        self.sections: set[str] = set()

    def error(self, message: str) -> DataError:
        """An error about the file."""
        return DataError(message, where=path_text(self._path), hint=_REPAIR)

    def entries(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(name of the list, entry) of each mapping in a wanted list."""
        with open_data_file(self._path, "annotation file", DataError, hint=_FIND) as file:
            try:
                yield from self._events(ijson.basic_parse(_Bounded(file, self), use_float=True, buf_size=1 << 18))
            except (ijson.JSONError, ValueError, OverflowError, UnicodeError, OSError) as error:
                if isinstance(error, DataError):
                    raise
                if isinstance(error, UnicodeError):
                    raise self.error("a text in it is not Unicode, as with half of a pair (\\ud800)") from None
                said = error.args[0] if error.args else ""
                said = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
                said = " ".join(said.splitlines()[:1])  # what follows are lines of the file
                if "overflow" in said:
                    raise self.error("a number in it does not fit into 64 bits or a float") from None
                raise self.error(f"it is not JSON: {said}") from None

    def _events(self, events: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
        depth, section, key = 0, "", ""
        entry: dict[str, Any] | None = None
        wanted, kept, entries = False, frozenset[str](), 0  # entries: of images, which is a list of mappings
        for event, value in events:
            change = _DEEPER.get(event, 0)
            if change:
                depth += change
                if depth > MAX_DEPTH:
                    raise self.error(f"more than {MAX_DEPTH} levels lie in one another")
                if depth == 1 and event == "start_array":
                    raise self.error("it is a list, not a mapping with a list named images")
                if wanted:
                    if section == "images" and (depth, event) in _MISPLACED:
                        raise self._misplaced(depth - change, entries)
                    if depth == 3 and event == "start_map":
                        entry = {}
                        entries += 1
                    elif depth == 2 and event == "end_map" and entry is not None:
                        yield section, entry
                        entry = None
                    elif depth == 4 and event == "start_array" and entry is not None and key in kept:
                        entry[key] = []
            elif depth == 1 and event == "map_key":
                section = value
                wanted = section in self._wanted
                kept = _KEPT.get(section, frozenset())
                entries = 0
                if wanted and section in self.sections:
                    raise self.error(f"the key {section} stands in it twice")
                if len(self.sections) < MAX_DEPTH:
                    self.sections.add(section)
            elif entry is not None:
                if depth == 3:
                    if event == "map_key":
                        key = value
                    elif key in kept:
                        entry[key] = value
                elif depth == 4 and event != "map_key" and key in kept:
                    numbers = entry.get(key)
                    if isinstance(numbers, list) and len(numbers) < _MOST_NUMBERS:
                        numbers.append(value)
            elif not depth:
                raise self.error("it is not a mapping with a list named images")
            elif depth < 3 and section == "images":
                raise self._misplaced(depth, entries)

    def _misplaced(self, depth: int, entries: int) -> DataError:
        """The error for a value in ``images``, or in place of it, after so many entries."""
        return self.error("images is not a list" if depth == 1 else f"entry {entries + 1} of images is not a mapping")


class _Bounded:
    """A file whose texts have an end: the reader of JSON keeps each whole.

    NaN and Infinity, which Python's ``json`` writes and reads though JSON has neither, become null.
    """

    def __init__(self, file: BinaryIO, walk: _Walk) -> None:
        self._file = file
        self._walk = walk
        self._since = 0
        self._in_text = False
        self._held = b""
        self._at_beginning = True

    def read(self, count: int = -1) -> bytes:
        """The next bytes."""
        while True:
            new = self._file.read(count)
            if new and self._at_beginning:
                self._at_beginning, new = False, new.removeprefix(codecs.BOM_UTF8)
            held = self._bounded(new)
            # Neither a word nor an escape is cut in two.
            done = held if not new else held.rstrip(_UNFINISHED)
            self._held = held[len(done) :]
            if done or not new:
                return self._translated(done)

    def _translated(self, chunk: bytes) -> bytes:
        begun = self._in_text
        quotes = chunk.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in chunk else chunk
        self._in_text ^= bool(quotes.count(b'"') % 2)
        if not any(word in chunk for word in _NO_NUMBERS):
            return chunk
        text = b'"' + chunk if begun else chunk
        text = _TEXT_OR_NO_NUMBER.sub(lambda found: found[0] if found[0].startswith(b'"') else b"null", text)
        return text[1:] if begun else text

    def _bounded(self, chunk: bytes) -> bytes:
        """What was held back and the next bytes; `DataError` where a text is too long."""
        last = chunk.rfind(b'"')
        self._since = self._since + len(chunk) if last < 0 else len(chunk) - last - 1
        if self._since > MAX_TEXT:
            raise self._walk.error(f"a text in it is longer than {MAX_TEXT} bytes")
        return self._held + chunk
