"""Do the values of a tensorfile make sense as calibration data: gross mistakes, found from statistics alone.

Errors are what ruins an INT8 model for certain. What a right file can show, too – a few dark pictures, a sample that
was drawn twice, a range that some other network uses – is a note at most.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from int8cal.check.presets import Normalisation, range_text, resembling
from int8cal.check.statistics import ImageStatistics, Loudness, Statistics
from int8cal.io.safe_text import printable, shortened
from int8cal.io.summary import counted
from int8cal.tensorfile.findings import Finding, Level
from int8cal.types import USUAL_IMAGES

_NOISE = 0.25
"""Smoothness below which an image is noise: noise has about 0, photographs have 0.8 and more."""
_TINY_SPREAD = 0.02
"""Share of the expected range which values must at least cover; values divided by 255 twice cover 0.004."""
_DARK = 16
"""A pixel level that every set of photographs goes below."""
_LARGEST_BYTE = 255
_LARGEST_PIXEL = 65535
_BRIGHT = 152
"""No pixel minus an ImageNet mean is larger; 16-bit grey may be."""
_LARGEST_SPREAD = 1000
"""Levels as they are run from 0 to 255; 16-bit grey, of one channel, may run farther."""
_FAR_OUT = 50
"""Standard deviations from the mean at which no value of a picture lies."""
_FAR_FROM_ZERO = 20
"""Standard deviations between zero and the mean at which a mean was subtracted in another unit. Pictures as they are
have 1 to 4, and 10 in fog."""

_MUCH_LOUDER = 2.0
"""An image of the split is missed when it is so many times as loud as the loudest of the file. With 1.5, a quarter of
the random choices of 8 photographs would be blamed; with 2, one in a hundred."""
_LOUDEST = 0.01
"""Share of the split, at least one image, that must be so loud: below it lies what a random choice misses, too."""
_NAMED = 3

_REMAKE = "Make the file again from its source: int8cal calibration_tensorfile -e SPEC, or int8cal images DIR."


def sense(
    statistics: Statistics, *, expected: Normalisation | None = None, sources: list[bytes] | None = None
) -> list[Finding]:
    """Judge the values of a tensorfile.

    Args:
        statistics: of all its images.
        expected: the normalisation that its manifest states; None when it has none.
        sources: for each image, the hash of the image file it was made from, by its manifest; None when unknown.

    Returns:
        The findings; at least the note about what cannot be seen.
    """
    if not statistics.images:
        return []
    return [
        *_content(statistics, sources, is_explained=expected is not None),
        *(_against(statistics, expected) if expected else _without_manifest(statistics)),
        *_number(statistics),
        Finding(
            "note",
            "cannot-see",
            "values alone do not show whether the channels are in the right order (RGB or BGR), "
            "nor whether these are the right images",
            "To prove both, make the images again: int8cal verify FILE -e SPEC, or --images DIR.",
        ),
    ]


def without_loud(file: Sequence[Loudness], split: Sequence[tuple[str, Loudness]]) -> list[Finding]:
    """Does a file lack the loud images of its split? Without a single one, INT8 cuts off what such scenes need.

    Args:
        file: loudness of each image of the file.
        split: names and loudness of images of the split it was chosen from; all of them, or a sample.

    Returns:
        A warning that names the loudest, when the loudest 1 % of the split (at least one image) are each more than
        twice as loud as every image of the file, by contrast, gradient or magnitude; otherwise nothing.
    """
    if not file or not split:
        return []
    rank = max(1, math.ceil(_LOUDEST * len(split)))
    missed: dict[str, str] = {}
    for measure in Loudness._fields:
        known = max(getattr(image, measure) for image in file)
        louder = [(getattr(image, measure), name) for name, image in split]
        louder = sorted((entry for entry in louder if entry[0] > _MUCH_LOUDER * known), reverse=True)
        if len(louder) < rank:
            continue
        for value, name in louder:
            missed.setdefault(name, f"{measure} {value:.3g}, in the file at most {known:.3g}")
    if not missed:
        return []
    named = [f"{printable(shortened(name, 80))} ({why})" for name, why in list(missed.items())[:_NAMED]]
    return [
        Finding(
            "warning",
            "loud-images-missing",
            f"{len(missed)} of {len(split)} images of the split are far louder than all {len(file)} in the file: "
            f"{', '.join(named)}{', …' if len(missed) > _NAMED else ''}",
            "Add two or three of them: without one, INT8 may cut off what such scenes need.",
        )
    ]


def _content(statistics: Statistics, sources: list[bytes] | None, *, is_explained: bool) -> Iterator[Finding]:
    """Are they pictures: not blank, not noise, not one and the same."""
    images = statistics.images
    constant = [image for image in images if image.is_constant]
    if len(constant) == len(images):
        colours = {image.means for image in images}
        values = ", ".join(f"{value:.6g}" for value in dict.fromkeys(images[0].means))
        what = f"every value of the file is {values}" if len(colours) == 1 else "every image is of one colour"
        yield Finding("error", "blank", f"{what}: there is no picture in it", _REMAKE)
        return
    if constant:
        yield Finding(
            "warning" if 2 * len(constant) >= len(images) else "note",
            "blank-images",
            f"{len(constant)} of {len(images)} images are of one colour (the first is image {constant[0].number})",
            "Look at them in the report; leave such frames out if the network never sees any.",
        )
    yield from _flat_channels(statistics, "warning" if is_explained else "error")
    yield from _noise(statistics)
    yield from _copies(statistics, sources)


def _flat_channels(statistics: Statistics, level: Level) -> Iterator[Finding]:
    flat = [str(channel) for channel in np.flatnonzero(statistics.low == statistics.high)]
    if flat and len(statistics.images) > 1:
        yield Finding(
            level,
            "constant-channel",
            f"channel {' and '.join(flat)} has the same value in every image: only the others hold pictures",
            "Look at the images in the report: the channel was lost on the way. " + _REMAKE,
        )


def is_noise(image: ImageStatistics) -> bool:
    """Whether neighbouring pixels of an image have nothing to do with each other."""
    return image.smoothness < _NOISE


def _noise(statistics: Statistics) -> Iterator[Finding]:
    judged = [image for image in statistics.images if not np.isnan(image.smoothness)]
    noisy = [image for image in judged if is_noise(image)]
    if noisy and 2 * len(noisy) >= len(judged):
        yield Finding(
            "error",
            "noise",
            f"{len(noisy)} of {len(judged)} images are noise: neighbouring pixels have nothing to do with each other",
            "NVIDIA's exporters write random numbers when the image folder is missing. " + _REMAKE,
        )
    elif noisy:
        yield Finding(
            "note",
            "noise-images",
            f"{len(noisy)} of {len(judged)} images look like noise (the first is image {noisy[0].number})",
            "Look at them in the report.",
        )


def _copies(statistics: Statistics, sources: list[bytes] | None) -> Iterator[Finding]:
    images = statistics.images
    distinct = len({image.digest for image in images})
    copies = len(images) - distinct
    if not copies:
        return
    explained = sources is not None and _explained(statistics, sources)
    why = "; their image files are equal, too, by the manifest" if explained else ""
    if distinct == 1:
        yield Finding(
            "warning" if explained else "error",
            "one-image",
            f"all {len(images)} images are the same one{why}",
            "Calibrate with many different images." + ("" if explained else f" {_REMAKE}"),
        )
        return
    yield Finding(
        "warning" if 2 * copies >= len(images) and not explained else "note",
        "repeated-images",
        f"{copies} of {len(images)} images repeat an earlier one bit for bit{why}",
        "A few are normal: data sets hold some pictures twice, and NVIDIA's loaders draw some samples twice.",
    )


def _explained(statistics: Statistics, sources: list[bytes]) -> bool:
    """Whether images that are equal come from image files that are equal."""
    pairs = {(image.digest, sources[image.number]) for image in statistics.images}
    return max(Counter(digest for digest, _ in pairs).values()) == 1


def _against(statistics: Statistics, expected: Normalisation) -> Iterator[Finding]:
    """The values against the arithmetic that the manifest states."""
    expected = expected.narrowed(statistics.low, statistics.high)
    values = range_text(statistics.low.min(), statistics.high.max())
    if not expected.contains(statistics.low, statistics.high):
        yield Finding(
            "error",
            "values-outside",
            f"values are in {values}, the manifest's arithmetic ({expected.title}) gives {expected.range_text}",
            "The values were changed after the file was made. " + _REMAKE,
        )
    elif len(statistics.low) > 1 and _spread(statistics) > _LARGEST_SPREAD:
        yield Finding(
            "warning",
            "large-values",
            f"values are in {values}, far beyond what networks take",
            "Was a scale of 255 given for 1/255? Make the file again with the numbers of the training.",
        )
    elif _spread(statistics) < _TINY_SPREAD * float((expected.high - expected.low).max()):
        yield from _tiny(statistics)
    elif ((expected.low > 0) | (expected.high < 0)).any():  # otherwise it is the pictures that are dark or bright
        yield from _far_from_zero(statistics)


def _without_manifest(statistics: Statistics) -> Iterator[Finding]:
    """What the values look like, in a file that does not say."""
    low, high = statistics.low, statistics.high
    values = range_text(low.min(), high.max())
    if _spread(statistics) < _TINY_SPREAD:
        yield from _tiny(statistics)
    elif _is_raw(statistics):
        yield Finding(
            "error",
            "unscaled",
            f"values are in {values}: pixels as they are, neither scaled nor centred",
            f"No TAO network takes such input, and few others do (YOLOX): INT8 models detect nothing by it. {_REMAKE}",
        )
    elif far := list(_far_from_zero(statistics)):
        yield from far
    elif (preset := resembling(low, high)) and preset.is_filled_by(low, high):
        yield Finding(
            "note",
            "preset",
            f"values are in {values}; they look like: {preset.title}, range {preset.range_text}",
            "Not for a network that was trained otherwise; -e SPEC, --images DIR or --model MODEL.onnx tells.",
        )
    elif _farthest(statistics) > _FAR_OUT:
        yield Finding(
            "error",
            "outliers",
            f"values are in {values}, and a few lie {_farthest(statistics):.0f} standard deviations from the mean",
            "Such values widen every range until nothing else is left in INT8. " + _REMAKE,
        )
    else:
        yield Finding(
            "warning",
            "unknown-range",
            f"values are in {values}, which no usual normalisation gives",
            "Check them against their source (-e SPEC, or --images DIR) or the float model (--model MODEL.onnx).",
        )


def _is_raw(statistics: Statistics) -> bool:
    """Unscaled pixels: never negative, beyond 1, and whole numbers, or as dark or as bright as only those are."""
    low, high = statistics.low.min(), statistics.high.max()
    if low < 0 or not 2 * _DARK < high <= _LARGEST_PIXEL:
        return False
    is_eight_bit = len(statistics.low) > 1 or high <= 255
    return bool(statistics.whole_numbers or low < _DARK or (is_eight_bit and high > _BRIGHT))


def _farthest(statistics: Statistics) -> float:
    """Largest distance of a value from the mean of its channel, in standard deviations."""
    distance = np.maximum(statistics.high - statistics.mean, statistics.mean - statistics.low)
    alive = statistics.deviation > 0
    return float((distance[alive] / statistics.deviation[alive]).max(initial=0))


def _far_from_zero(statistics: Statistics) -> Iterator[Finding]:
    """A mean of levels 0..255 that was subtracted from values 0..1, and the like."""
    if all(image.is_constant for image in statistics.images):
        return  # which is reported as such
    if len(statistics.low) == 1 and statistics.high.max() > _LARGEST_BYTE:
        return  # 16-bit grey of a thermal camera: a narrow band far up is usual
    with np.errstate(invalid="ignore"):
        far = np.flatnonzero(
            (statistics.deviation > 0) & (np.abs(statistics.mean) > _FAR_FROM_ZERO * statistics.deviation)
        )
    if len(far):
        channel = far[0]
        times = abs(statistics.mean[channel]) / statistics.deviation[channel]
        yield Finding(
            "warning",
            "far-from-zero",
            f"values of channel {channel} are in {range_text(statistics.low[channel], statistics.high[channel])}: "
            f"zero is {times:.0f} standard deviations from their mean",
            "Was a mean of levels 0..255 subtracted from values 0..1? Divide it by 255, in the spec or for --mean of "
            "int8cal images, and make the file again.",
        )


def _tiny(statistics: Statistics) -> Iterator[Finding]:
    constant = all(image.is_constant for image in statistics.images)
    if not constant:  # which is reported as such
        yield Finding(
            "error",
            "tiny-values",
            f"values are in {range_text(statistics.low.min(), statistics.high.max())} and hardly vary: "
            "they look divided by 255 twice",
            _REMAKE,
        )


def _spread(statistics: Statistics) -> float:
    """Largest difference between two values of one channel."""
    return float((statistics.high - statistics.low).max())


def _number(statistics: Statistics) -> Iterator[Finding]:
    images = len(statistics.images)
    if images < USUAL_IMAGES:
        yield Finding(
            "note",
            "few-images",
            f"{counted(images, 'image')}; 100 to 1000 are usual for calibration",
            "More and more varied images make the ranges more certain: raise -m, or use more data.",
        )
