"""Small image files made on the spot, one for every kind that Pillow-based networks meet."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

from .build import png_chunk

HEIGHT, WIDTH = 11, 13


def pixels(height: int = HEIGHT, width: int = WIDTH, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Random pixels, height × width × channels (or without channels for 1)."""
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encode(picture: Image.Image | np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    """An image file of a Pillow image or of pixels."""
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def deep_grey(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Random 16-bit values."""
    return np.random.default_rng(1).integers(0, 65536, (height, width), dtype=np.uint16)


def all_kinds(height: int = HEIGHT, width: int = WIDTH) -> dict[str, bytes]:
    """Image files of one size by what is special about them."""
    rgb, grey = Image.fromarray(pixels(height, width)), Image.fromarray(pixels(height, width, 1))
    rgba = Image.fromarray(pixels(height, width, 4))
    palette = rgb.quantize(17)
    return {
        "rgb.png": encode(rgb),
        "grey.png": encode(grey),
        "rgba.png": encode(rgba),
        "grey and alpha.png": encode(rgba.convert("LA")),
        "palette.png": encode(palette),
        "transparent palette.png": encode(palette, transparency=bytes(range(17))),
        "1 bit.png": encode(grey.convert("1")),
        "16 bit.png": encode(deep_grey(height, width)),
        "colour.jpg": encode(rgb, "JPEG", quality=90),
        "4:4:4.jpg": encode(rgb, "JPEG", quality=95, subsampling=0),
        "progressive.jpg": encode(rgb, "JPEG", progressive=True),
        "grey.jpg": encode(grey, "JPEG"),
        "cmyk.jpg": encode(rgb.convert("CMYK"), "JPEG"),
        "rgb inside.jpg": encode(rgb, "JPEG", keep_rgb=True),
        "plain.bmp": encode(rgb, "BMP"),
        "plain.ppm": encode(rgb, "PPM"),
        "plain.gif": encode(palette, "GIF"),
        "plain.tif": encode(rgb, "TIFF"),
        "16 bit.tif": encode(deep_grey(height, width), "TIFF"),
        "float.tif": encode(np.linspace(0, 255, height * width, dtype=np.float32).reshape(height, width), "TIFF"),
    }


def interlaced_png(height: int, width: int, bit_depth: int, colour_type: int) -> bytes:
    """A PNG of noise in seven passes, with every filter."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour_type]
    noise = np.random.default_rng(7)
    rows = b""
    for left, top, across, down in (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ):
        tall, wide = -(-(height - top) // down), -(-(width - left) // across)
        for _ in range(tall if wide > 0 else 0):
            rows += bytes([noise.integers(0, 5)]) + noise.bytes((wide * channels * bit_depth + 7) // 8)
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 1))
    palette = png_chunk(b"PLTE", noise.bytes(768)) if colour_type == 3 else b""
    return b"\x89PNG\r\n\x1a\n" + header + palette + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
