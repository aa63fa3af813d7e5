"""A decoder that gets no memory has said nothing about the image: it must not be taken for a damaged one."""

from __future__ import annotations

import errno
import sys

import imagecodecs
import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageFile
from tests.pictures import all_kinds, encode, pixels

import int8cal.images
from int8cal import native
from int8cal.errors import ImageError, ResourceError, UnavailableError
from int8cal.images.decode import decode_image
from int8cal.images.limits import decoding
from int8cal.images.pictures import open_picture

RGB = Image.fromarray(pixels())
FILES = {
    "png": encode(RGB),
    "png without kernels": encode(RGB),
    "inflating a png without kernels": encode(RGB),
    "16 bit png": encode(np.zeros((5, 5), np.uint16)),
    "jpeg": encode(RGB, "JPEG"),
    "cmyk jpeg": encode(RGB.convert("CMYK"), "JPEG"),
    "gif": encode(RGB.quantize(5), "GIF"),
}
DECODERS = {
    "png": (native, "inflated"),
    "png without kernels": (imagecodecs, "spng_decode"),
    "inflating a png without kernels": (imagecodecs, "zlibng_decode"),
    "16 bit png": (imagecodecs, "png_decode"),
    "jpeg": (simplejpeg, "decode_jpeg"),
    "cmyk jpeg": (simplejpeg, "decode_jpeg"),
    "gif": (ImageFile.ImageFile, "load"),
}
LACKS = {
    "Python": MemoryError("Unable to allocate 244. MiB"),
    "libjpeg": ValueError("Insufficient memory (case 4)"),
    "libpng, libspng": RuntimeError("spng_decode_image returned 'out of memory'"),
    "zlib-ng": imagecodecs.ZlibngError("zng_uncompress2", -4),
    "Pillow": OSError("out of memory error when reading image file"),
}


def failing(monkeypatch: pytest.MonkeyPatch, decoder: tuple[object, str], error: Exception) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(*decoder, exhausted)


@pytest.mark.parametrize(
    ("kind", "lack"),
    [
        *((kind, "Python") for kind in FILES),
        ("png without kernels", "libpng, libspng"),
        ("inflating a png without kernels", "zlib-ng"),
        ("16 bit png", "libpng, libspng"),
        ("jpeg", "libjpeg"),
        ("cmyk jpeg", "libjpeg"),
        ("gif", "Pillow"),
    ],
)
def test_decoding(monkeypatch, kind, lack):
    if "without kernels" in kind:
        monkeypatch.setattr(native, "library", lambda: None)
    failing(monkeypatch, DECODERS[kind], LACKS[lack])
    with pytest.raises(MemoryError):
        decode_image(FILES[kind], 3, fast_dct=False, where="x")


@pytest.mark.parametrize("lack", ["Python", "Pillow"])
def test_opening_with_pillow(monkeypatch, lack):
    failing(monkeypatch, (ImageFile.ImageFile, "load"), LACKS[lack])
    with pytest.raises(MemoryError):
        open_picture(FILES["gif"], "x")


def test_opening_a_colour_jpeg_does_not_try_another_decoder(monkeypatch):
    failing(monkeypatch, DECODERS["jpeg"], LACKS["libjpeg"])
    with pytest.raises(MemoryError):
        open_picture(FILES["jpeg"], "x")


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        (ImportError("lib.so: failed to map segment from shared object"), MemoryError),
        (OSError(errno.EMFILE, "Too many open files"), ResourceError),
        (ImportError("no such module"), UnavailableError),
    ],
    ids=["memory", "open files", "module"],
)
def test_a_reader_that_cannot_be_imported_is_not_the_images_fault(monkeypatch, refusal, told):
    class Refusing:
        def find_spec(self, name, path=None, target=None):
            if name == "int8cal.images.tiff":
                raise refusal

    monkeypatch.delitem(sys.modules, "int8cal.images.tiff", raising=False)
    monkeypatch.delattr(int8cal.images, "tiff", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Refusing(), *sys.meta_path])
    with pytest.raises(told) as caught:
        open_picture(all_kinds()["plain.tif"], "x")
    assert not isinstance(caught.value, ImageError)


def test_a_library_that_cannot_be_loaded_stays_so_through_every_layer():
    with pytest.raises(UnavailableError), decoding("outer", "x"), decoding("inner", "x"):
        raise ImportError("no such module")
