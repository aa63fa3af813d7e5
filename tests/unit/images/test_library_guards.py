"""Whatever a decoder library raises for the bytes of an image becomes an error of that image.

The calls into each library are found in the source, so that a new one cannot be forgotten.
"""

from __future__ import annotations

import ast
import functools
import importlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.fuzz.drivers import jpeg, pictures, png

import int8cal
from int8cal import native
from int8cal.errors import ImageError
from int8cal.images.decode import decode_image
from int8cal.images.pictures import open_picture, picture_size
from int8cal.images.pillow import open_converted, upright_size

PACKAGE = Path(int8cal.__file__).parent
ROOM = PACKAGE / "images"
LIBRARIES = {
    "simplejpeg": "simplejpeg", "imagecodecs": "imagecodecs", "isal_zlib": "isal.isal_zlib", "zlib": "zlib",
    "lzma": "lzma",
    "Image": "PIL.Image", "PngImagePlugin": "PIL.PngImagePlugin", "BmpImagePlugin": "PIL.BmpImagePlugin",
    "GifImagePlugin": "PIL.GifImagePlugin", "TiffImagePlugin": "PIL.TiffImagePlugin",
}  # fmt: skip
TAKE_ANY_BYTES = {"isal_zlib.crc32", "isal_zlib.adler32", "zlib.crc32", "zlib.adler32"}
FILES = {**jpeg.corpus(), **png.corpus(), **pictures.corpus()}


def calls_in(file: Path) -> set[str]:
    """Calls of a library's functions and classes, as ``library.function``."""
    text = file.read_text()
    if not any(f"{library}." in text for library in LIBRARIES):
        return set()
    return {
        f"{node.func.value.id}.{node.func.attr}"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in LIBRARIES
    }


LOAD = "ImageFile.ImageFile.load"
CALLS = sorted(set().union(*map(calls_in, ROOM.glob("*.py"))) - TAKE_ANY_BYTES)


class OddError(Exception):
    """What no library declares to raise."""


def read_without_library(data: bytes) -> object:
    """Libraries do what the kernels do otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "library", lambda: None)
        return decode_image(data, 3, fast_dct=False, where="x")


READS: tuple[Callable[[bytes], object], ...] = (
    lambda data: decode_image(data, 3, fast_dct=False, where="x"),
    lambda data: decode_image(data, 1, fast_dct=True, where="x"),
    read_without_library,
    lambda data: open_picture(data, "x"),
    lambda data: picture_size(data, "x"),
    lambda data: open_converted(data, "RGB", "x", upright=True),
    lambda data: upright_size(data, "x"),
)


def owner_of(call: str) -> tuple[Any, str]:
    """Where a call is looked up: a module or class, and the name in it."""
    library, _, name = call.rpartition(".")
    if library == "ImageFile.ImageFile":
        return importlib.import_module("PIL.ImageFile").ImageFile, name
    return importlib.import_module(LIBRARIES[library]), name


@functools.cache
def inputs_by_call() -> dict[str, list[tuple[Callable[[bytes], object], bytes]]]:
    """Call → ways of reading files of the corpora that come to it."""
    found: dict[str, list[tuple[Callable[[bytes], object], bytes]]] = {call: [] for call in (*CALLS, LOAD)}
    met: set[str] = set()
    with pytest.MonkeyPatch.context() as patch:
        for call in found:
            owner, name = owner_of(call)
            original = getattr(owner, name)

            def noted(*given, original=original, call=call, **named):
                met.add(call)
                return original(*given, **named)

            patch.setattr(owner, name, noted)
        for data in FILES.values():
            for read in READS:
                met.clear()
                with suppress(ImageError):
                    read(data)
                for call in met:
                    found[call].append((read, data))
    return found


def test_the_calls_are_found():
    assert {"simplejpeg.decode_jpeg", "imagecodecs.spng_decode", "imagecodecs.jpeg8_decode"} < set(CALLS)
    assert {"BmpImagePlugin.BmpImageFile", "GifImagePlugin.GifImageFile", "Image.frombytes"} < set(CALLS)


@pytest.mark.parametrize("call", [*CALLS, LOAD])
@pytest.mark.parametrize("error", [KeyError(6), OddError("out of luck\nsecond line"), MemoryError("none left")])
def test_whatever_it_raises_becomes_an_error_of_the_image(monkeypatch, call, error):
    inputs = inputs_by_call()[call]
    assert inputs, f"no file of the corpora comes to {call}"

    def raising(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(*owner_of(call), raising)
    for read, data in inputs[:: max(1, len(inputs) // 4)]:
        if isinstance(error, MemoryError):  # the image is not to blame
            with pytest.raises(MemoryError):
                read(data)
            continue
        with pytest.raises(ImageError, match=f"{type(error).__name__}: ") as caught:
            read(data)
        assert caught.value.hint
        assert "second line" not in caught.value.message


def test_no_other_room_opens_images():
    for file in PACKAGE.rglob("*.py"):
        if file.parent != ROOM and file.parent.name != "demo":  # which reads what it has drawn itself
            found = calls_in(file)
            calls = {call for call in found if not call.startswith(("isal_zlib.", "zlib.", "Image."))}
            assert calls <= {"imagecodecs.lzf_decode", "imagecodecs.deflate_decode"}, file
            assert "Image.open" not in found, file


def test_sound_files_are_read():
    for data in FILES.values():
        with suppress(ImageError):  # TensorFlow's way reads fewer formats
            decode_image(data, 3, fast_dct=False, where="x")
        open_picture(data, "x")
