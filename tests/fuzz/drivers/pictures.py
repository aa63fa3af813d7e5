"""BMP, GIF, PPM, TIFF and PNG files through the networks that use Pillow; GIF through TensorFlow's way as well."""

from __future__ import annotations

import lzma
import struct
import zlib
from contextlib import suppress
from random import Random

import numpy as np
from PIL import Image
from tests.fuzz.driver import Driver, Reference
from tests.fuzz.other_python import OtherPython
from tests.pictures import all_kinds, deep_grey, encode, pixels
from tests.tiff_files import tiff

from int8cal.errors import Int8calError
from int8cal.images.decode import decode_image
from int8cal.images.pictures import open_picture, picture_size
from int8cal.images.pillow import open_converted, upright_size
from int8cal.preprocess.colour import to_rgb


def in_header(data: bytes, random: Random) -> bytes:
    """A byte among the first hundred."""
    changed = bytearray(data)
    at = random.randrange(min(len(changed), 100))
    changed[at] = random.choice((0, 1, 2, 3, 4, 8, 0x40, 0x80, 0xFF, changed[at] ^ 1 << random.randrange(8)))
    return bytes(changed)


def tags(data: bytes) -> tuple[str, int, list[bytes]]:
    """Byte order of a TIFF file, where its directory is, and the entries."""
    order = "<" if data.startswith(b"II") else ">"
    (begin,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, begin)
    return order, begin, [data[begin + 2 + 12 * number : begin + 14 + 12 * number] for number in range(min(count, 50))]


def in_tags(data: bytes, random: Random) -> bytes:
    """An entry of a TIFF's directory twice, gone, elsewhere, or with another type, count or value."""
    order, _, entries = tags(data)
    entry = random.choice(entries)
    number = entries.index(entry)
    deed = random.randrange(7)
    if deed == 0:
        del entries[number]
    elif deed == 1:
        entries.insert(random.randrange(len(entries) + 1), entry)
    elif deed == 2:
        del entries[number]
        entries.insert(random.randrange(len(entries) + 1), entry)
    else:
        tag, kind, count, value = struct.unpack(f"{order}HHI4s", entry)
        small = random.choice((0, 1, 2, 3, 4, 5, 7, 8, 16, 32, 255))
        if deed == 3:
            kind = random.choice((1, 2, 3, 4, 5, 16))
        elif deed == 4:
            count = random.choice((0, 1, 2, 3, 5, 1 << 30))
        elif deed == 5:
            tag = random.choice((256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 317, 320, 322, 338, 339))
        else:
            value = struct.pack(f"{order}{'I' if kind == 4 else 'H2x'}", small)
        if deed == 6 and random.random() < 0.5:
            entries.append(struct.pack(f"{order}HHI4s", tag, kind, count, value))
        else:
            entries[number] = struct.pack(f"{order}HHI4s", tag, kind, count, value)
    directory = struct.pack(f"{order}H", len(entries)) + b"".join(entries) + bytes(4)
    return data[:4] + struct.pack(f"{order}I", len(data)) + data[8:] + directory  # the new directory at the end


def corpus() -> dict[str, bytes]:
    kinds = {name: data for name, data in all_kinds().items() if not name.endswith(".jpg")}
    rgb = Image.fromarray(pixels())
    grey, rgba, palette = rgb.convert("L"), Image.fromarray(pixels(channels=4)), rgb.quantize(17)
    for name, picture in {
        "1": grey.convert("1"),
        "L": grey,
        "P": palette,
        "RGBA": rgba,
        "2 colours": rgb.quantize(2),
    }.items():
        kinds[f"{name}.bmp"] = encode(picture, "BMP")
    for name, picture in {"L": grey, "deep": Image.fromarray(deep_grey()), "1": grey.convert("1")}.items():
        kinds[f"{name}.ppm"] = encode(picture, "PPM")
    kinds["comment.ppm"] = b"P5 # a comment\n3 2\n#more\n255\n" + bytes(range(6))
    kinds["grey.gif"] = encode(grey, "GIF")
    kinds["two.gif"] = encode(palette, "GIF", save_all=True, append_images=[palette.rotate(90)])
    kinds["transparent.gif"] = encode(palette, "GIF", transparency=3, interlace=True, comment=b"a comment")
    grey_table, image = bytes(v for i in range(256) for v in (i, i, i)), kinds["grey.gif"]
    at = image.index(b"\x2c\0\0\0\0")
    kinds["own grey.gif"] = (
        image[:13] + image[at : at + 9] + b"\x87" + grey_table + image[at + 10 :] if not image[10] & 0x80 else image
    )
    values = {"L": pixels(channels=1), "RGB": pixels(), "RGBA": pixels(channels=4), "deep": deep_grey()}
    values["float"] = np.linspace(0, 255, 11 * 13, dtype=np.float32).reshape(11, 13)
    for name, array in values.items():
        for compression in ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate"):
            kinds[f"{name} {compression}.tif"] = encode(array, "TIFF", compression=compression)
    kinds["differences.tif"] = encode(pixels(), "TIFF", compression="tiff_lzw", tiffinfo={317: 2})
    kinds["deep differences.tif"] = encode(deep_grey(), "TIFF", compression="tiff_adobe_deflate", tiffinfo={317: 2})
    kinds["lzma.tif"] = tiff(lzma.compress(pixels(channels=1).tobytes()), (11, 13), compression=34925)
    kinds["float differences.tif"] = float_differences()
    kinds["palette.tif"] = encode(palette, "TIFF")
    kinds["1.tif"] = encode(grey.convert("1"), "TIFF")
    kinds["la.tif"] = encode(rgba.convert("LA"), "TIFF")
    kinds["cmyk.tif"] = encode(rgb.convert("CMYK"), "TIFF")
    kinds["jpeg.tif"] = encode(Image.fromarray(pixels(16, 16, 1)), "TIFF", compression="jpeg")
    kinds["strips.tif"] = encode(Image.fromarray(pixels(50, 13)), "TIFF", compression="tiff_lzw", tiffinfo={278: 7})
    kinds["big-endian.tif"] = tiff(pixels().tobytes(), (11, 13), photometric=2, bits=(8, 8, 8), order=">")
    kinds["deep big-endian.tif"] = tiff(deep_grey().astype(">u2").tobytes(), (11, 13), bits=(16,), order=">")
    kinds["turned.tif"] = tiff(pixels().tobytes(), (11, 13), (274, 3, [3]), photometric=2, bits=(8, 8, 8))
    kinds["planes.tif"] = planes()
    kinds["tiles.tif"] = tiles()
    return kinds


def float_differences() -> bytes:
    """Floats whose bytes lie apart by rank, each the difference from the one before it, compressed."""
    values = np.linspace(-3, 300, 11 * 13, dtype=">f4").reshape(11, 13)
    apart = values.view(np.uint8).reshape(11, 13, 4).transpose(0, 2, 1).reshape(11, 52)
    rows = np.diff(apart, axis=1, prepend=np.zeros((11, 1), np.uint8)).astype(np.uint8)
    return tiff(zlib.compress(rows.tobytes()), (11, 13), (317, 3, [3]), (339, 3, [3]), bits=(32,), compression=8)


def planes() -> bytes:
    """RGB, each colour in a strip of its own."""
    values = pixels().transpose(2, 0, 1).tobytes()
    offsets = [8 + 143 * number for number in range(3)]
    more = ((273, 4, offsets), (279, 4, [143] * 3), (284, 3, [2]))
    return tiff(values, (11, 13), *more, photometric=2, bits=(8, 8, 8))


def tiles() -> bytes:
    """Grey, in four tiles of 16×16."""
    values = np.zeros((32, 32), np.uint8)
    values[:20, :25] = pixels(20, 25, 1)
    body = b"".join(values[top : top + 16, left : left + 16].tobytes() for top in (0, 16) for left in (0, 16))
    more = ((322, 3, [16]), (323, 3, [16]), (324, 4, [8 + 256 * number for number in range(4)]), (325, 4, [256] * 4))
    return tiff(body, (20, 25), *more, without=(273, 278, 279))


def read(data: bytes) -> Image.Image:
    """As it is in the file; its size, its RGB and TensorFlow's way must end as well."""
    for other in (
        lambda: picture_size(data, "x"),
        lambda: decode_image(data, 3, fast_dct=True, where="x"),
        lambda: open_converted(data, "L", "x", upright=True),
        lambda: upright_size(data, "x"),
    ):
        with suppress(Int8calError):
            other()
    picture = open_picture(data, "x")
    to_rgb(picture)
    return picture


def pillow(python: str) -> Reference:
    """Pillow 8.4, by hand: mode, size, pixels and palette."""
    worker = OtherPython(python, "pillow.py")

    def compare(data: bytes, result: Image.Image) -> str | None:
        if data.startswith(b"\xff\xd8") or b"\xff\xdb" in data:  # another library decodes what is JPEG
            return None
        said, theirs = worker.decode(data)
        palette = bytes(result.getpalette() or ()) if result.mode == "P" else b""
        mode, _, rest = said.partition(" ")
        ours = f"{result.mode} {result.width}x{result.height}"
        if (mode, result.mode) == ("RGBX", "RGB"):  # later versions leave the fourth channel out
            theirs = np.frombuffer(theirs, np.uint8).reshape(-1, 4)[:, :3].tobytes()
            said = f"RGB {rest}"
        size, _, length = said.rpartition(" ")
        if size != ours:
            return f"ours is {ours}, theirs {said}"
        known = int(length)
        if theirs[known:] != result.tobytes():
            return f"other pixels: {said}"
        short = min(known, len(palette))
        return None if theirs[:short] == palette[:short] else f"other palette: {said}"

    return compare


MEMORY_MIB = 768
"""What an image of the largest size that is decoded may take (`int8cal.images.limits`)."""

DRIVERS = [
    Driver(
        "pictures",
        corpus,
        read,
        (in_header, in_tags, in_tags),
        memory_mib=MEMORY_MIB,
        share=3,
        references={"pillow": pillow},
    )
]
