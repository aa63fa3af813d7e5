"""RT-DETR (TAO 6 and 7): what NVIDIA's evaluation feeds the network, RGB in 0..1.

u is a pixel 0..255 after Pillow's antialiased bilinear resize of the upright RGB image to ``eval_spatial_size``
(height, width), whatever its shape::

    value = f(u · f(1/255))        f() rounds to float32; a multiplication, not a division

With ``preserve_aspect_ratio`` the longer side becomes M, the larger of the two numbers, by way of the shorter one (so
it may come out off by some), in the top left corner of M × M zeros; what lies beyond M is cut off. One number is the
shorter side: sizes vary then. ``train_spatial_size``, ``evaluate``, ``inference`` and ``export`` sizes have no effect.

Samples: COCO images by ascending id; annotations are not read. Evidence: golden set of TAO 7.0.1, every bit equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from PIL import Image

from int8cal.errors import SpecError
from int8cal.network_kit import torch_loaders as kit
from int8cal.network_kit.network import ORDER, Arithmetic, Network, array_size
from int8cal.preprocess.normalise import SINGLE_VALUES
from int8cal.preprocess.torchvision import in_window, longest_side_size, resized, shorter_edge_size
from int8cal.samples.paths import working_directory
from int8cal.samples.samples import Dataset
from int8cal.spec.document import SpecDocument
from int8cal.types import ImageCHW_f32, ImageHWC_u8, Size, SplitName

_SIZE = "dataset.augmentation.eval_spatial_size"
_ASPECT = "dataset.augmentation.preserve_aspect_ratio"
_BILINEAR = Image.Resampling.BILINEAR


def _numbers(spec: SpecDocument) -> list[int]:
    numbers: list[int] = spec.message.value(_SIZE)
    if len(numbers) not in (1, 2):
        raise SpecError(
            f"{_SIZE} has {len(numbers)} numbers, not height and width",
            where=spec.where(_SIZE),
            hint="Write [640, 640].",
        )
    kit.checked_size(spec, numbers[0], numbers[-1], _SIZE)
    return numbers


def _check(spec: SpecDocument) -> None:
    _numbers(spec)


def _notes(spec: SpecDocument) -> Iterator[str]:
    height, *rest = _numbers(spec)
    evaluated = Size(height, *rest) if rest else None
    if spec.message.value(_ASPECT) and evaluated:
        evaluated = Size(max(evaluated), max(evaluated))
    if evaluated:
        yield from kit.export_size_note(spec, evaluated, _SIZE)


def _read_split(spec: SpecDocument, split: SplitName, root: str) -> Dataset:
    listings = kit.detection_listings(spec, split, root, patterns=kit.is_serialized(spec, split))
    return kit.dataset_of(split, list(listings))


def _arithmetic(spec: SpecDocument, dataset: Dataset, options: Mapping[str, str]) -> Arithmetic:
    numbers = _numbers(spec)
    largest = max(numbers)
    facts = {"channel_order": "RGB", "value_range": [0.0, 1.0], "size": numbers}
    decode = kit.decoder("RGB", upright=True)

    if len(numbers) == 1:

        def shorter_edge(pixels: ImageHWC_u8) -> ImageCHW_f32:
            size = shorter_edge_size(array_size(pixels), largest)
            return in_window(resized(pixels, size, _BILINEAR), SINGLE_VALUES, size)

        return kit.image_arithmetic(
            "rtdetr.shorter_edge",
            decode,
            shorter_edge,
            lambda size: (3, *shorter_edge_size(size, largest)),
            facts,
            same_shape=f"Give {_SIZE} two numbers: height and width.",
        )

    if spec.message.value(_ASPECT):
        window = Size(largest, largest)

        def with_aspect(pixels: ImageHWC_u8) -> ImageCHW_f32:
            size = longest_side_size(array_size(pixels), largest)
            if not min(size):
                raise kit.unreadable_aspect(array_size(pixels))
            return in_window(resized(pixels, size, _BILINEAR), SINGLE_VALUES, window)

        return kit.image_arithmetic("rtdetr.aspect", decode, with_aspect, (3, *window), facts | {"fit": "inside"})

    size = Size(*numbers)

    def stretched(pixels: ImageHWC_u8) -> ImageCHW_f32:
        return in_window(resized(pixels, size, _BILINEAR), SINGLE_VALUES, size)

    return kit.image_arithmetic("rtdetr.stretch", decode, stretched, (3, *size), facts)


NETWORK = Network(
    name="rtdetr",
    title="RT-DETR of TAO 6 and 7: every bit equal to NVIDIA's evaluation loader",
    root="int8cal.rtdetr.Experiment",
    batch_size=kit.batch_size,
    spec_batches=kit.spec_batches,
    dataset=_read_split,
    arithmetic=_arithmetic,
    folder_arithmetic=_arithmetic,
    check=_check,
    notes=_notes,
    detect=lambda message: True,
    path_roles=kit.DETECTION_ROLES,
    splits=kit.SPLITS,
    listed_splits=kit.LISTED_SPLITS,
    options=(ORDER,),
    data_root=working_directory,
    epochs_field=kit.EPOCHS_FIELD,
    objects=kit.coco_objects,
)
