"""What a run was: plain data, kept inside the tensorfile and in ``<output>.json`` beside it.

What is inside depends on the inputs, the seed and the package versions alone: no path, time or host name. What also
depends on the day and the machine lies in the ``.json``.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from int8cal import __version__, native
from int8cal.errors import EngineFailedError, OutputError
from int8cal.guard.json_text import parsed_json
from int8cal.io.file_kinds import FileKind
from int8cal.io.files import OutputFile, commit_together
from int8cal.io.lacks import raise_if_lacking
from int8cal.io.paths import open_regular
from int8cal.io.summary import Summarised, counted, times
from int8cal.samples.encoded import sample_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from int8cal.engine.work import FailedSample
    from int8cal.plans import Plan
    from int8cal.tensorfile.chunks import Compression
    from int8cal.tensorfile.layout import SampleRow

SCHEMA = 1
"""Version of the layout of ``<output>.json``; that of the tensorfile is `int8cal.tensorfile.layout.FORMAT_VERSION`."""

_MAX_RUN_FACTS_BYTES = 64 << 20

_DECIDING_PACKAGES = {
    "h5py": "h5py",
    "imagecodecs": "imagecodecs",
    "isal": "isal",
    "numpy": "numpy",
    "pillow": "PIL",
    "simplejpeg": "simplejpeg",
}
"""Distribution → its module, whose version is at hand; reading the distribution's metadata takes 30 ms."""


class SkippedImage(NamedTuple):
    """An image that was left out: its name in its source, where it lies, and why it could not be used."""

    frame_id: str
    source: int
    where: str
    reason: str

    @classmethod
    def of(cls, failed: FailedSample) -> SkippedImage:
        """What the manifest keeps of a sample that failed."""
        sample, error = failed.sample, failed.error
        return cls(sample.frame_id, sample.source, error.where or sample_place(sample), error.message)


OWN_FIELDS = frozenset((
    "schema", "tensorfile", "batches", "shape", "manifest", "skipped", "warnings", "reused", "run",
))  # fmt: skip
"""What `Manifest.to_json` always says; nothing else may be recorded under these names."""


@dataclass(frozen=True, repr=False)
class Manifest(Summarised):
    """The record of one run.

    Attributes:
        path: the tensorfile.
        facts: what lies inside the tensorfile (JSON types).
        samples: one row per sample, used or skipped, in the order of the run.
        skipped: the images that were left out.
        run: what depends on day and machine: paths, times, workers, versions of Python and platform.
        warnings: what the user should know.
        reused: True when an earlier run's file was found complete and right, and no work was done.
        record: what else ``<output>.json`` should say, by name: what the component was asked for.
    """

    path: str
    facts: dict[str, Any]
    samples: tuple[SampleRow, ...]
    skipped: tuple[SkippedImage, ...] = ()
    run: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    reused: bool = False
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def batches(self) -> int:
        """Number of batches in the file."""
        return int(self.facts["batches"])

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, C, H, W) of every batch."""
        channels, height, width = self.facts["image_shape"]
        return int(self.facts["batch_size"]), int(channels), int(height), int(width)

    def summary(self) -> str:
        """All that matters of it, in one short line."""
        skipped = f", {counted(len(self.skipped), 'image')} left out" if self.skipped else ""
        return f"{self.path}: {counted(self.batches, 'batch')} of {times(self.shape)} float32{skipped}"

    def summary_rows(self) -> Iterator[tuple[str, object]]:
        """The few facts that a notebook shows."""
        yield "batches", f"{self.batches} of {times(self.shape)} float32"
        for name in ("network", "split", "seed", "plan_sha256"):
            yield name, self.facts.get(name)
        for name in ("engine", "seconds", "images_per_second"):
            if name in self.run:
                yield name, self.run[name]
        for image in self.skipped:
            yield "left out", f"{image.where}: {image.reason}"
        for warning in self.warnings:
            yield "warning", warning

    def to_json(self) -> dict[str, Any]:
        """What ``<output>.json`` and ``--json`` hold, without the sample table."""
        return {
            "schema": SCHEMA,
            "tensorfile": self.path,
            "batches": self.batches,
            "shape": list(self.shape),
            "manifest": self.facts,
            "skipped": [image._asdict() for image in self.skipped],
            "warnings": list(self.warnings),
            "reused": self.reused,
            "run": self.run,
            **self.record,
        }

    def to_bytes(self) -> bytes:
        """`to_json` as the text of ``<output>.json``; names that are not UTF-8 are escaped."""
        return (json.dumps(self.to_json(), indent=1, ensure_ascii=True) + "\n").encode()


def facts(plan: Plan, compression: Compression, *, batches: int, skipped: int) -> dict[str, Any]:
    """The manifest that goes inside the tensorfile, but for what the writer adds: format version and checksum."""
    return {
        "int8cal": __version__,
        **plan.facts(),
        "batches": batches,
        "skipped": skipped,
        "dataset": plan.dataset.facts(),
        "plan_sha256": plan.sha256,
        "compression": compression.name,
        "encoder": compression.encoder,
        "packages": deciding_packages(),
    }


def reference_facts(plan: Plan) -> dict[str, Any]:
    """The manifest of a file that NVIDIA's command made: it lies in ``<output>.json`` alone."""
    return {
        "schema": SCHEMA,
        "int8cal": __version__,
        **plan.facts(),
        "arithmetic": {"name": f"nvidia.{plan.origin.name}", "evidence": "reference", "options": {}},
        "batches": plan.batch_count,
        "skipped": 0,
        "dataset": plan.dataset.facts(),
        "plan_sha256": plan.sha256,
    }


@dataclass(frozen=True)
class Clock:
    """When a run began; make one as it begins."""

    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    begin: float = field(default_factory=time.perf_counter)

    def facts(self, images: int) -> dict[str, Any]:
        """The run facts of a run that ends now, with so many images."""
        seconds = time.perf_counter() - self.begin
        return {
            "started": self.started.isoformat(timespec="seconds"),
            "seconds": round(seconds, 3),
            "images_per_second": round(images / seconds, 2),
        }


def machine() -> dict[str, str]:
    """The machine's part of the run facts."""
    return {
        "python": platform.python_version(),
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
        "platform": platform.platform(),
        "architecture": platform.machine(),
        "host": platform.node(),
    }


def run_facts_output(out: str, *, overwrite: bool) -> OutputFile:
    """``<out>.json``, to be entered before the work: what cannot be replaced is refused then.

    An earlier run's is replaced, as is one that a run left which was killed before it gave the tensorfile its name.

    Args:
        out: the tensorfile.
        overwrite: whether the user wants files replaced; one that is something else is not, even so.
    """
    path = f"{out}.json"
    kind = FileKind("the record of a run", is_run_facts)
    return OutputFile(path, overwrite=overwrite or is_run_facts(path), replaces=kind)


def publish(
    tensorfile: OutputFile, run_facts: OutputFile, manifest: Manifest, *, then: Callable[[], None] = lambda: None
) -> None:
    """Give a complete tensorfile and its ``.json`` their names, the tensorfile the last: it never stands alone.

    When the process dies between the two, the ``.json`` alone is left, and the next run replaces it. Errors as
    `commit_together`.

    Args:
        tensorfile: the tensorfile, written.
        run_facts: the ``.json``.
        manifest: what it says.
        then: done with it, before a signal is obeyed.
    """
    tensorfile.prepare()  # first: a run that has lost its tensorfile to another one must not touch that one's record
    run_facts.reclaim()
    try:
        run_facts.write(manifest.to_bytes())
        run_facts.prepare()
    except OutputError:  # the other one, cleaning up just now, has removed this one's record in the place of its own
        run_facts.reclaim()
        run_facts.write(manifest.to_bytes())
    commit_together(run_facts, tensorfile, then=then)


def publish_failure(run_facts: OutputFile, manifest: Manifest, problem: str) -> None:
    """Give the ``.json`` of a run its name that came to no tensorfile: it holds what is known of the failure."""
    error = {"message": problem, "exit_code": EngineFailedError.exit_code}
    with suppress(OutputError):  # the failure itself is what the user must hear of
        run_facts.write(replace(manifest, record={**manifest.record, "error": error}).to_bytes())
        run_facts.commit()


def is_run_facts(path: str) -> bool:
    """Whether ``path`` is the ``.json`` of an earlier run, which a new run may replace."""
    return read_run_facts(path) is not None


def read_run_facts(path: str) -> dict[str, Any] | None:
    """The content of the ``.json`` of an earlier run; None when ``path`` is something else, or not there."""
    try:
        content = parsed_json(_read_regular(path), OutputError, "is not a record of a run")
    except (OSError, ValueError, OutputError) as error:  # ValueError: a name that no file can have
        raise_if_lacking(error, path)
        return None
    if isinstance(content, dict) and {"schema", "tensorfile", "manifest"} <= content.keys():
        return content
    return None


def _read_regular(path: str) -> bytes:
    """The content of a regular file; nothing of one that is too large."""
    with open_regular(path) as file:
        too_large = os.fstat(file.fileno()).st_size > _MAX_RUN_FACTS_BYTES
        return b"" if too_large else file.read(_MAX_RUN_FACTS_BYTES)


def deciding_packages() -> dict[str, str]:
    """Version of every package that can change arrays or bytes, and of the JPEG library that Pillow has."""
    packages = {name: importlib.import_module(module).__version__ for name, module in _DECIDING_PACKAGES.items()}
    core = importlib.import_module("PIL._imaging")  # what PIL.features asks, which imports all of Pillow
    return {**packages, "libjpeg-turbo of pillow": str(getattr(core, "libjpeg_turbo_version", None))}


def encoder_versions() -> dict[str, str]:
    """What must be the same wherever chunks of one file are made: versions, and the processor's architecture.

    Python's zlib, which may be any that the system has, makes the chunks of the compression ``small``.
    """
    return {
        "int8cal": __version__,
        **deciding_packages(),
        "encoder": native.encoder(),
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
        "processor architecture": platform.machine(),
    }
