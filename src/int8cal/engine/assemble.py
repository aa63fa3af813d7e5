"""Results in order → full batches in the file, with the rule for bad images."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from int8cal.engine.work import EncodedSample, FailedSample
from int8cal.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from int8cal.tensorfile.layout import SampleRow
    from int8cal.tensorfile.writer import TensorFileWriter

log = logging.getLogger(__name__)

OnBadImage: TypeAlias = Literal["fail", "skip"]


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
    done = Assembled()
    batch: list[EncodedSample] = []
    if batches == 0:
        raise ValueError("batches must not be 0")
    for result in results:
        if isinstance(result, FailedSample):
            _skip(result, done, max_skipped)
            continue
        batch.append(result)
        if len(batch) == batch_size:
            _write_batch(batch, writer, done)
            advance(batch_size)
            batch.clear()
            if done.batches == batches:
                break
    if done.batches < (batches or 1):
        raise DataError(
            f"{len(done.skipped)} images were skipped, and the rest fills {done.batches} of {batches or 1} batches",
            hint="Ask for fewer batches (-m, max_batches), or mend the images named above.",
        )
    return done


def _write_batch(batch: list[EncodedSample], writer: TensorFileWriter, done: Assembled) -> None:
    for position, result in enumerate(batch):
        writer.append(result.chunk)
        done.rows.append(result.row(done.batches, position))
    done.batches += 1


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
