"""Damaged image files: an error of ours or an image, never anything else."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.pictures import all_kinds

from int8cal.errors import ImageError
from int8cal.images.pictures import open_picture, picture_size
from int8cal.preprocess.colour import to_grey_keeping_depth, to_rgb
from int8cal.types import Size

KINDS = sorted(all_kinds(24, 24).items())


def error_of(read: Callable[[], Image.Image | Size]) -> ImageError | None:
    """The only kind of error that reading may end with."""
    try:
        read()
    except ImageError as error:
        return error
    return None


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(KINDS), st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), min_size=1, max_size=6))
def test_changed_bytes(kind, changes):
    damaged = bytearray(kind[1])
    for position, value in changes:
        damaged[position % len(damaged)] = value
    for read in (
        lambda: picture_size(bytes(damaged), "image"),
        lambda: to_rgb(open_picture(bytes(damaged), "image")),
        lambda: to_grey_keeping_depth(open_picture(bytes(damaged), "image")),
    ):
        error = error_of(read)
        assert error is None or error.where in ("image", None)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(KINDS), st.integers(0, 5000))
def test_cut_anywhere(kind, length):
    error = error_of(lambda: open_picture(kind[1][:length], "image"))
    assert error is None or error.where == "image"
