"""Images as the data loaders of TAO's PyTorch networks list them: class folders, pairs of folders, lists of words.

Where the reference takes the order in which a directory gives its names, they are sorted here.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from int8cal.errors import DataError
from int8cal.io.lacks import raise_if_lacking
from int8cal.io.safe_text import shown
from int8cal.samples.folders import files_below, list_folder
from int8cal.samples.paths import leads_out, open_data_file, path_text
from int8cal.samples.samples import Sample, Source

DETECTION_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".JPEG", ".JPG", ".PNG")
"""What detectors take from a folder, one suffix after the other."""

CLASSIFICATION_SUFFIXES = (".jpg", ".png", ".JPEG")
"""What classification_pyt takes, in this order; .jpeg, .JPG, .PNG and all others it does not see."""

WORD_SUFFIXES = (".jpg", ".jpeg", ".png")
"""What ocrnet takes from a folder, in any case."""

TORCHVISION_SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""``IMG_EXTENSIONS`` of torchvision, in any case."""

MAX_LIST_BYTES = 1 << 28
_FIND_LIST = "Check the path in the spec, and the folder from which it starts."


@dataclass(frozen=True)
class Listing:
    """Images of one source, with what the user should know of them.

    Attributes:
        source: the images, in the reference's order.
        notes: one sentence each.
        others: files that are not images to the reference.
    """

    source: Source
    notes: tuple[str, ...] = ()
    others: int = 0


def detection_folder(index: int, folder: str) -> Listing:
    """Images of one folder, suffix by suffix; folders in it are not entered.

    Raises:
        DataError: it holds HDF5 files, whose frames the reference takes, too.
        MissingDataError: it is not there.
    """
    names = _names_in(folder, "folder of images")
    if any(name.endswith(".h5") for name in names):
        raise DataError(
            "the folder holds .h5 files, whose frames NVIDIA's loader takes after the images",
            where=path_text(folder),
            hint="Name the frames in annotations (h5://FILE:FRAME), or take the files out.",
        )
    images = [name for suffix in DETECTION_SUFFIXES for name in names if name.endswith(suffix)]
    return _listing(index, folder, images, len(names))


def class_images(index: int, folder: str, classes: Sequence[str], unlabelled: str | None) -> Listing:
    """Images of class folders, suffix by suffix, in each the classes in order; after each suffix's those without label.

    Args:
        index: of the source.
        folder: the folder of class folders.
        classes: their names, in order.
        unlabelled: a folder of images that have no class, with all folders in it; None: there is none.

    Raises:
        MissingDataError: a folder is not there.
        DataError: one cannot be read, there is no image in them, or the name of a class leads out of ``folder``.
    """
    there = _names_in(folder, "folder of class folders")
    for name in classes:
        if leads_out(name):
            raise DataError(
                f"the class {shown(name, 40)} of classes.txt is a path that leads out of the folder of class folders",
                where=path_text(folder),
                hint="Write the name of a folder in it, as in images_dir/NAME.",
            )
    mismatch = _mismatch(folder, there, classes)
    of_class = {name: _visible(os.path.join(folder, name)) for name in classes}
    below = _below(unlabelled) if unlabelled else []
    samples: list[Sample] = []
    for suffix in CLASSIFICATION_SUFFIXES:
        for name in dict.fromkeys(classes):
            paths = (os.path.join(name, one) for one in of_class[name] if one.endswith(suffix))
            samples += (Sample(index, path, os.path.join(folder, path)) for path in paths)
        samples += (
            Sample(index, path, os.path.join(unlabelled or "", path)) for path in below if path.endswith(suffix)
        )
    total = sum(map(len, of_class.values())) + len(below)
    if not samples:
        raise DataError(
            f"no image in {', '.join(CLASSIFICATION_SUFFIXES)} is in the class folders, and no others are taken",
            where=path_text(folder),
            hint=_instead_of_classes(folder, of_class, mismatch),
        )
    notes = (f"{path_text(folder)}: {mismatch}",) if mismatch else ()
    return Listing(Source(index, folder, tuple(samples)), notes, total - len(samples))


def _mismatch(folder: str, there: Sequence[str], classes: Sequence[str]) -> str:
    """What of the classes and the folders has no counterpart; empty where all fit."""
    known, present = {os.path.normpath(name).split(os.sep)[0] for name in classes}, set(there)
    absent = [name for name in dict.fromkeys(classes) if name not in present]
    lacking = [name for name in absent if not os.path.lexists(os.path.join(folder, name))]  # others are further down
    others = [name for name in there if name not in known and os.path.isdir(os.path.join(folder, name))]
    parts = []
    if lacking:
        parts.append(f"no folder has the name of the class {_some(lacking)}")
    if others:
        parts.append(f"no class has the name of the folder {_some(others)}, whose images are left out")
    return "; ".join(parts)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(shown(name, 40) for name in names[:3]) + more


def _instead_of_classes(folder: str, of_class: Mapping[str, Sequence[str]], mismatch: str) -> str:
    """What to do about a folder of class folders without an image."""
    if any(name.endswith(CLASSIFICATION_SUFFIXES) for name in _visible(folder)):
        return "The folder holds images itself: name the one above it, whose folders are the classes."
    for name, inside in of_class.items():
        for deeper in inside:
            if any(one.endswith(CLASSIFICATION_SUFFIXES) for one in _visible(os.path.join(folder, name, deeper))):
                return f"The classes seem to be one level deeper: name {path_text(os.path.join(folder, name))}."
    found = sorted({os.path.splitext(one)[1] for inside in of_class.values() for one in inside} - {""})
    if found:
        return f"Rename or convert the files: there are {', '.join(found[:5])}."
    return f"{mismatch[:1].upper()}{mismatch[1:]}: see classes.txt." if mismatch else "Check images_dir."


def images_below(index: int, folder: str) -> Listing:
    """Images of a folder and all folders in it, suffix by suffix.

    Raises:
        MissingDataError: it is not there.
    """
    paths = _below(folder)
    images = [path for suffix in CLASSIFICATION_SUFFIXES for path in paths if path.endswith(suffix)]
    return _listing(index, folder, images, len(paths))


def class_names(listed_in: str, folder: str) -> tuple[list[str], str | None]:
    """The classes of classification_pyt: those of ``classes.txt``, else the sorted names in a folder.

    Args:
        listed_in: the folder of ``classes.txt``, which must be there; the reference would write the file into it.
        folder: whose names are taken when there is no such file.

    Returns:
        The classes, and a note on where they are from.

    Raises:
        MissingDataError: a folder is not there.
    """
    listed_in = listed_in or os.curdir
    path = os.path.join(listed_in, "classes.txt")
    if os.path.exists(path):
        return [line for line in _lines(path, "list of classes") if line], None
    _names_in(listed_in, "root_dir, into which NVIDIA's loader writes classes.txt")
    return _names_in(folder, "folder of class folders"), f"{path_text(path)} is not there, and is not written"


def split_images(index: int, root: str, split: str) -> Listing:
    """Every file of ``images/<split>`` below a folder, sorted; whether the masks fit is noted.

    Raises:
        MissingDataError: the folder is not there.
    """
    folder = os.path.join(root, "images", split)
    names = _names_in(folder, "folder of images")
    notes = []
    if split in ("train", "val"):
        masks = os.path.join(root, "masks", split)
        try:
            count = len(os.listdir(masks))
        except (OSError, ValueError) as error:
            raise_if_lacking(error, path_text(masks))
            notes.append(f"{path_text(masks)}: no folder of masks; they are not needed here")
        else:
            if count != len(names):
                notes.append(f"{path_text(masks)}: {count} masks for {len(names)} images; they are not read here")
    return Listing(_source(index, folder, names), tuple(notes))


def listed_words(index: int, folder: str, list_file: str) -> Listing:
    """Images of a list of ``name label`` lines, in its order.

    The reference wants exactly two words in each line; the name is all that is read here.

    Raises:
        MissingDataError: the list is not there.
    """
    names, odd = [], 0
    for line in _lines(list_file, "list of words"):
        words = line.split()
        odd += len(words) != 2
        names += words[:1]
    lines = "1 line is" if odd == 1 else f"{odd} lines are"
    note = (
        f"{path_text(list_file)}: {lines} not a name and a label: NVIDIA's loader stops there; the first word is taken"
    )
    return Listing(_source(index, folder, names), (note,) if odd else ())


def words_below(index: int, folder: str) -> Listing:
    """Images of a folder and all folders in it.

    Raises:
        MissingDataError: it is not there.
    """
    paths = list(files_below(folder, "folder of words"))
    return _listing(index, folder, [path for path in paths if path.lower().endswith(WORD_SUFFIXES)], len(paths))


def torchvision_classes(index: int, folder: str) -> Listing:
    """Images of class folders and the folders in them, as torchvision's ``ImageFolder`` finds and sorts them.

    Raises:
        MissingDataError: the folder is not there.
        DataError: no folder is in it.
    """
    names = _names_in(folder, "folder of class folders")
    classes = [name for name in names if os.path.isdir(os.path.join(folder, name))]
    if not classes:
        raise DataError("no class folder is in it", where=path_text(folder), hint="One folder per class is expected.")
    images: list[str] = []
    notes = []
    total = 0
    for name in classes:
        paths = list(files_below(os.path.join(folder, name), "class folder", follow_links=True))
        total += len(paths)
        found = [os.path.join(name, path) for path in paths if path.lower().endswith(TORCHVISION_SUFFIXES)]
        if not found:
            notes.append(f"{path_text(os.path.join(folder, name))}: no image is in this class folder")
        images += found
    return Listing(_source(index, folder, images), tuple(notes), total - len(images))


def flat_images(index: int, folder: str) -> Listing:
    """Images of one folder, sorted, suffixes in any case; folders in it are not entered.

    Raises:
        MissingDataError: it is not there.
    """
    names = _names_in(folder, "folder of images")
    return _listing(index, folder, [name for name in names if name.lower().endswith(WORD_SUFFIXES)], len(names))


def _names_in(folder: str, what: str) -> list[str]:
    """Sorted names in a folder, those of folders included."""
    listing = list_folder(folder, what, ())
    return sorted((*listing.folders, *listing.files))


def _source(index: int, folder: str, names: Iterable[str]) -> Source:
    inside = os.path.join(folder, "")  # `os.path.join` itself takes half of the time of a list of a million words
    return Source(
        index, folder, tuple(Sample(index, name, name if name[:1] == "/" else inside + name) for name in names)
    )


def _listing(index: int, folder: str, images: Sequence[str], total: int) -> Listing:
    return Listing(_source(index, folder, images), (), total - len(images))


def _visible(folder: str) -> list[str]:
    """Sorted names in a folder but for hidden ones; none where it is none."""
    try:
        return sorted(name for name in os.listdir(folder) if name[:1] != ".")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError) as error:
        raise_if_lacking(error, path_text(folder))
        raise DataError(f"the class folder cannot be read: {error}", where=path_text(folder)) from error


def _below(folder: str) -> list[str]:
    """Sorted paths of the files below a folder, through links, without hidden names: as glob has them."""
    paths = files_below(folder, "folder of images", follow_links=True)
    return sorted(path for path in paths if not any(part.startswith(".") for part in path.split(os.sep)))


def _lines(path: str, what: str) -> Iterator[str]:
    """Lines of a text file, without the white space around them; they end as Python's do: LF, CR LF or CR."""
    with open_data_file(path, what, DataError, hint=_FIND_LIST) as file:
        if os.fstat(file.fileno()).st_size > MAX_LIST_BYTES:
            raise DataError(f"the {what} is larger than {MAX_LIST_BYTES >> 20} MB", where=path_text(path))
        lines = chain.from_iterable(line.removesuffix(b"\n").removesuffix(b"\r").split(b"\r") for line in file)
        for number, line in enumerate(lines, 1):
            if number == 1 and line.startswith(codecs.BOM_UTF8):
                raise DataError(
                    f"the {what} begins with a byte-order mark, which NVIDIA's loader takes for a part of the name",
                    where=path_text(path),
                    hint="Save the list as UTF-8 without a byte-order mark.",
                )
            try:
                yield line.decode().strip()
            except UnicodeDecodeError:
                raise DataError(
                    "this is not UTF-8 text", where=f"{path_text(path)}:{number}", hint="Save the list as UTF-8."
                ) from None
