"""Which way up an image is, 1 to 8 as EXIF counts, by its EXIF data or an XMP note: as Pillow 12 reads them."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import Any

from PIL import Image

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ON_ITS_SIDE = range(5, 9)
"""Orientations that swap width and height, of which Pillow 8.4 knows only once the pixels are loaded."""

_EXIF_PREFIXES = re.compile(rb"\A(?:Exif\0\0)+")
_ORIENTATION = 274
_ORDERS = {b"II*\0": "<", b"II\0*": "<", b"MM\0*": ">", b"MM*\0": ">", b"MM\0+": ">"}
"""Of the bytes of numbers. Pillow knows a BigTIFF by its third byte, and so takes the last of these for none."""
_WHOLE_NUMBERS = {3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I"}
_KNOWN_TYPES = range(1, 14)
"""Field types that Pillow reads: what is none of `_WHOLE_NUMBERS` turns nothing, but an XMP note counts no more."""

_XMP_ORIENTATION = re.compile(r'tiff:Orientation(?:="|>)([0-9])')
_XMP_KEYS = ("XML:com.adobe.xmp", "xmp")


def orientation_of(notes: Mapping[Any, Any]) -> int:
    """That which EXIF data or an XMP note state.

    Args:
        notes: by the names that Pillow has for them.
    """
    profile = notes.get("Raw profile type exif")  # how old programs wrote it into a PNG
    exif = notes.get("exif") or (profile and bytes.fromhex("".join(profile.split("\n")[3:])))
    orientation = _orientation_of_exif(_EXIF_PREFIXES.sub(b"", exif)) if exif else None
    if orientation is None and (text := next(filter(None, map(notes.get, _XMP_KEYS)), None)):
        return orientation_of_xmp(text)
    return orientation or 1


def orientation_of_xmp(text: str | bytes) -> int:
    """That which an XMP note states."""
    match = _XMP_ORIENTATION.search(text if isinstance(text, str) else text.decode("utf-8", "replace"))
    return int(match[1]) if match else 1


def _orientation_of_exif(exif: bytes) -> int | None:
    """The orientation tag of the first directory; Pillow would warn of damage elsewhere in it."""
    order = _ORDERS.get(exif[:4])
    try:
        if order is None:
            return None
        (begin,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, begin)
        for at in range(begin + 2, begin + 2 + 12 * count, 12):
            tag, kind, values, place = struct.unpack_from(f"{order}HHII", exif, at)
            if tag != _ORIENTATION or not values or kind not in _KNOWN_TYPES:
                continue
            if kind not in _WHOLE_NUMBERS:
                return 1
            number = struct.Struct(order + _WHOLE_NUMBERS[kind])
            inline = number.size * values <= 4  # the first of several counts
            return int(number.unpack_from(exif, at + 8 if inline else place)[0])
    except struct.error:
        return None
    return None
