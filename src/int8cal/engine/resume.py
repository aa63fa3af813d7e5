"""Goes on where an interrupted run stopped, whatever the engine.

A kept result may stand in for new work only while its source image has the bytes that it was made from, so the engine
reads and hashes that image again. The ordered writer never notices where a chunk came from.
"""

from __future__ import annotations

import hashlib
import logging
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from int8cal.engine.work import ChunkWork, EncodedSample, FailedSample
from int8cal.errors import DataError
from int8cal.samples.encoded import read_encoded, sample_place

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from int8cal.engine import Stream
    from int8cal.engine.journal import Journal
    from int8cal.samples.samples import Sample

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Known:
    """A sample whose chunk is kept, and the SHA-256 of the image that it was made from."""

    sample: Sample
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Unchanged:
    """A sample whose image still is the one that its kept chunk was made from."""

    sample: Sample


ReuseResult: TypeAlias = EncodedSample | FailedSample | Unchanged


@dataclass(frozen=True)
class WorkUnlessKnown:
    """`ChunkWork` for samples without a kept chunk; for the others no more than a look at whether they changed."""

    work: ChunkWork

    def __call__(self, item: Sample | Known) -> ReuseResult:
        """The image's chunk, or that the kept one may be used."""
        if not isinstance(item, Known):
            return self.work(item)
        with suppress(DataError):  # found, and told, again by the work
            if hashlib.sha256(read_encoded(item.sample)).digest() == item.sha256:
                return Unchanged(item.sample)
        return self.work(item.sample)


def resumed(
    stream: Stream, journal: Journal, work: ChunkWork, samples: Iterable[Sample], workers: int | None
) -> Generator[EncodedSample | FailedSample]:
    """The results of a stream, kept ones among them; new ones are kept.

    Args:
        stream: the engine.
        journal: what is kept.
        work: what is done for one image.
        samples: all samples of the plan, in order.
        workers: as the engine understands it.
    """

    def items() -> Generator[Sample | Known]:
        for index, sample in enumerate(samples):
            sha256 = journal.sha256(index)
            yield Known(sample, sha256) if sha256 else sample

    with closing(stream(WorkUnlessKnown(work), items(), workers)) as results:
        for index, result in enumerate(results):
            kept = journal.read(index, result.sample) if isinstance(result, Unchanged) else None
            if kept:
                journal.reused += 1
                yield kept
                continue
            made = work(result.sample) if isinstance(result, Unchanged) else result
            if isinstance(made, EncodedSample):  # what failed was not made again, and has an error of its own
                if journal.sha256(index) and not isinstance(result, Unchanged):
                    place = sample_place(result.sample)
                    log.warning("%s has changed since the interrupted run: it is made again", place)
                    journal.changed.append(place)
                journal.append(index, made)
            yield made
