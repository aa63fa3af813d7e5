"""The arithmetic of NVIDIA's exporters, whatever an image is decoded to."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from tests.pictures import encode, pixels

from int8cal.images.pictures import open_image, open_picture
from int8cal.network_kit.exporter import exporter_arithmetic
from int8cal.samples.samples import Sample
from int8cal.types import Size

SAMPLE = Sample(0, "1", "1.jpg", 40, 60)


@pytest.mark.parametrize("mean", [(103.9,), (103.9, 116.8, 123.7)], ids=["grey", "colour"])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("size", [Size(20, 30), Size(40, 60), Size(64, 48)])
def test_pixels_and_pictures_of_a_jpeg_come_to_the_same(mean: tuple[float, ...], mode: str, size: Size) -> None:
    arithmetic = exporter_arithmetic("x", evidence="unverified", size=size, mean=mean, reverse=len(mean) == 3)
    encoded = encode(Image.fromarray(pixels(40, 60)).convert(mode), "JPEG", quality=90)
    decoded, picture = open_image(encoded, "x"), open_picture(encoded, "x")
    assert isinstance(decoded, np.ndarray) == (mode != "CMYK")
    assert arithmetic.size(decoded) == arithmetic.size(picture) == (40, 60)
    a, b = (arithmetic.to_tensor(image, SAMPLE) for image in (decoded, picture))
    assert a.shape == (len(mean), *size)
    assert a.tobytes() == b.tobytes()
