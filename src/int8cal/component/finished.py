"""Is the tensorfile of a request there already? Asked by a job that is started again over the same output."""

from __future__ import annotations

import hashlib
import json
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
from int8cal.tensorfile.check import ValueCheck, check_structure
from int8cal.tensorfile.layout import SKIPPED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np

    from int8cal.plans import Plan
    from int8cal.samples.samples import Sample
    from int8cal.tensorfile.findings import Finding


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
            _require_sound(file)
            facts, rows, size = file.manifest, file.samples, (len(file), *file.shape)
    except TensorFileError as error:
        raise _taken(path, f"is unsound: {error.message}") from error
    ours: dict[str, Any] | None = None
    skipped: tuple[SkippedImage, ...] = ()
    if engine == "tao":
        if facts is None and size == (plan.batch_count, *plan.shape):
            ours = _facts_of_nvidias_file(plan, path)
    elif facts is not None and rows is not None:
        _require_same(plan, path, facts, rows, max_skipped)
        ours = _of_this_request(plan, facts, {**plan.facts(), "plan_sha256": plan.sha256})
        skipped = _require_unchanged(plan, path, rows) if ours else ()
    if ours is None:
        raise _taken(path, "is not the result of this request")
    return Manifest(path=path, facts=ours, samples=(), skipped=skipped, warnings=plan.warnings, reused=True)


def _require_sound(file: TensorFile) -> None:
    """Refuse a file in which ``verify`` finds an error without making its images again.

    Raises:
        TensorFileError: the first such error.
    """
    _raise_first(check_structure(file))
    values = ValueCheck(file)
    for _ in values.images():
        pass
    _raise_first(values.findings)


def _raise_first(findings: Iterable[Finding]) -> None:
    for finding in findings:
        if finding.level == "error":
            raise TensorFileError(finding.message)


def _of_this_request(plan: Plan, facts: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any] | None:
    """An earlier run's record, but for the counts of the data set, which are today's; None if it is not of this plan.

    Args:
        plan: the request.
        facts: what the record says. Nothing of it is trusted.
        expected: what it must say.
    """
    stated = {name: facts.get(name) for name in expected}
    # As text: 1, 1.0 and True are equal in Python.
    same = json.dumps(stated, sort_keys=True) == json.dumps(expected, sort_keys=True)
    complete = isinstance(facts.get("int8cal"), str) and isinstance(facts.get("dataset"), dict)
    return {**facts, "dataset": plan.dataset.facts()} if same and complete else None


def _taken(path: str, why: str) -> OutputExistsError:
    return OutputExistsError(f"already exists, and {why}", where=path)


def _require_same(plan: Plan, path: str, facts: dict[str, Any], rows: np.ndarray[Any, Any], max_skipped: int) -> None:
    """Refuse another request's file, or one with fewer batches than images that were left out account for."""
    skipped = int((rows["batch"] == SKIPPED).sum())
    whole = facts["batches"] == plan.batch_count or (skipped > 0 and plan.max_batches == -1)
    if facts.get("plan_sha256") != plan.sha256 or skipped > max_skipped or not whole:
        raise _taken(path, "is the result of another request")


def _require_unchanged(plan: Plan, path: str, rows: np.ndarray[Any, Any]) -> tuple[SkippedImage, ...]:
    """Refuse a file of images that have changed; the images that were left out, as they are today."""
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
    if not isinstance(facts, dict) or not isinstance(run, dict):
        return None
    expected = manifests.reference_facts(plan)
    of_runs = ("int8cal", "dataset")  # an earlier version, or other counts of what is not used, make the same file
    expected = {name: value for name, value in expected.items() if name not in of_runs}
    ours = _of_this_request(plan, facts, expected)
    if ours is None or run.get("tensorfile_sha256") != file_sha256(path):
        return None
    return ours if run.get("images_sha256") == images_sha256(plan) else None


def _key_of_row(row: Any) -> tuple[int, bytes, bytes, int, int]:
    names = bytes(row["frame_id"]), bytes(row["record_file"])
    return int(row["source"]), *names, int(row["record_offset"]), int(row["record_crc"])
