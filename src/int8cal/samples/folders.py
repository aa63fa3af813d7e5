"""Images in folders → samples: class folders, images beside their labels, or all images of one folder.

Every list is in an order that does not depend on the file system. A folder is listed once, and nothing in it is asked
for what its name already tells: on mounts whose listings do not say what is a folder, each such question is a request
to a server.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from int8cal.errors import DataError, MissingDataError
from int8cal.io.lacks import raise_if_lacking
from int8cal.io.paths import near_names
from int8cal.io.safe_text import printable, shell_word, short_name
from int8cal.io.summary import counted
from int8cal.samples.encoded import read_encoded
from int8cal.samples.paths import WORKING_DIRECTORY_HINT, path_hint, path_text
from int8cal.samples.samples import FILES_LEFT_OUT, Dataset, Sample, Source
from int8cal.types import Size, SplitName

CLASS_IMAGE_ENDINGS = ("png", "jpg", "jpeg", "bmp", "ppm", "tif", "tiff")
"""What the lower-cased name of an image in class folders ends with; as in the reference, no dot is asked for."""

IMAGE_EXTENSIONS = frozenset({".jpg", ".jpeg", ".png"})
"""File extensions of other images, in lower case only: those that the reference's exporter takes as well."""

PICTURE_SUFFIXES = (
    ".avif", ".bmp", ".gif", ".heic", ".heif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jxl", ".pbm", ".pgm",
    ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
"""Of files that are pictures for people, in lower case, whether they are read here or not."""

_ARCHIVES = {
    (".zip",): " unzip {} -d FOLDER",
    (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz"): " mkdir FOLDER && tar -xf {} -C FOLDER",
    (".7z", ".rar"): "",
}
"""What unpacks archives, by the suffixes of their names."""

_SUFFIXES_SHOWN = 3
_SUFFIXES_COUNTED = 8
"""Of files that are left out, in the manifest: names may be anything."""
_LABEL_EXTENSION = ".txt"
_IMAGE_NAMES = tuple(f".{ending}" for ending in CLASS_IMAGE_ENDINGS)
"""A name that ends so is taken for that of a file: a folder of such a name becomes a sample that cannot be read."""

_FILE_NAMES = (*_IMAGE_NAMES, _LABEL_EXTENSION, ".xml", ".json")
"""In folders whose folders are not entered, a folder with a name that ends so is taken for a file, too."""


class FolderListing(NamedTuple):
    """Sorted names in a folder. Links to folders are among the folders."""

    folders: list[str]
    files: list[str]


class ImageFolder(NamedTuple):
    """Where images are taken from in place of the spec's data.

    Attributes:
        path: the folder.
        recursive: folders below it, too; links to folders are not followed.
    """

    path: str
    recursive: bool = False


def read_class_folders(root: str, split: SplitName) -> Dataset:
    """Images of a classification data set, in the order in which Keras lists them.

    Classes are the folders in ``root`` (links to folders too) in sorted order, whether they hold images or not. Inside
    a class, folders are walked in the order of their paths, links to folders are not followed, names are sorted. Files
    that lie directly in ``root``, and files that are not images by their name, are left out and counted.

    Args:
        root: the folder of class folders.
        split: what the folder is, for the result.

    Raises:
        MissingDataError: the folder is not there.
        DataError: it cannot be read, or no image is in it.
    """
    classes, outside = list_folder(root, f"folder of {split} images", ())
    samples: list[Sample] = []
    empty = others = 0
    for name in classes:
        listed = [os.path.join(name, path) for path in files_below(os.path.join(root, name), "class folder")]
        images = [path for path in listed if path.lower().endswith(CLASS_IMAGE_ENDINGS)]
        samples += (Sample(source=0, frame_id=path, path=os.path.join(root, path)) for path in images)
        empty += not images
        others += len(listed) - len(images)
    if not samples:
        raise DataError(
            f"no image is in the {len(classes)} class folders",
            where=path_text(root),
            hint=f"One folder per class is expected, with images named {', '.join(CLASS_IMAGE_ENDINGS)}.",
        )
    return Dataset(
        split,
        (Source(0, root, tuple(samples)),),
        counts={
            "classes": len(classes),
            "empty class folders": empty,
            "files outside class folders": len(outside),
            FILES_LEFT_OUT: others,
        },
    )


def read_labelled_images(index: int, image_dir: str, label_dir: str) -> tuple[Source, dict[str, int]]:
    """Images of one data source that have a label file; the labels themselves are not read.

    Args:
        index: index of the source in the spec.
        image_dir: folder of the images; folders in it are not entered.
        label_dir: folder of the labels: ``<image name without extension>.txt``.

    Returns:
        The samples sorted by name, and how many images without label, labels without image and other files there are.

    Raises:
        MissingDataError: a folder is not there.
        DataError: a folder cannot be read.
    """
    labels = {
        stem
        for stem, extension in map(os.path.splitext, list_folder(label_dir, "label folder", _FILE_NAMES).files)
        if extension == _LABEL_EXTENSION
    }
    files = list_folder(image_dir, "image folder", _FILE_NAMES).files
    stems = [(os.path.splitext(name)[0], name) for name in files if os.path.splitext(name)[1] in IMAGE_EXTENSIONS]
    samples = tuple(
        Sample(source=index, frame_id=name, path=os.path.join(image_dir, name))
        for stem, name in stems
        if stem in labels
    )
    counts = _capitals(files)
    counts |= {
        "images without label": len(stems) - len(samples),
        "labels without image": len(labels - {stem for stem, _ in stems}),
        FILES_LEFT_OUT: len(files) - len(stems),
    }
    return Source(index, image_dir, samples), counts


def read_folder(
    folder: ImageFolder, split: SplitName, *, size_of: Callable[[bytes, str], Size] | None = None
) -> Dataset:
    """Images of a folder by their extension (``.jpg``, ``.jpeg``, ``.png``, lower case), sorted.

    NVIDIA's exporters take images so (``--cal_image_dir``).

    Args:
        folder: which.
        split: what the result is called.
        size_of: for arithmetic that needs recorded sizes: gives the size of an image by its header, from the file's
            content and its name for messages. Images that it raises a `DataError` for, and those that cannot be read,
            have size 0 here, and fail when they are decoded.

    Raises:
        MissingDataError: the folder is not there.
        DataError: it cannot be read, or no image is in it.
    """
    what = "folder of calibration images"
    folders: list[str] = []
    if folder.recursive:
        files = list(files_below(folder.path, what))
    else:
        folders, files = list_folder(folder.path, what, _FILE_NAMES)
    images = [name for name in files if os.path.splitext(name)[1] in IMAGE_EXTENSIONS]
    samples = [Sample(source=0, frame_id=name, path=os.path.join(folder.path, name)) for name in images]
    taken = f"{', '.join(sorted(IMAGE_EXTENSIONS))} (lower case)"
    capitals = sorted({os.path.splitext(name)[1] for name in files} & {one.upper() for one in IMAGE_EXTENSIONS})
    renaming = f" Rename a copy: {_renaming(folder.path, capitals)}" if capitals else ""
    if not samples:
        below = " For those in folders below it, add --recursive." if folders else ""
        raise DataError(
            no_image_but(files, folders, recursive=folder.recursive),
            where=path_text(folder.path),
            hint=f"Images are files named {taken}.{below}{renaming}",
        )
    if size_of:
        samples = [_with_size(sample, size_of) for sample in samples]
    source = Source(0, folder.path, tuple(samples))
    counts = _capitals(files)
    counts[FILES_LEFT_OUT] = len(files) - len(images)
    if not folder.recursive:
        counts["folders not entered"] = len(folders)
    pictures = (name for name in files if name.lower().endswith(PICTURE_SUFFIXES))
    left = [name for name in pictures if os.path.splitext(name)[1] not in IMAGE_EXTENSIONS]
    told = (
        f"{path_text(folder.path)}: {counted(len(left), 'picture')} left out ({listed_suffixes(suffixes_of(left))}): "
        f"NVIDIA's exporters take {taken}.{renaming}"
    )
    return Dataset(split, (source,), counts=counts, warnings=(told,) if left else ())


def no_image_but(files: Sequence[str], folders: Sequence[str], *, recursive: bool) -> str:
    """What there is in a folder without images, as a message: the files by their suffixes, and the folders in it.

    Args:
        files: the files in it, or below it.
        folders: the folders in it that were not entered.
        recursive: whether all were.
    """
    there = [_of_suffixes(files)] if files else []
    if folders:
        more = ", …" if len(folders) > _SUFFIXES_SHOWN else ""
        there.append(
            f"{counted(len(folders), 'folder')} ({', '.join(map(short_name, folders[:_SUFFIXES_SHOWN]))}{more})"
        )
    if there:
        return f"no image is in the folder, but {' and '.join(there)}"
    return "there is no file in the folder, nor in those below it" if recursive else "the folder is empty"


def refuse_single(path: str) -> None:
    """Refuse one image, or an archive, in place of a folder or a list of images; the name tells.

    Raises:
        DataError: it is one.
    """
    name = path.lower()
    if name.endswith(PICTURE_SUFFIXES):
        raise DataError(
            "this is one image, not a folder or a list of images",
            where=path_text(path),
            hint=f"Give its folder, {shell_word(os.path.dirname(path) or os.curdir)}, or a text file with one path per "
            "line.",
        )
    for suffixes, command in _ARCHIVES.items():
        if name.endswith(suffixes):
            raise DataError(
                "this is an archive, not a folder or a list of images",
                where=path_text(path),
                hint=f"Unpack it, and give the folder:{command.format(shell_word(path)) or ' FOLDER'}",
            )


def suffixes_of(files: Iterable[str]) -> dict[str, int]:
    """How many files there are of each suffix, the most frequent first; the rare ones together."""
    counts = Counter(os.path.splitext(name)[1] or "without suffix" for name in files).most_common()
    shown = {printable(short_name(suffix)): number for suffix, number in counts[:_SUFFIXES_COUNTED]}
    rest = sum(number for _, number in counts[_SUFFIXES_COUNTED:])
    return shown | ({"others": rest} if rest else {})


def listed_suffixes(suffixes: Mapping[str, int]) -> str:
    """What `suffixes_of` gives, in words: ``50 .heic, 30 .gif``."""
    return ", ".join(f"{number} {suffix}" for suffix, number in suffixes.items())


def _of_suffixes(files: Sequence[str]) -> str:
    """How many files there are of which suffix, for messages: ``3 files (.HEIC 2, .txt 1)``."""
    counts = Counter(os.path.splitext(name)[1] or "without suffix" for name in files).most_common()
    shown = ", ".join(f"{short_name(suffix)} {number}" for suffix, number in counts[:_SUFFIXES_SHOWN])
    more = ", …" if len(counts) > _SUFFIXES_SHOWN else ""
    return f"{counted(len(files), 'file')} ({shown}{more})"


def _renaming(folder: str, suffixes: Sequence[str]) -> str:
    """The line for a shell that makes a copy of a folder in which suffixes are in lower case."""
    copy = shell_word(f"{folder.rstrip('/')}.lower")
    moves = (
        f"find {copy} -name '*{suffix}' -exec sh -c 'mv \"$1\" \"${{1%{suffix}}}{suffix.lower()}\"' _ {{}} \\;"
        for suffix in suffixes
    )
    return " && ".join((f"cp -r {shell_word(folder)} {copy}", *moves))


def _capitals(files: Iterable[str]) -> dict[str, int]:
    """Files that would be images, were their suffix in lower case, by suffix: the reference leaves them out."""
    suffixes = Counter(os.path.splitext(name)[1] for name in files)
    return {
        f"files {suffix} (in capitals, left out)": number
        for suffix, number in sorted(suffixes.items())
        if suffix.lower() in IMAGE_EXTENSIONS and suffix not in IMAGE_EXTENSIONS
    }


def _with_size(sample: Sample, size_of: Callable[[bytes, str], Size]) -> Sample:
    try:
        height, width = size_of(read_encoded(sample), sample.path)
    except DataError:
        return sample
    return sample._replace(height=height, width=width)


def list_folder(folder: str, what: str, files: tuple[str, ...]) -> FolderListing:
    """What is in a folder; links to folders count as folders.

    Args:
        folder: the folder.
        what: what it is, for messages (``image folder``).
        files: what the lower-cased names end with that are taken for those of files.

    Raises:
        MissingDataError: it is not there.
        DataError: it is not a folder, or cannot be read.
    """
    listing = FolderListing([], [])
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                is_file = entry.name.lower().endswith(files) or not _is_folder(entry)
                (listing.files if is_file else listing.folders).append(entry.name)
    except (OSError, ValueError) as error:
        where = path_text(folder)
        raise_if_lacking(error, where)
        if isinstance(error, FileNotFoundError):
            raise MissingDataError(
                f"there is no such {what}",
                where=where,
                hint=path_hint(folder) or near_names(folder, WORKING_DIRECTORY_HINT),
                filename=folder,
            ) from error
        reason = error.strerror if isinstance(error, OSError) else str(error)
        hint = "It must be a folder that this user may list."
        raise DataError(f"the {what} cannot be read: {reason}", where=where, hint=hint) from error
    listing.folders.sort()
    listing.files.sort()
    return listing


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # as when a link leads in a circle
        return False


def files_below(
    folder: str, what: str, *, follow_links: bool = False, not_entered: list[str] | None = None
) -> Iterator[str]:
    """Paths of the files below a folder, relative to it: folders ordered by path, names sorted in each.

    Args:
        folder: where to begin.
        what: it is, for messages.
        follow_links: enter links to folders, too.
        not_entered: leave hidden folders out, too; gets the paths of those that are not entered, relative to the
            folder, before the first file comes.

    Raises:
        MissingDataError: the folder is not there.
        DataError: it is not a folder, it or a folder below cannot be read, or a link leads in a circle.
    """
    found: dict[str, list[str]] = {}
    waiting: list[tuple[str, tuple[str, ...]]] = [("", ())]  # and where the links on the way to it lie
    while waiting:
        inside, ways = waiting.pop()
        parent = os.path.join(folder, inside) if inside else folder
        folders, found[inside] = list_folder(parent, what, _IMAGE_NAMES)
        for name in folders:
            path = os.path.join(parent, name)
            if not_entered is not None and name.startswith("."):
                not_entered.append(os.path.join(inside, name))
            elif not os.path.islink(path):
                waiting.append((os.path.join(inside, name), ways))
            elif follow_links:
                entered = (*ways, os.path.realpath(parent))
                target = os.path.join(os.path.realpath(path), "")
                if any(os.path.join(way, "").startswith(target) for way in entered):
                    hint = "Take the link away: what it leads to is read without it."
                    raise DataError("this link leads to a folder that it lies in", where=path_text(path), hint=hint)
                waiting.append((os.path.join(inside, name), entered))
            elif not_entered is not None:
                not_entered.append(os.path.join(inside, name))
    for inside in sorted(found):
        yield from (os.path.join(inside, name) for name in found[inside])
