"""Is the tensorfile of a request there already? Asked by a job that is started again over the same output."""

from __future__ import annotations

import hashlib
import os
from contextlib import closing
from typing import TYPE_CHECKING, Any

from int8cal import manifest as manifests
from int8cal.engine.tao import file_sha256, images_sha256
from int8cal.engine.work import FailedSample, ImageWork, names_of
from int8cal.errors import DataError, OutputExistsError, TensorFileError
from int8cal.io.threads import map_on_threads
from int8cal.manifest import Manifest, SkippedImage
from int8cal.samples.encoded import read_encoded, sample_place
from int8cal.tensorfile import TensorFile
from int8cal.tensorfile.layout import SKIPPED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from int8cal.plans import Plan
    from int8cal.samples.samples import Sample


def finished(plan: Plan, path: str, *, engine: str, max_skipped: int) -> Manifest | None:
    """The finished result of the same request, read whole and held against today's source images.

    Args:
        plan: the request.
        path: where its tensorfile goes.
        engine: what should make it.
        max_skipped: how many images the request lets be left out.

    Returns:
        The record of the earlier run; None when nothing has that name.

    Raises:
        OutputExistsError: something else is there: another request's result, an unsound file, or one of images that
            have changed since.
    """
    if not os.path.lexists(path):
        return None
    try:
        with TensorFile(path) as file:
            facts, rows = file.manifest, file.samples
            for _ in file:  # every value can be read
                pass
    except TensorFileError as error:
        raise _taken(path, f"is unsound: {error.message}") from error
    if facts is not None and rows is not None and engine != "tao":
        return _reused(plan, path, facts, _require_same(plan, path, facts, rows, max_skipped))
    facts = _facts_of_nvidias_file(plan, path) if facts is None and engine == "tao" else None
    if facts is None:
        raise _taken(path, "is not the result of this request")
    return _reused(plan, path, facts)


def _reused(plan: Plan, path: str, facts: dict[str, Any], skipped: tuple[SkippedImage, ...] = ()) -> Manifest:
    """What the earlier run's record says, but for times; with the places that images have in this run."""
    return Manifest(path=path, facts=facts, samples=(), skipped=skipped, warnings=plan.warnings, reused=True)


def _taken(path: str, why: str) -> OutputExistsError:
    return OutputExistsError(f"already exists, and {why}", where=path)


def _require_same(
    plan: Plan, path: str, facts: dict[str, Any], rows: np.ndarray[Any, Any], max_skipped: int
) -> tuple[SkippedImage, ...]:
    """Refuse another request's file; the images that were left out of this one's, as they are today."""
    skipped = int((rows["batch"] == SKIPPED).sum())
    if facts.get("plan_sha256") != plan.sha256 or skipped > max_skipped:
        raise _taken(path, "is the result of another request")
    samples = {names_of(sample): sample for sample in plan.candidates()}
    try:
        pairs = [(samples[_key_of_row(row)], row) for row in rows]  # equal plans have equal samples
    except (KeyError, IndexError) as error:
        raise _taken(path, "its sample table is not that of this request") from error
    return tuple(_still_skipped(plan, path, pairs))


def _still_skipped(plan: Plan, path: str, pairs: Sequence[tuple[Sample, Any]]) -> Iterator[SkippedImage]:
    """The images that were left out, and still cannot be used; every other must be what the file was made from."""
    work = ImageWork.of(plan)

    def unchanged(pair: tuple[Sample, Any]) -> FailedSample | bool:
        sample, row = pair
        if row["batch"] == SKIPPED:
            failed = work(sample)
            return failed if isinstance(failed, FailedSample) else False
        try:
            content = read_encoded(sample)
        except DataError:
            return False
        return bool(hashlib.sha256(content).digest() == row["sha256"].tobytes())

    with closing(map_on_threads(unchanged, pairs, None)) as verdicts:
        for (sample, _), verdict in zip(pairs, verdicts, strict=True):
            if not verdict:
                raise _taken(path, f"was made before {sample_place(sample)} changed")
            if isinstance(verdict, FailedSample):
                yield SkippedImage.of(verdict)


def _facts_of_nvidias_file(plan: Plan, path: str) -> dict[str, Any] | None:
    """What ``<path>.json`` says of a file that NVIDIA's command made for this plan; None when it is another one's."""
    record = manifests.read_run_facts(f"{path}.json") or {}
    facts, run = record.get("manifest"), record.get("run")
    if not isinstance(facts, dict) or not isinstance(run, dict) or facts.get("plan_sha256") != plan.sha256:
        return None
    same = run.get("tensorfile_sha256") == file_sha256(path) and run.get("images_sha256") == images_sha256(plan)
    return facts if same else None


def _key_of_row(row: Any) -> tuple[int, bytes, bytes, int, int]:
    names = bytes(row["frame_id"]), bytes(row["record_file"])
    return int(row["source"]), *names, int(row["record_offset"]), int(row["record_crc"])
