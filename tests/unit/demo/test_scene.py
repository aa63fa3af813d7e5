"""Scenes: what is labelled is there, and files are as large as those of photographs."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pytest
from isal import isal_zlib
from PIL import Image

from int8cal.demo.actors import ACTORS, Place
from int8cal.demo.canvas import Camera, Drawing
from int8cal.demo.scene import CLASSES, draw_object, draw_scene, outline
from int8cal.types import ImageHWC_u8, Size

KITTI, J960, HD = Size(375, 1242), Size(544, 960), Size(1080, 1920)


def generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("size", [Size(96, 160), KITTI, Size(300, 300)])
def test_a_scene_has_the_size_asked_for_and_boxes_inside_it(size: Size) -> None:
    for seed in range(4):
        scene = draw_scene(generator(seed), size)
        assert scene.image.shape == (*size, 3)
        assert scene.image.dtype == np.uint8
        for thing in scene.objects:
            left, top, right, bottom = thing.box
            assert 0 <= left < right <= size.width - 1
            assert 0 <= top < bottom <= size.height - 1
            assert 0 <= thing.truncated <= 0.75


def test_equal_generators_draw_equal_scenes() -> None:
    first, again, other = (draw_scene(generator(seed), KITTI) for seed in (5, 5, 6))
    assert np.array_equal(first.image, again.image)
    assert first.objects == again.objects
    assert not np.array_equal(first.image, other.image)


def test_every_class_appears() -> None:
    found = {thing.name for seed in range(12) for thing in draw_scene(generator(seed), Size(96, 320)).objects}
    assert found == set(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("place", [Place(1.8, 12.0), Place(-3.0, 9.0, faces_camera=True), Place(5.0, 20.0)])
def test_boxes_are_where_the_paint_is(name: str, place: Place) -> None:
    camera = Camera(KITTI)
    canvas = Drawing(camera)
    ACTORS[name].paint(canvas, generator(0), place)
    painted = canvas.image.getbbox()
    assert painted is not None
    left, top, right, bottom = outline(camera, ACTORS[name], place)
    slack = 0.25 * max(right - left, bottom - top)  # arms, shadows
    assert np.allclose(painted, (left, top, right, bottom), atol=slack)


@pytest.mark.parametrize("name", CLASSES)
def test_a_single_object_fills_the_middle(name: str) -> None:
    image = draw_object(generator(1), name, Size(224, 224))
    assert image.shape == (224, 224, 3)
    assert not np.array_equal(image, draw_object(generator(2), name, Size(224, 224)))


def images(size: Size, count: int = 4) -> list[ImageHWC_u8]:
    return [draw_scene(np.random.default_rng((0, index)), size).image for index in range(count)]


def mean_bytes(pictures: list[ImageHWC_u8], **options: object) -> float:
    return float(np.mean([len(encoded(picture, **options)) for picture in pictures]))


def encoded(picture: ImageHWC_u8, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def compressed_share(picture: npt.NDArray[np.uint8], canvas: Size) -> float:
    """Bytes after shuffle and igzip level 1, against the float32 tensor they hold (padded or cropped to the canvas)."""
    tensor = np.zeros((3, *canvas), np.float32)
    shown = picture[: canvas.height, : canvas.width]
    values = (shown * np.float32(0.003921509)).astype(np.float16)
    tensor[:, : shown.shape[0], : shown.shape[1]] = values.transpose(2, 0, 1)
    shuffled = np.ascontiguousarray(tensor.view(np.uint8).reshape(-1, 4).T)
    return len(isal_zlib.compress(shuffled, 1)) / tensor.nbytes


# Photographs of the same sizes: 0.75 MB and 20.3 %, 115 KB and 26.4 % (measured on KITTI-like crops).


def test_png_scenes_are_as_large_as_photographs() -> None:
    pictures = images(KITTI)
    assert mean_bytes(pictures, format="PNG") == pytest.approx(750e3, rel=0.15)
    share = np.mean([compressed_share(picture, J960) for picture in pictures])
    assert share == pytest.approx(0.203, rel=0.15)


def test_jpeg_scenes_are_as_large_as_photographs() -> None:
    pictures = images(J960)
    assert mean_bytes(pictures, format="JPEG", quality=90) == pytest.approx(115e3, rel=0.15)
    decoded = [np.asarray(Image.open(io.BytesIO(encoded(p, format="JPEG", quality=90)))) for p in pictures]
    share = np.mean([compressed_share(picture, J960) for picture in decoded])
    assert share == pytest.approx(0.264, rel=0.15)
