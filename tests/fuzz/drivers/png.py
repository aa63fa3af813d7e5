"""PNG files through the decoder of DetectNet_v2 and FasterRCNN."""

from __future__ import annotations

import struct
import zlib
from random import Random

import imagecodecs
import numpy as np
from PIL import Image
from tests.build import png_chunk, png_file
from tests.fuzz.driver import Driver, Reference
from tests.pictures import encode, interlaced_png, pixels

from int8cal.images.decode import decode_image

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Type and body of each chunk, as far as they can be told apart."""
    found, offset = [], len(SIGNATURE)
    while offset + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, offset)
        found.append((data[offset + 4 : offset + 8], data[offset + 8 : offset + 8 + length]))
        offset += 12 + length
    return found


def joined(parts: list[tuple[bytes, bytes]]) -> bytes:
    """A file of chunks, with right checksums."""
    return SIGNATURE + b"".join(png_chunk(kind, body) for kind, body in parts if len(kind) == 4)


def repair(data: bytes, random: Random) -> bytes:
    return joined(chunks(data))


def rearrange(data: bytes, random: Random) -> bytes:
    """A chunk elsewhere, twice, gone, or of another type."""
    parts = chunks(data)
    if not parts:
        return data
    part = random.choice(parts)
    at = random.randrange(len(parts) + 1)
    deed = random.randrange(5)
    if deed in (0, 1):
        parts.remove(part)
    if deed == 4:
        names = (b"PLTE", b"IDAT", b"tRNS", b"gAMA", b"sRGB", b"IEND", b"IHDR", b"abcd", b"ABCD", b"a\0cd")
        part = random.choice(names), part[1]
    if deed != 0:
        parts.insert(at, part)
    return joined(parts)


def split_pixels(data: bytes, random: Random) -> bytes:
    parts = []
    for kind, body in chunks(data):
        at = random.randrange(len(body) + 1)
        parts += [(kind, body[:at]), (kind, body[at:])] if kind == b"IDAT" else [(kind, body)]
    return joined(parts)


def in_chunk(data: bytes, random: Random) -> bytes:
    """A byte of a chunk's body, with the checksum made right."""
    parts = chunks(data)
    full = [number for number, (_, body) in enumerate(parts) if body]
    if not full:
        return data
    number = random.choice(full)
    kind, body = parts[number]
    changed = bytearray(body)
    changed[random.randrange(len(changed))] = random.choice((0, 1, 2, 255, random.randrange(256)))
    parts[number] = kind, bytes(changed)
    return joined(parts)


def in_rows(data: bytes, random: Random) -> bytes:
    """Filtered rows that are too few, too many or changed, compressed again."""
    parts = chunks(data)
    try:
        rows = bytearray(zlib.decompress(b"".join(body for kind, body in parts if kind == b"IDAT")))
    except zlib.error:
        return data
    deed = random.randrange(4)
    if deed == 0:
        rows += random.randbytes(random.choice((1, 9)))
    elif deed == 1:
        del rows[random.randrange(len(rows) + 1) :]
    elif rows:
        rows[random.randrange(len(rows))] = random.randrange(256)
    stream = zlib.compress(bytes(rows), random.choice((0, 1, 9)))
    if random.random() < 0.3:  # names another window than the usual one: distances may lead out of it
        head = (random.randrange(8) << 4 | 8) << 8
        stream = (head - head % -31).to_bytes(2, "big") + stream[2:]
    if random.random() < 0.2:
        stream = stream[:-4] + random.randbytes(4)
    out, done = [], False
    for kind, body in parts:
        if kind != b"IDAT":
            out.append((kind, body))
        elif not done:
            out.append((kind, stream))
            done = True
    return joined(out)


def corpus() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    kinds = {}
    for colour_type, channels, depths in ((0, 1, (1, 2, 4, 8, 16)), (2, 3, (8, 16)), (4, 2, (8, 16)), (6, 4, (8, 16))):
        for depth in depths:
            rows = rng.integers(0, 256, (7, (9 * channels * depth + 7) // 8), dtype=np.uint8)
            kinds[f"{colour_type}-{depth}"] = png_file(rows, width=9, bit_depth=depth, colour_type=colour_type)
    for depth in (1, 2, 4, 8):
        rows = rng.integers(0, 256, (7, (9 * depth + 7) // 8), dtype=np.uint8)
        palette = png_chunk(b"PLTE", rng.bytes(3 << depth))
        kinds[f"3-{depth}"] = png_file(rows, width=9, bit_depth=depth, colour_type=3, before=palette)
    picture = Image.fromarray(pixels(13, 17))
    kinds["saved"] = encode(picture)
    kinds["short palette"] = encode(picture.quantize(5))
    kinds["transparent"] = encode(picture.quantize(9), transparency=bytes(9))
    repeated = np.tile(pixels(8, 43).reshape(8, -1), (6, 1))
    kinds["repeated"] = png_file(repeated, width=43)
    kinds["text"] = png_file(pixels(5, 6).reshape(5, -1), width=6, before=png_chunk(b"tEXt", b"a\0b"))
    gamma = png_chunk(b"gAMA", struct.pack(">I", 45455)) + png_chunk(b"sRGB", b"\0")
    kinds["gamma"] = png_file(pixels(5, 6).reshape(5, -1), width=6, before=gamma)
    for depth, colour_type in ((1, 0), (8, 2), (16, 2), (8, 3), (16, 6), (8, 4)):
        kinds[f"interlaced {colour_type}-{depth}"] = interlaced_png(7, 5, depth, colour_type)
    return kinds


def read(data: bytes) -> list[np.ndarray]:
    """In colour; grey is refused where its conversion is not known."""
    return [decode_image(data, 3, fast_dct=False, where="x")] if data.startswith(SIGNATURE) else []


def libpng(_: str) -> Reference:
    """libpng 1.6 (in imagecodecs) with the whole file, where ours gives a decoder only what it has checked."""

    def compare(data: bytes, result: list[np.ndarray]) -> str | None:
        if not result:
            return None
        try:
            theirs = imagecodecs.png_decode(data)
        except RuntimeError as error:
            return f"libpng refuses it: {error}"
        theirs = theirs[:, :, np.newaxis] if theirs.ndim == 2 else theirs
        theirs = (theirs >> 8).astype(np.uint8) if theirs.dtype == np.uint16 else theirs
        theirs = theirs[:, :, :1].repeat(3, 2) if theirs.shape[2] < 3 else theirs[:, :, :3]
        return None if np.array_equal(theirs, result[0]) else "other pixels"

    return compare


DRIVERS = [
    Driver(
        "png",
        corpus,
        read,
        (repair, rearrange, rearrange, split_pixels, in_chunk, in_rows),
        memory_mib=768,
        share=0.5,
        references={"libpng": libpng},
    )
]
