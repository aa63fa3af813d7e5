"""The batches of a plan without a file: made anew in each pass, by what makes those of a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from int8cal.engine.work import FailedSample, ImageWork
from int8cal.errors import MissingDataError
from int8cal.io.summary import Summarised, counted, times
from int8cal.io.threads import map_on_threads

if TYPE_CHECKING:
    from int8cal.plans import Plan
    from int8cal.samples.samples import Sample
    from int8cal.types import BatchNCHW_f32


@dataclass(frozen=True, repr=False, eq=False)
class PlanBatches(Summarised):
    """Calibration batches (`int8cal.types.Batches`) of a plan: float32 (B, C, H, W), RGB or as the network takes them.

    Iterating decodes and preprocesses the images on threads, a bounded number at a time. The first image that cannot be
    used ends the pass with an `int8cal.DataError`: none is left out, and ``len`` stays true.

    Attributes:
        plan: what is made.
        workers: threads; None: the processors that this process may use.
    """

    plan: Plan
    workers: int | None = None
    _encoded: dict[int, bytes] = field(default_factory=dict, repr=False, compare=False)

    @property
    def manifest(self) -> dict[str, Any]:
        """What the manifest of a tensorfile of these batches says that bears on models."""
        return {**self.plan.facts(), "plan_sha256": self.plan.sha256}

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, C, H, W) of every batch."""
        return self.plan.shape

    @property
    def image_count(self) -> int:
        """Number of images in all batches."""
        return self.plan.image_count

    @property
    def samples(self) -> tuple[Sample, ...]:
        """What the images are made from, in the order of the images."""
        return tuple(self.plan.samples())

    @property
    def paths(self) -> tuple[str, ...]:
        """None: the batches are in no file."""
        return ()

    def encoded_sha256(self) -> dict[int, bytes]:
        """Number of an image → SHA-256 of the image file that it was made from, of those that were made so far."""
        return dict(self._encoded)

    def __len__(self) -> int:
        return self.plan.batch_count

    def __iter__(self) -> Iterator[BatchNCHW_f32]:
        work, size = ImageWork.of(self.plan), self.plan.batch_size
        batch = np.empty(self.shape, np.float32)
        with closing(map_on_threads(work, self.plan.samples(), self.workers)) as results:
            for number, result in enumerate(results):
                if isinstance(result, FailedSample):
                    if isinstance(result.error, MissingDataError):
                        raise self.plan.missing_error(result.error.hint) or result.error from result.error
                    raise result.error
                batch[number % size] = result.tensor
                self._encoded[number] = result.facts.sha256
                if number % size == size - 1:
                    yield batch
                    batch = np.empty(self.shape, np.float32)

    def summary(self) -> str:
        """All that matters of it, in one short line."""
        return f"{counted(len(self), 'batch')} of {times(self.shape)} float32, {self.plan.origin.name}"
