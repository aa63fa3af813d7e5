"""How much of a network input is picture, and how much of the picture is in it: told by what a manifest holds.

A reference that pads and cuts in place of scaling makes calibration data whose statistics are those of borders and
corners, and says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from int8cal.types import Size

MUCH_CUT = 0.10
"""Share of a picture that is cut off from which on there is a warning."""
MUCH_PADDING = 0.30
"""Share of the input that is padding from which on there is a warning."""

_NOTHING = 0.0005
"""Less than this is rounding."""


class Framing(NamedTuple):
    """Means over images.

    Attributes:
        padding: share of the network input's pixels that are not picture.
        cut: share of the picture that is not in it.
    """

    padding: float
    cut: float

    @property
    def whole(self) -> bool:
        """The input is the picture, all of it and nothing else."""
        return max(self) < _NOTHING

    def doubtful(self, options: Mapping[str, Any]) -> bool:
        """There is so much of either that it should be looked at; what was asked for in so many words is meant so."""
        return by_size_alone(options) and (self.cut > MUCH_CUT or self.padding > MUCH_PADDING)

    def __str__(self) -> str:
        told = []
        if self.padding >= _NOTHING:
            told.append(f"{_share(self.padding)} of the pixels are padding")
        if self.cut >= _NOTHING:
            told.append(f"{_share(self.cut)} of the image is cut off")
        return ", ".join(told) or "the whole image, and nothing else"


def _share(part: float) -> str:
    return f"{part:.0%}" if part >= 0.005 else "less than 1%"


def by_size_alone(options: Mapping[str, Any]) -> bool:
    """Images are padded or cut only because they have another size than the network: nobody asked for it."""
    return "window" in options or "sampling_matrix" in options


def framing(options: Mapping[str, Any], shape: tuple[int, int, int], sizes: Iterable[Size]) -> Framing | None:
    """What an arithmetic leaves of images; None where it is not one that pads or cuts, or no size is known.

    Args:
        options: those of the arithmetic, as a manifest has them.
        shape: (C, H, W) of the result.
        sizes: of the images; those of 0 pixels are unknown and do not count.
    """
    known: dict[Size, int] = {}
    for size in sizes:
        if min(size) > 0:
            known[size] = known.get(size, 0) + 1
    count = sum(known.values())
    parts = [(_framing(options, Size(*shape[1:]), size), number) for size, number in known.items()]
    if not parts or any(part is None for part, _ in parts):
        return None
    told = [(part, number) for part, number in parts if part is not None]
    return Framing(*(sum(part[which] * number for part, number in told) / count for which in (0, 1)))


def _framing(options: Mapping[str, Any], result: Size, size: Size) -> Framing | None:
    """That of one image, by the rectangle of it that the result shows."""
    try:
        if "window" in options:
            return _of_window(options, size)
        if "sampling_matrix" in options:
            return _of_matrix(options["sampling_matrix"], result, size)
        if "preprocessing" in options:
            return _of_stated(options["preprocessing"], size)
        if "fit" in options:
            return _of_fit(options["fit"], result, size)
    except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError, OverflowError):
        pass  # a manifest that was edited, which verify judges
    return None


def _of_window(options: Mapping[str, Any], size: Size) -> Framing:
    """A window that is cut out of a canvas; with steps between its pixels where it is scaled."""
    left, top, right, bottom = options["window"]
    across, down = options.get("sampling_steps") or (1.0, 1.0)
    picture = Size(*options["canvas"]) if options.get("auto_resize") else size
    return _overlap((left * across, top * down, right * across, bottom * down), picture)


def _of_matrix(matrix: Any, result: Size, size: Size) -> Framing:
    across, down, left, top = matrix[0][0], matrix[1][1], matrix[2][0], matrix[2][1]
    return _overlap((left, top, left + result.width * across, top + result.height * down), size)


def _of_stated(stated: Mapping[str, Any], size: Size) -> Framing:
    """A preprocessing as stated: a letterbox is padded, a crop is cut."""
    height, width = stated["size"]
    how = stated["resize"]
    if how == "letterbox":
        ratio = min(height / size.height, width / size.width)
        return Framing(max(0.0, 1 - size.height * ratio * size.width * ratio / (height * width)), 0.0)
    if how == "short_side":
        edge = stated["short_side"] or min(height, width)
        ratio = edge / min(size)
        return Framing(0.0, max(0.0, 1 - height * width / (size.height * ratio * size.width * ratio)))
    if how == "crop":
        return Framing(0.0, max(0.0, 1 - height * width / (size.height * size.width)))
    return Framing(0.0, 0.0)


def _of_fit(fit: Any, result: Size, size: Size) -> Framing:
    """That of a network which keeps the aspect: ``inside`` the result; of its ``height``; or the size that is cut."""
    if fit not in ("inside", "height"):
        height, width = fit
        return Framing(0.0, max(0.0, 1 - result.height * result.width / (height * width)))
    ratio = result.height / size.height
    if fit == "inside":
        ratio = min(ratio, result.width / size.width)
    pixels = min(result.height, size.height * ratio) * min(result.width, size.width * ratio)
    return Framing(max(0.0, 1 - pixels / (result.height * result.width)), 0.0)


def _overlap(shown: tuple[float, float, float, float], size: Size) -> Framing:
    left, top, right, bottom = shown
    across = max(0.0, min(right, size.width) - max(left, 0))
    down = max(0.0, min(bottom, size.height) - max(top, 0))
    common = across * down
    return Framing(1 - common / ((right - left) * (bottom - top)), 1 - common / (size.width * size.height))
