"""DetectNet_v2: what NVIDIA's ``detectnet_v2 calibration_tensorfile`` of TAO (TensorFlow 1.15) writes, bit for bit.

``dataset_config.dataloader_mode`` selects one of two arithmetics. u is a pixel 0..255, h() rounds to float16,
everything is computed in float32; no augmentation takes part.

**Mode 0 (MULTISOURCE)**, file ``.jpg``/``.jpeg``: accurate inverse DCT, any other extension: fast::

    v = h(u · 0.003921509)                                          preprocess.normalise, HALF_VALUES
    output_image_min set:   h(resize(v, limited size))              preprocess.resample; nothing else applies
    enable_auto_resize:     canvas = output size,   v = h(resize(v, canvas)) unless it has that size
    else:                   canvas = largest recorded size (or the output size); 0 to the right of and below the image
    out(x, y) = h(bilinear(canvas, sx·(x + ½ + left) - ½, sy·(y + ½ + top) - ½)), ½ outside of the canvas
    sx = canvas width / (scale_width · width of the validation split's canvas), 1 without a scale; sy likewise
    size of the result: the crop rectangle; the output size when none is given

**Modes 1 and 2 (LEGACY, DEFAULT)**, always the fast inverse DCT; ``fp16`` files hold v themselves::

    v = u · (1/255)                                                 preprocess.normalise, SINGLE_VALUES
    out(x, y) = bilinear(image, [x + ½, y + ½, 1] · S⁻¹ - ½), 0 outside of the image
    S = [[scale_width, 0, 0], [0, scale_height, 0], [-left, -top, 1]]   scale when both are set, crop when not empty
    size of the result: the output size

Colour images are clipped to 0..1 at the end. Evidence: equal in every bit to the reference (TensorFlow 1.15.5, CPU) on
the golden set, order of the samples included. On a GPU the reference's scaled results may differ in the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from int8cal.errors import DataError, ImageError, SpecError
from int8cal.images.decode import Corner, decode_corner, decode_image, decode_raw_half
from int8cal.images.limits import MAX_PIXELS, output_problem
from int8cal.network_kit.labels import tfrecord_objects
from int8cal.network_kit.network import CORRECT_FIELD, Arithmetic, Network, ReferenceCommand, array_size
from int8cal.network_kit.tf_loaders import limited_sample_size, resized_values, tfrecord_selection
from int8cal.networks.detectnet_v2.path_roles import PATH_ROLES
from int8cal.preprocess.half import round_to_half
from int8cal.preprocess.normalise import HALF_VALUES, SINGLE_VALUES, look_up
from int8cal.preprocess.warp import inverse_like_eigen, make_canvas, warp
from int8cal.preprocess.window import Window, cut_pixels, cut_values
from int8cal.samples import order
from int8cal.samples.encoded import sample_place
from int8cal.samples.samples import Dataset, Sample, Source
from int8cal.samples.sources import DataloaderMode, read_tfrecord_split
from int8cal.spec.document import SpecDocument
from int8cal.types import ImageCHW_f32, ImageHWC_f16, ImageHWC_u8, Matrix3x3_f32, Message, SampleOrder, Size, SplitName

_PREPROCESSING = "augmentation_config.preprocessing"
_SPATIAL = "augmentation_config.spatial_augmentation"
_SHORTEST = "output_image_min"

_ENCODINGS = ("fp16", "jpg", "jpeg", "png")
"""Extensions that modes 1 and 2 take, in any case."""

_UNIFORM_SAMPLING = 2
_MAX_STEP = 2.0**20
"""Largest distance of sample points in pixels; beyond it nothing of an image would be seen."""

_DCT = {True: "fast", False: "accurate"}

_ToTensor = Callable[[Any, Sample], ImageCHW_f32]


class _Way(NamedTuple):
    """From a file to the network's input, as `Arithmetic` has it."""

    decode: Callable[[bytes, Sample], Any]
    to_tensor: _ToTensor
    image_size: Callable[[Any], Size] = array_size


class _Settings(NamedTuple):
    """The fields of a spec that decide pixels.

    Attributes:
        mode: the reference's data loader.
        extension: of the image files, without the dot.
        channels: 3 or 1.
        output: output_image_height and output_image_width.
        crop: as in the spec; all zero when absent.
        scale_width, scale_height: 0 when absent.
        auto_resize: enable_auto_resize.
        shortest, longest: output_image_min and output_image_max; 0 when absent.
    """

    mode: DataloaderMode
    extension: str
    channels: int
    output: Size
    crop: Window
    scale_width: float
    scale_height: float
    auto_resize: bool
    shortest: int
    longest: int

    @property
    def raw_half(self) -> bool:
        """Images are raw float16 files."""
        return self.mode != DataloaderMode.MULTISOURCE and self.extension.lower() == "fp16"

    def fast_dct(self, sample: Sample) -> bool:
        """JPEG is decoded with the fast inverse DCT. Mode 0 does so for every extension but two, in lower case.

        An image of a folder has its own, whatever the spec says of the data sources.
        """
        extension = self.extension if sample.record else sample.path.rpartition(".")[2]
        return self.mode != DataloaderMode.MULTISOURCE or extension not in ("jpg", "jpeg")

    @property
    def window(self) -> Window:
        """The crop rectangle of mode 0, which is the output when none is given."""
        return self.crop if any(self.crop) else Window(0, 0, self.output.width, self.output.height)

    @property
    def pads(self) -> bool:
        """Mode 0 pads images to a canvas of the largest recorded size."""
        return self.mode == DataloaderMode.MULTISOURCE and not self.auto_resize and not self.shortest

    @property
    def scaled(self) -> bool:
        """Mode 0 scales (modes 1 and 2 need both factors)."""
        return bool(self.scale_width or self.scale_height)


def _settings(message: Message) -> _Settings:
    fields = message.augmentation_config.preprocessing
    return _Settings(
        mode=DataloaderMode(message.dataset_config.dataloader_mode),
        extension=message.dataset_config.image_extension,
        channels=fields.output_image_channel,
        output=Size(fields.output_image_height, fields.output_image_width),
        crop=Window(fields.crop_left, fields.crop_top, fields.crop_right, fields.crop_bottom),
        scale_width=fields.scale_width,
        scale_height=fields.scale_height,
        auto_resize=fields.enable_auto_resize,
        shortest=fields.output_image_min,
        longest=fields.output_image_max,
    )


# --- checks of the spec ----------------------------------------------------------------------------------------------


def _check(spec: SpecDocument) -> None:
    for field_path, problem in (*_augmentation_problems(spec.message), *_pixel_problems(_settings(spec.message))):
        raise SpecError(problem, where=_place(spec, field_path), hint=CORRECT_FIELD)


def _check_pixels(spec: SpecDocument) -> None:
    """Refuse settings of the pixels for images from a folder, in which augmentation takes no part."""
    for field_path, problem in _pixel_problems(_settings(spec.message)):
        raise SpecError(problem, where=_place(spec, field_path), hint=CORRECT_FIELD)


def _place(spec: SpecDocument, field_path: str) -> str:
    """Position of a field, or of the nearest message around it that the spec has."""
    while field_path and not spec.written(field_path):
        field_path = field_path.rpartition(".")[0]
    return spec.where(field_path)


def _augmentation_problems(message: Message) -> Iterator[tuple[str, str]]:
    """What the reference's augmentation config refuses, although augmentation takes no part here."""
    fields = message.augmentation_config.preprocessing
    for name in ("output_image_width", "output_image_height"):
        if not getattr(fields, name) and not fields.output_image_min:
            yield f"{_PREPROCESSING}.{name}", f"Preprocessing.{name} must be > 0."
    for low, high in (("crop_left", "crop_right"), ("crop_top", "crop_bottom")):
        if getattr(fields, low) > getattr(fields, high):
            yield f"{_PREPROCESSING}.{high}", "Preprocessing crop parameters lead to null output dim(s)."
    for name in ("scale_width", "scale_height"):
        if not 0 <= getattr(fields, name) < float("inf"):
            yield f"{_PREPROCESSING}.{name}", f"Preprocessing.{name} must be a number >= 0."

    spatial = message.augmentation_config.spatial_augmentation
    for name in ("hflip_probability", "vflip_probability"):
        if not 0 <= getattr(spatial, name) <= 1:
            yield f"{_SPATIAL}.{name}", f"{name} must be in [0, 1]."
    if not spatial.zoom_min > 0:
        yield f"{_SPATIAL}.zoom_min", "zoom_min must be > 0.0 (the reference needs it, although nothing is zoomed)."
    if not spatial.zoom_min <= spatial.zoom_max:
        yield f"{_SPATIAL}.zoom_max", "zoom_max must be >= zoom_min."
    for name in ("translate_max_x", "translate_max_y"):
        if not getattr(spatial, name) >= 0:
            yield f"{_SPATIAL}.{name}", f"{name} must be >= 0."


def _pixel_problems(settings: _Settings) -> Iterator[tuple[str, str]]:
    """What leaves no image to be made."""
    if settings.channels not in (1, 3):
        problem = f"output_image_channel is {settings.channels}: set it to 1 or 3 in the augmentation config."
        yield f"{_PREPROCESSING}.output_image_channel", problem
    if settings.mode != DataloaderMode.MULTISOURCE:
        if settings.extension.lower() not in _ENCODINGS:
            problem = f"Encoding not supported, must be one of {list(_ENCODINGS)}, given {settings.extension!r}."
            yield "dataset_config.image_extension", problem
        size = settings.output
    elif settings.shortest:
        if not settings.longest:
            yield (
                f"{_PREPROCESSING}.output_image_max",
                "output dimensions must be positive: output_image_min needs output_image_max, which is not set.",
            )
        return
    else:
        left, top, right, bottom = settings.window
        if right <= left:
            problem = f"Crop.right ({right}) should be greater than Crop.left ({left})."
            yield f"{_PREPROCESSING}.crop_right", problem
        if bottom <= top:
            problem = f"Crop.bottom ({bottom}) should be greater than Crop.top ({top})."
            yield f"{_PREPROCESSING}.crop_bottom", problem
        size = settings.window.size
    if too_large := output_problem(size):
        yield f"{_PREPROCESSING}", too_large


# --- samples ---------------------------------------------------------------------------------------------------------


def _read_split(spec: SpecDocument, split: SplitName, data_root: str) -> Dataset:
    settings = _settings(spec.message)
    selection = tfrecord_selection(spec.message.dataset_config, settings.mode, data_root)
    return read_tfrecord_split(selection._replace(needs_validation_sizes=settings.pads and settings.scaled), split)


def _order(message: Message, dataset: Dataset, seed: int) -> SampleOrder:
    config = message.dataset_config
    counts = [len(source.samples) for source in dataset.sources]
    if config.dataloader_mode == DataloaderMode.MULTISOURCE:
        mixed = order.multisource_training if dataset.split == "training" else order.multisource_validation
        return mixed(counts, seed, uniform=config.sampling_mode == _UNIFORM_SAMPLING)
    if dataset.split == "training":
        return order.concatenated_training(sum(counts), len(config.data_sources), seed)
    return order.sequential(sum(counts))


# --- pixels ----------------------------------------------------------------------------------------------------------


def _arithmetic(spec: SpecDocument, dataset: Dataset, _: Mapping[str, str]) -> Arithmetic:
    settings = _settings(spec.message)
    from_folder = any(sample.record is None for sample in dataset.samples[:1])
    names = dataset.samples if from_folder else dataset.samples[:1]  # records have one extension for all of them
    options: dict[str, Any] = {
        "dataloader_mode": settings.mode.name,
        "channels": settings.channels,
        "channel_order": "RGB" if settings.channels == 3 else "grey",
        "jpeg_dct": " and ".join(sorted({_DCT[settings.fast_dct(sample)] for sample in names})),
        "raw_float16": settings.raw_half,
        "value_range": [0.0, 1.0],
    }
    size: Callable[[Sample], Size]
    if settings.mode != DataloaderMode.MULTISOURCE:
        matrix = _default_matrix(spec, settings)
        way, size = _default_way(settings, matrix), lambda sample: settings.output
        options |= {"sampling_matrix": matrix.tolist()}
    elif settings.shortest:
        size = partial(limited_sample_size, shortest=settings.shortest, longest=settings.longest, field=_SHORTEST)
        way = _Way(_decoder(settings), lambda image, sample: resized_values(image, size(sample)))
        options |= {"shortest_side": settings.shortest, "longest_side": settings.longest}
    else:
        canvas = _canvas(dataset.sources, settings)
        steps = _sampling_steps(spec, settings, canvas, dataset) if settings.scaled else None
        way, size = _multisource_way(settings, canvas, steps), lambda sample: settings.window.size
        options |= {
            "auto_resize": settings.auto_resize,
            "canvas": list(canvas),
            "window": list(settings.window),
            "sampling_steps": None if steps is None else [float(step) for step in steps],
        }
    return Arithmetic(
        name=f"detectnet_v2.mode{int(settings.mode)}",
        evidence="bit-exact",
        decode=way.decode,
        to_tensor=way.to_tensor,
        shape=lambda sample: (settings.channels, *size(sample)),
        options=options,
        size=way.image_size,
    )


def _decoder(settings: _Settings) -> Callable[[bytes, Sample], ImageHWC_u8 | ImageHWC_f16]:
    def decode(encoded: bytes, sample: Sample) -> ImageHWC_u8 | ImageHWC_f16:
        where = sample_place(sample)
        if settings.raw_half:
            return decode_raw_half(encoded, settings.channels, sample.height, sample.width, where=where)
        return decode_image(encoded, settings.channels, fast_dct=settings.fast_dct(sample), where=where)

    return decode


def _cut_way(settings: _Settings, window: Window, cut: Callable[[Corner, Sample], ImageCHW_f32]) -> _Way:
    """Nothing is interpolated: what lies right of the window and below it has no say."""
    corner = Size(window.bottom, window.right)

    def decode(encoded: bytes, sample: Sample) -> Corner:
        where, fast_dct = sample_place(sample), settings.fast_dct(sample)
        return decode_corner(encoded, settings.channels, corner, fast_dct=fast_dct, where=where)

    return _Way(decode, cut, lambda decoded: decoded.size)


def _multisource_way(settings: _Settings, canvas: Size, steps: tuple[np.float32, np.float32] | None) -> _Way:
    window = settings.window

    def cut(decoded: Corner, sample: Sample) -> ImageCHW_f32:
        _require_fit(decoded.size, canvas, sample)
        return cut_pixels(decoded.pixels, HALF_VALUES, window, canvas, background=0.5)

    if steps is None and not settings.auto_resize:
        return _cut_way(settings, window, cut)

    def cut_resized(image: ImageHWC_u8, sample: Sample) -> ImageCHW_f32:
        return cut_values(resized_values(image, canvas), window, background=0.5)

    if steps is None:
        return _Way(_decoder(settings), cut_resized)
    across, down = steps
    left, top = np.float32(window.left) * across, np.float32(window.top) * down
    matrix = np.array([[across, 0, 0], [0, down, 0], [left, top, 1]], dtype=np.float32)

    def scaled(image: ImageHWC_u8, sample: Sample) -> ImageCHW_f32:
        surface = make_canvas(settings.channels, canvas, background=0.5)
        if settings.auto_resize:
            surface.inner[...] = resized_values(image, canvas)
        else:
            _require_fit(array_size(image), canvas, sample)
            look_up(image, HALF_VALUES, surface.inner[:, : image.shape[0], : image.shape[1]])
        values = warp(surface, matrix, window.size)
        round_to_half(values)
        return _clip_colour(values)

    return _Way(_decoder(settings), scaled)


def _require_fit(image: Size, canvas: Size, sample: Sample) -> None:
    room = (canvas.height - image.height, canvas.width - image.width)
    if min(room) < 0:
        raise ImageError(
            f"Paddings must be non-negative: 0 {next(side for side in room if side < 0)}. The image has "
            f"{image.width}×{image.height} pixels, but its record {sample.width}×{sample.height}, "
            f"and the largest of the split {canvas.width}×{canvas.height}.",
            where=sample_place(sample),
            hint="Make the TFRecords again from these images, or set enable_auto_resize.",
        )


def _canvas(sources: Iterable[Source], settings: _Settings) -> Size:
    """Common size of all images of a split before the window is cut."""
    if not settings.pads:
        return settings.output
    samples = [sample for source in sources for sample in source.samples]
    height = max((sample.height for sample in samples), default=0)
    width = max((sample.width for sample in samples), default=0)
    return Size(max(height, settings.output.height), max(width, settings.output.width))


def _sampling_steps(
    spec: SpecDocument, settings: _Settings, canvas: Size, dataset: Dataset
) -> tuple[np.float32, np.float32]:
    """Distance of neighbouring sample points, across and down.

    The reference relates the scale to the canvas of the validation split, whichever split is written.
    """
    if canvas.height * canvas.width > MAX_PIXELS:
        raise DataError(
            f"The largest image recorded in the split has {canvas.width}×{canvas.height} pixels; "
            f"at most {MAX_PIXELS} can be scaled.",
            hint="Set enable_auto_resize, or leave scale_width and scale_height out.",
        )
    reference = _canvas(dataset.validation_sources or (), settings)
    steps = (
        canvas.width / ((settings.scale_width or 1.0) * reference.width),
        canvas.height / ((settings.scale_height or 1.0) * reference.height),
    )
    _require_steps(spec, steps)
    return np.float32(steps[0]), np.float32(steps[1])


def _require_steps(spec: SpecDocument, steps: tuple[float, float]) -> None:
    for step, name in zip(steps, ("scale_width", "scale_height"), strict=True):
        if not 1 / _MAX_STEP <= step <= _MAX_STEP:
            raise SpecError(
                f"{name} puts sample points {step:g} pixels apart.",
                where=_place(spec, f"{_PREPROCESSING}.{name}"),
                hint=f"Set a {name} nearer to 1, or leave it out.",
            )


def _default_matrix(spec: SpecDocument, settings: _Settings) -> Matrix3x3_f32:
    """S⁻¹ of modes 1 and 2, inverted with the reference's roundings."""
    left, top, right, bottom = settings.crop
    if not (right > left and bottom > top):
        left = top = 0
    both = settings.scale_width > 0 and settings.scale_height > 0
    across, down = (settings.scale_width, settings.scale_height) if both else (1.0, 1.0)
    _require_steps(spec, (1 / across, 1 / down))
    return inverse_like_eigen(np.array([[across, 0, 0], [0, down, 0], [-left, -top, 1]], dtype=np.float32))


def _default_way(settings: _Settings, matrix: Matrix3x3_f32) -> _Way:
    left, top = (int(offset) for offset in matrix[2, :2])
    window = Window(left, top, left + settings.output.width, top + settings.output.height)
    whole_pixels = np.array_equal(matrix, [[1, 0, 0], [0, 1, 0], [left, top, 1]])

    def cut(decoded: Corner, sample: Sample) -> ImageCHW_f32:
        return cut_pixels(decoded.pixels, SINGLE_VALUES, window, decoded.size, background=0.0)

    def warped(image: ImageHWC_u8, sample: Sample) -> ImageCHW_f32:
        return sampled(look_up(image, SINGLE_VALUES))

    def raw(image: ImageHWC_f16, sample: Sample) -> ImageCHW_f32:
        return sampled(image.transpose(2, 0, 1).astype(np.float32))

    def sampled(values: ImageCHW_f32) -> ImageCHW_f32:
        surface = make_canvas(settings.channels, Size(*values.shape[1:]), background=0.0)
        surface.inner[...] = values
        return _clip_colour(warp(surface, matrix, settings.output))

    if whole_pixels and not settings.raw_half:
        return _cut_way(settings, window, cut)
    return _Way(_decoder(settings), raw if settings.raw_half else warped)


def _clip_colour(values: ImageCHW_f32) -> ImageCHW_f32:
    """The reference's colour operation ends with a clip to 0..1; grey images do not pass it."""
    return np.clip(values, 0.0, 1.0, out=values) if len(values) == 3 else values


NETWORK = Network(
    name="detectnet_v2",
    title="DetectNet_v2 object detection: every bit equal to NVIDIA's command",
    root="int8cal.detectnet_v2.Experiment",
    seed=lambda message: int(message.random_seed),
    batch_size=lambda message: int(message.training_config.batch_size_per_gpu),
    dataset=_read_split,
    order=_order,
    arithmetic=_arithmetic,
    check=_check,
    detect=lambda message: True,
    path_roles=PATH_ROLES,
    epochs_field="training_config.num_epochs",
    objects=tfrecord_objects,
    uses_recorded_sizes=True,
    pixel_fields=frozenset({"augmentation_config", "augmentation_config.preprocessing", "dataset_config"}),
    folder_check=_check_pixels,
    reference_command=ReferenceCommand("detectnet_v2", "detectnet_v2", "--experiment_spec_file", "--output_path"),
)
