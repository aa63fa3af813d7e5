"""What OpenCV is handed, and what it makes of it."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from int8cal.images.opencv import decode
from int8cal.images.png import deciding_chunks, read_png

from ...build import png_chunk

cv2 = pytest.importorskip("cv2")

STILL = np.random.default_rng(1).integers(0, 256, (9, 7, 3), np.uint8)
MOVING = np.full((9, 7, 3), 200, np.uint8)


def with_chunk(data: bytes, kind: bytes, body: bytes) -> bytes:
    """A PNG with one more chunk behind its header."""
    return data[:33] + png_chunk(kind, body) + data[33:]


def still() -> bytes:
    file = io.BytesIO()
    Image.fromarray(STILL).save(file, "PNG")
    return file.getvalue()


def test_opencv_says_nothing_itself_of_what_it_cannot_read(tmp_path):
    """In a process of its own: OpenCV decides what it logs when it is imported."""
    Image.fromarray(STILL).save(tmp_path / "x.tif", compression="lzma")
    numbers = ["--library", "opencv", "--size", "9x7", "--resize", "stretch", "--scale", "1"]
    command = [sys.executable, "-m", "int8cal", "images", ".", "-o", "out.tensor", *numbers]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "OpenCV cannot decode the image" in done.stderr
    assert "grfmt" not in done.stderr


def animated() -> bytes:
    """A picture that stands for an animation, which shows others."""
    file = io.BytesIO()
    frames = [Image.fromarray(MOVING), Image.fromarray(255 - MOVING)]
    Image.fromarray(STILL).save(file, "PNG", save_all=True, default_image=True, append_images=frames)
    return file.getvalue()


def with_damaged_frames(data: bytes) -> bytes:
    """Frames whose rows have filters that there are none of; their checksums are right."""
    out, offset = [data[:8]], 8
    while offset < len(data):
        (length,) = struct.unpack_from(">I", data, offset)
        kind, body = data[offset + 4 : offset + 8], data[offset + 8 : offset + 8 + length]
        out.append(png_chunk(kind, body[:4] + zlib.compress(b"\xff" * 400) if kind == b"fdAT" else body))
        offset += 12 + length
    return b"".join(out)


@pytest.mark.parametrize("change", [lambda data: data, with_damaged_frames])
def test_an_animation_is_not_looked_at(change):
    data = change(animated())
    read_png(data, "x")
    np.testing.assert_array_equal(decode(data, "x", grey=False, exif=False), STILL)


def srgb_profile() -> bytearray:
    return bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b"gAMA", struct.pack(">I", 100_000)),
        (b"gAMA", struct.pack(">I", 45_455)),
        (b"sRGB", b"\0"),
        (b"iCCP", b"sRGB IEC61966-2.1\0\0" + zlib.compress(srgb_profile())),
        (b"tRNS", struct.pack(">HHH", *STILL[0, 0])),
        (b"pHYs", struct.pack(">IIB", 1, 2, 0)),
        (b"tEXt", b"Comment\0a picture"),
    ],
)
def test_pixels_are_those_of_imread(tmp_path, kind, body, grey):
    path = tmp_path / "a.png"
    path.write_bytes(with_chunk(still(), kind, body))
    expected = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR)
    found = decode(path.read_bytes(), "x", grey=grey, exif=True)
    np.testing.assert_array_equal(found, expected[:, :, None] if grey else expected[:, :, ::-1])


def test_no_control_characters_of_a_file_reach_the_terminal(capfd):
    profile = srgb_profile()
    profile[64:68] = struct.pack(">I", 77)  # an intent that there is not, which libpng warns of by the profile's name
    data = with_chunk(still(), b"iCCP", b"\x1b]0;owned\x07\0\0" + zlib.compress(profile))
    for grey in (True, False):
        decode(data, "x", grey=grey, exif=False)
    assert "\x1b" not in capfd.readouterr().err


def test_a_profile_decides_no_pixel_of_colours_and_brings_no_warning(tmp_path, capfd):
    path = tmp_path / "a.png"
    path.write_bytes(with_chunk(still(), b"iCCP", b"name\0\0" + zlib.compress(b"no profile")))
    np.testing.assert_array_equal(decode(path.read_bytes(), "x", grey=False, exif=False), STILL)
    assert capfd.readouterr().err == ""
    np.testing.assert_array_equal(cv2.imread(str(path)), STILL[:, :, ::-1])


def test_profiles_of_a_sound_name_stay_where_colours_become_grey():
    data = with_chunk(still(), b"iCCP", b"sRGB IEC61966-2.1\0\0" + zlib.compress(srgb_profile()))
    assert deciding_chunks(data, grey=True) == data
