"""The deflate block of zeros: every inflater reads it, and other blocks may follow it."""

from __future__ import annotations

import zlib

import imagecodecs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from isal import isal_zlib

from int8cal.tensorfile.zeros import deflated_zeros

LAST_BLOCK = b"\x03\x00"  # empty, with the fixed codes


@given(st.integers(1, 5000))
def test_any_number_of_zeros_comes_back(count):
    assert zlib.decompress(deflated_zeros(count) + LAST_BLOCK, -15) == bytes(count)


@pytest.mark.parametrize("count", [1, 257, 258, 259, 516, 3 * 544 * 960])
@pytest.mark.parametrize("inflater", ["isal", "libdeflate", "zlib-ng"])
def test_other_inflaters_read_it(inflater, count):
    stream = b"\x78\x01" + deflated_zeros(count) + LAST_BLOCK + zlib.adler32(bytes(count)).to_bytes(4, "big")
    read = {
        "isal": isal_zlib.decompress,
        "libdeflate": lambda data: imagecodecs.deflate_decode(data, raw=False, out=count),
        "zlib-ng": lambda data: imagecodecs.zlibng_decode(data, out=count),
    }
    assert read[inflater](stream) == bytes(count)


def test_it_is_as_small_as_an_image_needs():
    assert len(deflated_zeros(3 * 544 * 960)) < 7000


def test_more_blocks_may_follow_on_a_byte_boundary():
    following = zlib.compress(b"what follows", wbits=-15)
    assert zlib.decompress(deflated_zeros(1000) + following, -15) == bytes(1000) + b"what follows"
