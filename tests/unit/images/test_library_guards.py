"""Whatever a decoder library raises for the bytes of an image becomes an error of that image.

The calls into each library are found in the source, so that a new one cannot be forgotten.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.fuzz.drivers import jpeg, pictures, png

import int8cal
from int8cal.errors import ImageError
from int8cal.images.decode import decode_image
from int8cal.images.pictures import open_picture, picture_size
from int8cal.images.pillow import open_converted, upright_size

PACKAGE = Path(int8cal.__file__).parent
ROOM = PACKAGE / "images"
LIBRARIES = {
    "simplejpeg": "simplejpeg", "imagecodecs": "imagecodecs", "isal_zlib": "isal.isal_zlib", "zlib": "zlib",
    "Image": "PIL.Image", "PngImagePlugin": "PIL.PngImagePlugin", "BmpImagePlugin": "PIL.BmpImagePlugin",
    "GifImagePlugin": "PIL.GifImagePlugin", "TiffImagePlugin": "PIL.TiffImagePlugin",
}  # fmt: skip
TAKE_ANY_BYTES = {"isal_zlib.crc32", "isal_zlib.adler32", "zlib.crc32", "zlib.adler32"}
FILES = {**jpeg.corpus(), **png.corpus(), **pictures.corpus()}


def calls_in(file: Path) -> set[str]:
    """Calls of a library's functions and classes, as ``library.function``."""
    return {
        f"{node.func.value.id}.{node.func.attr}"
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in LIBRARIES
    }


CALLS = sorted(set().union(*map(calls_in, ROOM.glob("*.py"))) - TAKE_ANY_BYTES)


class OddError(Exception):
    """What no library declares to raise."""


def outcomes() -> Iterator[ImageError]:
    """Errors that reading files of every kind ends with; one that is none of ours ends the test."""
    for data in FILES.values():
        for read in (
            lambda data=data: decode_image(data, 3, fast_dct=False, where="x"),
            lambda data=data: decode_image(data, 1, fast_dct=True, where="x"),
            lambda data=data: open_picture(data, "x"),
            lambda data=data: picture_size(data, "x"),
            lambda data=data: open_converted(data, "RGB", "x", upright=True),
            lambda data=data: upright_size(data, "x"),
        ):
            try:
                read()
            except ImageError as error:
                yield error


def test_the_calls_are_found():
    assert {"simplejpeg.decode_jpeg", "imagecodecs.spng_decode", "imagecodecs.jpeg8_decode"} < set(CALLS)
    assert {"BmpImagePlugin.BmpImageFile", "GifImagePlugin.GifImageFile", "Image.frombytes"} < set(CALLS)


@pytest.mark.parametrize("call", [*CALLS, "ImageFile.ImageFile.load"])
@pytest.mark.parametrize("error", [KeyError(6), OddError("out of luck\nsecond line"), MemoryError("none left")])
def test_whatever_it_raises_becomes_an_error_of_the_image(monkeypatch, call, error):
    library, _, name = call.rpartition(".")

    def raising(*_: object, **__: object) -> None:
        raise error

    owner = importlib.import_module("PIL.ImageFile").ImageFile if library == "ImageFile.ImageFile" else None
    monkeypatch.setattr(owner or importlib.import_module(LIBRARIES[library]), name, raising)
    if isinstance(error, MemoryError):  # the image is not to blame
        with pytest.raises(MemoryError):
            list(outcomes())
        return
    said = next((each for each in outcomes() if f"{type(error).__name__}: " in each.message), None)
    assert said, f"no file of the corpora comes to {call}"
    assert said.hint
    assert "second line" not in said.message


def test_no_other_room_opens_images():
    for file in PACKAGE.rglob("*.py"):
        if file.parent != ROOM and file.parent.name != "demo":  # which reads what it has drawn itself
            calls = {call for call in calls_in(file) if not call.startswith(("isal_zlib.", "zlib.", "Image."))}
            assert calls <= {"imagecodecs.lzf_decode", "imagecodecs.deflate_decode"}, file
            assert "Image.open" not in calls_in(file), file


def test_sound_files_are_read():
    for data in FILES.values():
        with suppress(ImageError):  # TensorFlow's way reads fewer formats
            decode_image(data, 3, fast_dct=False, where="x")
        open_picture(data, "x")
