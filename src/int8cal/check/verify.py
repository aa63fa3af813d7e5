"""`verify`: every check of a tensorfile, in one pass over its batches."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from int8cal import origins
from int8cal.check.model import try_model
from int8cal.check.presets import stated
from int8cal.check.rebuild import InOrder, claim_of, in_any_order, planned
from int8cal.check.record import compare_record, facts_of
from int8cal.check.sense import sense
from int8cal.check.statistics import LoudnessCounts, Measures, Statistics, measure, measure_with_digest
from int8cal.errors import TensorFileError
from int8cal.io.arguments import checked_arguments
from int8cal.io.progress import watched
from int8cal.io.safe_text import printable, shortened
from int8cal.io.summary import Summarised, times
from int8cal.manifest import read_run_facts
from int8cal.network_kit.framing import by_size_alone, framing
from int8cal.tensorfile.batches import opened_file
from int8cal.tensorfile.check import ValueCheck, check_structure
from int8cal.tensorfile.findings import LEVELS, Finding, by_level
from int8cal.tensorfile.layout import SKIPPED
from int8cal.types import Size

if TYPE_CHECKING:
    from int8cal.check.rebuild import Claim, MadeFrom
    from int8cal.models.binding import Constants
    from int8cal.origins.origin import Origin
    from int8cal.plans import Plan
    from int8cal.tensorfile import TensorFile
    from int8cal.types import BatchNCHW_f32, ImageCHW_f32, Layout, Progress


class Watcher(Protocol):
    """Something that looks at every image while the file is read once."""

    def add(self, first: int, batch: BatchNCHW_f32) -> None:
        """Images that follow each other in the file, the first of them with its number (NCHW, finite)."""


@dataclass(frozen=True, repr=False)
class Verification(Summarised):
    """What `verify` found.

    Attributes:
        path: the file.
        batches: how many it says it has.
        shape: (B, C, H, W) of its batches.
        statistics: of its values.
        findings: errors first.
        plan: the run that should have made it; None without a spec.
        made_from: image number → what it was made from, where the spec proves it.
    """

    path: str
    batches: int
    shape: tuple[int, int, int, int]
    statistics: Statistics
    findings: tuple[Finding, ...]
    plan: Plan | None = None
    made_from: Mapping[int, MadeFrom] = field(default_factory=dict)

    def summary(self) -> str:
        """All that matters of it, in one short line."""
        return f"{self.path}: {self.verdict}; {self.batches} batches of {times(self.shape)}"

    def summary_rows(self) -> Iterator[tuple[str, object]]:
        """The findings, and what to do about each."""
        for finding in self.findings:
            yield finding.level, f"{finding.message} [{finding.code}] {finding.hint}"

    def count(self, level: str) -> int:
        """Number of findings of a level."""
        return sum(finding.level == level for finding in self.findings)

    @property
    def verdict(self) -> str:
        """How many findings of each level."""
        counts = {level: self.count(level) for level in LEVELS}
        return ", ".join(f"{count} {level}{'' if count == 1 else 's'}" for level, count in counts.items())

    @property
    def sound(self) -> bool:
        """Whether there is no error."""
        return self.count("error") == 0

    def with_findings(self, more: Iterable[Finding]) -> Verification:
        """The verification with further findings."""
        return replace(self, findings=tuple(by_level([*self.findings, *more])))

    def require_sound(self) -> None:
        """Raise what the findings amount to.

        Raises:
            TensorFileError: there is an error among them.
        """
        errors = [finding for finding in self.findings if finding.level == "error"]
        if errors:
            more = f" (and {len(errors) - 1} more errors)" if len(errors) > 1 else ""
            raise TensorFileError(errors[0].message + more, where=self.path, hint=errors[0].hint)

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON types."""
        return {
            "path": self.path,
            "batches": self.batches,
            "shape": list(self.shape),
            "sound": self.sound,
            "channels": self.statistics.channel_facts() if self.statistics.images else [],
            "findings": [finding.to_json() for finding in self.findings],
        }


@checked_arguments(workers=1)
def verify(
    path: str | os.PathLike[str] | TensorFile,
    *,
    spec: Origin | str | os.PathLike[str] | None = None,
    claim: Claim | None = None,
    model: str | os.PathLike[str] | None = None,
    input_name: str | None = None,
    layout: Layout | None = None,
    constants: Constants | None = None,
    watchers: Sequence[Watcher] = (),
    workers: int | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Check structure, values and sense of a tensorfile, and whether it is what a spec asks for.

    Args:
        path: a tensorfile, or its path.
        spec: the spec or another origin, or its path, to make the images from again and compare every bit; None: they
            are judged by themselves.
        claim: the same with more to say about it, in place of ``spec``.
        model: a float ONNX model to show a few of the images to; None: none. Needs the extra ``quantize``.
        input_name: the model's input, to be sure of it.
        layout: layout of that input, where it cannot be told.
        constants: values of the model's other inputs, which take no images.
        watchers: shown every usable image during the pass.
        workers: threads for making images; None: the processors that this process may use.
        progress: told how far the pass is.

    Returns:
        The findings. Errors among them are not raised: see `Verification.require_sound`.

    Raises:
        UsageError: an argument is of a wrong type, or ``spec`` and ``claim`` are given both.
        TensorFileError: it cannot be opened as a tensorfile at all.
        SpecError, DataError: its images cannot be made again.
        UseError: the model cannot be read, or nothing can be told by it: its input cannot be fed, or it fails.
        UnavailableError: the model asks for an extra that is not installed.
    """
    claim = claim_of(spec, claim)
    with opened_file(path) as file:
        seen = []
        if model is not None:
            seen = try_model(file, model, input_name=input_name, layout=layout, constants=constants)
        structure = [*check_structure(file), *_unknown_network(file), *_record_beside(file)]
        values, statistics = ValueCheck(file), Statistics(file.shape[1], file.shape[2] * file.shape[3])
        rebuilt = _Rebuild(claim, file, workers)
        with closing(rebuilt):
            measured = measure_with_digest if claim and claim.any_order else measure
            _read_once(values, measured, statistics, (*rebuilt.watchers, *watchers), progress)
        rebuilt.conclude(statistics, progress)
        proof = rebuilt.findings
        is_whole = all(finding.level != "error" for finding in structure)
        sources = _source_hashes(file) if is_whole else None
        expected = stated(facts_of(rebuilt.proved) if rebuilt.proved else file.manifest, file.shape[1])
        judged = sense(statistics, expected=expected, sources=sources)
        record = compare_record(rebuilt.proved, file) if rebuilt.proved and is_whole else []
        judged = _of_the_data(judged) if rebuilt.proved else judged
        framed = _framed(file) if is_whole else []
        findings = [*structure, *values.findings, *proof, *record, *rebuilt.taken, *judged, *framed, *seen]
        return Verification(
            path=file.path,
            batches=len(file),
            shape=file.shape,
            statistics=statistics,
            findings=tuple(by_level(findings)),
            plan=rebuilt.plan,
            made_from=rebuilt.made_from,
        )


def _unknown_network(file: TensorFile) -> Iterator[Finding]:
    network = (file.manifest or {}).get("network")
    if isinstance(network, str) and network not in origins.names():
        yield Finding(
            "warning",
            "unknown-network",
            f"the manifest names the network {shortened(network, 80)!r}, which int8cal does not know",
            "Install the distribution that brings this network; without one, the manifest was edited.",
        )


def _record_beside(file: TensorFile) -> Iterator[Finding]:
    """Whether the ``.json`` beside the file is of another run, such as one that died while it replaced the file."""
    path = f"{file.path}.json"
    beside, manifest = (read_run_facts(path) or {}).get("manifest"), file.manifest
    if manifest and isinstance(beside, dict) and beside.get("plan_sha256") != manifest.get("plan_sha256"):
        yield Finding(
            "warning",
            "record-beside",
            f"{printable(path)} tells of another run than the manifest in the file",
            "A run that was to replace the file may have been killed. Make the file again, or remove the .json.",
        )


def _framed(file: TensorFile) -> list[Finding]:
    """How much of the input is padding and how much of the images is cut off, by the manifest and the sizes in it."""
    arithmetic, table = (file.manifest or {}).get("arithmetic"), file.samples
    options = arithmetic.get("options") if isinstance(arithmetic, dict) else None
    if not isinstance(options, dict) or table is None:
        return []
    used = table[table["batch"] != SKIPPED]
    sizes = (Size(int(height), int(width)) for height, width in zip(used["height"], used["width"], strict=True))
    found = framing(options, file.shape[1:], sizes)
    if found is None or found.whole:
        return []
    return [
        Finding(
            "warning" if found.doubtful(options) else "note",
            "framing",
            str(found),
            "If the network was trained so, that is right. If not: set enable_auto_resize, or resize the images."
            if by_size_alone(options)
            else "The spec, or the preprocessing that was stated, asks for it.",
        )
    ]


class _Rebuild:
    """The comparison with what a spec makes, if one is asked for: during the pass when in order, after it otherwise."""

    def __init__(self, claim: Claim | None, file: TensorFile, workers: int | None) -> None:
        self._file, self._workers = file, workers
        self.plan: Plan | None = None
        self.findings: list[Finding] = []
        self.taken: list[Finding] = []
        self.made_from: Mapping[int, MadeFrom] = {}
        self._in_order: InOrder | None = None
        self._loudness: LoudnessCounts | None = None
        if claim is None:
            return
        self.findings, self.plan = planned(claim, file)
        self.taken = claim.taken_from(file) if self.plan else []
        if self.plan and claim.any_order:
            self._loudness = LoudnessCounts()
        elif self.plan:
            self._in_order = InOrder(self.plan, file, workers)

    @property
    def watchers(self) -> tuple[Watcher, ...]:
        return tuple(watcher for watcher in (self._in_order, self._loudness) if watcher)

    @property
    def proved(self) -> Plan | None:
        """The plan, once the comparison has shown that it makes the images of the file."""
        return self.plan if any(finding.code == "rebuilt" for finding in self.findings) else None

    def close(self) -> None:
        if self._in_order:
            self._in_order.close()

    def conclude(self, statistics: Statistics, progress: Progress | None) -> None:
        """Come to ``findings`` and ``made_from``, once the pass is over."""
        if self._in_order:
            self.findings, self.made_from = self._in_order.findings, self._in_order.made_from
        elif self.plan and self._loudness:
            self.findings, self.made_from = in_any_order(
                self.plan,
                self._file,
                statistics.images,
                loudness=self._loudness.images,
                workers=self._workers,
                progress=progress,
            )


def _of_the_data(judged: list[Finding]) -> list[Finding]:
    """What sense says once the images are proved to be what the spec makes: their content is the data's own then."""
    return [
        replace(finding, level="warning", hint="The data set itself is so: look at its images.")
        if finding.level == "error"
        else finding
        for finding in judged
        if finding.code not in ("cannot-see", "preset")
    ]


def _read_once(
    values: ValueCheck,
    measured: Callable[[ImageCHW_f32, bytes], Measures],
    statistics: Statistics,
    watchers: Iterable[Watcher],
    progress: Progress | None,
) -> None:
    """Show every usable image to every watcher, and its measures, taken on threads, to the statistics."""
    listening = tuple(watchers)
    with watched(progress, len(values.file) * values.file.shape[0], "checking") as advance:
        for first, batch, measures in values.images(measured):
            statistics.add(first, measures)
            for watcher in listening:
                watcher.add(first, batch)
            advance(len(batch))


def _source_hashes(file: TensorFile) -> list[bytes] | None:
    """SHA-256 of the image file behind each image, where the sample table names it."""
    table = file.samples
    if table is None:
        return None
    used = table[table["batch"] != SKIPPED]
    return [digest.tobytes() for digest in used["sha256"]]
