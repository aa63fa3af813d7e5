"""How large an image may be, known from its header and checked before memory is taken; what decoders' errors become."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from int8cal.errors import REPAIR_IMAGE as REPAIR_IMAGE
from int8cal.errors import ImageError, UnavailableError
from int8cal.io.file_kinds import SAVE_OTHERWISE, mistaken_for_data
from int8cal.io.lacks import raise_if_lacking
from int8cal.types import Size

_Reader = TypeVar("_Reader")

MAX_PIXELS = 1 << 26
"""Largest image that is decoded: 67 megapixels (8192 × 8192), 200 MB as RGB. Below the size from which Pillow warns.

While a worker decodes such an image it holds the file (a PNG twice), the pixels as they are in the file (at most 8
bytes each: 512 MiB for RGBA of 16 bits, 192 MiB for RGB of 8) and the result (3 bytes each, or 1).
"""

_LONGEST_WORDS = 200


@contextmanager
def decoding(what: str, where: str) -> Iterator[None]:
    """Stands around every call into a library that sees an image's bytes: whatever it raises is that image's error.

    Args:
        what: what is then said of the image; the class of the library's error and its first words follow.
        where: name of the image for messages.

    Raises:
        ImageError: the library raised something, or this error was raised inside.
        MemoryError, ResourceError, UnavailableError: the system lacks something; the image is not to blame.
        OSError: nor is it where the system refused something else.
    """
    try:
        yield
    except (ImageError, UnavailableError):  # of a layer below: these stand around one another
        raise
    except Exception as error:  # decoders raise whatever comes of damaged files
        raise_if_lacking(error, where)
        if getattr(error, "errno", None) is not None:
            raise
        words = f"{type(error).__name__}: {error}".partition("\n")[0].rstrip(": .")[:_LONGEST_WORDS]
        raise ImageError(f"{what}: {words}.", where=where, hint=REPAIR_IMAGE) from error


def unread_kind(words: str, where: str) -> ImageError:
    """The error for a file of a kind that is not read: there may be nothing to repair in it.

    Args:
        words: which kind is not read, as the end of a sentence.
        where: name of the image for messages.
    """
    return ImageError(f"The image cannot be decoded: {words}.", where=where, hint=SAVE_OTHERWISE)


def reader_by_signature(
    encoded: bytes, readers: Mapping[tuple[bytes, ...], _Reader], formats: str, where: str
) -> _Reader:
    """What reads a file that begins so. ``Image.open`` would try every format that some plug-in brings along.

    Args:
        encoded: the file.
        readers: by the first bytes of a format's files.
        formats: their names, for the message.
        where: name of the image for messages.

    Raises:
        ImageError: the file is empty, or of no such format.
    """
    for signatures, reader in readers.items():
        if encoded.startswith(signatures):
            return reader
    what = f"is not a {formats} file" if encoded else "is empty"
    raise ImageError(f"The image {what}.", where=where, hint=instead_of_image(encoded))


def instead_of_image(encoded: bytes) -> str:
    """What to do about a file in no format that is read: the hint of its error, which says what it is, if possible."""
    mistaken = mistaken_for_data(encoded)
    return f"It is {mistaken.what}. {mistaken.hint}" if mistaken else REPAIR_IMAGE


def output_problem(size: Size) -> str | None:
    """Why no network input of this size is made; None when it may be."""
    if size.height * size.width <= MAX_PIXELS:
        return None
    return f"Images of {size.width}×{size.height} pixels are too large; at most {MAX_PIXELS} are made."


def check_pixels(height: int, width: int, where: str) -> None:
    """Make sure that an image of this size may be decoded.

    Raises:
        ImageError: it has no pixels, or more than `MAX_PIXELS`.
    """
    if height < 1 or width < 1:
        raise ImageError(f"The image has no pixels: height {height}, width {width}.", where=where, hint=REPAIR_IMAGE)
    if height * width > MAX_PIXELS:
        raise ImageError(
            f"The image is too large: {width}×{height} pixels; at most {MAX_PIXELS} are decoded.",
            where=where,
            hint="Scale it down, or take it out of the data.",
        )
