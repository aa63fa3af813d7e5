"""Kinds of files, and how to tell that a file is of one: what an output may replace, and what was given by mistake."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_HEAD_BYTES = 256
_HDF5_NAMES_BYTES = 1 << 20
"""So far into a tensorfile stands the name of its first group at the latest: before the first batch."""

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
TENSORFILE_DATASET = "_tensorfile_array_key_"


class FileKind(NamedTuple):
    """A kind of files.

    Attributes:
        name: what one is called, with its article, as in "is not NAME".
        recognises: whether the file of a path, a regular one, is of this kind; raises OSError when it cannot be read.
    """

    name: str
    recognises: Callable[[str], bool]


def beginning_with(pattern: bytes) -> Callable[[str], bool]:
    """Tell files by their first bytes.

    Args:
        pattern: a regular expression for them; 256 bytes are looked at.
    """
    expression = re.compile(pattern, re.DOTALL)

    def recognises(path: str) -> bool:
        with open(path, "rb") as file:
            return expression.match(file.read(_HEAD_BYTES)) is not None

    return recognises


def _may_be_tensorfile(path: str) -> bool:
    """Whether a file is HDF5 and holds the names of a tensorfile, be it cut off, and not a model in HDF5."""
    with open(path, "rb") as file:
        is_hdf5 = file.read(len(HDF5_SIGNATURE)) == HDF5_SIGNATURE
        return is_hdf5 and TENSORFILE_DATASET.encode() in file.read(_HDF5_NAMES_BYTES)


TENSORFILE = FileKind("a tensorfile", _may_be_tensorfile)

ONNX_BEGINNING = rb"\x08[\x01-\x7f][\x12\x1a\x22\x28\x32\x3a\x42\x72](?!\0{5})"
"""A message whose field 1 is a small number, the version of its form, followed by another field that models have at the
top. A TFRecord may begin so too, for it begins with its length, but that has 8 bytes."""
ONNX_MODEL = FileKind("an ONNX model", beginning_with(ONNX_BEGINNING))

CALIBRATION_CACHE = FileKind(
    "a calibration cache", beginning_with(rb'TRT-\d|\s*\{\s*"version":\s*\d+,\s*"release":\s*"[\d.]+",\s*"algorithm":')
)
"""TensorRT's text, or our JSON."""

HTML_PAGE = FileKind("an HTML page", beginning_with(rb"<!doctype html>"))
NPZ = FileKind("an npz file", beginning_with(rb"PK\x03\x04"))
NPY = FileKind("an npy file", beginning_with(rb"\x93NUMPY"))
POLYGRAPHY_SCRIPT = FileKind("a data loader script", beginning_with(rb'"""Polygraphy data loader made by int8cal'))

SAVE_OTHERWISE = "Save it as PNG or JPEG."
"""What to do about an image that is sound, but of a format or kind that is not read."""
_CONVERT = "Convert it to PNG or JPEG first, as with ImageMagick."

_MISTAKEN: tuple[tuple[int, tuple[bytes, ...], str, str], ...] = (  # what begins so behind so many bytes
    (0, (b"\x1f\x8b",), "a gzip file", "Unpack it: gzip -dc FILE > NEW, and name the new file."),
    (0, (b"version https://git-lfs",), "a git-LFS pointer, not the file itself", "Fetch the files: git lfs pull."),
    (
        0,
        (b"\0\x05\x16\x07",),
        "what macOS keeps beside a file, not the file itself",
        "Remove all such files: find FOLDER -name '._*' -delete.",
    ),
    (0, (b"{", b"["), "a JSON file", "Leave it out."),
    (0, (b"PK\x03\x04",), "a zip archive", "Unpack it: unzip FILE."),
    (0, (b"\x89HDF",), "an HDF5 file", "Leave it out."),
    (0, (b"\x89PNG",), "a PNG image", "Leave it out."),
    (0, (b"\xff\xd8\xff",), "a JPEG image", "Leave it out."),
    (0, (b"II*\0", b"MM\0*"), "a TIFF image", SAVE_OTHERWISE),
    (0, (b"II+\0", b"MM\0+"), "a BigTIFF image", "Save it as PNG, or as plain TIFF where that is read."),
    (8, (b"WEBPVP8",), "a WebP image", SAVE_OTHERWISE),
    (
        4,
        (b"ftyphei", b"ftyphev", b"ftypmif1", b"ftypmsf1", b"ftypavif", b"ftypavis"),
        "an image in HEIF or AVIF",
        "Convert it first, as with heif-convert or ImageMagick.",
    ),
    (0, (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n"), "a JPEG 2000 image", _CONVERT),
    (0, (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"), "a JPEG XL image", _CONVERT),
    (0, (b"<",), "a page in HTML or XML, perhaps of a download that failed", "Fetch the file again."),
)


class Mistaken(NamedTuple):
    """What a file is that stands in place of data, as a phrase, and what to do about it, as a sentence."""

    what: str
    hint: str


def mistaken_for_data(beginning: bytes, path: str = "") -> Mistaken | None:
    """What a file is by its first bytes (24 or more), where it is something that people mix up with data.

    Args:
        beginning: the first bytes of the file.
        path: its name, which tells some kinds apart.
    """
    if beginning[:1] == b"{" and path.endswith("_warning.json"):
        return Mistaken(
            "the list of warnings that dataset_convert writes beside its records",
            "Let the pattern match the records alone, such as *-shard-*.",
        )
    for offset, signatures, what, hint in _MISTAKEN:
        if beginning.startswith(signatures, offset):
            return Mistaken(what, hint)
    return None
