"""Is the tensorfile of a request there already? Asked by a job that is started again over the same output."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from int8cal.dataset.encoded import read_encoded, sample_place
from int8cal.engine.cores import usable_cores
from int8cal.engine.work import FailedSample, Work
from int8cal.errors import DataError, OutputExistsError, TensorFileError
from int8cal.manifest import Manifest
from int8cal.tensorfile import TensorFile
from int8cal.tensorfile.chunks import Compression
from int8cal.tensorfile.layout import SKIPPED

if TYPE_CHECKING:
    import numpy as np

    from int8cal.dataset.samples import Sample
    from int8cal.plans import Plan

_HINT = "Add --overwrite to replace it, or choose another output_subfolder or output_filename."


def finished(plan: Plan, path: str, *, max_skipped: int) -> Manifest | None:
    """The finished result of the same request, read whole and held against today's source images.

    Args:
        plan: the request.
        path: where its tensorfile goes.
        max_skipped: how many images the request lets be left out.

    Returns:
        The record of the earlier run; None when nothing has that name.

    Raises:
        OutputExistsError: something else is there: another request's result, an unsound file, or one of images that
            have changed since.
        DataError: a source image cannot be read any more.
    """
    if not os.path.lexists(path):
        return None
    try:
        with TensorFile(path) as file:
            facts = file.manifest
            rows = file.samples
            for _ in file:  # every value can be read
                pass
    except TensorFileError as error:
        raise OutputExistsError(f"already exists, and is unsound: {error.message}", where=path, hint=_HINT) from error
    if facts is None or rows is None:
        raise OutputExistsError("already exists, and int8cal did not make it", where=path, hint=_HINT)
    skipped = int((rows["batch"] == SKIPPED).sum())
    if facts.get("plan_sha256") != plan.sha256 or skipped > max_skipped or len(rows) > len(plan.order):
        raise OutputExistsError("already exists, and is the result of another request", where=path, hint=_HINT)
    changed = _first_changed(plan, rows)
    if changed is not None:
        raise OutputExistsError(
            f"already exists, and was made before {sample_place(changed)} changed", where=path, hint=_HINT
        )
    return Manifest(path=path, facts=facts, samples=(), reused=True)


def _first_changed(plan: Plan, rows: np.ndarray[Any, Any]) -> Sample | None:
    """The first sample whose source image is not what the file was made from."""
    work = Work(plan.arithmetic, plan.image_shape, Compression.named("none"))

    def unchanged(pair: tuple[Sample, Any]) -> bool:
        sample, row = pair
        if row["batch"] == SKIPPED:  # it could not be used: it must not have become usable
            return isinstance(work(sample), FailedSample)
        try:
            content = read_encoded(sample)
        except DataError:
            return False
        return hashlib.sha256(content).digest() == row["sha256"].tobytes()

    samples = list(plan.candidates(len(rows)))
    with ThreadPoolExecutor(usable_cores()) as pool:
        verdicts = pool.map(unchanged, zip(samples, rows, strict=True))
        return next((sample for sample, same in zip(samples, verdicts, strict=True) if not same), None)
