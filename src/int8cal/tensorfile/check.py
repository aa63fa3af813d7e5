"""Is a tensorfile whole: everything there that it says, nothing else, every value a number.

Structure and values only; what the values mean is judged in `int8cal.check`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from int8cal.errors import TensorFileError
from int8cal.io.safe_text import short_repr
from int8cal.io.summary import counted
from int8cal.tensorfile import layout
from int8cal.tensorfile.arithmetic import stated_arithmetic
from int8cal.tensorfile.findings import Finding

if TYPE_CHECKING:
    from int8cal.tensorfile.reader import TensorFile
    from int8cal.types import BatchNCHW_f32, ImageCHW_f32

_NAMED = 5
"""How many of many alike are named."""
_AGAIN = "The file is damaged or was edited; make it again."
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COUNTS = ("schema", "batches", "batch_size")
_RUN_COUNTS = ("skipped",)
_HASHES = ("plan_sha256", "spec_sha256")


def check_structure(file: TensorFile) -> list[Finding]:
    """Everything that can be told without reading batches: names, types, shapes, manifest and sample table.

    Args:
        file: an open tensorfile.

    Returns:
        The findings; none for a sound file.
    """
    findings = [*_check_objects(file), *_check_types(file), *_check_record(file)]
    if not _has_checksums(file):
        return findings
    return [replace(finding, level="error") if finding.code == "foreign-object" else finding for finding in findings]


def _has_checksums(file: TensorFile) -> bool:
    """Whether the file is of a version that tells what was changed since it was written."""
    return layout.RECORD_CHECKSUM in (file.manifest or {})


def _check_objects(file: TensorFile) -> Iterator[Finding]:
    expected = {layout.group_name(batch) for batch in range(len(file))}
    found = set(file.objects())
    missing, extra = expected - found, found - expected - {layout.SAMPLES}
    if missing:
        yield Finding("error", "batch-missing", f"batches are missing: {_some(missing)}", _AGAIN)
    uncounted = {name for name in extra if name.startswith(layout.GROUP_PREFIX)}
    if uncounted:
        yield Finding(
            "error",
            "batch-uncounted",
            f"the file says it has {counted(len(file), 'batch')} and holds more: {_some(uncounted)}",
            "The run that made it was cut off, or the file was edited; make it again.",
        )
    if extra - uncounted:
        yield Finding(
            "warning",
            "foreign-object",
            f"objects that no tensorfile has: {_some(extra - uncounted)}",
            "Ask where the file comes from; readers ignore these objects.",
        )


def _check_types(file: TensorFile) -> Iterator[Finding]:
    """The description of each batch, and what lies beside its values."""
    types: set[str] = set()
    for batch in range(len(file)):
        try:
            stored, names = file.stored(batch), file.objects(batch)
        except TensorFileError:
            continue  # reported when it is read
        types.add(str(stored.dtype))
        if _has_checksums(file) and not file.is_as_written(batch):
            yield Finding("error", "record-changed", f"the description of batch {batch} was changed", _AGAIN)
        if names != [layout.DATASET]:
            yield Finding(
                "warning",
                "foreign-object",
                f"batch {batch} holds objects that no tensorfile has: {_some(set(names) - {layout.DATASET})}",
                "Ask where the file comes from; readers ignore these objects.",
            )
    listed = " and ".join(sorted(types))
    if types - {"float32"} and _has_checksums(file):
        yield Finding("error", "record-changed", f"values are stored as {listed}, and were written as float32", _AGAIN)
    elif types - {"float32"}:
        yield Finding(
            "note",
            "not-float32",
            f"values are stored as {listed}; readers convert them to float32",
            "Nothing to do: some of NVIDIA's exporters write float64. The file is larger than it need be.",
        )


def _check_record(file: TensorFile) -> Iterator[Finding]:
    """The manifest and the sample table against the file and against each other."""
    try:
        table = file.samples
    except TensorFileError as error:
        yield Finding("error", "samples-unreadable", error.message, _AGAIN)
        return
    manifest = file.manifest
    if manifest is None:
        if table is not None:
            yield Finding("error", "manifest-missing", "there is a sample table, but no manifest", _AGAIN)
            return
        yield Finding(
            "note",
            "no-manifest",
            "there is no manifest: the file was not made by int8cal and does not say which images it holds",
            "To prove what it holds, make its images again: int8cal verify FILE -e SPEC, or --images DIR.",
        )
        return
    problems = list(_manifest_problems(file, manifest))
    if table is None:
        if layout.is_run(manifest):
            problems.append("there is no sample table beside it")
    elif not problems:
        problems += _table_problems(file, manifest, table)
    for problem in problems:
        yield Finding("error", "manifest-wrong", f"the manifest does not fit the file: {problem}", _AGAIN)
    if problem := _checksum_problem(file, manifest, table):
        yield Finding("error", "record-changed", problem, _AGAIN)


def _checksum_problem(file: TensorFile, manifest: Mapping[str, Any], table: Any) -> str:
    """What is wrong with the checksum of manifest and sample table, and with what says whether there is one."""
    version = manifest.get("schema")
    says = {type(version) is int and version >= layout.FORMAT_VERSION, layout.RECORD_CHECKSUM in manifest}
    if table is not None:
        says.add(len(table.dtype) == len(layout.SAMPLE_FIELDS))
    if len(says) > 1:
        return f"the manifest's format version is {short_repr(version)}, and the checksums of another version are there"
    if True in says and not file.is_as_written():
        return "the attributes of the file, or the description of its sample table, were changed"
    if True in says and not file.record_is_intact:
        return "the manifest or the sample table was changed after the file was written: their checksum is another"
    return ""


def _manifest_problems(file: TensorFile, manifest: Mapping[str, Any]) -> Iterator[str]:
    is_run = layout.is_run(manifest)
    for name in (*_COUNTS, *(_RUN_COUNTS if is_run else ())):
        if type(manifest.get(name)) is not int or manifest[name] < 0:
            yield f"its {name} is {short_repr(manifest.get(name))}, not a number"
            return
    for name in _HASHES if is_run else ():
        if not isinstance(manifest.get(name), str) or not _SHA256.fullmatch(manifest[name]):
            yield f"its {name} is {short_repr(manifest.get(name))}, not a SHA-256"
    if is_run:
        yield from _origin_problems(manifest)
    if manifest["batches"] != len(file):
        yield f"it speaks of {counted(manifest['batches'], 'batch')}, the file has {len(file)}"
    shape = [manifest["batch_size"], *_listed(manifest.get("image_shape"))]
    if shape != list(file.shape):
        yield f"it speaks of batches of shape {short_repr(shape)}, the file's are {list(file.shape)}"
    try:
        stated_arithmetic(manifest, file.shape[1])
    except TensorFileError as error:
        yield error.message


def _origin_problems(manifest: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with what a run's record says of where the images came from."""
    split = manifest.get("split")
    if not layout.is_seed(manifest.get("seed")):
        yield f"its seed is {short_repr(manifest.get('seed'))}, not a number from 0 to {layout.MAX_SEED}"
    if not isinstance(manifest.get("network"), str):
        yield f"its network is {short_repr(manifest.get('network'))}, not a name"
    if layout.is_of_folder(manifest):
        if split is not None:
            yield f"its split is {short_repr(split)}, but images of a folder belong to none"
    elif "split" not in manifest or not isinstance(split, str | None):  # None: an origin without splits
        yield f"its split is {short_repr(split)}, not a name"


def _table_problems(file: TensorFile, manifest: Mapping[str, Any], table: Any) -> Iterator[str]:
    used = table[table["batch"] != layout.SKIPPED]
    images = len(file) * file.shape[0]
    skipped, stated = len(table) - len(used), manifest.get("skipped", 0)
    if skipped != stated:
        yield f"{skipped} rows of the sample table are of skipped images, it says {short_repr(stated)}"
    if len(used) != images:
        yield f"the sample table names {counted(len(used), 'image')}, the file has {images}"
        return
    places = np.divmod(np.arange(images), file.shape[0])
    if (used["batch"] != places[0]).any() or (used["position"] != places[1]).any():
        yield "the sample table does not name each image once, in order"
    for column in ("height", "width", "encoded_bytes"):
        if (used[column] < 1).any():
            yield f"the sample table has images whose {column} is not positive"
    if not np.frombuffer(used["sha256"].tobytes(), np.uint8).reshape(-1, 32).any(axis=1).all():
        yield "the sample table has images without a SHA-256"
    if ((table["record_file"] == b"") != (table["record_offset"] == -1)).any():
        yield "the sample table has records without a file, or files without a record"


@dataclass
class ValueCheck:
    """Reads the batches one by one and notes which ones cannot be used. Memory: one batch.

    Args:
        file: an open tensorfile.
    """

    file: TensorFile
    _unreadable: list[TensorFileError] = field(default_factory=list)
    _not_finite: list[tuple[int, int]] = field(default_factory=list)

    def images(
        self, measure: Callable[[ImageCHW_f32, bytes], Any] | None = None
    ) -> Iterator[tuple[int, BatchNCHW_f32, list[Any]]]:
        """(number of the first image, images without NaN or infinity that follow it, measures) over the whole file.

        A sound batch comes as one piece; what cannot be read or used is left out and becomes a finding.

        Args:
            measure: see `TensorFile.read_all`; what it makes of each image comes with it. None: nothing.
        """

        def finite_only(image: ImageCHW_f32, checksum: bytes) -> tuple[bool, Any]:
            finite = bool(np.isfinite(image).all())
            return finite, measure(image, checksum) if measure and finite else None

        with closing(self.file.read_all(finite_only)) as batches:
            for batch in batches:
                if batch.error:
                    self._unreadable.append(batch.error)
                    continue
                finite, measures = zip(*(batch.seen[position] for position in range(len(batch.values))), strict=True)
                first = batch.number * len(finite)
                if all(finite):
                    yield first, batch.values, list(measures)
                    continue
                for position, is_finite in enumerate(finite):
                    if is_finite:
                        yield first + position, batch.values[position : position + 1], [measures[position]]
                    else:
                        self._not_finite.append((batch.number, position))

    @property
    def findings(self) -> list[Finding]:
        """What was found so far."""
        found = self._unreadable_parts()
        unreadable = [error.message for error in self._unreadable if not self._is_of_part(error)]
        found += [Finding("error", "batch-unreadable", message, _AGAIN) for message in unreadable[:_NAMED]]
        if len(unreadable) > _NAMED:
            more = len(unreadable) - _NAMED
            found.append(Finding("error", "batch-unreadable", f"and {more} more batches cannot be read", _AGAIN))
        if self._not_finite:
            listed = ", ".join(f"batch {batch} image {image}" for batch, image in self._not_finite[:_NAMED])
            found.append(
                Finding(
                    "error",
                    "not-finite",
                    f"{len(self._not_finite)} images hold NaN or infinite values: {listed}",
                    "Make the file again; a calibration with such values has no meaning.",
                )
            )
        return found

    def _is_of_part(self, error: TensorFileError) -> bool:
        return error.where != self.file.path

    def _unreadable_parts(self) -> list[Finding]:
        """What is wrong with part files: the same for all batches of a part, and told once."""
        problems = Counter(
            (error.where, error.message, error.hint or _AGAIN) for error in self._unreadable if self._is_of_part(error)
        )
        return [
            Finding("error", "part-unusable", f"{where}: {message} ({batches} batches)", hint)
            for (where, message, hint), batches in problems.items()
        ]


def _some(names: set[str]) -> str:
    """A few of many names, the shortest first so that batch 2 comes before batch 10."""
    ordered = sorted(names, key=lambda name: (len(name), name))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(ordered[:_NAMED]) + more


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
