"""Everything in a street that is not labelled: sky, ground, lane marks, buildings, trees."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from int8cal.demo.canvas import NEAR, Colour, Drawing, shade

FAR = 160.0  # metres: end of the street
ROAD = 4.0  # half width of the carriageway, metres
PAVEMENT = 7.0  # outer edge of the pavement
HOUSES = 11.0  # distance of the house fronts from the middle of the street

FACADES: tuple[Colour, ...] = (
    (176, 158, 134),
    (148, 96, 78),
    (196, 186, 168),
    (128, 126, 122),
    (170, 132, 98),
    (108, 104, 110),
    (204, 196, 188),
)
LEAVES: tuple[Colour, ...] = ((62, 92, 44), (78, 108, 52), (48, 76, 40), (98, 112, 54))
GLASS: Colour = (58, 68, 80)
SKY_ROUGHNESS = 2
SKY_CELLS = (48, 128)  # rows and columns of the sky before it is enlarged


def paint_street(canvas: Drawing, rng: np.random.Generator) -> None:
    """Paint an empty street from the sky down to the lane marks."""
    _sky(canvas, rng)
    _ground(canvas, rng)
    _skyline(canvas, rng)
    for side in (-1.0, 1.0):
        _row_of_houses(canvas, rng, side)
    _carriageway(canvas, rng)
    for side in (-1.0, 1.0):
        _row_of_trees(canvas, rng, side)


def _sky(canvas: Drawing, rng: np.random.Generator) -> None:
    rows = np.linspace(0.0, 1.0, SKY_CELLS[0], dtype=np.float32)[:, None, None]
    zenith = np.array([88, 132, 188], np.float32) * rng.uniform(0.75, 1.1)
    haze = np.array([206, 216, 226], np.float32)
    clear = zenith + (haze - zenith) * rows

    clouds = np.zeros(SKY_CELLS, np.float32)
    for cells in (3, 5, 9, 18):  # octaves
        noise = Image.fromarray(rng.random((cells, 2 * cells), np.float32))
        clouds += np.asarray(noise.resize(SKY_CELLS[::-1], Image.Resampling.BICUBIC)) * (3.0 / cells)
    cover = np.clip((clouds - clouds.mean()) * rng.uniform(0.5, 1.2) + rng.uniform(0.0, 0.6), 0.0, 1.0)[:, :, None]
    sky = clear + (np.array([236, 236, 234], np.float32) - clear) * cover * 0.8

    height, width = canvas.camera.size
    down_to_horizon = (width, round(canvas.camera.horizon * height) + 1)
    picture = Image.fromarray(np.clip(sky, 0, 255).astype(np.uint8)).resize(down_to_horizon, Image.Resampling.BICUBIC)
    picture.putalpha(SKY_ROUGHNESS)  # after the enlarging, which weights colours by alpha
    canvas.image.paste(picture, (0, 0))


def _skyline(canvas: Drawing, rng: np.random.Generator) -> None:
    """Distant hills and houses where the street ends."""
    width = 90.0
    ridge = np.cumsum(rng.normal(0.0, 1.4, 40)) + 7.0
    points = [(x, float(max(2.0, y)), FAR) for x, y in zip(np.linspace(-width, width, 40), ridge, strict=True)]
    canvas.polygon([(-width, 0.0, FAR), *points, (width, 0.0, FAR)], (118, 132, 128), 40)
    for _ in range(14):
        x, w, h = rng.uniform(-60, 60), rng.uniform(4, 12), rng.uniform(4, 14)
        canvas.upright(x, x + w, 0.0, h, FAR - 10, shade(_pick(FACADES, rng), 0.9), 50)


def _ground(canvas: Drawing, rng: np.random.Generator) -> None:
    grass = shade((104, 116, 66), rng.uniform(0.8, 1.15))
    height, width = canvas.camera.size
    horizon = canvas.camera.horizon * height
    canvas.flat_rectangle((0, horizon), (width, height), grass, 110)


def _strip(
    canvas: Drawing, left: float, right: float, start: float, end: float, colour: Colour, roughness: int
) -> None:
    canvas.polygon([(left, 0, start), (left, 0, end), (right, 0, end), (right, 0, start)], colour, roughness)


def _carriageway(canvas: Drawing, rng: np.random.Generator) -> None:
    asphalt = shade((94, 94, 98), rng.uniform(0.75, 1.25))
    paving = shade((150, 146, 138), rng.uniform(0.85, 1.1))
    for side in (-1.0, 1.0):
        _strip(canvas, side * PAVEMENT, side * ROAD, NEAR, FAR, paving, 70)
        for z in np.arange(3.0, 40.0, 2.0).tolist():  # joints of the paving
            _strip(canvas, side * PAVEMENT, side * ROAD, z, z + 0.06, shade(paving, 0.8), 70)
        _strip(canvas, side * ROAD, side * (ROAD + 0.25), NEAR, FAR, shade(paving, 1.15), 50)
    _strip(canvas, -ROAD, ROAD, NEAR, FAR, asphalt, 80)
    for _ in range(8):  # repairs and cracks
        x, z = rng.uniform(-ROAD, ROAD - 1.0), rng.uniform(4.0, 45.0)
        patch = shade(asphalt, rng.uniform(0.82, 1.12))
        _strip(canvas, x, x + rng.uniform(0.2, 1.2), z, z + rng.uniform(0.8, 6.0), patch, 80)
    paint = shade((214, 214, 208), rng.uniform(0.85, 1.0))
    for z in np.arange(rng.uniform(2.0, 8.0), 110.0, 9.0).tolist():
        _strip(canvas, -0.07, 0.07, z, z + 3.5, paint, 60)
    for side in (-1.0, 1.0):
        _strip(canvas, side * (ROAD - 0.35), side * (ROAD - 0.22), NEAR, FAR, paint, 60)


def _row_of_houses(canvas: Drawing, rng: np.random.Generator, side: float) -> None:
    houses = []
    z = rng.uniform(-4.0, 6.0)
    while z < 120.0:
        length = rng.uniform(9.0, 20.0)
        if rng.random() < 0.8:
            houses.append((z, length))
        z += length + float(rng.choice([0.0, 0.0, rng.uniform(2.0, 9.0)]))
    for start, length in reversed(houses):
        _house(canvas, rng, side, start, length)


def _house(canvas: Drawing, rng: np.random.Generator, side: float, start: float, length: float) -> None:
    floors = int(rng.integers(2, 6))
    height, end = 3.1 * floors + 0.8, start + length
    front, back = side * HOUSES, side * (HOUSES + 12.0)
    start = max(start, 2.0)
    if end <= start:
        return
    wall = shade(_pick(FACADES, rng), rng.uniform(0.85, 1.1) * (0.82 if side > 0 else 1.05))
    roof = shade((116, 70, 58), rng.uniform(0.7, 1.1))
    ridge, top = side * (HOUSES + 6.0), height + rng.uniform(1.5, 4.0)
    canvas.polygon([(front, height, start), (ridge, top, start), (ridge, top, end), (front, height, end)], roof, 80)
    gable = [(front, 0, start), (front, height, start), (ridge, top, start), (back, height, start), (back, 0, start)]
    canvas.polygon(gable, shade(wall, 0.78), 60)
    canvas.polygon([(front, 0, start), (front, height, start), (front, height, end), (front, 0, end)], wall, 60)
    for level in (0.6, height - 0.25):  # plinth and cornice
        band = [(front, level - 0.6, start), (front, level, start), (front, level, end), (front, level - 0.6, end)]
        canvas.polygon(band, shade(wall, 0.7), 70)
    step, frame = rng.uniform(2.2, 3.2), shade(wall, 1.2)
    for floor in range(floors):
        sill = 1.0 + 3.1 * floor
        for z in np.arange(start + 0.8, end - 1.2, step).tolist():
            glass = shade(GLASS, rng.uniform(0.6, 1.8))
            _opening(canvas, front, sill - 0.1, 1.9, z - 0.12, 1.44, frame)
            _opening(canvas, front, sill, 1.7, z, 1.2, glass)


def _opening(canvas: Drawing, x: float, bottom: float, height: float, z: float, width: float, colour: Colour) -> None:
    corners = [(x, bottom, z), (x, bottom + height, z), (x, bottom + height, z + width), (x, bottom, z + width)]
    canvas.polygon(corners, colour, 30)


def _row_of_trees(canvas: Drawing, rng: np.random.Generator, side: float) -> None:
    for z in sorted(rng.uniform(9.0, 90.0, int(rng.integers(2, 8))), reverse=True):
        _tree(canvas, rng, side * rng.uniform(PAVEMENT + 0.4, HOUSES - 1.5), float(z))


def _tree(canvas: Drawing, rng: np.random.Generator, x: float, z: float) -> None:
    trunk, spread = rng.uniform(2.0, 3.2), rng.uniform(1.2, 2.3)
    canvas.upright(x - 0.16, x + 0.16, 0.0, trunk + 0.8, z, (74, 60, 48), 120)
    leaf = _pick(LEAVES, rng)
    for lift in sorted(rng.uniform(0.0, 2.0 * spread, 60).tolist()):  # upper leaves catch the light
        reach = spread * math.sqrt(max(0.05, 1.0 - (lift / spread - 0.9) ** 2))
        middle = (x + rng.uniform(-reach, reach), trunk + lift, z)
        radius = rng.uniform(0.18, 0.55)
        light = 0.6 + 0.35 * lift / spread + rng.uniform(-0.15, 0.15)
        canvas.disc(middle, radius, 0.8 * radius, shade(leaf, light), 190)


def _pick(colours: tuple[Colour, ...], rng: np.random.Generator) -> Colour:
    return colours[int(rng.integers(len(colours)))]
