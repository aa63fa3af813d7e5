"""DINO and Deformable DETR, which differ in nothing that calibration needs: what their exported models are fed.

u is a pixel 0..255 of the upright RGB image after Pillow's antialiased bilinear resize, f() rounds to float32::

    value = f(f(f(u / 255) − mean) / std)       input_mean and input_std of the spec; RGB

The option ``form`` says which resize:

``export`` (the default): stretched to export.input_height × input_width. An exported model has this one input size, and
    takes all of it for picture: this is what it is fed, by NVIDIA's evaluate and inference of engines, too.
``evaluate``, ``inference``: the same with input_height × input_width of that section.
``spec``: the shorter side becomes test_random_resize, or less where the longer one would exceed random_resize_max_size;
    with fixed_padding zeros follow, after the normalisation. The validation during training sees this; sizes vary.

Samples: COCO images by ascending id, one source after the other; annotations are not read. Evidence: golden set of TAO
7.0.1, every bit equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from PIL import Image

from int8cal.errors import SpecError
from int8cal.network_kit import torch_loaders as kit
from int8cal.network_kit.network import ORDER, Arithmetic, Network, Option, array_size
from int8cal.preprocess.torchvision import in_window, resized, shortest_side_size
from int8cal.samples.paths import working_directory
from int8cal.samples.samples import Dataset
from int8cal.spec.document import SpecDocument
from int8cal.types import ImageCHW_f32, ImageHWC_u8, Size, SplitName

_MEAN, _STD = "dataset.augmentation.input_mean", "dataset.augmentation.input_std"
_SHORT, _LONG = "dataset.augmentation.test_random_resize", "dataset.augmentation.random_resize_max_size"
_PADDING, _DIVISOR = "dataset.augmentation.fixed_padding", "dataset.augmentation.pad_size_divisor"
_OLD_ENGINE = "gen_trt_engine"
"""The section that states the size again, up to TAO 5.5."""

_BILINEAR = Image.Resampling.BILINEAR

_FORM = Option(
    name="form",
    help="export: stretched to the exported model's input; evaluate, inference: to the input_* of that section; spec: "
    "as in training's validation.",
    choices=("export", "evaluate", "inference", "spec"),
    default="export",
)


def _check(spec: SpecDocument) -> None:
    kit.checked_values(spec, _MEAN, _STD)


def _notes(spec: SpecDocument) -> Iterator[str]:
    yield from kit.unit_notes(spec, _MEAN, _STD)
    used = _stretched_size(spec, "export")
    stated = {name: kit.stated_size(spec, name) for name in ("export", _OLD_ENGINE, "evaluate", "inference")}
    others = [f"{name} has {_text(size)}" for name, size in stated.items() if size and size != used]
    where = f"{spec.where('export')}: the exported size is {_text(used)} (width × height)"
    settle = f"To settle it, add to the spec: export: {{input_width: {used.width}, input_height: {used.height}}}"
    if stated["export"]:
        if stated[_OLD_ENGINE] not in (None, used):
            yield f"{where}, but {others[0]}"
    elif stated[_OLD_ENGINE] == used:
        yield f"{where}, as {_OLD_ENGINE} has it. {settle}"
    else:
        defaults = "960 × 544 up to TAO 5.5, 640 × 640 since 6.25.9"
        in_part = "in part " if _states_side(spec) else ""
        yield f"{'; '.join([f'{where} {in_part}by default ({defaults})', *others])}. {settle}"


def _states_side(spec: SpecDocument) -> bool:
    """Whether the exported height or width is written, or both."""
    return spec.written("export.input_height") or spec.written("export.input_width")


def _text(size: Size) -> str:
    return f"{size.width} × {size.height}"


def _stretched_size(spec: SpecDocument, section: str) -> Size:
    if section == "export" and not _states_side(spec) and kit.stated_size(spec, _OLD_ENGINE):
        section = _OLD_ENGINE
    names = [f"{section}.input_{side}" for side in ("height", "width")]
    height, width = map(spec.message.value, names)
    if height is None or width is None:
        raise SpecError(
            f"the form {section} needs {' and '.join(names)}",
            where=spec.where(section),
            hint=f"Add them to the spec, or take --form {'spec' if section == 'export' else 'export'}.",
        )
    return kit.checked_size(spec, height, width, *names)


def _read_split(spec: SpecDocument, split: SplitName, root: str) -> Dataset:
    listings = kit.detection_listings(spec, split, root, patterns=split == "val" or kit.is_serialized(spec, split))
    return kit.dataset_of(split, list(listings))


def _padded(spec: SpecDocument, short: int, long: int, size: Size) -> Size:
    """The window of zeros in which a resized image lies."""
    divisor = spec.message.value(_DIVISOR)
    if divisor and divisor < 0:
        raise SpecError(f"{_DIVISOR} is {divisor}; it must be > 0", where=spec.where(_DIVISOR), hint="Correct it.")
    if divisor:
        return Size(*(-(-side // divisor) * divisor for side in size))
    if not spec.message.value(_PADDING):
        return size
    return Size(long, short) if size.height > size.width else Size(short, long)


def detr_network(name: str, title: str) -> Network:
    """The network of a name; all else is alike."""

    def arithmetic(spec: SpecDocument, dataset: Dataset, options: Mapping[str, str]) -> Arithmetic:
        table, facts = kit.checked_values(spec, _MEAN, _STD)
        form = options[_FORM.name]
        decode = kit.decoder("RGB", upright=True)
        if form != "spec":
            size = _stretched_size(spec, form)

            def stretched(pixels: ImageHWC_u8) -> ImageCHW_f32:
                return in_window(resized(pixels, size, _BILINEAR), table, size)

            return kit.image_arithmetic(f"{name}.{form}", decode, stretched, (3, *size), {**facts, "size": list(size)})

        short, long = spec.message.value(_SHORT), spec.message.value(_LONG)
        kit.checked_size(spec, short, long, _SHORT)

        pads = bool(spec.message.value(_PADDING) or spec.message.value(_DIVISOR))

        def window_of(size: Size) -> tuple[Size, Size]:
            inner = shortest_side_size(size, short, long)
            return inner, _padded(spec, short, long, inner)

        def padded(pixels: ImageHWC_u8) -> ImageCHW_f32:
            size, window = window_of(array_size(pixels))
            if not min(size):
                raise kit.unreadable_aspect(array_size(pixels))
            return in_window(resized(pixels, size, _BILINEAR), table, window)

        return kit.image_arithmetic(
            f"{name}.spec",
            decode,
            padded,
            lambda size: (3, *window_of(size)[1]),
            {**facts, "shortest": short, "longest": long, **({"fit": "inside"} if pads else {})},
            same_shape="Take --form export: an exported model has one input size (export.input_height, input_width).",
        )

    return Network(
        name=name,
        title=title,
        root=f"int8cal.{name}.Experiment",
        batch_size=kit.batch_size,
        spec_batches=kit.spec_batches,
        dataset=_read_split,
        arithmetic=arithmetic,
        folder_arithmetic=arithmetic,
        check=_check,
        notes=_notes,
        detect=lambda message: True,
        path_roles=kit.DETECTION_ROLES,
        splits=kit.SPLITS,
        listed_splits=kit.LISTED_SPLITS,
        options=(_FORM, ORDER),
        data_root=working_directory,
        epochs_field=kit.EPOCHS_FIELD,
        objects=kit.coco_objects,
    )
