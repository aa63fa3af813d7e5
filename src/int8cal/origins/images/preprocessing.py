"""Preprocessing in numbers: what a model's own loader does to an image.

u is a pixel 0..255 after decoding and resizing; f() rounds to float32, and ``scale`` is 1/255, 1/127.5 or a number::

    value = f(f(f(u · scale) − f(mean)) / f(std))       1/255: the division f(u / 255), as most loaders do it

Resizing by Pillow is its antialiased filter, width first, then height, as Pillow up to 12.2 does it; by OpenCV it is
``cv2.resize`` of the installed version.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
from PIL import Image

from int8cal.errors import ImageError, UsageError
from int8cal.images.limits import output_problem
from int8cal.images.pillow import PillowMode, open_converted
from int8cal.network_kit.network import Arithmetic, Evidence, array_size
from int8cal.preprocess.normalise import look_up, tells_levels_apart
from int8cal.preprocess.stretch import nearest_positions
from int8cal.preprocess.torchvision import centred, normalised, resized, shorter_edge_size
from int8cal.samples.encoded import sample_place
from int8cal.types import ImageCHW_f32, ImageHWC_u8, Size, ValueTables_f32

if TYPE_CHECKING:
    from int8cal.samples.samples import Sample

Resize: TypeAlias = Literal["stretch", "letterbox", "short_side", "crop"]
Interpolation: TypeAlias = Literal["nearest", "bilinear", "bicubic", "lanczos"]
ChannelOrder: TypeAlias = Literal["rgb", "bgr", "gray"]
Rounding: TypeAlias = Literal["nearest", "down"]
Anchor: TypeAlias = Literal["centre", "top_left"]
Library: TypeAlias = Literal["pillow", "opencv"]

RESIZES: tuple[Resize, ...] = get_args(Resize)
INTERPOLATIONS: tuple[Interpolation, ...] = get_args(Interpolation)
ORDERS: tuple[ChannelOrder, ...] = get_args(ChannelOrder)
ROUNDINGS: tuple[Rounding, ...] = get_args(Rounding)
ANCHORS: tuple[Anchor, ...] = get_args(Anchor)
LIBRARIES: tuple[Library, ...] = get_args(Library)

STATED: Evidence = "as stated"
_FILTERS = {name: Image.Resampling[name.upper()] for name in INTERPOLATIONS}
_LEVELS = np.arange(256, dtype=np.float32)
_LARGEST = 1000
"""No network takes values so far apart: levels as they are run from 0 to 255."""
_FAR = 3
"""Zero lies in or near the values of every network; so many times their range away, the mean has another unit."""


@dataclass(frozen=True)
class Preprocessing:
    """What is done to an image.

    Attributes:
        size: height and width of the network input.
        resize: ``stretch`` to the size, whatever the aspect; ``letterbox``: scaled to fit, the rest filled with
            ``pad``; ``short_side``: scaled until the shorter side is ``short_side``, then the centre cut out; ``crop``:
            the centre cut out, nothing scaled.
        scale: factor of the pixel levels: ``1/255`` and the like, or a number.
        interpolation: the filter.
        short_side: of ``short_side``, in pixels; None: the shorter side of ``size``.
        pad: level 0..255 around a letterboxed image.
        anchor: where the image lies in its letterbox.
        rounding: of the size of the image in its letterbox: to the nearest pixel, or down.
        order: of the channels of the result; ``gray`` has one.
        mean, std: on the scale of the scaled values, one per channel, or one for all, in the order of the result.
        library: what decodes and resizes.
        exif: turned as its EXIF orientation says.
        preset: the preset that it comes from, for the record.
    """

    size: Size
    resize: Resize
    scale: str
    interpolation: Interpolation = "bilinear"
    short_side: int | None = None
    pad: int | None = None
    anchor: Anchor = "centre"
    rounding: Rounding = "nearest"
    order: ChannelOrder = "rgb"
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    library: Library = "pillow"
    exif: bool = False
    preset: str | None = None

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise UsageError(f"a size of {self.size.height}x{self.size.width} has no pixels", hint=_SIZE_HINT)
        if problem := output_problem(self.size):
            raise UsageError(problem, hint=_SIZE_HINT)
        if self.resize == "short_side" and (problem := output_problem(Size(self.edge, self.edge))):
            raise UsageError(problem, hint=f"Give --resize short_side:{max(self.size)}, or somewhat more.")
        if self.resize == "letterbox" and self.pad is None:
            raise UsageError("letterbox needs the level of the border", hint="Give --pad VALUE, 114 for YOLO models.")
        if self.pad is not None and not 0 <= self.pad <= 255:
            raise UsageError(f"a pad of {self.pad} is not a level", hint="Give --pad a number from 0 to 255.")
        if self.resize == "short_side" and self.edge < max(self.size):
            raise UsageError(
                f"a shorter side of {self.edge} is less than the size {self.size.height}x{self.size.width} to cut out",
                hint=f"Give --resize short_side:{max(self.size)}, or more.",
            )
        self.values()

    @property
    def channels(self) -> int:
        """3, or 1 for gray."""
        return 1 if self.order == "gray" else 3

    @property
    def edge(self) -> int:
        """Pixels of the shorter side after scaling, for ``short_side``."""
        return min(self.size) if self.short_side is None else self.short_side

    def values(self) -> ValueTables_f32:
        """Value of each pixel level, channels × 256, in the order of the result.

        Raises:
            UsageError: a number is missing or too many, or the values are not finite, or all the same.
        """
        factor, divides = scale_factor(self.scale)
        with np.errstate(all="ignore"):
            scaled = _LEVELS / np.float32(factor) if divides else _LEVELS * np.float32(factor)
        try:
            values = normalised(self.mean, self.std, self.channels, scaled)
        except ValueError as error:
            hint = "Give one number, or one per channel with commas between them, as the model was trained with them."
            raise UsageError(str(error), hint=hint) from None
        if not np.isfinite(values).all():
            raise UsageError("scale, mean and std make values that are not finite", hint="Give smaller numbers.")
        if not tells_levels_apart(values):
            raise UsageError(
                "scale, mean and std make one value of all levels",
                hint="Give --scale, --mean and --std as the model was trained with them; such as --scale 1/255.",
            )
        return np.ascontiguousarray(values)

    def doubt(self) -> str | None:
        """What shows that scale, or mean, is stated in another unit than it should be; None: nothing."""
        values = self.values()
        if np.ptp(values) > _LARGEST:
            return f"the values run from {values.min():.6g} to {values.max():.6g}: --scale 1/255 divides levels by 255"
        if not _is_far(values):
            return None
        factor, divides = scale_factor(self.scale)
        unit = 1 / factor if divides else factor
        said = f"the values run from {values.min():.4g} to {values.max():.4g}: mean is in the unit after scale"
        converted = {"mean": tuple(one * unit for one in self.mean)}
        if max(map(abs, self.std)) > 1:  # stated for the same unit
            converted["std"] = tuple(one * unit for one in self.std)
        try:
            if _is_far(replace(self, **converted).values()):  # type: ignore[arg-type]
                return said
        except UsageError:
            return said
        options = " ".join(
            f"--{name} {','.join(f'{one:.3g}' for one in numbers)}" for name, numbers in converted.items()
        )
        return f"{said}, such as {options} with a scale of {self.scale}"

    def arithmetic(self) -> Arithmetic:
        """Encoded image → network input.

        Raises:
            UnavailableError: ``opencv`` is not installed.
        """
        if self.library == "opencv":
            from int8cal.images import opencv  # late: an extra

            opencv.need()
        values, channels = self.values(), self.channels
        reverse = self.order == "bgr"

        def decode(encoded: bytes, sample: Sample) -> ImageHWC_u8:
            where = sample_place(sample)
            if self.library == "opencv":
                return opencv.decode(encoded, where, grey=channels == 1, exif=self.exif)
            mode: PillowMode = "L" if channels == 1 else "RGB"
            return open_converted(encoded, mode, where, upright=self.exif, takes_floats=False)

        def to_tensor(image: ImageHWC_u8, sample: Sample) -> ImageCHW_f32:
            pixels = self._resized(image)
            return look_up(pixels[..., ::-1] if reverse else pixels, values)

        return Arithmetic(
            name=f"images.{self.preset or 'stated'}",
            evidence=STATED,
            decode=decode,
            to_tensor=to_tensor,
            shape=lambda sample: (channels, *self.size),
            options=self.facts(),
        )

    def facts(self) -> dict[str, Any]:
        """For the manifest: the numbers as stated, and what readers compute with, who know no inverted levels."""
        factor, divides = scale_factor(self.scale)
        unit = factor if divides else 1 / factor
        scale = [1 / (one * unit) for one in self.std]
        computed = {"mean": [one * unit for one in self.mean], "scale": scale} if min(scale) > 0 else {}
        return {
            "channels": self.channels,
            "channel_order": {"rgb": "RGB", "bgr": "BGR", "gray": "grey"}[self.order],
            **computed,
            "preprocessing": self.to_json(),
        }

    def to_json(self) -> dict[str, Any]:
        """The keys of ``preprocess.yaml``, as JSON types."""
        return asdict(self) | {"size": list(self.size), "mean": list(self.mean), "std": list(self.std)}

    @property
    def sha256(self) -> str:
        """SHA-256 of the numbers."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def _resized(self, image: ImageHWC_u8) -> ImageHWC_u8:
        """The pixels of the network input, RGB or grey."""
        scale = _by_opencv if self.library == "opencv" else _by_pillow
        height, width = array_size(image)
        if self.resize == "stretch":
            return scale(image, self.size, self.interpolation)
        if self.resize == "letterbox":
            ratio = min(self.size.height / height, self.size.width / width)
            inner = self._inner(height, width, ratio)
            if min(inner) < 1:
                raise ImageError(f"{width}x{height} pixels leave nothing of the shorter side in the letterbox")
            return self._boxed(scale(image, inner, self.interpolation))
        if self.resize == "short_side":
            scaled = shorter_edge_size(Size(height, width), self.edge)
            if problem := output_problem(scaled):
                raise ImageError(problem, hint="Leave the image out: it is very long and narrow.")
            image = scale(image, scaled, self.interpolation)
        if image.shape[0] < self.size.height or image.shape[1] < self.size.width:
            raise ImageError(
                f"{width}x{height} pixels are less than the {self.size.width}x{self.size.height} to cut out",
                hint="Leave the image out, or let --resize scale it.",
            )
        return centred(image, self.size)

    def _inner(self, height: int, width: int, ratio: float) -> Size:
        """Size of an image in its letterbox."""
        whole: Callable[[float], int] = int if self.rounding == "down" else round
        return Size(whole(height * ratio), whole(width * ratio))

    def _boxed(self, pixels: ImageHWC_u8) -> ImageHWC_u8:
        """An image with a border around it. Halves of a pixel go to the right and below, as Ultralytics has it."""
        top = left = 0
        if self.anchor == "centre":
            top, left = (
                round((whole - part) / 2 - 0.1) for whole, part in zip(self.size, pixels.shape[:2], strict=True)
            )
        boxed = np.full((*self.size, pixels.shape[2]), self.pad, np.uint8)
        boxed[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
        return boxed


def _is_far(values: ValueTables_f32) -> bool:
    """Whether zero lies far outside of the values of a channel."""
    low, high = values.min(axis=1), values.max(axis=1)
    return bool((np.maximum(low, -high) > _FAR * (high - low)).any())


_SIZE_HINT = "Give --size HEIGHTxWIDTH, what the model's input is."


def _by_pillow(image: ImageHWC_u8, size: Size, interpolation: Interpolation) -> ImageHWC_u8:
    if interpolation == "nearest":
        return nearest_positions(array_size(image), size).of(image)
    return resized(image, size, _FILTERS[interpolation])


def _by_opencv(image: ImageHWC_u8, size: Size, interpolation: Interpolation) -> ImageHWC_u8:
    from int8cal.images import opencv  # late: an extra

    return opencv.resize(image, size, interpolation)


def scale_factor(scale: str) -> tuple[float, bool]:
    """The number in a scale, and whether levels are divided by it: ``1/255`` → (255, True), ``0.5`` → (0.5, False).

    Raises:
        UsageError: it is something else.
    """
    one, slash, divisor = scale.partition("/")
    try:
        number = float(divisor if slash else one)
        if (slash and one.strip() != "1") or not math.isfinite(number) or number == 0:
            raise ValueError
    except ValueError:
        raise UsageError(
            f"a scale of {scale!r} is not a number or 1/number",
            hint="Give --scale 1/255 for values 0 to 1, or --scale 1 for values 0 to 255.",
        ) from None
    return number, bool(slash)
