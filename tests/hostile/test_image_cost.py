"""What hostile image files cost: at most 2 s of CPU, and three times what a plain image of as many pixels does.

The bound is that of docs/explanation/threat-model.md. These images are small, so that a plain one costs next to
nothing.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from PIL import Image
from tests.hostile.test_time_bounds import SECONDS, cost
from tests.jpeg_files import Kind, segment, write_jpeg
from tests.unit.images.test_jpeg_kinds import ARITHMETIC

from int8cal.errors import ImageError
from int8cal.images.decode import decode_image
from int8cal.images.pictures import open_picture
from int8cal.images.pillow import open_converted, upright_size
from int8cal.types import Size

RAMP = Image.fromarray((np.indices((16, 24)).sum(0) * 6).astype(np.uint8)).convert("RGB")
FULL, ODD = ((1, 1), (1, 1), (1, 1)), ((4, 2), (1, 1), (1, 1))
START_OF_SCAN = b"\xff\xda"

READERS: dict[str, Callable[[bytes], object]] = {
    "decode_image": lambda data: decode_image(data, 3, fast_dct=False, where="x"),
    "open_picture": lambda data: open_picture(data, "x"),
    "open_converted": lambda data: open_converted(data, "RGB", "x", upright=True),
    "upright_size": lambda data: upright_size(data, "x"),
}


def encoded(kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    RAMP.save(out, kind, **options)
    return out.getvalue()


def segments_between_scans() -> bytes:
    data = encoded("JPEG", progressive=True)
    at = data.rindex(START_OF_SCAN)
    return data[:at] + b"\xff\xfe\0\2" * 2_500_000 + data[at:]


def segments_behind_the_pixels() -> bytes:
    """Sound but for a zero at the end, which is taken away in a second try."""
    data = encoded("JPEG")
    return data[:-2] + b"\xff\xfe\0\2" * 2_500_000 + b"\0" + data[-2:]


def many_scans(sampling: tuple[tuple[int, int], ...], size: int) -> bytes:
    data = write_jpeg(Kind(sampling=sampling, size=(8, 8), separate=True))
    scan = data[data.rindex(START_OF_SCAN) : -2]
    return data[:-2] + scan * (size // len(scan)) + data[-2:]


def restarts_of_an_odd_sampling() -> bytes:
    """A restart marker behind each of 27,000 MCUs."""
    side = 2300
    data = write_jpeg(Kind(sampling=((3, 1), (1, 1), (1, 1)), size=(8, 24), restart=1))
    scan = data.rindex(START_OF_SCAN)
    begin = scan + 2 + int.from_bytes(data[scan + 2 : scan + 4], "big")
    frame = data.index(b"\xff\xc0") + 5
    head = data[:frame] + 2 * side.to_bytes(2, "big") + data[frame + 4 : begin]
    mcus = -(-side // 8) * -(-side // 24)
    between = (bytes([0xFF, 0xD0 + number % 8]) for number in range(mcus - 1))
    return head + data[begin:-2] + b"".join(marker + data[begin:-2] for marker in between) + data[-2:]


def scans_of_full_blocks() -> bytes:
    """A component told 250 times: 512 × 512 pixels, of which each coefficient is one."""
    data = write_jpeg(Kind(sampling=FULL, size=(8, 8), separate=True))
    frame = data.index(b"\xff\xc0") + 5
    head = data[:frame] + 2 * (512).to_bytes(2, "big") + data[frame + 4 : data.index(b"\xff\xc4")]
    tables = segment(0xC4, b"\0\1" + bytes(15) + b"\0") + segment(0xC4, b"\x10\1\1" + bytes(14) + b"\1\0")
    pixels = np.packbits(np.tile(np.array([0, *[0, 1] * 63], np.uint8), 64 * 64)).tobytes()
    return b"".join(
        (
            head,
            tables,
            *(segment(0xDA, bytes([1, component, 0, 0, 63, 0])) + pixels for component in (1, 2, *[3] * 250)),
            b"\xff\xd9",
        )
    )


def exif_in_many_segments() -> bytes:
    data = encoded("JPEG")
    return data[:2] + segment(0xE1, b"Exif\0\0" + bytes(65_000)) * 600 + data[2:]


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_with(kind: bytes, lead: bytes, times: int) -> bytes:
    """Chunks of 1 kB ahead of the palette, each of which inflates to 1 MiB."""
    data = encoded("PNG")
    return data[:33] + chunk(kind, lead + zlib.compress(bytes((1 << 20) - 64), 9)) * times + data[33:]


def ppm(between: bytes) -> bytes:
    return b"P6" + between + b"16 16\n255\n" + bytes(768)


def arithmetic(size: int, *, together: bool = False) -> bytes:
    """5600 × 5600 pixels of noise, in an arithmetic code: ten times slower than Huffman's.

    Args:
        size: bytes of its first scan.
        together: of all components, which is then the only one.
    """
    frame, scan = ARITHMETIC.index(b"\xff\xc9") + 5, ARITHMETIC.index(START_OF_SCAN)
    begin = scan + 2 + int.from_bytes(ARITHMETIC[scan + 2 : scan + 4], "big")
    head = ARITHMETIC[:frame] + 2 * (5600).to_bytes(2, "big") + ARITHMETIC[frame + 4 : scan]
    tables = segment(0xCC, b"\0\x10\1\x10\x10\5\x11\5")
    own = segment(0xDA, bytes([3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0]))
    noise = np.random.default_rng(1).integers(0, 255, size, np.uint8).tobytes()  # no byte of a marker
    if together:
        return head + tables + own + noise + b"\xff\xd9"
    return head + ARITHMETIC[scan:begin] + noise + ARITHMETIC[scan:]


HOSTILE: dict[str, Callable[[], bytes]] = {
    "arithmetic code": lambda: arithmetic(60_000_000),
    "arithmetic code in one scan": lambda: arithmetic(60_000_000, together=True),
    "segments between scans": segments_between_scans,
    "segments behind the pixels": segments_behind_the_pixels,
    "scans": lambda: many_scans(FULL, 10_000_000),
    "scans of an odd sampling": lambda: many_scans(ODD, 2_000_000),
    "restarts of an odd sampling": restarts_of_an_odd_sampling,
    "EXIF in many segments": exif_in_many_segments,
    "PNG with profiles": lambda: png_with(b"iCCP", b"p\0\0", 2000),
    "PNG with texts": lambda: png_with(b"zTXt", b"\0\0", 2000),
    "PNG with notes": lambda: png_with(b"zTXt", b"Raw profile type exif\0\0", 2000),
    "PPM with a long comment": lambda: ppm(b"\n#" + b"c" * 6_000_000 + b"\n"),
    "PPM with many blanks": lambda: ppm(b" " * 6_000_000),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_images(kind: str) -> None:
    data = HOSTILE[kind]()
    spent = {name: cost(partial(reader, data)) for name, reader in READERS.items()}

    assert max(spent.values()) < SECONDS, spent


def test_a_sequential_file_has_few_scans() -> None:
    with pytest.raises(ImageError, match="more than 6 scans"):
        READERS["decode_image"](scans_of_full_blocks())
    scans = many_scans(FULL, 0)
    again = scans[:-2] + scans[scans.rindex(START_OF_SCAN) : -2] + scans[-2:]
    np.testing.assert_array_equal(READERS["decode_image"](again), READERS["decode_image"](scans))


def test_what_would_take_too_long_to_check_is_called_so() -> None:
    with pytest.raises(ImageError, match="sampling 3x1,1x1,1x1: checking its scans would take too long"):
        READERS["decode_image"](restarts_of_an_odd_sampling())


def test_arithmetic_code_counts_by_its_bytes() -> None:
    with pytest.raises(ImageError, match=r"24,000,[0-9]+ bytes and is arithmetic-coded"):
        READERS["decode_image"](arithmetic(24_000_000))
    with pytest.raises(ImageError, match=r"24,000,[0-9]+ bytes and is arithmetic-coded"):
        READERS["decode_image"](arithmetic(24_000_000, together=True))


def test_exif_in_two_segments_is_joined() -> None:
    exif = Image.Exif()
    exif[0x9286], exif[274] = "a comment " * 9000, 6
    body = exif.tobytes()
    parts = [body[begin : begin + 65_000] for begin in range(6, len(body), 65_000)]
    data = encoded("JPEG")
    data = data[:2] + b"".join(segment(0xE1, b"Exif\0\0" + part) for part in parts) + data[2:]

    assert len(parts) > 1
    assert Image.open(io.BytesIO(data)).getexif()[274] == 6
    assert upright_size(data, "x") == Size(24, 16)


def test_a_png_has_few_profiles() -> None:
    plain = READERS["decode_image"](encoded("PNG"))
    np.testing.assert_array_equal(READERS["decode_image"](png_with(b"iCCP", b"p\0\0", 16)), plain)
    with pytest.raises(ImageError, match="more than 16 colour profiles"):
        READERS["decode_image"](png_with(b"iCCP", b"p\0\0", 17))


def test_how_a_png_lies_is_found_among_many_texts() -> None:
    exif = Image.Exif()
    exif[274] = 6
    data = png_with(b"zTXt", b"k\0\0", 200)
    for place in (33, len(data) - 12):
        turned = data[:place] + chunk(b"eXIf", exif.tobytes()[6:]) + data[place:]
        assert upright_size(turned, "x") == Size(24, 16)
        assert open_converted(turned, "RGB", "x", upright=True).shape == (24, 16, 3)


def test_a_header_of_a_ppm_has_at_most_64_kib_for_every_reader() -> None:
    longest = ppm(b"\n#" + b"c" * 65_000 + b"\n")
    assert open_converted(longest, "RGB", "x").shape == (16, 16, 3)
    for reader in ("open_picture", "open_converted"):
        with pytest.raises(ImageError, match=r"header|EOF"):
            READERS[reader](ppm(b"\n#" + b"c" * 66_000 + b"\n"))
