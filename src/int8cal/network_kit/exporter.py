"""What NVIDIA's exporters of SSD, DSSD and FasterRCNN do with the images of ``--cal_image_dir``.

The image is stretched by Lanczos in the file's own mode (palettes and 1-bit images by nearest neighbour), then
converted to RGB or grey; u is a pixel 0..255 of the result, f() rounds to float32::

    x = f(float64(u) - mean) · f(scale)

Evidence: equal in every bit to the exporter (Pillow 8.4.0) on the golden set for scale 1, colour JPEGs excepted: the
reference's Pillow decodes them with another JPEG library.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from int8cal.images.pictures import COLOUR_JPEG_DECODER, open_image, size_of
from int8cal.network_kit.network import Arithmetic, Evidence
from int8cal.preprocess.colour import grey_pixels, rgb_pixels
from int8cal.preprocess.normalise import look_up, mean_subtracted
from int8cal.preprocess.stretch import interpolated, interpolated_pixels
from int8cal.samples.encoded import sample_place
from int8cal.samples.samples import Sample
from int8cal.types import ImageCHW_f32, ImageHWC_u8, Size


def exporter_arithmetic(
    name: str, *, evidence: Evidence, size: Size, mean: tuple[float, ...], reverse: bool, scale: float = 1.0
) -> Arithmetic:
    """What the exporters do with the images of ``--cal_image_dir``: stretch by Lanczos, convert, subtract the mean.

    Args:
        name: of the result.
        evidence: of the result.
        size: height and width of the network input.
        mean: one number per channel, in the order of the result's channels.
        reverse: the channels are blue, green, red; else red, green, blue (grey has no order).
        scale: factor after the subtraction, in float32.
    """
    channels = len(mean)
    tables = mean_subtracted(mean, scale)
    convert = rgb_pixels if channels == 3 else grey_pixels

    def to_tensor(image: ImageHWC_u8 | Image.Image, sample: Sample) -> ImageCHW_f32:
        if isinstance(image, np.ndarray):
            pixels = convert(interpolated_pixels(image, size, Image.Resampling.LANCZOS))
        else:
            pixels = convert(interpolated(image, size, Image.Resampling.LANCZOS))
        return look_up(pixels[..., ::-1] if reverse else pixels, tables)

    return Arithmetic(
        name=name,
        evidence=evidence,
        decode=lambda encoded, sample: open_image(encoded, sample_place(sample)),
        to_tensor=to_tensor,
        shape=lambda sample: (channels, size.height, size.width),
        options={
            "channels": channels,
            "channel_order": "grey" if channels == 1 else "BGR" if reverse else "RGB",
            "mean": list(mean),
            "scale": scale,
            "resize": "lanczos",
            "colour_jpeg_decoder": COLOUR_JPEG_DECODER,
        },
        size=size_of,
    )
