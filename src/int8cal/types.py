"""Array types with their layout in the name, and the few plain types that every stage shares. No functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias, get_args, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

ImageHWC_u8: TypeAlias = "npt.NDArray[np.uint8]"
"""Decoded image: height × width × channels (3: RGB, 1: grey), 0..255."""

ImageHWC_f16: TypeAlias = "npt.NDArray[np.float16]"
"""Image of half-precision values, height × width × channels."""

ImageCHW_f32: TypeAlias = "npt.NDArray[np.float32]"
"""One network input: channels × height × width, C-contiguous."""

BatchNCHW_f32: TypeAlias = "npt.NDArray[np.float32]"
"""One calibration batch: images × channels × height × width, C-contiguous."""

ValueTable_f32: TypeAlias = "npt.NDArray[np.float32]"
"""Value of each of the 256 pixel levels."""

ValueTables_f32: TypeAlias = "npt.NDArray[np.float32]"
"""The same for each channel: channels × 256."""

Matrix3x3_f32: TypeAlias = "npt.NDArray[np.float32]"
"""Projective transform of the plane, for row vectors."""

SampleOrder: TypeAlias = "npt.NDArray[np.int64]"
"""Indexes into the samples of a split, in the order in which they are used."""

SplitName: TypeAlias = str
"""Name of a part of a data set: ``training``, ``validation``, and whatever else a network has."""

# What options can be, here for the command line and the component, too, which must not import the work to show them.

OnBadImage: TypeAlias = Literal["fail", "skip"]
ON_BAD_IMAGE: tuple[OnBadImage, ...] = get_args(OnBadImage)

CompressionName: TypeAlias = Literal["fast", "small", "none"]
COMPRESSIONS: Mapping[CompressionName, str] = {
    "fast": "about 1/4 of the raw size",
    "small": "up to 10 % less, at 5x the time",
    "none": "for local, passing files",
}
"""Name → in what it differs from the others."""

Layout: TypeAlias = Literal["nchw", "nhwc"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

Format: TypeAlias = Literal["npz", "npy", "raw", "polygraphy", "tensorfile"]
FORMATS: Mapping[Format, str] = {
    "npz": "ModelOpt",
    "npy": "one array",
    "raw": "a file per image with a list (SNPE, QNN)",
    "polygraphy": "a data loader script",
    "tensorfile": "another batch size",
}
"""Name → what it is, or who reads it."""

Method: TypeAlias = Literal["mse", "percentile", "entropy", "minmax"]
METHODS: tuple[Method, ...] = get_args(Method)
"""Of equals, ``auto`` takes the first."""

MethodChoice: TypeAlias = Literal["auto"] | Method

Target: TypeAlias = Literal["tensorrt", "onnxruntime"]
"""The engine that an INT8 model is for; OpenVINO takes ONNX Runtime's form."""
TARGETS: tuple[Target, ...] = get_args(Target)

Precision: TypeAlias = Literal["fp32", "fp16"]
"""Of the float part of an INT8 model."""
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

Message: TypeAlias = Any
"""A protobuf message of a class built at run time from our descriptors; no static type exists for it."""


USUAL_IMAGES = 100
"""Fewer images than this are said to be few. Advice from practice is 100 to 1000; NVIDIA speaks of about 500."""

INT8_STEPS = 127
"""Steps between 0 and the magnitude at which a tensor saturates in INT8: scale = amax / 127."""

LEAST_SCALE = 2.0**-126
"""Scales below are subnormal in float32 or 0, and engines may take them for 0: what needs one was never active."""


class Size(NamedTuple):
    """Height and width in pixels, in this order everywhere."""

    height: int
    width: int


@runtime_checkable
class Batches(Protocol):
    """Calibration batches, which can be gone through again and again.

    `int8cal.TensorFile` is one, and so is what `int8cal.Plan.batches` gives. Whatever takes batches also takes lists
    of arrays and functions that return iterators of them: see `int8cal.tensorfile.batches.opened`.
    """

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, C, H, W) of every batch; the last may have fewer images."""

    @property
    def image_count(self) -> int:
        """Number of images in all batches."""

    @property
    def paths(self) -> tuple[str, ...]:
        """The files that the batches are in, the one that names them first; empty when they are in none."""

    def encoded_sha256(self) -> Mapping[int, bytes]:
        """Number of an image → SHA-256 of the image file that it was made from, of those of which that is known."""

    def __len__(self) -> int:
        """Number of batches."""

    def __iter__(self) -> Iterator[BatchNCHW_f32]:
        """All batches from the first, C-contiguous."""


class Progress(Protocol):
    """What the engine tells the outside about its work. Called from one thread only."""

    def start(self, total_images: int) -> None:
        """The work begins."""

    def advance(self, images: int) -> None:
        """So many more images are in the file."""

    def finish(self) -> None:
        """The work has ended, well or not."""


@runtime_checkable
class PhasedProgress(Progress, Protocol):
    """A `Progress` that wants to know what is being done, where work has more than one phase."""

    def phase(self, what: str) -> None:
        """What follows, up to the next `finish`: ``"calibrating"``."""
