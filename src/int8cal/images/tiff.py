"""TIFF → Pillow image: the first directory read strictly, strips and tiles decompressed without libtiff.

Pillow 8.4, which the references use, takes duplicate tags, wrong counts and junk in one way, later versions in another,
libtiff in a third, and libtiff writes what it thinks of them to standard error. Here a tag that matters must occur
once, with the type and number of values that the specification asks for, and each strip must hold the bytes of its
rows; everything else is refused. What is left has one meaning, and the pixels are those of Pillow 8.4.
"""

from __future__ import annotations

import functools
import struct
import zlib
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image, TiffImagePlugin

from int8cal.images import JPEG_SIGNATURE
from int8cal.images.jpeg import SEQUENTIAL, START_OF_SCAN, decode_components, read_jpeg, segments
from int8cal.images.limits import check_pixels, unread_kind
from int8cal.images.orientation import ON_ITS_SIDE, TURNS, orientation_of_xmp

_TYPES = {3: "H", 4: "I"}
"""Field types of whole numbers: SHORT, LONG."""

_SIZES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
"""Bytes of a value by field type; the others have one."""

_UNDEFINED = 7
"""Field type of bytes that a tag explains itself."""

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_STRIP_OFFSETS, _ORIENTATION, _SAMPLES, _ROWS_PER_STRIP, _STRIP_BYTES, _PLANES = 273, 274, 277, 278, 279, 284
_PREDICTOR, _COLOURS, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES = 317, 320, 322, 323, 324, 325
_EXTRA_SAMPLES, _SAMPLE_FORMAT, _JPEG_TABLES, _XMP, _MEDIA_PHOTO = 338, 339, 347, 700, 0xBC01
_READ = frozenset({
    _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _STRIP_OFFSETS, _ORIENTATION, _SAMPLES,
    _ROWS_PER_STRIP, _STRIP_BYTES, _PLANES, _PREDICTOR, _COLOURS, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES,
    _EXTRA_SAMPLES, _SAMPLE_FORMAT,
})  # fmt: skip

_RAW, _LZW, _JPEG, _DEFLATE, _OLD_DEFLATE, _PACKBITS, _LZMA = 1, 5, 7, 8, 32946, 32773, 34925
_LOSSLESS = {_LZW: "lzw", _DEFLATE: "zlib", _OLD_DEFLATE: "zlib", _PACKBITS: "packbits", _LZMA: "lzma"}
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR, _CIELAB = 0, 1, 2, 3, 5, 6, 8
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_NO_PREDICTOR, _DIFFERENCES, _FLOAT_DIFFERENCES = 1, 2, 3

_MAX_PIECES = 1 << 16
"""Strips and tiles: a strip for each row of an image as high as Pillow's own limit."""

_PADDING = 1 << 26
"""Bytes that tiles may have beyond four times the image: one of 4096 × 4096 with four channels, whatever lies in it."""

_ENCODED = 1 << 22
"""Compressed bytes of all strips or tiles, each counted whenever it is read, beyond three times the pixels: no encoder
needs more than two."""

_JPEG_HEADERS, _JPEG_SEGMENTS = 4096, 32
"""Bytes that each JPEG file may have on top, with the tables that all share, and segments ahead of its pixels."""

_SLOW_PIECES, _SLOW_PIECE_PIXELS = 1 << 13, 1 << 11
"""How many strips or tiles of JPEG or LZW are read, and for how many pixels one more: each takes 0.1 ms."""

_LZW_TABLES, _LZW_TABLE_BYTES, _LZW_TABLE_PIXELS = 64, 1 << 12, 1 << 13
"""Tables of LZW data, and bytes (compressed, decompressed) for which one more may begin, as for each strip or tile. A
full table takes 5,300 compressed bytes; libtiff gives up one that compresses badly after 10,000 decompressed ones."""

_LONG_PIECE = 1 << 20
"""Compressed bytes from which on libtiff reads no more of a strip than ten times its pixels, and `_PIECE_MARGIN`."""
_PIECE_MARGIN = 4096

_LZMA_BYTES, _LZMA_ENCODED = 1 << 27, 1 << 25  # memory (headers can ask for 4 GB); bytes beyond an eighth of the pixels
_LZW_CLEAR, _LZW_END = 256, 257
_LZW_SIZES = np.arange(257, 5119)  # of the table, when each code after a CLEAR is read; the first one adds nothing
_LZW_WIDTHS = 9 + (_LZW_SIZES >= 511) + (_LZW_SIZES >= 1023) + (_LZW_SIZES >= 2047)
_LZW_ENDS = np.cumsum(_LZW_WIDTHS)
_LZW_MASKS = ((1 << _LZW_WIDTHS) - 1).astype(np.uint32)
_LZW_HIGHEST = np.where(_LZW_SIZES == 257, 255, _LZW_SIZES)
"""Of each code after a CLEAR: its bits, the bits up to its end, its mask, and the highest that it may be."""

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the pixels lie in the file.

    Attributes:
        mode, raw_mode: of Pillow, in memory and in the file.
        bits: of each sample.
        piece_height, piece_width: of a strip or tile, in pixels.
        planes: 1, or one for each sample.
        pieces: offset and number of bytes of each strip or tile; plane after plane.
    """

    mode: str
    raw_mode: str
    bits: tuple[int, ...]
    piece_height: int
    piece_width: int
    planes: int
    pieces: list[tuple[int, int]]

    @property
    def depth(self) -> int:
        """Bits of a pixel in one plane."""
        return self.bits[0] if self.planes > 1 else sum(self.bits)

    def row_bytes(self, width: int) -> int:
        """Bytes of a row of so many pixels in one plane."""
        return (width * self.depth + 7) // 8


class Tiff:
    """A TIFF file of which only the first directory was read.

    Args:
        data: the file.
        where: name of the image for messages.
        any_orientation: take an image that lies on its side as well, by whatever says so.

    Raises:
        ValueError, struct.error: the directory is damaged.
        ImageError: the image is too large, or of a kind that is not known to give Pillow 8.4's pixels.
    """

    def __init__(self, data: bytes, where: str, *, any_orientation: bool = False) -> None:
        self._data = data
        self._any_orientation = any_orientation
        self._where = where
        self._order = "<" if data.startswith(b"II") else ">"
        self._places = self._directory()
        self.width, self.height = self._one(_WIDTH), self._one(_HEIGHT)
        check_pixels(self.height, self.width, where)
        self._compression = self._one(_COMPRESSION, _RAW)
        self._layout = self._read_layout()

    @property
    def orientation(self) -> int:
        """1 to 8 as EXIF counts. Where the tag is missing, Pillow 12 asks an XMP note."""
        if self._any_orientation and _ORIENTATION not in self._places and _XMP in self._places:
            _, count, offset = self._places[_XMP]
            return orientation_of_xmp(self._data[offset : offset + count])
        return self._one(_ORIENTATION, 1)

    def load(self) -> Image.Image:
        """The pixels, turned by the file's orientation.

        Raises:
            ValueError: a strip or tile does not hold its pixels.
            ImageError: its pixels are stored in a way that is not read.
        """
        layout = self._layout
        size = (self.width, self.height)
        if layout.planes == 1:
            image = Image.frombytes(layout.mode, size, self._plane(0), "raw", layout.raw_mode)
        else:
            kind = np.dtype(f"u{layout.bits[0] // 8}")  # only moved, so that the order of its bytes does not matter
            planes = [np.frombuffer(self._plane(number), kind) for number in range(layout.planes)]
            image = Image.frombytes(layout.mode, size, np.stack(planes, axis=-1).tobytes(), "raw", layout.raw_mode)
        if layout.mode == "P":
            colours = bytes(value // 256 for value in self._numbers(_COLOURS))
            image.putpalette(colours, "RGB;L")
        turned = TURNS.get(self.orientation)
        return image if turned is None else image.transpose(turned)

    def _directory(self) -> dict[int, tuple[int, int, int]]:
        """Type, number of values and offset of the values of each tag."""
        (begin,) = struct.unpack_from(f"{self._order}I", self._data, 4)
        (count,) = struct.unpack_from(f"{self._order}H", self._data, begin)
        struct.unpack_from(f"{self._order}I", self._data, begin + 2 + 12 * count)  # where the next directory is
        places: dict[int, tuple[int, int, int]] = {}
        for number in range(count):
            at = begin + 2 + 12 * number
            tag, kind, values = struct.unpack_from(f"{self._order}HHI", self._data, at)
            if tag in places and (tag in _READ or tag == _JPEG_TABLES):  # programs repeat descriptions
                raise ValueError(f"tag {tag} occurs twice")
            if tag in _READ and kind not in _TYPES:
                raise ValueError(f"tag {tag} is not a whole number")
            size = values * _SIZES.get(kind, 1)
            places[tag] = kind, values, at + 8
            if size > 4:
                (offset,) = struct.unpack_from(f"{self._order}I", self._data, at + 8)
                places[tag] = kind, values, offset
                if offset + size > len(self._data):  # Pillow stops here, and takes the tags behind for missing
                    raise ValueError(f"the values of tag {tag} are cut off")
        if _MEDIA_PHOTO in places:
            raise ValueError("it is a Windows Media Photo file")
        return places

    def _numbers(self, tag: int, *missing: int) -> tuple[int, ...]:
        if tag not in self._places:
            if not missing:
                raise ValueError(f"tag {tag} is missing")
            return missing
        kind, count, offset = self._places[tag]
        if not 1 <= count <= _MAX_PIECES * 4:
            raise ValueError(f"tag {tag} has {count} values")
        return struct.unpack_from(f"{self._order}{count}{_TYPES[kind]}", self._data, offset)

    def _one(self, tag: int, *missing: int) -> int:
        values = self._numbers(tag, *missing)
        if len(values) != 1:
            raise ValueError(f"tag {tag} has {len(values)} values")
        return values[0]

    def _read_layout(self) -> _Layout:
        photometric = self._one(_PHOTOMETRIC)
        samples = self._one(_SAMPLES, 1)
        bits = self._for_each(_BITS, samples, 1)
        formats = set(self._for_each(_SAMPLE_FORMAT, samples, _UNSIGNED))
        extra = self._numbers(_EXTRA_SAMPLES) if _EXTRA_SAMPLES in self._places else ()
        planes = self._one(_PLANES, 1)
        if planes not in (1, 2):
            raise unread_kind(f"planar configuration {planes} is not read", self._where)
        order = self._one(_FILL_ORDER, 1)
        if problem := self._problem(photometric, bits, formats, extra, order):
            raise unread_kind(f"TIFF {problem} is not read", self._where)
        key = (self._data[:2], photometric, tuple(formats), order, bits, extra)
        if key not in TiffImagePlugin.OPEN_INFO:
            raise unread_kind(
                f"TIFF with colours {photometric}, bits {bits} and extra samples {extra} is not read", self._where
            )
        mode, raw_mode = TiffImagePlugin.OPEN_INFO[(*key[:3], 1, *key[4:])]
        if planes == 2 and samples == 1 and raw_mode in ("1", "L", "P"):
            planes = 1
        kinds = ({8},) if self._compression == _RAW else ({8}, {16})  # Pillow takes raw planes for 8 bits
        if planes == 2 and (set(bits) not in kinds or mode not in ("RGB", "RGBA", "CMYK", "LA")):
            raise unread_kind("TIFF with planes of this kind is not read", self._where)
        if planes == 2 and self._compression == _RAW and extra not in ((), (2,)):
            raise unread_kind("TIFF with planes of this kind is not read", self._where)
        if mode == "P" and len(self._numbers(_COLOURS)) != 3 << bits[0]:
            raise ValueError("the palette has not the colours that its bits can choose")
        plane_count = samples if planes == 2 else 1
        layout = _Layout(mode, raw_mode, bits, *self._piece_size(), plane_count, self._pieces(plane_count))
        self._check_cost(layout)
        return layout

    def _for_each(self, tag: int, samples: int, missing: int) -> tuple[int, ...]:
        """Values of a tag that has one for each sample, or one for all."""
        values = self._numbers(tag, missing)
        if samples > 8 or len(values) not in (1, samples):
            raise ValueError(f"tag {tag} has {len(values)} values for {samples} samples")
        return values if len(values) == samples else values * samples

    def _problem(
        self, photometric: int, bits: tuple[int, ...], formats: set[int], extra: tuple[int, ...], order: int
    ) -> str | None:
        """Why the pixels of this kind are not known to be those of Pillow 8.4."""
        kind = self._compression
        if kind not in (_RAW, _JPEG, *_LOSSLESS):
            return f"with compression {TiffImagePlugin.COMPRESSION_INFO.get(kind, kind)}"
        if kind == _JPEG and (photometric != _BLACK_IS_ZERO or bits != (8,)):
            return "with colours compressed as JPEG"
        if kind == _JPEG and order != 1:
            return "compressed as JPEG, with its bits in reverse,"
        if photometric in (_YCBCR, _CIELAB):
            return "with YCbCr or CIELAB colours"
        if kind != _RAW and _SIGNED in formats:
            return "with compressed signed numbers"
        if kind != _RAW and self._order == ">" and bits == (32,):
            return "with compressed big-endian numbers of 32 bits"
        if photometric == _PALETTE and extra:
            return "with palette and alpha"
        if self.orientation in ON_ITS_SIDE and not self._any_orientation:
            return "that lies on its side (orientation 5 to 8)"
        if (
            (len(formats) > 1 or (len(bits) > 1 and formats != {_UNSIGNED}))
            or (bits == (8,) and formats == {_SIGNED})
            or (bits == (16,) and (photometric == _WHITE_IS_ZERO or order != 1))
            or (photometric == _BLACK_IS_ZERO and extra not in ((), (2,)))
            or (photometric == _CMYK and bits[0] == 16 and self._order == ">")
        ):
            return "of a kind that Pillow 8.4 does not know"
        return None

    def _piece_size(self) -> tuple[int, int]:
        if _TILE_OFFSETS not in self._places:
            return min(self._one(_ROWS_PER_STRIP, self.height), self.height), self.width
        return self._one(_TILE_HEIGHT), self._one(_TILE_WIDTH)

    def _pieces(self, planes: int) -> list[tuple[int, int]]:
        height, width = self._piece_size()
        tags = {_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES} & self._places.keys()
        if len(tags) not in (0, 4) or bool(tags) == (_STRIP_OFFSETS in self._places) or height < 1 or width < 1:
            raise ValueError("it has neither strips nor tiles, or both")
        if _TILE_OFFSETS in self._places:
            check_pixels(height, width, self._where)
        count = -(-self.height // height) * -(-self.width // width) * planes
        if count > _MAX_PIECES:
            raise ValueError(f"it has more than {_MAX_PIECES} strips or tiles")
        tiled = _TILE_OFFSETS in self._places
        offsets = self._numbers(_TILE_OFFSETS if tiled else _STRIP_OFFSETS)
        sizes = self._numbers(_TILE_BYTES if tiled else _STRIP_BYTES)
        if not len(offsets) == len(sizes) == count:
            raise ValueError(f"it has {len(offsets)} strips or tiles, but {count} are needed")
        return list(zip(offsets, sizes, strict=True))

    def _check_cost(self, layout: _Layout) -> None:
        """Make sure that strips and tiles hold and take little more than the image, also where they share their bytes.

        Raises:
            ValueError: they do not.
        """
        count, tall = len(layout.pieces), layout.piece_height
        pixels = layout.planes * self.height * layout.row_bytes(self.width)
        if count * tall * layout.row_bytes(layout.piece_width) > 4 * pixels + _PADDING:
            raise ValueError(f"its {count} tiles of {layout.piece_width}×{tall} pixels are far larger than the image")
        if self._compression == _RAW:
            return
        limit, taken = 3 * pixels + _ENCODED, sum(size for _, size in layout.pieces)
        most = _SLOW_PIECES + self.width * self.height // _SLOW_PIECE_PIXELS
        if self._compression in (_JPEG, _LZW) and count > most:
            raise ValueError(f"it has {count} strips or tiles, at most {most} of this compression are read at its size")
        if self._compression == _JPEG:
            limit += _JPEG_HEADERS * count
            taken += len(self._jpeg_tables) * count
        if self._compression == _LZMA and taken > _LZMA_ENCODED + pixels // 8:
            raise ValueError(f"it has {taken:,} bytes of LZMA, too many for its size: save it with deflate")
        if taken > limit:
            raise ValueError("its strips or tiles are far longer than its pixels")
        self._lzw_tables = _LZW_TABLES + count + taken // _LZW_TABLE_BYTES + pixels // _LZW_TABLE_PIXELS

    def _plane(self, number: int) -> bytes:
        """Rows of a plane, each of whole bytes, as they are in an uncompressed file."""
        layout = self._layout
        count = len(layout.pieces) // layout.planes
        pieces = layout.pieces[number * count : (number + 1) * count]
        tall, wide = layout.piece_height, layout.piece_width
        row_bytes = layout.row_bytes(wide)
        if wide == self.width:
            rows_left = self.height
            parts = []
            tiled = _TILE_OFFSETS in self._places
            for piece in pieces:
                rows = tall if tiled else min(tall, rows_left)
                decoded = self._decoded(piece, rows, row_bytes, is_last_strip=not tiled and rows == rows_left)
                parts.append(decoded[: min(rows, rows_left) * row_bytes])
                rows_left -= rows
            return b"".join(parts)
        if wide * layout.depth % 8:
            raise ValueError("the rows of its tiles do not end with a byte")
        across = -(-self.width // wide)
        out = np.empty((self.height, layout.row_bytes(self.width)), np.uint8)
        for place, piece in enumerate(pieces):
            top, left = place // across * tall, place % across * row_bytes
            tile = np.frombuffer(self._decoded(piece, tall, row_bytes), np.uint8).reshape(tall, row_bytes)
            part = out[top : top + tall, left : left + row_bytes]
            part[:] = tile[: part.shape[0], : part.shape[1]]
        return out.tobytes()

    def _decoded(self, piece: tuple[int, int], rows: int, row_bytes: int, *, is_last_strip: bool = False) -> bytes:
        """The bytes of a strip or tile."""
        offset, size = piece
        expected = rows * row_bytes
        if not 0 < size <= len(self._data) - offset:
            raise ValueError("it is cut off")
        if self._compression == _RAW:
            size = min(size, expected)
        elif size > max(_LONG_PIECE, 10 * expected + _PIECE_MARGIN):
            raise ValueError("a strip or tile is far longer than its pixels")
        encoded = self._data[offset : offset + size]
        if self._one(_FILL_ORDER, 1) == 2:
            encoded = encoded.translate(_REVERSED)
        if self._compression == _RAW:
            decoded = encoded
        elif self._compression == _JPEG:
            decoded = self._grey_jpeg(encoded, rows, may_be_taller=is_last_strip)
        else:
            if self._compression == _LZW:
                self._lzw_tables -= _check_lzw(encoded, self._lzw_tables)
            surplus = self._layout.piece_height * row_bytes + _PIECE_MARGIN
            decoded = _decompressed(_LOSSLESS[self._compression], encoded, expected, surplus)
        if len(decoded) != expected:
            raise ValueError("a strip or tile does not hold its pixels")
        return decoded if self._compression in (_RAW, _JPEG) else self._undone(decoded, rows)

    def _undone(self, data: bytes, rows: int) -> bytes:
        """Values of which each was stored as its difference from the one before it."""
        predictor = self._one(_PREDICTOR, _NO_PREDICTOR)
        if predictor == _NO_PREDICTOR or self._compression == _PACKBITS:
            return data
        bits = set(self._layout.bits)
        formats = set(self._numbers(_SAMPLE_FORMAT, _UNSIGNED))
        samples = 1 if self._layout.planes > 1 else len(self._layout.bits)
        if predictor == _DIFFERENCES and bits in ({8}, {16}, {32}):
            kind = np.dtype(f"{self._order}u{max(bits) // 8}")
            values = np.frombuffer(data, kind).reshape(rows, -1, samples)
            return np.cumsum(values, axis=1, dtype=kind.newbyteorder("=")).astype(kind).tobytes()
        if predictor == _FLOAT_DIFFERENCES and bits == {32} and formats == {_FLOAT}:
            stored = np.frombuffer(data, f"{self._order}f4").reshape(rows, -1)
            return np.asarray(imagecodecs.floatpred_decode(stored, axis=-1)).astype(f"{self._order}f4").tobytes()
        raise unread_kind(f"predictor {predictor} for values of {max(bits)} bits is not read", self._where)

    def _grey_jpeg(self, encoded: bytes, rows: int, *, may_be_taller: bool) -> bytes:
        """A strip or tile that is a JPEG file; libtiff takes the last strip as high as the others."""
        if not encoded.startswith(JPEG_SIGNATURE[:2]):
            raise ValueError("a strip is not a JPEG file")
        if self._jpeg_tables:
            encoded = self._jpeg_tables[:-2] + encoded[2:]
        ahead = takewhile(lambda segment: segment.marker != START_OF_SCAN, segments(encoded))
        if sum(1 for _ in islice(ahead, _JPEG_SEGMENTS + 1)) > _JPEG_SEGMENTS:
            raise ValueError(f"a strip has more than {_JPEG_SEGMENTS} JPEG segments")
        header = read_jpeg(encoded, self._where)
        if len(header.components) != 1:
            raise ValueError("a strip of a grey image is a JPEG file of colours")
        if header.frame not in SEQUENTIAL and len(self._layout.pieces) > 1:  # each may have as many scans as a file
            raise ValueError("strips that are progressive JPEG files are not read, a single one is")
        if header.width != self._layout.piece_width or not (
            header.height == rows or (may_be_taller and header.height > rows)
        ):
            raise ValueError("a strip is of another size")
        return decode_components(encoded, self._where)[:rows].tobytes()

    @functools.cached_property
    def _jpeg_tables(self) -> bytes:
        """A JPEG file without a frame, or nothing."""
        if _JPEG_TABLES not in self._places:
            return b""
        kind, count, offset = self._places[_JPEG_TABLES]
        tables = self._data[offset : offset + count]
        if (
            kind != _UNDEFINED
            or len(tables) < max(count, 4)
            or not tables.startswith(b"\xff\xd8")
            or not tables.endswith(b"\xff\xd9")
        ):
            raise ValueError("the JPEG tables are damaged")
        return tables


def _decompressed(kind: str, encoded: bytes, expected: int, surplus: int) -> bytes:
    """What a strip or tile holds, at most ``expected`` bytes.

    Some writers fill up the last strip. libtiff then stops before the checksum, and takes damaged data for pixels; so
    the stream is read to its end here, for up to ``surplus`` bytes more.
    """
    if kind == "lzw":
        return bytes(imagecodecs.lzw_decode(encoded, out=expected))
    if kind == "packbits":
        return bytes(imagecodecs.packbits_decode(encoded, out=expected))
    if kind == "zlib":
        stream: Any = zlib.decompressobj()
    else:
        import lzma  # late: hardly any file needs it, and some builds of Python have none

        stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, _LZMA_BYTES)
    decoded: bytes = stream.decompress(encoded, expected + surplus + 1)
    if len(decoded) > expected + surplus:
        raise ValueError("a strip or tile holds far more than its pixels")
    if not stream.eof:
        raise ValueError("a strip or tile ends without a checksum")
    return decoded[:expected]


def _check_lzw(encoded: bytes, most: int) -> int:
    """Make sure that each code is in the table when it is read: imagecodecs reads memory that is not its own otherwise.

    Args:
        encoded: a strip or tile.
        most: tables that it may begin.

    Returns:
        How many it begins.

    Raises:
        ValueError: one is not, the bits are in the order of old files, or the table is begun anew too often.
    """
    octets = np.frombuffer(encoded + bytes(3), np.uint8)
    if encoded[0] != 0x80 or encoded[1:2] >= b"\x80":  # nine bits of a CLEAR
        raise ValueError("LZW data do not begin with an empty table")
    begin, end = 9, 8 * len(encoded)
    for tables in range(most):
        count = int(np.searchsorted(_LZW_ENDS, end - begin, side="right"))
        if count == 0:
            return tables
        places = begin + _LZW_ENDS[:count] - _LZW_WIDTHS[:count]
        shifts = (24 - (places & 7) - _LZW_WIDTHS[:count]).astype(np.uint32)
        high, middle, low = (octets[(places >> 3) + number].astype(np.uint32) for number in range(3))
        codes = (high << 16 | middle << 8 | low) >> shifts & _LZW_MASKS[:count]
        stops = np.flatnonzero((codes == _LZW_CLEAR) | (codes == _LZW_END))
        told = int(stops[0]) if len(stops) else count
        if np.any(codes[:told] > _LZW_HIGHEST[:told]):
            raise ValueError("a code of LZW data is not in the table")
        if told == count or codes[told] == _LZW_END:
            return tables + 1
        begin += int(_LZW_ENDS[told])
    raise ValueError("LZW data begin their table anew too often")
