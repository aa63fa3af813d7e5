"""What a run will do: everything that decides the result, and nothing that does not."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from int8cal.io.safe_text import printable
from int8cal.samples.encoded import sample_place
from int8cal.spec.prototext.clear import without_fields
from int8cal.tensorfile.layout import DATA_SET, FOLDER, FOLDER_RECURSIVE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from int8cal.engine.batches import PlanBatches
    from int8cal.networks.network import Arithmetic, Network
    from int8cal.samples.folders import ImageFolder
    from int8cal.samples.samples import Dataset, Sample
    from int8cal.spec.prototext.spec import Spec
    from int8cal.types import SampleOrder, SplitName


@dataclass(frozen=True)
class Plan:
    """A run that is decided and not yet done. Nothing was decoded or written to make it.

    Attributes:
        spec: the experiment spec.
        network: the network whose arithmetic is applied.
        split: which split of the data set.
        seed: seed of the sample order.
        batch_size: images per batch.
        max_batches: batches asked for; -1: all full ones.
        batch_count: batches that the run will write when no image is bad.
        dataset: the samples of the split.
        order: indexes into ``dataset.samples``, one epoch; the first ``image_count`` are used.
        arithmetic: image file → network input.
        image_shape: (C, H, W) of every image.
        options: the network's choices beside the spec.
        folder: where the images come from in place of the spec's data; None: from the spec's data.
    """

    spec: Spec
    network: Network
    split: SplitName
    seed: int
    batch_size: int
    max_batches: int
    batch_count: int
    dataset: Dataset
    order: SampleOrder
    arithmetic: Arithmetic
    image_shape: tuple[int, int, int]
    options: Mapping[str, str] = field(default_factory=dict)
    folder: ImageFolder | None = None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, C, H, W) of every batch."""
        return (self.batch_size, *self.image_shape)

    @property
    def image_count(self) -> int:
        """Images in the file when none is bad."""
        return self.batch_count * self.batch_size

    @property
    def nbytes(self) -> int:
        """Bytes of all batches as float32, uncompressed."""
        channels, height, width = self.image_shape
        return self.image_count * channels * height * width * 4

    @property
    def images_from(self) -> str:
        """``data set``, ``folder`` or ``folder, recursive``."""
        if self.folder is None:
            return DATA_SET
        return FOLDER_RECURSIVE if self.folder.recursive else FOLDER

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know of spec and data."""
        return (*self.spec.warnings, *self.dataset.warnings)

    def samples(self) -> Iterator[Sample]:
        """The samples that go into the file when none is bad, in order."""
        return self.candidates(self.image_count)

    def candidates(self, limit: int | None = None) -> Iterator[Sample]:
        """Samples of the epoch in order, ``limit`` of them: with bad images left out, later ones move up."""
        samples = self.dataset.samples
        return (samples[index] for index in self.order[:limit])

    def batches(self, *, workers: int | None = None) -> PlanBatches:
        """The batches themselves, made anew in each pass, on threads and in bounded memory; no file is written.

            for batch in int8cal.plan("spec.txt").batches():  # float32 (B, C, H, W)
                ...

        They equal those of the file that `int8cal.make` writes, in every bit, and go wherever a tensorfile goes.

        Args:
            workers: threads; None: the processors that this process may use.
        """
        from int8cal.engine.batches import PlanBatches  # late: a dry run needs no arithmetic

        return PlanBatches(self, workers)

    def missing_images(self) -> list[str]:
        """Image files of the chosen samples that are not there, each once."""
        paths = dict.fromkeys(
            sample.record.path if sample.embedded and sample.record else sample.path for sample in self.samples()
        )
        return [path for path in paths if not os.path.isfile(path)]

    def places(self) -> tuple[str, ...]:
        """What must be there to be read: of each folder of images one image, and every TFRecord that holds images.

        A folder stands for itself when its first image is not there.
        """
        records: dict[str, None] = {}
        first_of: dict[str, str] = {}
        for sample in self.samples():
            if sample.embedded and sample.record:
                records[sample.record.path] = None
            else:
                first_of.setdefault(os.path.dirname(sample.path), sample.path)
        images = (path if os.path.isfile(path) else folder for folder, path in first_of.items())
        return (*records, *images)

    @cached_property
    def spec_sha256(self) -> str:
        """SHA-256 of the parsed spec with every path field cleared: the same wherever the data lie."""
        cleared = without_fields(self.spec.message, self.network.path_roles)
        return hashlib.sha256(cleared.SerializeToString(deterministic=True)).hexdigest()

    def facts(self) -> dict[str, Any]:
        """What decides the result, but for the samples, as JSON types."""
        return {
            "network": self.network.name,
            "split": None if self.folder else self.split,
            "images": self.images_from,
            "options": dict(self.options),
            "seed": self.seed,
            "batch_size": self.batch_size,
            "max_batches": self.max_batches,
            "image_shape": list(self.image_shape),
            "arithmetic": {
                "name": self.arithmetic.name,
                "evidence": self.arithmetic.evidence,
                "options": dict(self.arithmetic.options),
            },
            "spec_sha256": self.spec_sha256,
        }

    @cached_property
    def sha256(self) -> str:
        """Name of the result: equal plans make equal arrays, as long as the image files do not change."""
        return self.hashed(self.facts())

    def hashed(self, facts: Mapping[str, Any]) -> str:
        """`sha256` of a plan of these facts with the same samples."""
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
        for sample in self.candidates():
            crc = sample.record.crc if sample.record else 0
            digest.update(f"{sample.source}\0{sample.frame_id}\0{crc}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The dry run's result, as JSON types."""
        return {
            **self.facts(),
            "batches": self.batch_count,
            "shape": list(self.shape),
            "bytes": self.nbytes,
            "plan_sha256": self.sha256,
            "dataset": self.dataset.facts(),
            "samples": [
                {"source": sample.source, "frame_id": printable(sample.frame_id), "location": sample_place(sample)}
                for sample in self.samples()
            ],
            "missing": [printable(path) for path in self.missing_images()],
            "warnings": list(self.warnings),
        }
