"""Photographs with text drawn on them, so that the truth is known: data for the models of ``real_models.py``.

The photographs are those inside the wheels of scikit-image and scikit-learn that show no writing, or next to none (the
name on a motorcycle, a badge). They are split in two halves, and what is drawn on one half is never mixed with the
other. The only font is the one inside Pillow (Aileron Regular); sizes, colours, contrast and places differ. Every
picture depends on its half, number and seed alone.

How hard the pictures are was set by what the float models make of them: about 140 lines on 60 pictures, 2 % of the
detector's map above its threshold, F1 and accuracy near those of the earlier experiment. Other choices are possible and
matter: without `_PLATES` the float models find less, and INT8 models of the detector lose more by entropy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from int8cal.demo.evaluate import iou
from int8cal.demo.scene import Box
from int8cal.types import ImageHWC_u8, Size

PHOTOGRAPHS = {
    "calibration": (
        ("skimage", "data/astronaut.png"),
        ("skimage", "data/camera.png"),
        ("skimage", "data/chelsea.png"),
        ("skimage", "data/coins.png"),
        ("skimage", "data/grass.png"),
        ("skimage", "data/hubble_deep_field.jpg"),
        ("skimage", "data/ihc.png"),
        ("skimage", "data/rocket.jpg"),
        ("sklearn", "datasets/images/china.jpg"),
    ),
    "test": (
        ("skimage", "data/brick.png"),
        ("skimage", "data/cell.png"),
        ("skimage", "data/coffee.png"),
        ("skimage", "data/gravel.png"),
        ("skimage", "data/moon.png"),
        ("skimage", "data/motorcycle_left.png"),
        ("skimage", "data/motorcycle_right.png"),
        ("skimage", "data/retina.jpg"),
        ("sklearn", "datasets/images/flower.jpg"),
    ),
}
"""Half → (package, file in it)."""

PAGE_SIZE, LINE_SIZE = Size(320, 320), Size(48, 192)
_SIGNS = """
Bakery Bridge Caution City Closed Coffee Corner East Entrance Exit Fresh Garden Harbour Hotel Keep left
Library Market Museum North Office Open Parking Platform Please Private Reserved Road School Slow South
Station Street Taxi Tickets Tower Turn right Village Warning Water West
"""
_PAGE_TEXT, _LINE_TEXT = (14, 29), (28, 39)  # size of the letters in pixels
_PAGE_LINES = (1, 6)  # that are tried on a picture; the end is not reached, and not every line finds a place
_CONTRAST = (120.0, 220.0)  # of the letters with what is behind them, 0..255
_PLATES = 0.7  # share of lines on a plain ground, as on signs
_MARGIN = 20  # pixels between lines, more than the detector needs to tell them apart


@dataclass(frozen=True)
class Page:
    """A picture, and the edges (left, top, right, bottom) of each line of text on it."""

    image: ImageHWC_u8
    lines: tuple[Box, ...]


def pages(half: str, count: int, seed: int, *, text: bool = True) -> Iterator[Page]:
    """Pictures for the detector, up to five lines on each; without ``text`` the same photographs bare."""
    for index in range(count):
        rng = _rng(half, index, seed)
        image = _crop(half, index, PAGE_SIZE, rng)
        lines: list[Box] = []
        for _ in range(int(rng.integers(*_PAGE_LINES)) if text else 0):
            text, font = _words(rng), ImageFont.load_default(int(rng.integers(*_PAGE_TEXT)))
            box = _write(image, text, font, (rng.random(), rng.random()), rng, lines)
            lines += [box] if box else []
        yield Page(np.asarray(image), tuple(lines))


def lines(half: str, count: int, seed: int) -> Iterator[tuple[ImageHWC_u8, int]]:
    """Pictures for the classifier, each one line of text; every second one, of class 1, is upside down.

    As the OCR program does it, a line as high as the picture stands at the left and the rest is grey; a longer one is
    squeezed.
    """
    for index in range(count):
        rng, label = _rng(half, index, seed), index % 2
        text, font = _words(rng), ImageFont.load_default(int(rng.integers(*_LINE_TEXT)))
        width = round(font.getlength(text)) + 2 * int(rng.integers(2, 9))
        image = _crop(half, index, Size(LINE_SIZE.height, width), rng)
        _write(image, text, font, (0.5, 0.5), rng, [])
        image = image.resize((min(width, LINE_SIZE.width), LINE_SIZE.height)).rotate(180 * label)
        picture = Image.new("RGB", (LINE_SIZE.width, LINE_SIZE.height), (128, 128, 128))
        picture.paste(image)
        yield np.asarray(picture), label


def folder_of(package: str) -> Path:
    """Where a package lies, which is not imported: of these only files are used, and their own needs are absent."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{package} is not installed: see the head of benchmarks/real_models.py")
    return Path(spec.origin).parent


def _rng(half: str, index: int, seed: int) -> np.random.Generator:
    return np.random.default_rng((seed, list(PHOTOGRAPHS).index(half), index))


@cache
def _photograph(half: str, index: int) -> Image.Image:
    package, name = PHOTOGRAPHS[half][index]
    return Image.open(folder_of(package) / name).convert("RGB")


def _crop(half: str, index: int, size: Size, rng: np.random.Generator) -> Image.Image:
    """A part of the photograph whose turn it is, enlarged or reduced to the size."""
    photograph = _photograph(half, index % len(PHOTOGRAPHS[half]))
    largest = min(photograph.width / size.width, photograph.height / size.height)
    scale = largest * rng.uniform(0.5, 1.0)
    width, height = size.width * scale, size.height * scale
    left, top = rng.uniform(0.0, photograph.width - width), rng.uniform(0.0, photograph.height - height)
    box = (left, top, left + width, top + height)
    return photograph.resize((size.width, size.height), Image.Resampling.BILINEAR, box)


def _words(rng: np.random.Generator) -> str:
    """One to three words, as on signs."""
    text = " ".join(rng.choice(_SIGNS.split(), rng.integers(1, 4)))
    return text.upper() if rng.random() < 0.3 else text


def _write(
    image: Image.Image,
    text: str,
    font: ImageFont.FreeTypeFont,
    place: tuple[float, float],
    rng: np.random.Generator,
    taken: list[Box],
) -> Box | None:
    """Draw a line at a relative place; None, and nothing drawn, when it does not fit or is too near to another.

    The edges returned are those of the line, from the font's ascent to its descent, not of the ink.
    """
    extent = round(font.getlength(text)), sum(font.getmetrics())
    free = image.width - extent[0], image.height - extent[1]
    left, top = (round(share * room) for share, room in zip(place, free, strict=True))
    box = (left, top, left + extent[0], top + extent[1])
    wide = (box[0] - _MARGIN, box[1] - _MARGIN, box[2] + _MARGIN, box[3] + _MARGIN)
    if min(free) < 0 or any(iou(wide, other) for other in taken):
        return None
    ground, colour = _colours(image.crop(box), rng)
    draw = ImageDraw.Draw(image)
    if rng.random() < _PLATES:
        draw.rectangle(box, ground)
    draw.text((left, top), text, colour, font)
    return box


def _colours(background: Image.Image, rng: np.random.Generator) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The background's mean, and a tinted colour much lighter or much darker than it."""
    mean = np.asarray(background).mean(axis=(0, 1))
    contrast = rng.uniform(*_CONTRAST) * (1 if mean.mean() < 128 else -1)
    ink = np.clip(mean.mean() + contrast + rng.uniform(-30.0, 30.0, 3), 0, 255)
    return tuple(map(int, mean)), tuple(map(int, ink))
