"""Headers of BMP, PPM and TIFF files, read so that the pixels are those of Pillow 8.4, whatever version is installed.

8.4 takes the values of PPM files as they are; later versions stretch them to the whole range. Where 8.4 reads a file in
a way that cannot be followed, or needs a C library of which it has another, the file is refused; so is fax compression,
since libtiff passes over damage in it, which becomes noise.
"""

from __future__ import annotations

import io
import struct

from PIL import BmpImagePlugin, ExifTags, ImageFile, PpmImagePlugin, TiffImagePlugin

_PIXEL_OFFSET_OF_BMP = 10

_LOSSLESS = frozenset({"raw", "packbits", "lzma", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate"})
_YCBCR, _CIELAB = 6, 8
"""Numbers of `TiffImagePlugin.PHOTOMETRIC_INTERPRETATION`."""

_SIGNED = (2,)
"""`TiffImagePlugin.SAMPLEFORMAT` of whole numbers that may be negative."""

_ON_ITS_SIDE = range(5, 9)
"""Orientations that swap width and height, of which 8.4 knows only once the pixels are loaded."""


def open_bmp(file: io.BytesIO) -> BmpImagePlugin.BmpImageFile:
    """A BMP file whose pixels begin where it says.

    Raises:
        ValueError: they begin elsewhere: Pillow 8.4 takes the palette for pixels, later versions do not.
    """
    picture = BmpImagePlugin.BmpImageFile(file)
    (said,) = struct.unpack_from("<I", file.getvalue(), _PIXEL_OFFSET_OF_BMP)
    if said not in (0, picture.tile[0][2]):
        raise ValueError(f"the pixels of a BMP cannot begin at byte {said}, where its palette is")
    return picture


def open_ppm(file: io.BytesIO) -> PpmImagePlugin.PpmImageFile:
    """A binary PPM file whose values will be loaded as they are.

    Raises:
        ValueError: Pillow 8.4 does not read this kind.
    """
    picture = PpmImagePlugin.PpmImageFile(file)
    decoder, extents, offset, arguments = picture.tile[0]
    if decoder == "ppm_plain":
        raise ValueError("PPM written as text is not read, binary PPM is")
    if decoder == "ppm" and isinstance(arguments, tuple):  # the decoder that stretches, and the largest value
        if picture.mode == "RGB" and arguments[1] > 255:
            raise ValueError(f"PPM of colours with values up to {arguments[1]} is not read, up to 255 is")
        as_they_are = ("I;16B" if picture.mode == "I" else picture.mode, 0, 1)
        picture.tile = [ImageFile._Tile("raw", extents, offset, as_they_are)]
    return picture


def open_tiff(file: io.BytesIO) -> TiffImagePlugin.TiffImageFile:
    """A TIFF file whose pixels do not depend on the version of Pillow; turned by its orientation when loaded.

    Raises:
        ValueError: the pixels of this kind are not known to be those of Pillow 8.4.
    """
    picture = TiffImagePlugin.TiffImageFile(file)
    if problem := _tiff_problem(picture):
        raise ValueError(f"TIFF {problem} is not read")
    picture.info.pop("xmp", None)  # 8.4 knows the orientation of the TIFF tag alone
    return picture


def _tiff_problem(picture: TiffImagePlugin.TiffImageFile) -> str | None:
    compression = picture.info["compression"]
    if compression not in {*_LOSSLESS, "jpeg"}:
        return f"with compression {compression}"
    if compression == "jpeg" and picture.mode != "L":
        return "with colours compressed as JPEG"
    if picture.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) in (_YCBCR, _CIELAB):
        return "with YCbCr or CIELAB colours"
    if compression != "raw" and picture.tag_v2.get(TiffImagePlugin.SAMPLEFORMAT) == _SIGNED:
        return "with compressed signed numbers"
    if picture.mode == "PA":
        return "with palette and alpha"
    if picture.tag_v2.get(ExifTags.Base.Orientation) in _ON_ITS_SIDE:
        return "that lies on its side (orientation 5 to 8)"
    return None
