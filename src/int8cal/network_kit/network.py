"""What a network is to int8cal: data and pure functions, no class tree.

A network is a folder: its package has a constant ``NETWORK`` of type `Network`, and the schema of its specs lies beside
it. The registry (`int8cal.networks`) finds those of int8cal and those of other distributions in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from int8cal.samples.order import permutation
from int8cal.samples.paths import data_root
from int8cal.samples.samples import Dataset, Sample
from int8cal.spec.document import SpecDocument
from int8cal.types import ImageCHW_f32, Message, SampleOrder, Size, SplitName

CORRECT_FIELD = "Set it in the spec to what the network was trained with."
"""Hint of errors about the value of a field."""


def array_size(image: Any) -> Size:
    """Size of a decoded image that is an array, height × width (× channels)."""
    return Size(*image.shape[:2])


Evidence: TypeAlias = Literal[
    "bit-exact",
    "bit-exact (TAO 7.0.1)",
    "bit-exact but for colour JPEGs",
    "exporter-equal but for colour JPEGs",
    "not compared",
    "as stated",
    "reference",
    "unverified",
]
"""How well an arithmetic is known to equal the reference, for every sample that it is given:

``bit-exact``: the arrays of the reference's command were compared, and every bit was equal.
``bit-exact (TAO 7.0.1)``: the same for what the evaluation loader of that release feeds the network.
``exporter-equal``: the reference has no such command; the same for what its exporter feeds to TensorRT.
``… but for colour JPEGs``: which the reference decodes with another JPEG library.
``not compared``: an arithmetic of which one of these is true, on images that no command of the reference gives to it.
``as stated``: the user stated the numbers; presets equal the loader that they name.
``unverified``: written from formulas.
"""


def default_seed(message: Message) -> int:
    """For references that have no seed of their own."""
    return 42


def shuffled(message: Message, dataset: Dataset, seed: int) -> SampleOrder:
    """One permutation, for references that draw without replacement and without a seed of their own."""
    return permutation(len(dataset.samples), seed)


class LabelledObject(NamedTuple):
    """One labelled object.

    Attributes:
        name: its class, as the network's classes are called where the spec maps names.
        box: left, top, right, bottom in pixels of the image file; None when the labels have no boxes.
    """

    name: str
    box: tuple[float, float, float, float] | None


def unlabelled(spec: SpecDocument, sample: Sample) -> list[LabelledObject] | None:
    """For networks whose labels are not known: no sample has any."""
    return None


class Option(NamedTuple):
    """A choice that one network offers beside its spec, on the command line ``--name`` and in ``plan(options=…)``.

    Attributes:
        name: a Python identifier.
        help: one sentence for ``--help``.
        choices: the allowed values.
        default: the one that equals the reference.
    """

    name: str
    help: str
    choices: tuple[str, ...]
    default: str


ORDER: Final = Option(
    name="order",
    help="listing: as the reference lists the images; seeded: one permutation with --seed; auto: listing for splits "
    "that the reference does not shuffle, else seeded.",
    choices=("auto", "seeded", "listing"),
    default="auto",
)
"""For networks that say which of their splits are not shuffled (`Network.listed_splits`)."""


class ReferenceCommand(NamedTuple):
    """How NVIDIA spells its own ``calibration_tensorfile`` command of a network, for the engine ``tao``.

    Attributes:
        task: the program inside the container, and the launcher's word, up to TAO 4.
        task_tao5: the same from TAO 5 on.
        spec_option, output_option: the options for the spec and the output.
    """

    task: str
    task_tao5: str
    spec_option: str
    output_option: str


@dataclass(frozen=True)
class Arithmetic:
    """How one encoded image becomes one network input. Pure: no state, no I/O, safe to call from many threads.

    Attributes:
        name: stable name of the arithmetic, recorded in the manifest (``detectnet_v2.mode0``).
        evidence: how well it is known to equal the reference.
        decode: (encoded bytes, sample) → decoded image; raises `ImageError`.
        to_tensor: (decoded image, sample) → network input, CHW float32, every value finite (the engine refuses images
            of which that is not true); raises `ImageError`.
        shape: sample → (channels, height, width) of its network input, from the recorded size alone.
        options: whatever parameters decide the numbers, for the manifest (JSON types only). Readers rely on
            ``channel_order`` (``RGB``, ``BGR``, ``grey``) and on either ``value_range``, the values of pixels 0 and
            255, or ``mean`` and ``scale`` with value = (pixel − mean) · scale, in pixel levels, result order.
            What pads or cuts says so in the words of `int8cal.network_kit.framing`.
        size: decoded image → its height and width.
        same_shape: where results vary in shape: what to change so that they do not, one sentence.
    """

    name: str
    evidence: Evidence
    decode: Callable[[bytes, Sample], Any]
    to_tensor: Callable[[Any, Sample], ImageCHW_f32]
    shape: Callable[[Sample], tuple[int, int, int]]
    options: Mapping[str, Any] = field(default_factory=dict)
    size: Callable[[Any], Size] = array_size
    same_shape: str = ""

    def __call__(self, encoded: bytes, sample: Sample) -> ImageCHW_f32:
        """Encoded image file → network input."""
        return self.to_tensor(self.decode(encoded, sample), sample)


_MakeArithmetic: TypeAlias = Callable[[SpecDocument, Dataset, Mapping[str, str]], Arithmetic]


@dataclass(frozen=True)
class Network:
    """One network: how its spec describes data, and its arithmetic.

    Attributes:
        name: the word on the command line (``detectnet_v2``).
        title: one line for ``int8cal networks``.
        root: the kind of its experiment spec: full name of the protobuf message, or ``int8cal.NETWORK.Experiment``.
        detect: True when a spec of this message is of this network rather than of another with the same message.
        check: checks beyond those of the schema; raises `SpecError` with a position.
        batch_size: images per batch that the spec asks for; raises `SpecError`.
        dataset: (spec, split, data root) → the samples of the split; raises `DataError`, `SpecError`.
        arithmetic: (spec, dataset, value of each of ``options``) → `Arithmetic`; raises `SpecError`.
        path_roles: field path → role of every path field, for path substitution (see `int8cal.spec.document`).
        seed: the spec's own seed, where the reference is seeded by it.
        order: (message, dataset, seed) → indexes into ``dataset.samples`` in the order of use, one epoch.
        default_max_batches: what ``-m`` means when absent (-1: all full batches).
        refuse_outdated: raises `SpecError`, with what to change, for a spec in a form that only older releases
            understand; asked before the tables are applied.
        options: choices beside the spec.
        splits: the parts of its data set; the first is taken when none is named.
        listed_splits: those that keep the order of the listing, for networks with the option `ORDER`.
        spec_batches: number of batches that the spec asks for, if it does; it gives way to ``max_batches``; raises
            `SpecError`. None: specs of this network never do.
        notes: what the user should know of a spec, one sentence each.
        folder_arithmetic: the same as ``arithmetic`` for images from a folder, as a program of the reference takes it;
            None: it takes none, and they get ``arithmetic`` itself, with the evidence ``not compared``.
        uses_recorded_sizes: the arithmetic depends on the sizes in the records; for images from a folder they are read
            from the images.
        pixel_fields: the message fields of a spec without which the pixels of images from a folder are not decided; the
            others may be missing then. Empty: all that the schema requires must be there.
        folder_check: the part of ``check`` that is about pixels; None: all of it.
        reference_command: NVIDIA's own command for it, if there is one.
        data_root: environment → folder to which relative paths of the spec are joined.
        epochs_field: the field that holds the number of epochs of the training; None: none does.
        objects: (spec, sample) → what its labels say is in the picture; None when it has none; raises `DataError`.
    """

    name: str
    title: str
    root: str
    batch_size: Callable[[Message], int]
    dataset: Callable[[SpecDocument, SplitName, str], Dataset]
    arithmetic: _MakeArithmetic
    check: Callable[[SpecDocument], None]
    detect: Callable[[Message], bool]
    path_roles: Mapping[str, str]
    seed: Callable[[Message], int] = default_seed
    order: Callable[[Message, Dataset, int], SampleOrder] = shuffled
    default_max_batches: int = -1
    refuse_outdated: Callable[[SpecDocument], None] = lambda spec: None
    options: tuple[Option, ...] = ()
    splits: tuple[SplitName, ...] = ("training", "validation")
    listed_splits: frozenset[SplitName] = frozenset()
    spec_batches: Callable[[Message], int | None] | None = None
    notes: Callable[[SpecDocument], Iterable[str]] = lambda spec: ()
    folder_arithmetic: _MakeArithmetic | None = None
    uses_recorded_sizes: bool = False
    pixel_fields: frozenset[str] = frozenset()
    folder_check: Callable[[SpecDocument], None] | None = None
    reference_command: ReferenceCommand | None = None
    data_root: Callable[[Mapping[str, str]], str] = data_root
    epochs_field: str | None = None
    objects: Callable[[SpecDocument, Sample], list[LabelledObject] | None] = unlabelled

    def __repr__(self) -> str:
        return f"<Network {self.name}>"
