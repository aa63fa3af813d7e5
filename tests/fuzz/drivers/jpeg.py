"""JPEG files of every kind through the decoder, with either DCT."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import suppress
from random import Random

import numpy as np
from PIL import Image
from tests.fuzz.driver import Driver, Reference
from tests.fuzz.other_python import OtherPython
from tests.jpeg_files import BASELINE, EXTENDED, PROGRESSIVE, Kind, write_jpeg
from tests.pictures import encode, pixels

from int8cal.errors import Int8calError
from int8cal.images import JPEG_SIGNATURE
from int8cal.images.decode import decode_image
from int8cal.images.jpeg import read_jpeg, segments
from int8cal.images.pictures import open_picture

GREY, FULL, HALF, QUARTER = ((1, 1),), ((1, 1),) * 3, ((2, 1), (1, 1), (1, 1)), ((2, 2), (1, 1), (1, 1))
SAMPLINGS = {
    "grey": GREY, "4:4:4": FULL, "4:2:2": HALF, "4:2:0": QUARTER, "4:4:0": ((1, 2), (1, 1), (1, 1)),
    "4:1:1": ((4, 1), (1, 1), (1, 1)), "4:4:1": ((1, 4), (1, 1), (1, 1)), "4:1:0": ((4, 2), (1, 1), (1, 1)),
    "3x1": ((3, 1), (1, 1), (1, 1)), "1x3": ((1, 3), (1, 1), (1, 1)), "chroma differ": ((2, 2), (2, 1), (1, 1)),
    "finer chroma": ((1, 1), (2, 2), (2, 2)), "one finer": ((1, 1), (2, 1), (1, 1)),
    "crossed": ((2, 1), (1, 2), (1, 1)),
    "CMYK": ((1, 1),) * 4, "CMYK 4:2:0": ((2, 2), (1, 1), (1, 1), (2, 2)), "CMYK odd": ((2, 2), (1, 1), (1, 1), (1, 1)),
}  # fmt: skip


def parts(data: bytes) -> list[tuple[int, bytes]]:
    """Marker and bytes of each segment, pixels with their scan's."""
    found = list(segments(data))
    ends = [segment.begin for segment in found[1:]] + [len(data)]
    return [(segment.marker, data[segment.begin : end]) for segment, end in zip(found, ends, strict=True)]


def rearrange(data: bytes, random: Random) -> bytes:
    """A segment elsewhere, twice or gone."""
    pieces = parts(data)
    if not pieces:
        return data
    part = random.choice(pieces)
    deed = random.randrange(3)
    if deed < 2:
        pieces.remove(part)
    if deed:
        pieces.insert(random.randrange(len(pieces) + 1), part)
    return data[:2] + b"".join(body for _, body in pieces)


def in_header(data: bytes, random: Random) -> bytes:
    """A byte of the frame, a scan header or a table."""
    found = [segment for segment in segments(data) if segment.end - segment.begin > 4 and segment.end <= len(data)]
    if not found:
        return data
    segment = random.choice(found)
    at = random.randrange(segment.begin + 4, segment.end)
    value = random.choice((data[at] ^ 1 << random.randrange(8), random.randrange(256), 0x11, 0x22, 0x41))
    return data[:at] + bytes([value]) + data[at + 1 :]


def in_pixels(data: bytes, random: Random) -> bytes:
    """Pixels that are cut, flipped, longer, or have a marker among them; the end stays."""
    scans = [segment for segment in segments(data) if segment.marker == 0xDA and segment.end < len(data) - 2]
    if not scans:
        return data
    begin = random.choice(scans).end
    at = random.randrange(begin, max(begin + 1, len(data) - 2))
    deed = random.randrange(5)
    if deed == 0:
        return data[:at] + b"\xff\xd9"
    if deed == 1:
        return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]
    if deed == 2:
        return data[:at] + bytes([0xFF, 0xD0 + random.randrange(10)]) + data[at:]
    if deed == 3:
        return data[:-2] + random.choice((bytes(9), b"\x12", b"\xff\xd0", b"\xff\0")) + data[-2:]
    return data[:at] + data[at + 1 :]


def corpus() -> dict[str, bytes]:
    kinds = {}
    for name, sampling in SAMPLINGS.items():
        for frame in (BASELINE, PROGRESSIVE):
            adobe = 2 if len(sampling) == 4 else None
            kinds[f"{name} {frame:x}"] = write_jpeg(Kind(sampling, (19, 27), frame, adobe=adobe))
        kinds[f"{name} restarts"] = write_jpeg(Kind(sampling, (19, 27), EXTENDED, restart=2))
        kinds[f"{name} separate"] = write_jpeg(Kind(sampling, (19, 27), separate=True))
    kinds["RGB inside"] = write_jpeg(Kind(FULL, (19, 27), adobe=0))
    smooth = Image.fromarray(pixels(5, 5)).resize((40, 30), Image.Resampling.BICUBIC)
    kinds["saved"] = encode(smooth, "JPEG")
    kinds["saved progressive"] = encode(smooth, "JPEG", progressive=True, optimize=True)
    kinds["saved CMYK"] = encode(smooth.convert("CMYK"), "JPEG")
    return kinds


def read(data: bytes) -> np.ndarray | None:
    """RGB with the accurate DCT; with the fast one and through the networks that use Pillow it must end as well."""
    if not data.startswith(JPEG_SIGNATURE):
        return None
    for other in (lambda: decode_image(data, 1, fast_dct=True, where="x"), lambda: open_picture(data, "x")):
        with suppress(Int8calError):
            other()
    return decode_image(data, 3, fast_dct=False, where="x")


def djpeg(path: str) -> Reference:
    """`djpeg -strict` of libjpeg-turbo: each warning is an error. Harmless faults are mended as for the decoder."""
    program = path or shutil.which("djpeg") or "djpeg"

    def pixels_of(data: bytes) -> tuple[bytes, str]:
        done = subprocess.run([program, "-strict", "-pnm"], input=data, capture_output=True, check=False)
        return done.stdout if done.returncode == 0 else b"", done.stderr.decode(errors="replace").strip()

    def compare(data: bytes, result: np.ndarray | None) -> str | None:
        if result is None:
            return None
        jpeg = read_jpeg(data, "x")
        end = next((segment.begin for segment in segments(jpeg.data) if segment.marker == 0xD9), None)
        unpadded = jpeg.data
        if end:
            kept = jpeg.data[:end].rstrip(b"\xff").rstrip(b"\0")
            unpadded = kept + (b"\0" if kept.endswith(b"\xff") else b"") + jpeg.data[end:]
        for attempt in (jpeg.data, unpadded):
            theirs, said = pixels_of(attempt)
            if theirs:
                break
        else:
            return f"djpeg refuses it: {said}"
        if len(jpeg.components) == 4:
            return None  # it makes no RGB of them
        header = theirs.split(b"\n", 3)[:3]
        values = np.frombuffer(theirs[len(b"\n".join(header)) + 1 :], np.uint8)
        values = values.reshape(*result.shape[:2], -1)
        return None if np.array_equal(np.broadcast_to(values, result.shape), result) else "other pixels"

    return compare


def tensorflow(python: str) -> Reference:
    """TensorFlow 1.15, by hand: both DCTs, colour and grey."""
    worker = OtherPython(python, "tensorflow15.py")

    def compare(data: bytes, result: np.ndarray | None) -> str | None:
        for channels in (3, 1):
            for fast_dct in (False, True):
                try:
                    ours = decode_image(data, channels, fast_dct=fast_dct, where="x")
                except Int8calError:
                    continue
                shape, theirs = worker.decode(data, channels, fast_dct=fast_dct)
                if theirs != ours.tobytes():
                    return f"{channels} channels, {fast_dct=}: ours has {ours.shape}, theirs {shape}"
        return None

    return compare


REFERENCES = {"djpeg": djpeg, "tensorflow": tensorflow}
DRIVERS = [
    Driver(
        "jpeg",
        corpus,
        read,
        (rearrange, in_header, in_pixels, in_pixels),
        memory_mib=768,
        share=4,
        references=REFERENCES,
    )
]
