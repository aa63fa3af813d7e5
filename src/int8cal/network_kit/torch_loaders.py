"""What the PyTorch networks of TAO 5 to 7 have in common: splits and orders, images to tensors, COCO data sets, roles.

Their calibration data are what NVIDIA's own evaluation loader feeds the network, split for split and bit for bit. The
training list gets the evaluation's transform: calibration wants images that the network learned from, without crops.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
from PIL import Image

from int8cal.errors import DataError, ImageError, MissingDataError, SpecError
from int8cal.images.limits import output_problem
from int8cal.images.pictures import pixels_of
from int8cal.images.pillow import PillowMode, open_converted, upright_size
from int8cal.io.safe_text import short_repr
from int8cal.network_kit.network import Arithmetic, LabelledObject, array_size
from int8cal.network_kit.path_roles import BASE_MODEL, ENGINE, RESULT, TRAINING, VALIDATION, WRITTEN
from int8cal.preprocess.normalise import tells_levels_apart
from int8cal.preprocess.torchvision import normalised
from int8cal.samples.coco import CocoImage, matching_files, read_boxes, read_coco
from int8cal.samples.encoded import read_encoded, sample_place
from int8cal.samples.hdf5_frames import SCHEME, frame_of
from int8cal.samples.paths import path_text
from int8cal.samples.samples import FILES_LEFT_OUT, Dataset, Sample, Source
from int8cal.samples.torch_listings import Listing, detection_folder
from int8cal.spec.document import SpecDocument
from int8cal.types import ImageCHW_f32, ImageHWC_u8, Message, Size, ValueTables_f32

SPLITS: Final = ("train", "val", "test", "infer", "calibration")
LISTED_SPLITS: Final = frozenset({"val", "test", "infer", "query"})
"""Splits that keep the order of the reference's listing; the others are shuffled with a seed."""

EVIDENCE: Final = "bit-exact (TAO 7.0.1)"
EPOCHS_FIELD: Final = "train.num_epochs"

_CALIBRATION = "gen_trt_engine.tensorrt.calibration"
_NOT_GIVEN = "???"
"""OmegaConf's word for a value that must be given."""

_NPY = b"\x93NUMPY"


# --- what the spec says of batches ------------------------------------------------------------------------------------


def batch_size(message: Message) -> int:
    """``cal_batch_size`` where the spec has it; else 1, so that no image is left over."""
    return _positive(message, f"{_CALIBRATION}.cal_batch_size") or 1


def spec_batches(message: Message) -> int | None:
    """``cal_batches`` where the spec has it."""
    return _positive(message, f"{_CALIBRATION}.cal_batches")


def _positive(message: Message, name: str) -> int | None:
    """A number that the spec writes; None when it does not.

    Raises:
        SpecError: it is not positive.
    """
    if not message.written(name):
        return None
    number: int = message.value(name)
    if number < 1:
        hint = "Correct it, or leave it out."
        raise SpecError(f"{name} is {number}; it must be > 0", where=message.where(name), hint=hint)
    return number


# --- checks of values -------------------------------------------------------------------------------------------------


def checked_size(spec: SpecDocument, height: Any, width: Any, *names: str) -> Size:
    """A size of results, which keys state: one for both sides, or those of height and width.

    Raises:
        SpecError: it has no pixels, or too many.
    """
    wrong = [not (isinstance(side, int) and side > 0) for side in (height, width)]
    name = names[0 if wrong[0] else -1]
    if any(wrong):
        message = f"{name} gives {height} × {width} pixels (height × width); height and width must be > 0"
        raise SpecError(message, where=spec.where(name), hint="Set it to what the network was trained with.")
    if problem := output_problem(Size(height, width)):
        raise SpecError(problem, where=spec.where(name), hint=f"Make {name} smaller.")
    return Size(height, width)


def checked_values(spec: SpecDocument, mean_name: str, std_name: str) -> tuple[ValueTables_f32, dict[str, Any]]:
    """Values of the pixel levels of RGB images for a mean and a deviation of the spec, and the facts for the record.

    Raises:
        SpecError: a number is missing or too many, the deviation is zero, or no level differs from another.
    """
    mean, std = spec.message.value(mean_name), spec.message.value(std_name)
    try:
        values = normalised(mean, std, 3)
    except (ValueError, TypeError) as error:
        name = std_name if str(error).startswith("std") else mean_name
        hint = "Give three numbers, or one, as the network was trained with them."
        raise SpecError(f"{name}: {error}", where=spec.where(name), hint=hint) from None
    if not np.isfinite(values).all():
        raise SpecError(f"{mean_name} and {std_name} make values that are not finite", where=spec.where(mean_name))
    if not tells_levels_apart(values):
        raise SpecError(
            f"{mean_name} and {std_name} make one value of all levels",
            where=spec.where(std_name),
            hint="Set them to what the network was trained with.",
        )
    facts: dict[str, Any] = {"mean": [255 * one for one in mean], "scale": [1 / (255 * one) for one in std]}
    return values, {"channel_order": "RGB", **(facts if min(std) > 0 else {})}


def unit_notes(spec: SpecDocument, mean_name: str, std_name: str) -> Iterator[str]:
    """Whether a mean or deviation is written for levels 0 to 255, where the loader has divided them by 255."""
    for name in (mean_name, std_name):
        numbers = spec.message.value(name)
        if max(numbers, default=0) > 1:
            yield (
                f"{spec.where(name)}: {name} is {short_repr(list(numbers))}, and NVIDIA's loader applies it to values "
                "0 to 1. If it is meant for levels 0 to 255, divide it by 255"
            )


def require_value(spec: SpecDocument, name: str, allowed: str) -> None:
    """Refuse the name of a data set class that the reference does not have.

    Raises:
        SpecError: it is another one.
    """
    value = spec.message.value(name)
    if value != allowed:
        raise SpecError(f"{name} is {short_repr(value)}", where=spec.where(name), hint=f"It can be {allowed} only.")


def stated_size(spec: SpecDocument, section: str) -> Size | None:
    """The size that the ``input_height`` and ``input_width`` of a section state, if both are written."""
    names = [f"{section}.input_{side}" for side in ("height", "width")]
    return Size(*map(spec.message.value, names)) if all(map(spec.written, names)) else None


def export_size_note(spec: SpecDocument, evaluated: Size, name: str) -> Iterator[str]:
    """A note where the exported model's input has another size than the evaluation."""
    exported = Size(spec.message.value("export.input_height"), spec.message.value("export.input_width"))
    written = any(spec.written(f"export.input_{side}") for side in ("height", "width"))
    if exported != evaluated:
        default = "" if written else " by TAO's default"
        yield (
            f"{spec.where('export.input_height')}: the exported model's input is {exported.height} × {exported.width}"
            f"{default}, but {name} makes the evaluation feed {evaluated.height} × {evaluated.width}, and so the "
            f"calibration data. Where they should be equal, write export: {{input_height: {evaluated.height}, "
            f"input_width: {evaluated.width}}}"
        )


# --- images -----------------------------------------------------------------------------------------------------------


def decoder(mode: PillowMode, *, upright: bool) -> Callable[[bytes, Sample], ImageHWC_u8]:
    """Encoded image → pixels of a mode of Pillow's; frames of HDF5 files, which are BGR, included."""

    def decode(encoded: bytes, sample: Sample) -> ImageHWC_u8:
        if sample.member and encoded.startswith(_NPY):
            return _frame(encoded, mode)
        return open_converted(encoded, mode, sample_place(sample), upright=upright)

    return decode


def _frame(encoded: bytes, mode: PillowMode) -> ImageHWC_u8:
    pixels = np.load(io.BytesIO(encoded), allow_pickle=False)
    if pixels.ndim == 3:
        pixels = pixels[:, :, 0] if pixels.shape[2] == 1 else np.ascontiguousarray(pixels[:, :, 2::-1])
    return pixels_of(Image.fromarray(pixels).convert(mode))


def sample_size(sample: Sample) -> Size:
    """Height and width of an image once it is turned upright, by its file.

    Raises:
        DataError: it cannot be read.
    """
    encoded = read_encoded(sample)
    if sample.member and encoded.startswith(_NPY):
        return array_size(_frame(encoded, "RGB"))
    return upright_size(encoded, sample_place(sample))


def unreadable_aspect(size: Size) -> ImageError:
    """The error of an image so narrow that nothing is left of its short side."""
    return ImageError(
        f"{size.width}×{size.height} pixels: the short side would have none when the long one fits",
        hint="Leave the image out.",
    )


def image_arithmetic(
    name: str,
    decode: Callable[[bytes, Sample], ImageHWC_u8],
    to_tensor: Callable[[ImageHWC_u8], ImageCHW_f32],
    shape: tuple[int, int, int] | Callable[[Size], tuple[int, int, int]],
    options: Mapping[str, Any],
    same_shape: str = "",
) -> Arithmetic:
    """An arithmetic of pixels in a mode of Pillow's.

    Args:
        name: of the arithmetic.
        decode: see `decoder`.
        to_tensor: image → network input.
        shape: of every result, or of that of an image of a size.
        options: see `int8cal.network_kit.network.Arithmetic`.
        same_shape: likewise.
    """

    def result_shape(sample: Sample) -> tuple[int, int, int]:
        return shape if isinstance(shape, tuple) else shape(sample_size(sample))

    return Arithmetic(
        name=name,
        evidence=EVIDENCE,
        decode=decode,
        to_tensor=lambda pixels, sample: to_tensor(pixels),
        shape=result_shape,
        options={"channels": shape[0] if isinstance(shape, tuple) else 3, **options},
        same_shape=same_shape,
    )


# --- data sets --------------------------------------------------------------------------------------------------------


def dataset_of(split: str, listings: Sequence[Listing], notes: Iterable[str] = ()) -> Dataset:
    """The data set of some listings, their notes put together."""
    others = sum(listing.others for listing in listings)
    return Dataset(
        split,
        tuple(listing.source for listing in listings),
        counts={FILES_LEFT_OUT: others} if others else {},
        warnings=(*notes, *(note for listing in listings for note in listing.notes)),
    )


def given(spec: SpecDocument, name: str, split: str) -> Any:
    """A value that a split needs.

    Raises:
        DataError: the spec does not give it.
    """
    value = spec.message.value(name)
    if value in (None, "", [], {}):
        raise DataError(
            f"{name} must be given for the split {split}",
            where=spec.where(name),
            hint=f"Add {name} to the spec, or take another --split.",
        )
    return value


def expanded(root: str, path: str) -> str:
    """A path of the spec, its ``~`` resolved, joined to the folder that relative ones start from."""
    return os.path.join(root, os.path.expanduser(path))


def source_entry(spec: SpecDocument, source: Mapping[str, Any], key: str, name: str) -> str:
    """A value of a data source.

    Raises:
        DataError: it is not there, or no single text.
    """
    value = source.get(key)
    if not isinstance(value, str) or value == _NOT_GIVEN:
        raise DataError(
            _no_text(name, key, value),
            where=spec.where(name),
            hint=f"It needs image_dir and json_file; it has: {', '.join(map(str, source)) or 'nothing'}.",
        )
    return value


def _no_text(name: str, key: str, value: Any) -> str:
    """What is wrong with a value of a data source that should be text."""
    if value is None:
        return f"{name} has no {key}"
    if value == _NOT_GIVEN:
        return f"{name} has {_NOT_GIVEN} for {key}"
    shape = "a list" if isinstance(value, list) else "a mapping" if isinstance(value, dict) else short_repr(value)
    return f"{key} of {name} is {shape}, not text"


def is_serialized(spec: SpecDocument, split: str) -> bool:
    """Whether the reference reads a split by its serialized data set, which takes patterns and needs sizes."""
    return split == "train" and spec.message.value("dataset.dataset_type") == "serialized"


def detection_listings(spec: SpecDocument, split: str, root: str, *, patterns: bool) -> Iterator[Listing]:
    """The images of a detector's split, source by source.

    Args:
        spec: with ``dataset.<split>_data_sources``, a mapping or a list of such.
        split: which.
        root: where relative paths start from.
        patterns: ``json_file`` may be a pattern without a suffix, each file of which is a source.

    Raises:
        DataError: the split is not given, or cannot be read.
    """
    name = f"dataset.{'quant_calibration' if split == 'calibration' else split}_data_sources"
    value = given(spec, name, split)
    if split == "infer":
        folders = value.get("image_dir")
        for index, folder in enumerate(folders if isinstance(folders, list) else [folders]):
            if not isinstance(folder, str) or folder == _NOT_GIVEN:
                raise DataError(
                    _no_text(name, "image_dir", folder), where=spec.where(name), hint="Name a folder of images."
                )
            listing = detection_folder(index, os.path.join(root, folder))
            yield listing if index else replace(listing, notes=(*listing.notes, *_missing_classmap(value, root)))
        return
    index, sized = 0, is_serialized(spec, split)
    for position, source in enumerate(value if isinstance(value, list) else [value]):
        place = f"{name}[{position}]" if isinstance(value, list) else name
        json_file = source_entry(spec, source, "json_file", place)
        image_dir = source_entry(spec, source, "image_dir", place) if source.get("image_dir") else ""
        files = matching_files(os.path.join(root, json_file)) if patterns and json_file else ()
        for file, start in [(file, "") for file in files] or [(json_file, root)]:
            yield _coco_listing(index, image_dir, os.path.join(root, image_dir), file, start, sized=sized)
            index += 1


def _missing_classmap(source: Mapping[str, Any], root: str) -> Iterator[str]:
    """A note where the list of classes is not there, which calibration does not need."""
    classmap = source.get("classmap")
    if not isinstance(classmap, str) or not os.path.isfile(os.path.join(root, classmap)):
        yield "dataset.infer_data_sources: NVIDIA's inference would stop without the list of classes (classmap)"


def _coco_listing(index: int, image_dir: str, folder: str, json_file: str, root: str, *, sized: bool) -> Listing:
    """The images of an annotation file, by their ids; ``sized``: the reference needs width and height of each."""
    if not json_file:
        raise MissingDataError(
            "json_file is empty", where=path_text(image_dir), hint="Name the annotations.", filename=""
        )
    found = read_coco(os.path.join(root, json_file))
    where = path_text(json_file)
    notes = []
    if found.doubles:
        notes.append(
            f"{where}: {found.doubles} images have the id of a later one and are left out, as in NVIDIA's loader"
        )
    if found.images and "categories" not in found.sections:
        notes.append(f"{where}: it has no categories; NVIDIA's loader would stop, which needs them")
    if sized and not all(image.sized for image in found.images):
        notes.append(f"{where}: images without width and height; NVIDIA's serialized training list would stop there")
    try:
        samples = tuple(_coco_sample(index, folder, image) for image in found.images)
    except ImageError as error:
        raise ImageError(error.message, where=where, hint=error.hint) from None
    return Listing(Source(index, json_file, samples), tuple(notes))


def _coco_sample(index: int, folder: str, image: CocoImage) -> Sample:
    file, frame = _file_and_frame(image.file_name)
    path = os.path.join(folder, file)
    return Sample(index, image.file_name, path, image.height, image.width, member=frame)


def _file_and_frame(name: str) -> tuple[str, str]:
    return frame_of(name) if name.startswith(SCHEME) else (name, "")


def coco_objects(spec: SpecDocument, sample: Sample) -> list[LabelledObject] | None:
    """The boxes of an image in the annotations of its folder; None when none of them name it."""
    for image_dir, pattern in _annotations(spec):
        named = os.path.join(image_dir, _file_and_frame(sample.frame_id)[0])
        root = ""  # what relative paths were joined to
        if os.path.abspath(named) != os.path.abspath(sample.path):
            if os.path.isabs(named) or os.path.isabs(pattern) or not sample.path.endswith(os.sep + named):
                continue  # an image of this name in another folder
            root = sample.path.removesuffix(named)
        try:
            for json_file in matching_files(os.path.join(root, pattern)):
                boxes = _boxes(json_file, os.stat(json_file).st_mtime_ns).get(sample.frame_id)
                if boxes is not None:
                    return [LabelledObject(name, (x, y, x + width, y + height)) for name, x, y, width, height in boxes]
        except (DataError, OSError, ValueError):
            continue
    return None


def _annotations(spec: SpecDocument) -> Iterator[tuple[str, str]]:
    """Folder of images and annotation files of each data source."""
    for name in ("train", "val", "test", "quant_calibration"):
        try:
            value = spec.message.value(f"dataset.{name}_data_sources")
        except SpecError:
            continue
        for source in value if isinstance(value, list) else [value or {}]:
            if isinstance(json_file := source.get("json_file"), str) and json_file:
                image_dir = source.get("image_dir")
                yield (image_dir if isinstance(image_dir, str) else "", json_file)


@lru_cache(maxsize=4)
def _boxes(json_file: str, changed: int) -> dict[str, list[tuple[str, float, float, float, float]]]:
    names = [image.file_name for image in read_coco(json_file).images]
    return {name: [] for name in names} | read_boxes(json_file, names).of_file


# --- roles ------------------------------------------------------------------------------------------------------------


_CALIBRATION_ROLE = TRAINING
COMMON_ROLES: Final[Mapping[str, str]] = {
    "results_dir": WRITTEN,
    "train.results_dir": WRITTEN,
    "train.checkpointer.dirpath": WRITTEN,
    "train.pretrained_model_path": BASE_MODEL,
    "train.resume_training_checkpoint_path": BASE_MODEL,
    "evaluate.results_dir": WRITTEN,
    "evaluate.checkpoint": RESULT,
    "evaluate.trt_engine": ENGINE,
    "inference.results_dir": WRITTEN,
    "inference.checkpoint": RESULT,
    "inference.trt_engine": ENGINE,
    "export.results_dir": WRITTEN,
    "export.checkpoint": RESULT,
    "export.onnx_file": WRITTEN,
    "gen_trt_engine.results_dir": WRITTEN,
    "gen_trt_engine.onnx_file": RESULT,
    "gen_trt_engine.trt_engine": ENGINE,
    "gen_trt_engine.timing_cache": ENGINE,
    f"{_CALIBRATION}.cal_image_dir[]": _CALIBRATION_ROLE,
    f"{_CALIBRATION}.cal_cache_file": WRITTEN,
    "quantize.results_dir": WRITTEN,
    "quantize.model_path": RESULT,
}
"""Path fields that every one of them has."""

DETECTION_ROLES: Final[Mapping[str, str]] = {
    **COMMON_ROLES,
    "model.pretrained_backbone_path": BASE_MODEL,
    "distill.pretrained_teacher_model_path": BASE_MODEL,
    "distill.results_dir": WRITTEN,
    "dataset.train_data_sources[].image_dir": TRAINING,
    "dataset.train_data_sources[].json_file": TRAINING,
    "dataset.val_data_sources.image_dir": VALIDATION,
    "dataset.val_data_sources.json_file": VALIDATION,
    "dataset.val_data_sources[].image_dir": VALIDATION,
    "dataset.val_data_sources[].json_file": VALIDATION,
    "dataset.test_data_sources.image_dir": VALIDATION,
    "dataset.test_data_sources.json_file": VALIDATION,
    "dataset.infer_data_sources.image_dir": VALIDATION,
    "dataset.infer_data_sources.image_dir[]": VALIDATION,
    "dataset.infer_data_sources.classmap": VALIDATION,
    "dataset.quant_calibration_data_sources.image_dir": _CALIBRATION_ROLE,
    "dataset.quant_calibration_data_sources.json_file": _CALIBRATION_ROLE,
}
"""Path fields of detectors with COCO annotations."""
