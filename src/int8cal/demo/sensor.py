"""From painted surfaces to a photograph: soft edges, texture, light, grain.

Texture and grain decide how well a picture compresses. Their strength is set so that PNG and JPEG files, and the
tensorfiles made from them, are about as large as those of photographs of streets.
"""

from __future__ import annotations

import threading
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from int8cal.types import ImageHWC_u8

LENS = ImageFilter.Kernel((3, 3), (1, 3, 1, 3, 9, 3, 1, 3, 1))  # softens the edges
TEXTURE = 0.53  # contrast of the roughest surface
GRAIN = 1.9  # standard deviation of the sensor's noise, levels

FIELD = (1024, 2048)  # pixels: noise fields are made once and a random part of them is used
_once = threading.Lock()  # by one thread: lru_cache lets all that come first compute


def expose(painted: Image.Image, rng: np.random.Generator) -> ImageHWC_u8:
    """Photograph a painted street.

    Args:
        painted: RGBA picture; its alpha channel is the roughness of the surfaces.
        rng: decides light and which part of the noise fields is seen.

    Returns:
        height × width × 3, RGB.
    """
    with _once:
        texture, grain = _texture_field(), _grain_field()
    rgba = np.asarray(painted.filter(LENS))
    height, width = rgba.shape[:2]
    contrast = rgba[:, :, 3].astype(np.float32) * np.float32(TEXTURE / 255)
    contrast *= _window(texture, height, width, rng)
    contrast += 1
    contrast *= np.float32(rng.uniform(0.85, 1.1)) * _vignette(height, width)
    picture = rgba[:, :, :3] * contrast[:, :, None]
    picture += _window(grain, height, width, rng)
    exposed: ImageHWC_u8 = np.clip(picture, 0, 255, out=picture).astype(np.uint8)
    return exposed


def _window(
    field: npt.NDArray[np.float32], height: int, width: int, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """A random part of a noise field, which repeats in both directions."""
    top, left = int(rng.integers(FIELD[0])), int(rng.integers(FIELD[1]))
    rows = np.take(field, range(top, top + height), axis=0, mode="wrap")
    return np.take(rows, range(left, left + width), axis=1, mode="wrap")


@lru_cache(maxsize=1)
def _texture_field() -> npt.NDArray[np.float32]:
    """Fractal noise of zero mean: each octave is twice as coarse and a little stronger."""
    rng = np.random.default_rng(1)
    field = np.zeros(FIELD, np.float32)
    for octave, strength in enumerate((0.7, 0.8, 0.7, 0.55, 0.5, 0.4)):
        coarse = rng.standard_normal((FIELD[0] >> octave, FIELD[1] >> octave), np.float32)
        noise = Image.fromarray(coarse).resize(FIELD[::-1], Image.Resampling.BICUBIC)
        field += np.asarray(noise) * np.float32(strength)
    field /= 3 * field.std()
    return field


@lru_cache(maxsize=1)
def _grain_field() -> npt.NDArray[np.float32]:
    """Noise of a colour sensor: mostly the same in all channels, a little of each channel's own. H × W × 3."""
    rng = np.random.default_rng(2)
    common = rng.standard_normal((*FIELD, 1), np.float32)
    own = rng.standard_normal((*FIELD, 3), np.float32)
    return (common * np.float32(0.85) + own * np.float32(0.5)) * np.float32(GRAIN)


def _vignette(height: int, width: int) -> npt.NDArray[np.float32]:
    rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None] ** 2
    columns = np.linspace(-1, 1, width, dtype=np.float32)[None, :] ** 2
    return 1 - np.float32(0.12) * (rows + columns)
