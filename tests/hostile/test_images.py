"""Images that are damaged, or made to take memory, and files that are none."""

from __future__ import annotations

import io
import os
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.memory import PEAK_MIB

from int8cal.errors import DataError, ImageError, MissingDataError, RecordError
from int8cal.images.decode import decode_image
from int8cal.samples.encoded import read_encoded
from int8cal.samples.samples import RecordRef, Sample
from int8cal.samples.tfrecord import iterate_records

from ..build import png_chunk, png_file, png_header, record, write_records, zeros_deflated

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)


def encoded(kind: str, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PICTURE).convert(mode).save(buffer, kind)
    return buffer.getvalue()


PNG, JPEG, GIF, CMYK = encoded("PNG"), encoded("JPEG"), encoded("GIF"), encoded("JPEG", "CMYK")


def refused(data: bytes, problem: str, channels: int = 3) -> None:
    with pytest.raises(ImageError, match=problem) as caught:
        decode_image(data, channels, fast_dct=False, where="x.png")
    assert str(caught.value).startswith("x.png: ")
    assert caught.value.exit_code == 4
    assert caught.value.hint


def test_cut_png_is_refused_wherever_the_cut_is() -> None:
    for end in range(8, len(PNG), 97):
        refused(PNG[:end], f"Invalid PNG data, size {end}: it is cut off")
    refused(PNG[:-12], "cut off")


def test_cut_jpeg_is_refused_wherever_the_cut_is() -> None:
    for end in range(4, len(JPEG) - 1, 61):
        refused(JPEG[:end], f"Invalid JPEG data or crop window, data size {end}")
        refused(JPEG[:end], f"Invalid JPEG data or crop window, data size {end}", channels=1)
    for end in range(4, len(CMYK) - 2, 301):
        refused(CMYK[:end], f"Invalid JPEG data or crop window, data size {end}")


def test_cut_gif_is_refused() -> None:
    for end in range(8, len(GIF), 53):
        refused(GIF[:end], "Invalid GIF data")


def test_wrong_checksum_of_any_png_chunk_is_noticed() -> None:
    data = png_file(PICTURE.reshape(40, -1), width=30, before=png_chunk(b"tEXt", b"Title\0x"))
    assert decode_image(data, 3, fast_dct=False, where="").shape == PICTURE.shape
    for match in re.finditer(b"IHDR|tEXt|IDAT|IEND", data):
        (length,) = struct.unpack_from(">I", data, match.start() - 4)
        damaged = bytearray(data)
        damaged[match.end() + length] ^= 1
        refused(bytes(damaged), f"checksum of its chunk {match.group()!r} is wrong")


def test_png_whose_pixel_data_end_early() -> None:
    rows = zlib.compress(bytes(91 * 20))
    header = b"\x89PNG\r\n\x1a\n" + png_header(30, 40, 8, 2)
    refused(header + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b""), "Invalid PNG data")
    refused(header + png_chunk(b"IEND", b""), "no pixel data")
    refused(header + png_chunk(b"IDAT", b"no deflate") + png_chunk(b"IEND", b""), "Invalid PNG data")


def test_impossible_png_headers() -> None:
    for header in (png_header(5, 5, 3, 2), png_header(5, 5, 8, 5), png_header(5, 5, 16, 3), png_chunk(b"IHDR", b"")):
        refused(b"\x89PNG\r\n\x1a\n" + header, "Invalid PNG data")
    refused(b"\x89PNG\r\n\x1a\n" + png_header(0, 5, 8, 2), "no pixels")
    refused(b"\x89PNG\r\n\x1a\n" + png_chunk(b"IDAT", b""), "does not begin with its header")
    refused(png_file(PICTURE.reshape(40, -1), width=30, before=png_chunk(b"QQQQ", b"")), "unknown critical chunk")


HUGE = {
    "png": b"\x89PNG\r\n\x1a\n"
    + png_header(30000, 30000, 8, 2)
    + png_chunk(b"IDAT", zlib.compress(bytes(10**6)))
    + png_chunk(b"IEND", b""),
    "jpeg": re.sub(
        rb"(\xff\xc0...)....", lambda match: match[1] + struct.pack(">HH", 30000, 30000), JPEG, flags=re.DOTALL
    ),
    "cmyk": re.sub(
        rb"(\xff\xc0...)....", lambda match: match[1] + struct.pack(">HH", 30000, 30000), CMYK, flags=re.DOTALL
    ),
    "gif": GIF[:6] + struct.pack("<HH", 30000, 30000) + GIF[10:],
}


@pytest.mark.parametrize("kind", HUGE)
def test_size_is_checked_from_the_header(kind: str) -> None:
    refused(HUGE[kind], "too large: 30000×30000 pixels; at most 67108864")


def test_gif_frame_larger_than_the_image() -> None:
    at = GIF.index(b"\x2c\0\0\0\0") + 5
    refused(GIF[:at] + struct.pack("<HH", 60000, 60000) + GIF[at + 4 :], "its frame is larger than the image")


PROFILE_BOMB = png_file(
    PICTURE.reshape(40, -1),
    width=30,
    before=png_chunk(b"iCCP", b"bomb\0\0" + zeros_deflated(400))
    + png_chunk(b"zTXt", b"t\0\0" + zlib.compress(bytes(1 << 20))),
)


def test_neither_a_huge_header_nor_a_huge_profile_takes_memory(tmp_path: Path) -> None:
    """In a process of its own, whose peak memory is read before and after."""
    for name, data in (*HUGE.items(), ("bomb", PROFILE_BOMB)):
        (tmp_path / name).write_bytes(data)
    script = (
        PEAK_MIB
        + """
import sys
from pathlib import Path
from int8cal.images.decode import decode_image
from int8cal.errors import ImageError
before = peak_mib()
for file in sorted(Path(sys.argv[1]).iterdir()):
    for channels in (1, 3):
        try:
            print(file.name, decode_image(file.read_bytes(), channels, fast_dct=False, where="x").shape)
        except ImageError as error:
            print(file.name, error.message)
print("MiB", peak_mib() - before)
"""
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == ""
    assert "bomb (40, 30, 1)" in done.stdout
    assert "bomb (40, 30, 3)" in done.stdout
    assert done.stdout.count("too large") == 7  # a grey GIF is refused for being grey
    assert float(done.stdout.split()[-1]) < 40


WORST_CASES = {
    # bit depth, colour type, bytes per pixel, channels of the result, MiB: decoded pixels, result, and a little
    "colour with a gamma": (8, 2, 3, 1, 12 + 4 + 12),
    "deep colour": (16, 2, 6, 1, 24 + 4 + 12),
    "deep colour with alpha": (16, 6, 8, 3, 32 + 12 + 12),
}


@pytest.mark.parametrize("case", WORST_CASES)
def test_conversion_takes_no_memory_beside_pixels_and_result(tmp_path: Path, case: str) -> None:
    depth, colour_type, size, channels, most = WORST_CASES[case]
    rows = np.resize(np.arange(2048 * size, dtype=np.uint8), (2048, 2048 * size))
    gamma = png_chunk(b"gAMA", struct.pack(">I", 45455)) if depth == 8 else b""
    data = png_file(rows, width=2048, bit_depth=depth, colour_type=colour_type, before=gamma)
    (tmp_path / "x.png").write_bytes(data)
    script = (
        PEAK_MIB
        + """
import sys
from int8cal.images.decode import decode_image
data = open(sys.argv[1], "rb").read()
before = peak_mib()
image = decode_image(data, int(sys.argv[2]), fast_dct=False, where="x")
print(image.shape[:2], peak_mib() - before)
"""
    )
    command = [sys.executable, "-c", script, str(tmp_path / "x.png"), str(channels)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("(2048, 2048)")
    assert float(done.stdout.split()[-1]) < most


@pytest.mark.parametrize(("colour_type", "size"), [(0, 2), (2, 6), (4, 4), (6, 8)])
def test_deep_pixels_that_are_damaged_are_refused_in_silence(
    capfd: pytest.CaptureFixture[str], colour_type: int, size: int
) -> None:
    rows = PICTURE.reshape(-1)[: 30 * size * 5].reshape(5, 30 * size)
    data = bytearray(png_file(rows, width=30, bit_depth=16, colour_type=colour_type))
    data[data.index(b"IDAT") + 30] ^= 0x10
    for channels in (1, 3):
        refused(bytes(repaired(data)), "Invalid PNG data", channels)
    assert capfd.readouterr() == ("", "")


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from([PNG, JPEG, GIF, CMYK]), st.data())
def test_damaged_images_are_decoded_or_refused_and_nothing_else(data: bytes, draw: st.DataObject) -> None:
    damaged = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 4))):
        damaged[draw.draw(st.integers(0, len(damaged) - 1))] = draw.draw(st.integers(0, 255))
    if draw.draw(st.booleans()) and damaged.startswith(b"\x89PNG\r\n\x1a\n"):
        damaged = repaired(damaged)
    for channels in (1, 3):
        try:
            pixels = decode_image(bytes(damaged), channels, fast_dct=draw.draw(st.booleans()), where="x")
        except ImageError:
            continue
        assert pixels.dtype == np.uint8
        assert pixels.shape[2] == channels


def repaired(data: bytearray) -> bytearray:
    """A PNG with right checksums again, so that the damage reaches what is behind them."""
    offset = 8
    while offset + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, offset)
        end = offset + 8 + length
        if end + 4 > len(data):
            break
        struct.pack_into(">I", data, end, zlib.crc32(data[offset + 4 : end]))
        offset = end + 4
    return data


def test_reading_the_file_of_a_sample(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    problems = {"gone": "No such file or directory", "pipe": "not a regular file", "folder": "is a folder"}
    problems |= {"sparse": "at most 268435456 are read", "a" * 300: "cannot be opened: File name too long"}
    for name, problem in problems.items():
        with pytest.raises(DataError, match=problem) as caught:
            read_encoded(Sample(0, name, str(tmp_path / name)))
        assert str(caught.value).startswith(f"{tmp_path}/{name}: ")
        assert caught.value.hint
    with pytest.raises(MissingDataError) as missing:
        read_encoded(Sample(0, "x", f"{tmp_path}/\x1b[2Jgone"))
    assert missing.value.where == f"{tmp_path}/\\x1b[2Jgone"


def test_link_inside_the_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real.png").write_bytes(PNG)
    (tmp_path / "link.png").symlink_to("real.png")
    assert read_encoded(Sample(0, "link", str(tmp_path / "link.png"))) == PNG


def test_record_that_changed_since_it_was_listed(tmp_path: Path) -> None:
    file = write_records(tmp_path / "r", [record()])
    (entry,) = iterate_records(str(file))
    sample = Sample(0, "x", "", record=RecordRef(str(file), 0, entry.crc ^ 1), embedded=True)
    with pytest.raises(RecordError, match="was changed"):
        read_encoded(sample)
    intact = Sample(0, "x", "", record=RecordRef(str(file), 0, entry.crc), embedded=True)
    with pytest.raises(RecordError, match="no feature 'frame/encoded'"):
        read_encoded(intact)
