"""The chosen images against the whole split: how bright they are, and which classes are in them."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from int8cal.check.rebuild import MAX_LOOKED_AT, rebuilt_images
from int8cal.check.statistics import Loudness
from int8cal.engine.work import Image
from int8cal.io.progress import watched
from int8cal.manifest import SkippedImage
from int8cal.tensorfile.selection import evenly

if TYPE_CHECKING:
    from collections.abc import Sequence

    from int8cal.check.verify import Verification
    from int8cal.plans import Plan
    from int8cal.report.viewing import View
    from int8cal.samples.samples import Sample
    from int8cal.types import Progress

MAX_LABELLED = 20_000
"""Records of the split that are read for their classes."""


@dataclass(frozen=True)
class Survey:
    """Chosen images and split side by side.

    Attributes:
        chosen_brightness: mean pixel level 0..255 of each image of the file.
        split_brightness: the same of images of the split, spread evenly over it.
        split_loudness: names and loudness of these.
        split_images: images in the split.
        unusable: those of the images made for their brightness that cannot be used, and why.
        chosen_classes: class → objects (or images, in class folders) in the file.
        split_classes: the same in the split.
        unit: what is counted: ``objects`` or ``images``.
        labelled: images of the split that were looked at for their classes.
    """

    chosen_brightness: tuple[float, ...]
    split_brightness: tuple[float, ...]
    split_loudness: tuple[tuple[str, Loudness], ...]
    split_images: int
    unusable: tuple[SkippedImage, ...]
    chosen_classes: Counter[str]
    split_classes: Counter[str]
    unit: str
    labelled: int


def survey(found: Verification, plan: Plan, view: View, progress: Progress | None = None) -> Survey:
    """Compare the images of a tensorfile with the split they are from.

    Args:
        found: the verified file.
        plan: the run that made it.
        view: how to look at its values.
        progress: told of every image of the split that is made.

    Raises:
        DataError: the split's records cannot be read.
    """
    samples = plan.dataset.samples
    chosen = [made_from.sample for made_from in found.made_from.values()]
    brightness, loudness, unusable = _looked_at(plan, view, progress)
    labelled = [samples[index] for index in evenly(len(samples), MAX_LABELLED)]
    return Survey(
        chosen_brightness=tuple(view.brightness(image.means) for image in found.statistics.images),
        split_brightness=brightness,
        split_loudness=loudness,
        split_images=len(samples),
        unusable=unusable,
        chosen_classes=_classes(chosen, plan),
        split_classes=_classes(labelled, plan),
        unit="objects" if samples and samples[0].record else "images",
        labelled=len(labelled),
    )


def _looked_at(
    plan: Plan, view: View, progress: Progress | None
) -> tuple[tuple[float, ...], tuple[tuple[str, Loudness], ...], tuple[SkippedImage, ...]]:
    """Brightness and loudness of images spread evenly over the split, and those of them that cannot be used."""
    samples = [plan.dataset.samples[index] for index in evenly(len(plan.dataset.samples), MAX_LOOKED_AT)]
    found: list[float] = []
    loudness: list[tuple[str, Loudness]] = []
    unusable: list[SkippedImage] = []
    with watched(progress, len(samples), "counting") as advance, closing(rebuilt_images(plan, samples)) as results:
        for result in results:
            if isinstance(result, Image):
                found.append(view.brightness(result.tensor.mean(axis=(1, 2), dtype="f8")))
                loudness.append((result.sample.frame_id, Loudness.of(result.tensor)))
            else:
                unusable.append(SkippedImage.of(result))
            advance(1)
    return tuple(found), tuple(loudness), tuple(unusable)


def _classes(samples: Sequence[Sample], plan: Plan) -> Counter[str]:
    counted: Counter[str] = Counter()
    for sample in samples:
        counted.update(item.name for item in plan.origin.objects(sample) or ())
    return counted
