"""The origin of a plan: what says which images there are, in which order, and how they become network inputs.

Everything behind a plan (engines, the tensorfile, checks, the report, the models) knows this protocol and no origin.
An experiment spec of a network is one (`int8cal.origins.experiment`); a folder of images with stated numbers can be
another.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from int8cal.network_kit.network import Arithmetic, LabelledObject
    from int8cal.samples.folders import ImageFolder
    from int8cal.samples.samples import Dataset, Sample
    from int8cal.types import SampleOrder, SplitName


@dataclass(frozen=True)
class Choice:
    """What the caller of `int8cal.plan` chooses; None stands for what the origin says.

    Attributes:
        split: which split of the data set.
        max_batches: number of batches; -1: all full ones.
        seed: seed of the sample order.
        batch_size: images per batch.
        data_root: folder that relative paths start from.
        cal_image_dir: take images from this folder in place of the origin's data.
        recursive: with ``cal_image_dir``: from the folders below it, too.
        options: what only this origin offers, by name.
    """

    split: SplitName | None = None
    max_batches: int | None = None
    seed: int | None = None
    batch_size: int | None = None
    data_root: str | os.PathLike[str] | None = None
    cal_image_dir: str | os.PathLike[str] | None = None
    recursive: bool = False
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """What an origin makes of a choice: all that decides the arrays of a run.

    Attributes:
        split: which split; None when the images are of none.
        seed: seed of the sample order.
        batch_size: images per batch.
        max_batches: batches asked for; -1: all full ones.
        dataset: the samples, nothing decoded.
        order: indexes into ``dataset.samples``, one epoch.
        arithmetic: encoded image → network input.
        options: the origin's own choices, each with its value.
        folder: where the images come from in place of the origin's data; None: from the origin's data.
    """

    split: SplitName | None
    seed: int
    batch_size: int
    max_batches: int
    dataset: Dataset
    order: SampleOrder
    arithmetic: Arithmetic
    options: Mapping[str, str] = field(default_factory=dict)
    folder: ImageFolder | None = None


@runtime_checkable
class Origin(Protocol):
    """What a plan is made from. An origin is read, and is not changed afterwards."""

    @property
    def name(self) -> str:
        """What the manifest calls it: the name of the network, or the kind of origin."""

    @property
    def title(self) -> str:
        """What it is, in one line."""

    @property
    def path(self) -> str:
        """The file or folder that the user gave, for messages and the record of a run."""

    @property
    def overrides(self) -> tuple[str, ...]:
        """What the caller put in place of what the file says, ``key=value`` each, for the record of a run."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know of it, one sentence each."""

    @property
    def sha256(self) -> str:
        """SHA-256 of all that it says of the result, wherever the data lie."""

    def checked_options(self, options: Mapping[str, str]) -> Mapping[str, str]:
        """The value of each of its own options.

        Raises:
            UsageError: an option is unknown, or cannot have that value.
        """

    def advice(self, path: str) -> str | None:
        """What to do about an image that is not there, in sentences; None when nothing is known.

        Args:
            path: the image file.
        """

    def decide(self, choice: Choice) -> Decision:
        """Everything that decides the arrays. Reads listings and records; decodes nothing, writes nothing.

        Raises:
            UsageError: the choice is one that this origin does not have.
            SpecError: it asks for something impossible.
            DataError: the data set cannot be read.
        """

    def objects(self, sample: Sample) -> list[LabelledObject] | None:
        """What is labelled in a sample; None when it has no labels.

        Raises:
            DataError: the labels cannot be read.
        """
