"""What an engine is asked, what comes of it, and what all engines that make chunks do alike.

Their results, in order, → full batches in the file, with the rule for bad images.
"""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from contextlib import closing, nullcontext
from dataclasses import Field, dataclass, field, fields
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from int8cal import manifest
from int8cal.engine.work import ChunkWork, EncodedSample, FailedSample, ImageWork
from int8cal.errors import DataError
from int8cal.io.progress import watched
from int8cal.io.space import require_free_space
from int8cal.tensorfile.chunks import DEFAULT, Compression

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from contextlib import AbstractContextManager

    from int8cal.engine.journal import Journal
    from int8cal.plans import Plan
    from int8cal.tensorfile.layout import SampleRow
    from int8cal.tensorfile.shards import TensorFileOutput
    from int8cal.tensorfile.writer import TensorFileWriter
    from int8cal.types import Progress

log = logging.getLogger(__name__)

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Job:
    """What an engine is asked to do.

    Attributes:
        plan: what to make.
        progress: told how far the work is.
        compression: how chunks are compressed.
        workers: images worked on at the same time; None: the processors that there are.
        max_skipped: how many bad images may be left out; 0: the first one ends the run.
        resume: keep finished images, and use those that an interrupted run kept.
        shards: number of part files; None: one file.
    """

    plan: Plan
    progress: Progress | None = None
    compression: Compression = DEFAULT
    workers: int | None = None
    max_skipped: int = 0
    resume: bool = False
    shards: int | None = None

    @property
    def options_given(self) -> list[str]:
        """Which of `OPTIONS` are not left to their defaults."""
        return [option.name for option in _options() if getattr(self, option.name) != option.default]


def _options() -> list[Field[Any]]:
    return [field for field in fields(Job) if field.name not in ("plan", "progress")]


OPTIONS = frozenset(option.name for option in _options())
"""What a user may ask of an engine, by the names of `Job`."""


@dataclass(frozen=True)
class Made:
    """What a job came to.

    Attributes:
        facts: the manifest; see `int8cal.manifest`.
        images: how many images are in the file.
        rows: one row per sample used or skipped, in the order of the run; empty when the engine knows none.
        skipped: the samples that were left out, and why.
        run: what the ``.json`` says of the run, beside times.
        problem: why the file cannot be used; None when it is what was asked for.
        then: to be done when the file has its name; None: nothing.
    """

    facts: dict[str, Any]
    images: int
    rows: Sequence[SampleRow] = ()
    skipped: Sequence[FailedSample] = ()
    run: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None
    then: Callable[[], None] | None = None


class ChunkEngine(ABC):
    """An engine (`int8cal.engine.Engine`) that does the work of every image by itself, wherever that is."""

    name: ClassVar[str]
    takes_address: ClassVar[bool] = False
    options: ClassVar[frozenset[str]] = OPTIONS

    @abstractmethod
    def stream(
        self, plan: Plan, work: Callable[[_Item], _Result], items: Iterable[_Item], workers: int | None
    ) -> Generator[_Result]:
        """Do ``work`` on every item and yield the results in the order of the items; closing it ends the work.

        Args:
            plan: what the work is for.
            work: a function free of state.
            items: taken as they are needed.
            workers: how many are worked on at the same time; None: as many as there are processors.
        """

    def check(self, plan: Plan) -> None:  # noqa: B027 - others may have something to refuse
        """Every plan can be made."""

    def scratch_folder(self, wanted: str | None) -> AbstractContextManager[str | None]:
        """The one that is wanted."""
        return nullcontext(wanted)

    def make(self, job: Job, output: TensorFileOutput) -> Made:
        """Chunks in order, new ones and kept ones, into the file."""
        plan, nbytes = job.plan, int(job.plan.nbytes * job.compression.typical_ratio)
        all_of_them = job.max_skipped > 0 and plan.max_batches == -1  # without the bad images there may be fewer
        with _journal(job, output.path, nbytes) if job.resume else nullcontext() as journal:
            output.require_space(nbytes)
            work = ChunkWork(ImageWork.of(plan), job.compression)
            samples = plan.candidates(None if job.max_skipped else plan.image_count)
            if journal:
                from int8cal.engine.journal import resumed

                results = resumed(partial(self.stream, plan), journal, work, samples, job.workers)
            else:
                results = self.stream(plan, work, samples, job.workers)
            with (
                output.writer(plan.shape, job.compression, plan.batch_count) as writer,
                closing(results),
                watched(job.progress, plan.image_count, "making") as advance,
            ):
                done = assemble(
                    results,
                    writer,
                    batch_size=plan.batch_size,
                    batches=None if all_of_them else plan.batch_count,
                    max_skipped=job.max_skipped,
                    advance=advance,
                )
                facts = manifest.facts(plan, job.compression, batches=done.batches, skipped=len(done.skipped))
                facts = writer.finish(facts, done.rows)
        kept = {"images_reused": journal.reused, "images_changed": journal.changed} if journal else {}
        return Made(
            facts,
            images=done.batches * plan.batch_size,
            rows=done.rows,
            skipped=done.skipped,
            run={"workers": job.workers, **kept},
            then=journal.remove if journal else None,
        )


def _journal(job: Job, out: str, nbytes: int) -> Journal:
    """Where the finished images of a plan are kept, ``nbytes`` in the end, with all on which their chunks depend."""
    from int8cal.engine.journal import Journal, journal_path  # late: for --resume alone

    plan = job.plan
    identity = {"plan_sha256": plan.sha256, "compression": job.compression.name, **manifest.encoder_versions()}
    path = journal_path(out, identity)
    kept = os.path.getsize(path) if os.path.exists(path) else 0
    require_free_space(os.path.dirname(path), 2 * nbytes - kept)  # the output grows beside it
    image_bytes = plan.nbytes // plan.image_count
    return Journal(path, identity, samples=len(plan.order), batch_size=plan.batch_size, image_bytes=image_bytes)


@dataclass
class Assembled:
    """What went into the file.

    Attributes:
        rows: one row per sample used or skipped, in the order of the run.
        skipped: the samples that were left out, and why.
        batches: number of batches written.
    """

    rows: list[SampleRow] = field(default_factory=list)
    skipped: list[FailedSample] = field(default_factory=list)
    batches: int = 0


def assemble(
    results: Iterable[EncodedSample | FailedSample],
    writer: TensorFileWriter,
    *,
    batch_size: int,
    batches: int | None,
    max_skipped: int,
    advance: Callable[[int], None],
) -> Assembled:
    """Write full batches until ``batches`` are written or the results end.

    Each chunk is written as it comes: it is in the cache then, and the next ones take its memory. Only where the last
    batch may stay unfilled, chunks wait for their batch, since what is in a file cannot be taken out again.

    Args:
        results: images in order.
        writer: the file.
        batch_size: images per batch.
        batches: how many to write; None for as many full ones as there are.
        max_skipped: how many bad images may be left out; 0: the first one ends the run.
        advance: told how many images are in the file with every batch.

    Raises:
        DataError: a bad image too many, or not enough good ones.
    """
    done, filled = Assembled(), 0  # images of the open batch
    waiting: list[bytes] = []
    if batches == 0:
        raise ValueError("batches must not be 0")
    for result in results:
        if isinstance(result, FailedSample):
            _skip(result, done, max_skipped)
            continue
        waiting.append(result.chunk)
        done.rows.append(result.row(done.batches, filled))
        filled += 1
        if filled == batch_size or batches is not None:
            for chunk in waiting:
                writer.append(chunk)
            waiting.clear()
        if filled == batch_size:
            filled = 0
            done.batches += 1
            advance(batch_size)
            if done.batches == batches:
                break
    if done.batches < (batches or 1):
        raise DataError(
            f"{len(done.skipped)} images were skipped, and the rest fills {done.batches} of {batches or 1} batches",
            hint="Ask for fewer batches (-m, max_batches), or mend the images named above.",
        )
    done.rows = [row for row in done.rows if row.batch < done.batches]  # what fills no batch is not in the file
    return done


def _skip(failed: FailedSample, done: Assembled, max_skipped: int) -> None:
    if max_skipped == 0:
        raise failed.error
    if len(done.skipped) == max_skipped:
        raise DataError(
            f"more than {max_skipped} images are bad; the last one: {failed.error.message}",
            where=failed.error.where,
            hint="Mend the images, or raise --max_skipped.",
        ) from failed.error
    log.warning("skipped %s: %s", failed.error.where, failed.error.message)
    done.skipped.append(failed)
    done.rows.append(failed.row)
