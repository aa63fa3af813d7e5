"""The baseline: the arrays of the reference, made as the reference makes them, on one thread.

    Pillow decode ─► table of 256 values ─► pad and crop, or resize  ─┐
    Pillow decode ─► Pillow resize ─► blue, green, red minus the mean ─┴► h5py create_dataset(compression="gzip")

    python benchmarks/baseline.py PLAN.json OUT.h5

PLAN.json is what ``int8cal NETWORK plan --json`` prints: it decides which images, in which order. Nothing of
int8cal is imported. TensorFlow's graph is faster than NumPy at some steps and slower at others; its share is small,
since deflate takes most of the time in both.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from PIL import Image

KEY = "_tensorfile_array_key_"

Float32 = npt.NDArray[np.float32]

NORMALISED = (np.arange(256, dtype=np.float32) * np.float32(0.003921509)).astype(np.float16).astype(np.float32)
"""Level → value of dataloader mode 0, rounded to half precision."""


def pad_and_crop(image: Float32, height: int, width: int) -> Float32:
    """The upper left part of an image on black."""
    canvas = np.zeros((height, width, image.shape[2]), np.float32)
    part = image[:height, :width]
    canvas[: part.shape[0], : part.shape[1]] = part
    return canvas


def resize(image: Float32, height: int, width: int) -> Float32:
    """Bilinear as in TensorFlow 1 (corners not aligned, no half-pixel centres), result in half precision."""
    top, bottom, down = _neighbours(image.shape[0], height)
    left, right, across = _neighbours(image.shape[1], width)
    across = across[None, :, None]
    upper = image[top][:, left]
    upper += (image[top][:, right] - upper) * across
    lower = image[bottom][:, left]
    lower += (image[bottom][:, right] - lower) * across
    upper += (lower - upper) * down[:, None, None]
    return upper.astype(np.float16).astype(np.float32)


def _neighbours(length: int, wanted: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Float32]:
    position = np.arange(wanted, dtype=np.float32) * (np.float32(length) / np.float32(wanted))
    low = np.floor(position).astype(np.int64)
    return low, np.minimum(low + 1, length - 1), position - low.astype(np.float32)


def detection(picture: Image.Image, height: int, width: int, options: dict[str, Any]) -> Float32:
    """DetectNet_v2's dataloader mode 0."""
    image = NORMALISED[np.asarray(picture.convert("RGB"))]
    if image.shape[:2] == (height, width):
        return image
    return (resize if options.get("auto_resize") else pad_and_crop)(image, height, width)


def stretched(picture: Image.Image, height: int, width: int, options: dict[str, Any]) -> Float32:
    """Classification in caffe mode (nearest neighbour), and SSD as its exporter (Lanczos, means in double)."""
    lanczos = options["resize"] == "lanczos"
    small = picture.convert("RGB").resize(
        (width, height), Image.Resampling.LANCZOS if lanczos else Image.Resampling.NEAREST
    )
    values = np.asarray(small).astype(np.float32)[..., ::-1]
    return (values - np.array(options["mean"], np.float64 if lanczos else np.float32)).astype(np.float32)


def main(plan_path: str, out: str) -> None:
    """Write the tensorfile of a plan."""
    with open(plan_path, encoding="utf-8") as file:
        plan = json.load(file)["plan"]
    batch_size, _, height, width = plan["shape"]
    options = plan["arithmetic"]["options"]
    arithmetic = stretched if "mean" in options else detection
    paths = [sample["location"] for sample in plan["samples"]]
    with h5py.File(out, "w") as file:
        for number in range(plan["batches"]):
            batch = np.empty(plan["shape"], np.float32)
            for row, path in enumerate(paths[number * batch_size : (number + 1) * batch_size]):
                with Image.open(path) as picture:
                    image = arithmetic(picture, height, width, options)
                batch[row] = image.transpose(2, 0, 1)
            file.create_group(f"{KEY}_{number}").create_dataset(KEY, data=batch, compression="gzip")
        file.attrs["count"] = plan["batches"]
        file.attrs["shape"] = np.array(plan["shape"])


if __name__ == "__main__":
    main(*sys.argv[1:])
