"""Classification in PyTorch (TAO 6 and 7): what NVIDIA's evaluation feeds the network.

u is a pixel 0..255 of the RGB image after Pillow's antialiased bilinear resize to img_size × img_size, without its
aspect and without a crop; EXIF orientation is ignored; f() rounds to float32::

    value = f(f(f(u / 255) − mean) / std)       augmentation.mean and std of the spec; RGB

``export.input_width`` and ``input_height`` do not reach the loader. Samples: class folders; images ending in .jpg,
then .png, then .JPEG, class by class, and no others. The classes are those of ``root_dir/classes.txt``, else the names
in the training folder; the file is never written here. NVIDIA's loader goes on with the rest of a truncated image gray;
here it is an error. Evidence: golden set of TAO 7.0.1, every bit equal.

TAO 5 had another program under this name (mmpretrain), whose specs are recognised and refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from PIL import Image

from int8cal.errors import SpecError
from int8cal.network_kit import torch_loaders as kit
from int8cal.network_kit.labels import folder_class
from int8cal.network_kit.network import ORDER, Arithmetic, Network
from int8cal.network_kit.path_roles import BASE_MODEL, TRAINING, VALIDATION, WRITTEN
from int8cal.preprocess.torchvision import in_window, resized
from int8cal.samples.paths import working_directory
from int8cal.samples.samples import Dataset
from int8cal.samples.torch_listings import class_images, class_names, images_below
from int8cal.spec.document import SpecDocument
from int8cal.types import ImageCHW_f32, ImageHWC_u8, Size, SplitName

_SIZE = "dataset.img_size"
_MEAN, _STD = "dataset.augmentation.mean", "dataset.augmentation.std"
_FOLDERS = {
    "train": "dataset.train_dataset.images_dir",
    "val": "dataset.val_dataset.images_dir",
    "test": "dataset.val_dataset.images_dir",
    "infer": "dataset.test_dataset.images_dir",
    "calibration": "dataset.quant_calibration_dataset.images_dir",
}


def _size(spec: SpecDocument) -> Size:
    side = spec.message.value(_SIZE)
    return kit.checked_size(spec, side, side, _SIZE)


def _check(spec: SpecDocument) -> None:
    kit.require_value(spec, "dataset.dataset", "CLDataset")
    _size(spec)
    kit.checked_values(spec, _MEAN, _STD)


def _refuse_outdated(spec: SpecDocument) -> None:
    for name in ("dataset.data", "dataset.img_norm_cfg"):
        if spec.written(name):
            raise SpecError(
                f"{name} is a key of TAO 5.0 to 5.5, whose classification was another program (mmpretrain)",
                where=spec.where(name),
                hint="Write the spec for TAO 6 or 7: int8cal spec new classification_pyt.",
            )


def _notes(spec: SpecDocument) -> Iterator[str]:
    yield from kit.unit_notes(spec, _MEAN, _STD)
    yield from kit.export_size_note(spec, _size(spec), _SIZE)


def _read_split(spec: SpecDocument, split: SplitName, root: str) -> Dataset:
    folder = kit.expanded(root, kit.given(spec, _FOLDERS[split], split))
    if split == "infer":
        return kit.dataset_of(split, [images_below(0, folder)])
    trained = spec.message.value(_FOLDERS["train"])
    built_first = kit.expanded(root, trained) if split in ("train", "val") and trained else folder
    classes, note = class_names(kit.expanded(root, spec.message.value("dataset.root_dir")), built_first)
    unlabelled = spec.message.value("dataset.train_nolabel.folder_path") if split == "train" else None
    listing = class_images(0, folder, classes, kit.expanded(root, unlabelled) if unlabelled else None)
    return kit.dataset_of(split, [listing], filter(None, [note]))


def _arithmetic(spec: SpecDocument, dataset: Dataset, options: Mapping[str, str]) -> Arithmetic:
    size = _size(spec)
    table, facts = kit.checked_values(spec, _MEAN, _STD)

    def stretched(pixels: ImageHWC_u8) -> ImageCHW_f32:
        return in_window(resized(pixels, size, Image.Resampling.BILINEAR), table, size)

    return kit.image_arithmetic(
        "classification_pyt.stretch", kit.decoder("RGB", upright=False), stretched, (3, *size), facts
    )


NETWORK = Network(
    name="classification_pyt",
    title="Image classification in PyTorch of TAO 6 and 7: every bit equal to NVIDIA's evaluation loader",
    root="int8cal.classification_pyt.Experiment",
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
        "distill.pretrained_teacher_model_path": BASE_MODEL,
        "distill.results_dir": WRITTEN,
        "dataset.root_dir": TRAINING,
        "dataset.classes_file": TRAINING,
        "dataset.train_dataset.images_dir": TRAINING,
        "dataset.train_nolabel.folder_path": TRAINING,
        "dataset.val_dataset.images_dir": VALIDATION,
        "dataset.test_dataset.images_dir": VALIDATION,
        "dataset.quant_calibration_dataset.images_dir": TRAINING,
    },
    refuse_outdated=_refuse_outdated,
    splits=kit.SPLITS,
    listed_splits=kit.LISTED_SPLITS,
    options=(ORDER,),
    data_root=working_directory,
    epochs_field=kit.EPOCHS_FIELD,
    objects=folder_class,
)
