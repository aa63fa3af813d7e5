"""Every kind of JPEG: the pixels of TensorFlow 1.15.5, or a refusal that says what is not established.

`tests/data/images/jpeg_tensorflow.csv` holds digests of what ``decode_jpeg`` of TensorFlow 1.15.5 (Python 3.7, CPU)
makes of the files of `tests/fuzz/drivers/jpeg.py`. To compare more: ``python -m tests.fuzz --readers jpeg
--reference tensorflow=PYTHON``.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import time
from itertools import pairwise
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import simplejpeg
from tests.fuzz.drivers.jpeg import SAMPLINGS, corpus
from tests.jpeg_files import BASELINE, PROGRESSIVE, Kind, segment, write_jpeg

from int8cal.errors import ImageError
from int8cal.images.decode import decode_image
from int8cal.images.jpeg import decode_jpeg, segments
from int8cal.images.pictures import open_picture

FILES = corpus()
TABLE = Path(__file__).parents[2] / "data" / "images" / "jpeg_tensorflow.csv"
EXPECTED = [tuple(row.values()) for row in csv.DictReader(TABLE.read_text().splitlines())]
UNKNOWN_TO_TURBOJPEG = ("4:1:0", "3x1", "1x3", "chroma differ", "finer chroma", "one finer", "crossed", "CMYK odd")


def test_the_table_is_of_these_files():
    assert {row[0] for row in EXPECTED} == set(FILES)
    assert len(EXPECTED) == 4 * len(FILES)


@pytest.mark.parametrize("channels", ["3", "1"])
@pytest.mark.parametrize("dct", ["accurate", "fast"])
def test_pixels_are_those_of_tensorflow(dct, channels):
    for kind, _, _, digest in (row for row in EXPECTED if row[1:3] == (channels, dct)):
        if digest == "refused" or (dct == "fast" and kind.startswith(UNKNOWN_TO_TURBOJPEG)):
            with pytest.raises(ImageError, match=r"not established|a CMYK image cannot become grey") as caught:
                decode_image(FILES[kind], int(channels), fast_dct=dct == "fast", where="x")
            assert caught.value.hint
            continue
        pixels = decode_image(FILES[kind], int(channels), fast_dct=dct == "fast", where="x")
        assert hashlib.sha256(pixels.tobytes()).hexdigest()[:32] == digest, kind


@pytest.mark.parametrize("name", SAMPLINGS)
def test_networks_that_use_pillow_get_the_same_file(name):
    picture = open_picture(FILES[f"{name} c2"], "x")
    assert picture.mode == {1: "L", 3: "RGB", 4: "CMYK"}[len(SAMPLINGS[name])]
    if picture.mode != "CMYK":
        expected = decode_jpeg(FILES[f"{name} c2"], 1 if picture.mode == "L" else 3, fast_dct=False, where="x")
        np.testing.assert_array_equal(np.asarray(picture).reshape(expected.shape), expected)


@pytest.mark.parametrize("name", [*UNKNOWN_TO_TURBOJPEG, "4:2:0", "CMYK"])
@pytest.mark.parametrize("frame", [BASELINE, PROGRESSIVE], ids=["sequential", "progressive"])
def test_damaged_pixels_of_any_sampling_are_refused(name, frame):
    data = write_jpeg(Kind(SAMPLINGS[name], (40, 52), frame))
    scans = [found for found in segments(data) if found.marker == 0xDA]
    begin, end = scans[-1].end if frame == PROGRESSIVE else scans[0].end, len(data) - 2
    damaged = {
        "cut": data[: (begin + end) // 2] + b"\xff\xd9",
        "cut without an end": data[: (begin + end) // 2],
        "an early marker": data[: (begin + end) // 2] + b"\xff\xd0" + data[(begin + end) // 2 :],
        "left over": data[:end] + bytes(range(1, 30)) + data[end:],
        "a missing byte": data[: begin + 3] + data[begin + 20 :],
    }
    for what, encoded in damaged.items():
        with pytest.raises(ImageError) as caught:
            decode_image(encoded, 3, fast_dct=False, where="x")
        assert caught.value.hint, what


def test_flipped_bits_in_a_sampling_that_turbojpeg_does_not_know():
    """Those that make other codes are noticed; those in the numbers behind the codes cannot be."""
    data = write_jpeg(Kind(SAMPLINGS["4:1:0"], (40, 52)))
    begin = next(found.end for found in segments(data) if found.marker == 0xDA)
    refused = 0
    for place in range(begin, begin + 100):
        changed = bytearray(data)
        changed[place] ^= 0x80
        try:
            decode_image(bytes(changed), 3, fast_dct=False, where="x")
        except ImageError:
            refused += 1
    assert refused > 40


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("byte-behind-tables-behind-pixels.jpg", "extraneous bytes before marker"),
        ("byte-of-pixels-behind-zeros.jpg", "extraneous bytes before marker"),
        ("cmyk-unknown-adobe-transform.jpg", "Unknown Adobe color transform code"),
        ("progressive-run-behind-the-last-coefficient.jpg", "bad Huffman code"),
    ],
)
def test_what_libjpeg_warns_of_is_refused_in_a_sampling_that_turbojpeg_does_not_know(name, said):
    data = (Path(__file__).parents[2] / "fuzz" / "kept" / "jpeg" / name).read_bytes()
    with pytest.raises(ImageError, match=said):
        decode_image(data, 3, fast_dct=False, where="x")


@pytest.mark.parametrize("name", ["4:1:0 c0", "4:2:0 c0"])
def test_a_jfif_segment_behind_the_pixels_is_looked_at_in_any_sampling(name):
    """Ahead of them, its revision is set right, of which libjpeg warns; behind them nothing is."""
    data, known = FILES[name], b"JFIF\0\1\1\0\0\1\0\1\1\1abc"
    for revision, body in ((1, known), (34, known.replace(b"\0\1\1", b"\0\x22\1"))):
        changed = data[:-2] + segment(0xE0, body) + data[-2:]
        if revision == 1:
            decode_image(changed, 3, fast_dct=False, where="x")
        else:
            with pytest.raises(ImageError, match="unknown JFIF revision number 34"):
                decode_image(changed, 3, fast_dct=False, where="x")


def test_zeros_before_the_end_are_passed_over_in_any_sampling():
    data = FILES["4:1:0 c0"]
    padded = data[:-2] + bytes(100) + data[-2:]
    np.testing.assert_array_equal(
        decode_image(padded, 3, fast_dct=False, where="x"), decode_image(data, 3, fast_dct=False, where="x")
    )


@pytest.mark.parametrize("name", ["4:1:0 c0", "4:2:0 c0"])
def test_a_byte_of_pixels_behind_zeros_is_no_padding(name):
    """A byte of 255 is written with a zero behind it; taken away, it would leave what looks like the next padding."""
    data = FILES[name]
    with pytest.raises(ImageError, match="extraneous bytes before marker"):
        decode_image(data[:-2] + bytes(9) + b"\xff\0" + data[-2:], 3, fast_dct=False, where="x")


def test_a_damaged_colour_profile_changes_no_pixel():
    data = FILES["4:2:0 c0"]
    with_profile = data[:2] + segment(0xE2, b"ICC_PROFILE\0\3\1more") + data[2:]
    np.testing.assert_array_equal(
        decode_image(with_profile, 3, fast_dct=True, where="x"), decode_image(data, 3, fast_dct=True, where="x")
    )


def scans_of(data: bytes) -> list[tuple[int, int]]:
    return [(one.begin, two.begin) for one, two in pairwise(segments(data)) if one.marker == 0xDA]


def test_a_progressive_file_must_tell_all_coefficients():
    """libjpeg makes up what is missing, each version in its own way."""
    data = FILES["4:2:0 c2"]
    begin, end = scans_of(data)[-1]
    begin_first = scans_of(data)[5][0]
    decode_image(data, 3, fast_dct=False, where="x")
    for fewer in (data[:begin_first] + b"\xff\xd9", data[:begin] + data[end:]):
        with pytest.raises(ImageError, match="do not tell all of its coefficients"):
            decode_image(fewer, 3, fast_dct=False, where="x")


def test_a_scan_that_is_told_twice_is_refused_before_anything_is_decoded(monkeypatch):
    data = write_jpeg(Kind(SAMPLINGS["grey"], (300, 300), PROGRESSIVE))
    for library, name in ((simplejpeg, "decode_jpeg"), (imagecodecs, "jpeg8_decode")):
        monkeypatch.setattr(library, name, lambda *_, **__: pytest.fail("it was decoded"))
    begin, end = scans_of(data)[-1]
    repeated = data[:end] + data[begin:end] * 50 + data[end:]
    started = time.process_time()
    with pytest.raises(ImageError, match="Inconsistent progression"):
        decode_image(repeated, 3, fast_dct=False, where="x")
    assert time.process_time() - started < 1


def test_too_many_scans_for_the_size():
    header = segment(0xC2, bytes([8, 0x20, 0, 0x20, 0, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0]))
    scan = segment(0xDA, b"\x01\x01\x00\x00\x3f\x00")
    with pytest.raises(ImageError, match="17 scans or more, too many for its size"):
        decode_image(b"\xff\xd8" + header + scan * 100 + b"\xff\xd9", 3, fast_dct=False, where="x")


def test_many_segments_are_refused_soon():
    data = b"\xff\xd8" + b"\xff\xe5\0\2" * 4_000_000 + FILES["grey c0"][2:]
    started = time.process_time()
    with pytest.raises(ImageError, match="more than 65536 segments"):
        decode_image(data, 3, fast_dct=False, where="x")
    assert time.process_time() - started < 1


@pytest.mark.parametrize("frame", [0xC3, 0xC5, 0xC7, 0xCB])
def test_frames_that_the_reference_does_not_read(frame):
    with pytest.raises(ImageError, match="lossless, hierarchical"):
        decode_image(write_jpeg(Kind(SAMPLINGS["grey"], frame=frame)), 1, fast_dct=False, where="x")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xff\xd8\xff\xd9", "ends before its pixels"),
        (b"\xff\xd8" + segment(0xE0, b"JFIF\0") + b"\xff\xd9" + FILES["grey c0"][2:], "ends before its pixels"),
        (FILES["4:2:0 c0"].replace(b"\xff\xc0", b"\xff\xe7"), "0 frame headers"),
        (FILES["4:2:0 c0"][:2] + b"\xff\xe3\0\1" + FILES["4:2:0 c0"][2:], "segment 0xe3 is impossible"),
        (write_jpeg(Kind(((1, 1), (1, 1)))), "2 components"),
    ],
)
def test_headers_that_are_refused(data, said):
    with pytest.raises(ImageError, match=said) as caught:
        decode_image(data, 3, fast_dct=False, where="x")
    assert caught.value.hint


ARITHMETIC = base64.b64decode(  # cjpeg of libjpeg-turbo 2.1: -arithmetic -sample 1x1, a scan for each component
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UHRofHh0aHBwgJC4nICIsIxwcKDcpLDAxNDQ0Hyc5"
    "PTgyPC4zNDL/2wBDAQkJCQwLDBgNDRgyIRwhMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjL/yQAR"
    "CAAQABADAREAAhEBAxEB/8wABgAQEAX/2gAIAQEAAD8A/wCy8SRugu9+iS/+FCUHLBl2p4JGsQlY/8wABgEQEQX/2gAIAQIRAD8Ans6gx+SN"
    "Hf/MAAYBEBEF/9oACAEDEQA/AJ0d/EiStWCFmlnmx2MKDuqA/9k="
)


def test_sequential_arithmetic_scans_need_no_progression():
    expected = imagecodecs.jpeg8_decode(ARITHMETIC)
    np.testing.assert_array_equal(decode_image(ARITHMETIC, 3, fast_dct=False, where="x"), expected)
