"""TAO's PyTorch networks in plain NumPy and Pillow, from the published formulas alone; nothing of int8cal is imported.

Independent of int8cal's implementation, so that a slip in one of the two shows as a difference. Slow and obvious: each
function is one network's evaluation transform, one operation after another, each rounded to float32. All return
channels × height × width, red first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageOps

F = np.float32
BILINEAR, BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC

IMAGENET = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def upright(picture: Image.Image) -> Image.Image:
    """RGB, turned as EXIF says: orientation is looked up after the conversion."""
    return ImageOps.exif_transpose(picture.convert("RGB"))


def resized(picture: Image.Image, width: int, height: int, kernel: Image.Resampling) -> Image.Image:
    """Width first, then height; very tall pictures that shrink the other way round."""
    if width < 1 or height < 1:
        raise ValueError("height and width must be > 0")
    if picture.height > 100 * picture.width and height < picture.height:
        return picture.resize((picture.width, height), kernel).resize((width, height), kernel)
    return picture.resize((width, picture.height), kernel).resize((width, height), kernel)


def planes(picture: Image.Image) -> np.ndarray:
    levels = np.asarray(picture).astype(F)
    return levels[None] if levels.ndim == 2 else levels.transpose(2, 0, 1)


def divided(picture: Image.Image) -> np.ndarray:
    return planes(picture) / F(255)


def normalized(values: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    mean32 = np.array([F(value) for value in mean], F)[:, None, None]
    std32 = np.array([F(value) for value in std], F)[:, None, None]
    if not std32.all():
        raise ValueError("a standard deviation is 0")
    return (values - mean32) / std32


def in_zeros(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """At the top left of zeros; what goes beyond is cut off."""
    out = np.zeros((len(values), height, width), F)
    kept = values[:, :height, :width]
    out[:, : kept.shape[1], : kept.shape[2]] = kept
    return out


def with_short_side(picture: Image.Image, short: int) -> Image.Image:
    width, height = picture.size
    if min(width, height) == short:
        return picture
    if width < height:
        return resized(picture, short, int(short * height / width), BILINEAR)
    return resized(picture, int(short * width / height), short, BILINEAR)


def rtdetr(picture: Image.Image, eval_spatial_size: Sequence[int], preserve_aspect_ratio: bool) -> np.ndarray:
    image = upright(picture)
    low, high = sorted(image.size)
    if len(eval_spatial_size) == 1:
        (short,) = eval_spatial_size
        long = int(short * high / low)
        portrait = image.width <= image.height
        image = resized(image, *((short, long) if portrait else (long, short)), BILINEAR)
        return planes(image) * F(1 / 255)
    height, width = eval_spatial_size
    if not preserve_aspect_ratio:
        return planes(resized(image, width, height, BILINEAR)) * F(1 / 255)
    longest = max(height, width)
    image = with_short_side(image, round(longest * low / high))
    return in_zeros(planes(image), longest, longest) * F(1 / 255)


def dino_stretched(
    picture: Image.Image, height: int, width: int, mean: Sequence[float], std: Sequence[float]
) -> np.ndarray:
    return normalized(divided(resized(upright(picture), width, height, BILINEAR)), mean, std)


def dino_padded(
    picture: Image.Image,
    test_random_resize: int,
    random_resize_max_size: int,
    fixed_padding: bool,
    pad_size_divisor: int | None,
    mean: Sequence[float],
    std: Sequence[float],
) -> np.ndarray:
    image = upright(picture)
    low, high = sorted(image.size)
    short = test_random_resize
    if high / low * short > random_resize_max_size:
        short = round(random_resize_max_size * low / high)
    image = with_short_side(image, short)
    values = normalized(divided(image), mean, std)
    if pad_size_divisor is not None:
        height, width = (math.ceil(side / pad_size_divisor) * pad_size_divisor for side in (image.height, image.width))
        return in_zeros(values, height, width)
    if not fixed_padding:
        return values
    height, width = test_random_resize, random_resize_max_size
    if image.height > image.width:
        height, width = width, height
    return in_zeros(values, height, width)


def classification_pyt(picture: Image.Image, img_size: int, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    return normalized(divided(resized(picture.convert("RGB"), img_size, img_size, BILINEAR)), mean, std)


def segformer(picture: Image.Image, img_size: int, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    return normalized(divided(resized(picture.convert("RGB"), img_size, img_size, BICUBIC)), mean, std)


def ocrnet(
    picture: Image.Image, input_height: int, input_width: int, input_channel: int, keep_aspect_ratio: bool
) -> np.ndarray:
    image = picture.convert("RGB" if input_channel == 3 else "L")
    width = input_width
    if keep_aspect_ratio:
        width = min(input_width, math.ceil(input_height * (image.width / float(image.height))))
    values = (divided(resized(image, width, input_height, BICUBIC)) - F(0.5)) / F(0.5)
    last = values[:, :, -1:]
    return np.concatenate([values] + [last] * (input_width - width), axis=2)


def ml_recog(
    picture: Image.Image, input_height: int, input_width: int, mean: Sequence[float], std: Sequence[float]
) -> np.ndarray:
    """The reference hands (width, height) to functions that take (height, width): the sides are swapped."""
    height, width = input_width, input_height
    large = resized(picture.convert("RGB"), int(width * 1.14), int(height * 1.14), BILINEAR)
    top = round((large.height - height) / 2.0)
    left = round((large.width - width) / 2.0)
    return normalized(divided(large.crop((left, top, left + width, top + height))), mean, std)


Transform = Callable[[Image.Image], np.ndarray]


def transform(network: str, spec: Mapping[str, Any], form: str | None = None) -> Transform:
    """The transform that a spec asks for, missing keys having NVIDIA's newest defaults.

    Args:
        network: "rtdetr", "dino", "deformable_detr", "classification_pyt", "segformer", "ocrnet" or "ml_recog".
        spec: what PyYAML makes of the spec.
        form: of dino and deformable_detr, "export", "evaluate", "inference" or "spec".
    """

    def section(*path: str) -> Mapping[str, Any]:
        value: Any = spec
        for key in path:
            value = (value or {}).get(key) or {}
        return value

    if network == "rtdetr":
        augmentation = section("dataset", "augmentation")
        size = [int(side) for side in augmentation.get("eval_spatial_size", (640, 640))]
        return lambda picture: rtdetr(picture, size, augmentation.get("preserve_aspect_ratio", False))
    if network in ("dino", "deformable_detr"):
        augmentation = section("dataset", "augmentation")
        numbers = {
            "mean": augmentation.get("input_mean", IMAGENET),
            "std": augmentation.get("input_std", IMAGENET_STD),
        }
        if form != "spec":
            target = section(form or "export")
            height, width = target.get("input_height", 640), target.get("input_width", 640)
            return lambda picture: dino_stretched(picture, height, width, **numbers)
        return lambda picture: dino_padded(
            picture,
            augmentation.get("test_random_resize", 800),
            augmentation.get("random_resize_max_size", 1333),
            augmentation.get("fixed_padding", True),
            augmentation.get("pad_size_divisor"),
            **numbers,
        )
    if network == "classification_pyt":
        dataset = section("dataset")
        augmentation = section("dataset", "augmentation")
        return lambda picture: classification_pyt(
            picture,
            dataset.get("img_size", 224),
            augmentation.get("mean", IMAGENET),
            augmentation.get("std", IMAGENET_STD),
        )
    if network == "segformer":
        dataset = section("dataset", "segment")
        augmentation = section("dataset", "segment", "augmentation")
        half = (0.5, 0.5, 0.5)
        return lambda picture: segformer(
            picture, dataset.get("img_size", 256), augmentation.get("mean", half), augmentation.get("std", half)
        )
    model = section("model")
    if network == "ocrnet":
        keep = section("dataset", "augmentation").get("keep_aspect_ratio", False)
        return lambda picture: ocrnet(
            picture, model.get("input_height", 32), model.get("input_width", 100), model.get("input_channel", 1), keep
        )
    if network == "ml_recog":
        dataset = section("dataset")
        return lambda picture: ml_recog(
            picture,
            model.get("input_height", 224),
            model.get("input_width", 224),
            dataset.get("pixel_mean", IMAGENET),
            dataset.get("pixel_std", (0.226, 0.226, 0.226)),
        )
    raise ValueError(network)
