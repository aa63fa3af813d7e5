"""What a run will do: everything that decides the result, and nothing that does not; and the rules of deciding it."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from int8cal.errors import DataError, MissingDataError, SpecError, UsageError
from int8cal.io.arguments import checked_arguments
from int8cal.io.safe_text import printable
from int8cal.io.summary import Summarised, counted, times
from int8cal.network_kit.framing import Framing, framing
from int8cal.samples.encoded import FIND_IMAGE, sample_place
from int8cal.samples.nearby import image_instead, named_instead, near_by
from int8cal.samples.paths import path_text
from int8cal.samples.samples import FILES_LEFT_OUT
from int8cal.tensorfile.layout import DATA_SET, FOLDER, FOLDER_RECURSIVE, MAX_BATCH_BYTES, MAX_SEED, is_seed
from int8cal.types import Size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from int8cal.engine.batches import PlanBatches
    from int8cal.network_kit.network import Arithmetic
    from int8cal.origins.origin import Choice, Decision, Origin
    from int8cal.samples.folders import ImageFolder
    from int8cal.samples.samples import Dataset, Sample
    from int8cal.types import SampleOrder, SplitName


@dataclass(frozen=True, repr=False, eq=False)
class Plan(Summarised):
    """A run that is decided and not yet done. Nothing was decoded or written to make it.

    Plans, their batches and specs cannot be pickled. A worker in another process (``DataLoader(num_workers=…)``, Dask)
    is given the path of the spec, and calls `int8cal.plan` with the same arguments: equal plans make equal arrays.

    Attributes:
        origin: what it is made from: an experiment spec, or whatever else says which images and which arithmetic.
        split: which split of the data set; None when the images are of none.
        seed: seed of the sample order.
        batch_size: images per batch.
        max_batches: batches asked for; -1: all full ones.
        batch_count: batches that the run will write when no image is bad.
        dataset: the samples of the split.
        order: indexes into ``dataset.samples``, one epoch; the first ``image_count`` are used.
        arithmetic: image file → network input.
        image_shape: (C, H, W) of every image.
        options: the origin's own choices.
        folder: where the images come from in place of the origin's data; None: from the origin's data.
    """

    origin: Origin
    split: SplitName | None
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

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: origin and arithmetic hold classes and functions that are made at run time."""
        raise UsageError(
            "a plan cannot be pickled, nor can its batches",
            hint="Give the other process the path of the spec, and call int8cal.plan with the same arguments there.",
        )

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
        return (*self.origin.warnings, *self.dataset.warnings)

    def samples(self) -> Iterator[Sample]:
        """The samples that go into the file when none is bad, in order."""
        return self.candidates(self.image_count)

    @checked_arguments()
    def candidates(self, limit: int | None = None) -> Iterator[Sample]:
        """Samples of the epoch in order, ``limit`` of them: with bad images left out, later ones move up."""
        samples = self.dataset.samples
        return (samples[index] for index in self.order[:limit])

    @checked_arguments(workers=1)
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

    def framing(self) -> Framing | None:
        """How much of the input is padding and how much of the images is cut off, by their recorded sizes."""
        sizes = (Size(sample.height, sample.width) for sample in self.samples())
        return framing(self.arithmetic.options, self.image_shape, sizes)

    def missing_images(self) -> list[str]:
        """Image files of the chosen samples that are not there, each once."""
        paths = dict.fromkeys(map(_file_of, self.samples()))
        return [path for path in paths if not os.path.isfile(path)]

    def missing_error(self, hint: str | None = None) -> MissingDataError | None:
        """The error for all the images that are not there; None when each of them is.

        Args:
            hint: what to do, where nothing is found in the place of the first.
        """
        missing = self.missing_images()
        if not missing:
            return None
        absent = set(missing)
        without = [sample for sample in self.samples() if _file_of(sample) in absent]
        verb = "is" if len(without) == 1 else "are"
        first, name = missing[0], without[0].frame_id
        instead = (
            (image_instead(first, name) if without[0].record else None if self.folder else named_instead(first))
            or (None if self.folder else self.origin.advice(first))
            or (None if hint == FIND_IMAGE else hint)
        )
        some = len(without) < self.image_count
        error = MissingDataError(
            f"{len(without)} of {self.image_count} images {verb} missing: No such file or directory",
            where=path_text(missing[0]),
            hint=instead or (_find_images(missing) if some else near_by(missing[0])) or None,
            filename=missing[0],
        )
        error.bad_images = len(without) if some and not instead else 0
        return error

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

    def summary(self) -> str:
        """All that matters of it, in one short line."""
        split = self.images_from if self.split is None else self.split
        return f"{self.origin.name}: {counted(self.batch_count, 'batch')} of {times(self.shape)} float32, {split}"

    def summary_rows(self) -> Iterator[tuple[str, object]]:
        """The few facts that a notebook shows."""
        yield "origin", f"{self.origin.path} ({self.origin.name})"
        yield "images from", self.images_from if self.split is None else f"{self.split} split"
        yield "batches", f"{self.batch_count} of {times(self.shape)} float32, {self.nbytes / 1e6:,.1f} MB"
        yield "seed", self.seed
        yield "arithmetic", f"{self.arithmetic.name} ({self.arithmetic.evidence})"
        yield "first samples", ", ".join(sample.frame_id for sample in self.candidates(min(5, self.image_count)))
        for warning in self.warnings:
            yield "warning", warning

    def facts(self) -> dict[str, Any]:
        """What decides the result, but for the samples, as JSON types."""
        return {
            "network": self.origin.name,
            "split": self.split,
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
            "spec_sha256": self.origin.sha256,
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
            "framing": found._asdict() if (found := self.framing()) else None,
            "missing": [printable(path) for path in self.missing_images()],
            "warnings": list(self.warnings),
        }


def _file_of(sample: Sample) -> str:
    """The file that holds the image of a sample."""
    return sample.record.path if sample.embedded and sample.record else sample.path


def _find_images(missing: Sequence[str]) -> str:
    """What to do about images that are not there, where others are."""
    others = [path_text(path) for path in missing[1 : 1 + _MISSING_SHOWN]]
    if not others:
        return FIND_IMAGE
    more = f" and {len(missing) - 1 - len(others)} more" if len(missing) - 1 > len(others) else ""
    return f"Also missing: {', '.join(others)}{more}. Put the images there, or take them out of the data."


_MISSING_SHOWN = 3
BATCH_SIZE_OPTION = ", or by --batch_size of int8cal calibration_tensorfile (or images)"
_BATCH_SIZE = f"in the spec{BATCH_SIZE_OPTION}"
"""Where the user says how large a batch is: the Azure ML component has no input for it, see its advice."""


def plan_of(origin: Origin, choice: Choice) -> Plan:
    """The plan that an origin makes of a choice.

    Raises:
        UsageError: an argument is out of range, or the origin does not have what is chosen.
        SpecError: the origin asks for something impossible.
        DataError: the data set cannot give what is asked for.
    """
    _require_possible(choice)
    decision = origin.decide(choice)
    count = _full_batches(origin, decision)
    return Plan(
        origin=origin,
        split=decision.split,
        seed=decision.seed,
        batch_size=decision.batch_size,
        max_batches=decision.max_batches,
        batch_count=count,
        dataset=decision.dataset,
        order=decision.order,
        arithmetic=decision.arithmetic,
        options=decision.options,
        folder=decision.folder,
        image_shape=_common_shape(decision, count * decision.batch_size),
    )


def _require_possible(choice: Choice) -> None:
    """Refuse numbers that no plan can have; None stands for what the origin says."""
    max_batches, batch_size, seed = choice.max_batches, choice.batch_size, choice.seed
    if max_batches is not None and (max_batches == 0 or max_batches < -1):
        raise UsageError(
            f"{max_batches} batches cannot be made", hint="Give -m a positive number, or -1 for all full batches."
        )
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"a batch cannot have {batch_size} images", hint="Give --batch_size a positive number.")
    if seed is not None and not is_seed(seed):
        raise UsageError(
            f"seed {seed} is not an unsigned 32-bit number", hint=f"Give --seed a number from 0 to {MAX_SEED}."
        )


def _nothing_listed(decision: Decision) -> str:
    """Where there should have been images, and what is there instead."""
    looked_in = ", ".join(path_text(source.name) for source in decision.dataset.sources[:3])
    others = decision.dataset.counts.get(FILES_LEFT_OUT)
    there = f" It holds {counted(others, 'file')} of other kinds." if others else ""
    check = "the split and the data sources" if decision.split else "that it is the right file"
    return f"Nothing is listed in {looked_in}.{there} Check {check}."


def _full_batches(origin: Origin, decision: Decision) -> int:
    """Number of full batches to make; the reference's limits, and its silent empty files refused."""
    dataset, batch_size, max_batches = decision.dataset, decision.batch_size, decision.max_batches
    images = len(dataset.samples)
    source, kind, where = "dataset", f"{dataset.split} images".lstrip(), origin.path
    if decision.folder:
        source, kind, where = "folder", "images", path_text(decision.folder.path)
    available = images // batch_size
    if available == 0:
        raise DataError(
            f"{images} {kind} do not fill one batch of {batch_size}",
            where=where,
            hint=f"Make batches of at most {images}, {_BATCH_SIZE}." if images else _nothing_listed(decision),
        )
    if max_batches > available:
        raise DataError(
            f"The {source} contains {available} minibatches, while the requested amount is {max_batches} "
            f"({images} {kind}, {batch_size} per batch)",
            where=where,
            hint=f"Ask for at most {available} (-m, max_batches), or make smaller batches, {_BATCH_SIZE}.",
        )
    return available if max_batches == -1 else max_batches


def _common_shape(decision: Decision, images: int) -> tuple[int, int, int]:
    """(C, H, W) that the first ``images`` samples of the order have in common."""
    arithmetic, batch_size = decision.arithmetic, decision.batch_size
    chosen = (decision.dataset.samples[index] for index in decision.order[:images])
    first = next(chosen)
    shape = arithmetic.shape(first)
    for sample in chosen:
        other = arithmetic.shape(sample)
        if other != shape:
            error = SpecError if arithmetic.same_shape else DataError
            raise error(
                f"{first.frame_id} becomes {shape} (channels, height, width), {sample.frame_id} becomes {other}; "
                "a tensorfile holds one shape",
                where=sample_place(sample),
                hint=arithmetic.same_shape or "Let the spec resize to one fixed size, or keep images of one size.",
            )
    if math.prod(shape) * 4 * batch_size > MAX_BATCH_BYTES:
        raise UsageError(
            f"a batch of {batch_size} images of {shape} takes over {MAX_BATCH_BYTES >> 30} GiB",
            hint=f"Make smaller batches, {_BATCH_SIZE}.",
        )
    return shape
