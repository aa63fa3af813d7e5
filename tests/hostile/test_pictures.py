"""Damaged image files: an error of ours or an image, never anything else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.pictures import all_kinds

from int8cal.dataset.pictures import open_picture, picture_size
from int8cal.errors import ImageError
from int8cal.preprocess.colour import to_grey_keeping_depth, to_rgb

KINDS = sorted(all_kinds(24, 24).items())


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(KINDS), st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), min_size=1, max_size=6))
@pytest.mark.parametrize("reader", [open_picture, picture_size])
def test_changed_bytes(reader, kind, changes):
    damaged = bytearray(kind[1])
    for position, value in changes:
        damaged[position % len(damaged)] = value
    try:
        picture = reader(bytes(damaged), "image")
    except ImageError as error:
        assert error.where == "image"
    else:
        if reader is open_picture:
            assert to_rgb(picture).mode == "RGB"
            assert to_grey_keeping_depth(picture).mode in ("L", "I")


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(KINDS), st.integers(0, 5000))
def test_cut_anywhere(kind, length):
    try:
        open_picture(kind[1][:length], "image")
    except ImageError as error:
        assert error.where == "image"
