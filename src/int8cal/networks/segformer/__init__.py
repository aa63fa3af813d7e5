"""SegFormer (TAO 6 and 7): what NVIDIA's evaluation feeds the network.

u is a pixel 0..255 of the RGB image after Pillow's antialiased bicubic resize to img_size × img_size, whatever its
shape; EXIF orientation is ignored; f() rounds to float32::

    value = f(f(f(u / 255) − mean) / std)       segment.augmentation.mean and std, 0.5 by default; RGB

``export.input_width`` and ``input_height`` do not reach the loader. Samples: every file of ``root_dir/images/<split>``,
sorted. Masks are not read. NVIDIA's loader augments a split named train at random, whichever role it has; here every
split gets the evaluation's transform. Evidence: golden set of TAO 7.0.1, every bit equal.

TAO 5 had another program under this name (mmsegmentation), whose specs are recognised and refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from PIL import Image

from int8cal.errors import SpecError
from int8cal.network_kit import torch_loaders as kit
from int8cal.network_kit.network import ORDER, Arithmetic, Network
from int8cal.network_kit.path_roles import BASE_MODEL, TRAINING
from int8cal.preprocess.torchvision import in_window, resized
from int8cal.samples.paths import working_directory
from int8cal.samples.samples import Dataset
from int8cal.samples.torch_listings import split_images
from int8cal.spec.document import SpecDocument
from int8cal.types import ImageCHW_f32, ImageHWC_u8, Size, SplitName

_SIZE = "dataset.segment.img_size"
_MEAN, _STD = "dataset.segment.augmentation.mean", "dataset.segment.augmentation.std"
_ROOT = "dataset.segment.root_dir"
_CALIBRATION = "dataset.segment.quant_calibration_dataset.images_dir"
_SPLITS = {
    "train": "dataset.segment.train_split",
    "val": "dataset.segment.validation_split",
    "test": "dataset.segment.test_split",
    "infer": "dataset.segment.predict_split",
}
_OUTDATED = ("img_norm_cfg", "train_dataset", "val_dataset", "test_dataset")


def _size(spec: SpecDocument) -> Size:
    side = spec.message.value(_SIZE)
    return kit.checked_size(spec, side, side, _SIZE)


def _check(spec: SpecDocument) -> None:
    kit.require_value(spec, "dataset.segment.dataset", "SFDataset")
    _size(spec)
    kit.checked_values(spec, _MEAN, _STD)


def _refuse_outdated(spec: SpecDocument) -> None:
    for key in _OUTDATED:
        if spec.written(f"dataset.{key}"):
            raise SpecError(
                f"dataset.{key} is a key of TAO 5.0 to 5.5, whose segformer was another program (mmsegmentation)",
                where=spec.where(f"dataset.{key}"),
                hint="Write the spec for TAO 6 or 7: int8cal spec new segformer.",
            )


def _notes(spec: SpecDocument) -> Iterator[str]:
    yield from kit.unit_notes(spec, _MEAN, _STD)
    yield from kit.export_size_note(spec, _size(spec), _SIZE)


def _read_split(spec: SpecDocument, split: SplitName, root: str) -> Dataset:
    if split == "calibration":
        # The reference takes the role of a root for this folder.
        folder = kit.expanded(root, kit.given(spec, _CALIBRATION, split))
        return kit.dataset_of(split, [split_images(0, folder, "test")])
    name = spec.message.value(_SPLITS[split])
    notes = []
    if name == "train" and split != "train":
        notes.append(
            f"{spec.where(_SPLITS[split])}: NVIDIA's loader augments the split train at random in this role, too; here "
            "it gets the evaluation's transform"
        )
    return kit.dataset_of(split, [split_images(0, kit.expanded(root, kit.given(spec, _ROOT, split)), name)], notes)


def _arithmetic(spec: SpecDocument, dataset: Dataset, options: Mapping[str, str]) -> Arithmetic:
    size = _size(spec)
    table, facts = kit.checked_values(spec, _MEAN, _STD)

    def stretched(pixels: ImageHWC_u8) -> ImageCHW_f32:
        return in_window(resized(pixels, size, Image.Resampling.BICUBIC), table, size)

    return kit.image_arithmetic("segformer.stretch", kit.decoder("RGB", upright=False), stretched, (3, *size), facts)


NETWORK = Network(
    name="segformer",
    title="SegFormer of TAO 6 and 7: every bit equal to NVIDIA's evaluation loader",
    root="int8cal.segformer.Experiment",
    batch_size=kit.batch_size,
    spec_batches=kit.spec_batches,
    dataset=_read_split,
    arithmetic=_arithmetic,
    folder_arithmetic=_arithmetic,
    check=_check,
    notes=_notes,
    detect=lambda message: True,
    path_roles={
        **kit.COMMON_ROLES,
        "model.backbone.pretrained_backbone_path": BASE_MODEL,
        _ROOT: TRAINING,
        _CALIBRATION: TRAINING,
    },
    refuse_outdated=_refuse_outdated,
    splits=kit.SPLITS,
    listed_splits=kit.LISTED_SPLITS,
    options=(ORDER,),
    data_root=working_directory,
    epochs_field=kit.EPOCHS_FIELD,
)
