"""`verify -e SPEC`: make the images of a tensorfile again from spec and data, and compare every bit.

Works for files of NVIDIA's tools as well: what their files do not say (split, seed, number of batches) comes from the
options, the spec, and the file's own size.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from int8cal.check.sense import without_loud
from int8cal.check.statistics import Loudness
from int8cal.engine.work import FailedSample, Image, ImageWork, names_of
from int8cal.errors import DataError, UsageError
from int8cal.io.arguments import checked_values
from int8cal.io.progress import watched
from int8cal.io.safe_text import printable, shortened
from int8cal.io.threads import map_on_threads
from int8cal.origins.experiment import read_spec
from int8cal.origins.origin import Origin
from int8cal.pipeline import plan
from int8cal.plans import Plan
from int8cal.samples.encoded import sample_place
from int8cal.tensorfile.checksums import digest_of
from int8cal.tensorfile.findings import Finding
from int8cal.tensorfile.layout import FOLDER_RECURSIVE, SKIPPED, is_of_folder, is_seed
from int8cal.types import Size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from int8cal.check.statistics import ImageStatistics
    from int8cal.samples.samples import Sample
    from int8cal.tensorfile import TensorFile
    from int8cal.types import BatchNCHW_f32, ImageCHW_f32, Progress, SplitName

MAX_LOOKED_AT = 400
"""Images of the split that are made to see what a file leaves out."""
_GRID = 4
"""Images are matched by the means of this many by this many fields when none is equal."""


@dataclass(frozen=True)
class Claim:
    """What a tensorfile is said to be made from.

    Attributes:
        origin: the experiment spec, or whatever else plans are made from.
        split: which split; None: what the manifest says, else training.
        seed: seed of the sample order; None: what the manifest says, else the spec's.
        any_order: accept the images in any order, as a selection of the split.
        data_root: folder that relative paths in the spec start from; None: the network's default.
        cal_image_dir: the folder that the images come from in place of the spec's data, if they do.
    """

    origin: Origin
    split: SplitName | None = None
    seed: int | None = None
    any_order: bool = False
    data_root: str | os.PathLike[str] | None = None
    cal_image_dir: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        for name, value in checked_values(vars(self), type(self).__annotations__).items():
            object.__setattr__(self, name, value)
        if not isinstance(self.origin, Origin):
            raise UsageError(
                f"a claim cannot be about a {type(self.origin).__name__}",
                hint="Give what int8cal.read_spec returns, or spec=… in place of a claim.",
            )

    def plan(self, file: TensorFile, *, batch_size: int, batches: int) -> Plan:
        """A run with the file's split and seed.

        Raises:
            UsageError: the file's images are of a folder, and none is named.
            SpecError: the spec asks for something impossible.
            DataError: the data set cannot be read, or has fewer images.
        """
        stated: Mapping[str, object] = file.manifest or {}
        if is_of_folder(stated) and self.cal_image_dir is None:
            raise UsageError("this file's images are of a folder", where=file.path, hint="Add --cal_image_dir DIR.")
        options, seed, split = stated.get("options"), stated.get("seed"), stated.get("split")
        return plan(
            self.origin,
            split=self.split or (split if isinstance(split, str) else None),
            seed=self.seed if self.seed is not None or not is_seed(seed) else seed,
            batch_size=batch_size,
            max_batches=batches,
            data_root=self.data_root,
            cal_image_dir=self.cal_image_dir,
            recursive=self.cal_image_dir is not None and stated.get("images") == FOLDER_RECURSIVE,
            options=options if isinstance(options, dict) else None,
        )

    def taken_from(self, file: TensorFile) -> list[Finding]:
        """A note of what the command line leaves to the manifest, so that nobody takes it for proved of the file."""
        stated = file.manifest or {}
        options, seed = stated.get("options"), stated.get("seed")
        taken = {
            "split": stated.get("split") if self.split is None else None,
            "seed": seed if self.seed is None and not self.any_order and is_seed(seed) else None,
            **(options if isinstance(options, dict) else {}),
        }
        listed = ", ".join(f"{name} {value}" for name, value in taken.items() if isinstance(value, str | int))
        if not listed:
            return []
        return [
            Finding(
                "note",
                "taken-from-manifest",
                f"the images were made again as the manifest says: {printable(shortened(listed, 200))}",
                "Compare that with what the network is trained and run with.",
            )
        ]


def claim_of(spec: Plan | Origin | str | os.PathLike[str] | None, claim: Claim | None = None) -> Claim | None:
    """What a caller says a tensorfile is made from: a spec, its path, a plan, or more than that.

    Raises:
        UsageError: both are given, or one is of a wrong type.
        SpecError: the spec cannot be read.
    """
    if claim is not None and not isinstance(claim, Claim):
        raise UsageError(
            f"a claim cannot be of the type {type(claim).__name__}", hint="Give int8cal.Claim(spec), or spec=…"
        )
    if spec is None:
        return claim
    if claim is not None:
        raise UsageError("spec and claim say the same", hint="Give one of them.")
    if isinstance(spec, Plan):
        folder = spec.folder.path if spec.folder else None
        return Claim(spec.origin, split=spec.split, seed=spec.seed, cal_image_dir=folder)
    return Claim(spec if isinstance(spec, Origin) else read_spec(spec))


def planned(claim: Claim, file: TensorFile) -> tuple[list[Finding], Plan | None]:
    """The run that should have made a file; or, when spec and data cannot make such a file, a finding that says why.

    Raises:
        SpecError: the spec asks for something impossible.
        DataError: the data set cannot be read.
    """
    stated: Mapping[str, object] = file.manifest or {}
    refused = _refused_options(claim.origin, stated)
    if refused:
        return refused, None
    try:
        found = claim.plan(file, batch_size=file.shape[0], batches=len(file))
    except UsageError as error:
        if claim.split is not None or is_of_folder(stated) or not isinstance(stated.get("split"), str):
            raise
        return [_of_other_data(f"the manifest names what the spec does not have: {printable(error.message)}")], None
    except DataError:
        images = len(file) * file.shape[0]
        possible = claim.plan(file, batch_size=1, batches=-1).image_count  # is it the number that cannot be?
        if possible >= images:
            raise
        return [_of_other_data(f"the file has {images} images, their source gives {possible}")], None
    if found.shape != file.shape:
        return [_of_other_data(f"the file's batches have shape {file.shape}, their source gives {found.shape}")], None
    return [], found


def _refused_options(origin: Origin, stated: Mapping[str, object]) -> list[Finding]:
    """The finding for a manifest with options that the network of the spec does not have.

    They are the file's, not the user's: advice on the command line would lead astray.
    """
    options = stated.get("options")
    if not isinstance(options, dict):
        return []
    try:
        origin.checked_options(options)
    except UsageError as error:
        if stated.get("network") != origin.name:
            of = printable(shortened(str(stated.get("network")), 80))
            return [_of_other_data(f"the file is of the network {of}, the spec of {origin.name}")]
        message = f"the manifest holds an option that cannot be: {printable(error.message)}"
        hint = "It was edited, or another version of int8cal made the file: verify with that, or make it again."
        return [Finding("error", "manifest-wrong", message, hint)]
    return []


def _of_other_data(message: str) -> Finding:
    return Finding("error", "differs", message, "The file is of another spec, split or data set.")


class MadeFrom(NamedTuple):
    """What an image of a file was made from, proved by making it again.

    Attributes:
        sample: the sample.
        size: of its decoded image, in pixels.
    """

    sample: Sample
    size: Size


@dataclass(frozen=True)
class Difference:
    """Where an image of the file and the image made again differ first, and how much in all.

    Attributes:
        channel, y, x: place of the first value that differs, in the order of the file.
        found: the file's value there.
        made: the value made from spec and data.
        count: how many values differ.
        largest: largest absolute difference.
    """

    channel: int
    y: int
    x: int
    found: float
    made: float
    count: int
    largest: float

    @classmethod
    def between(cls, found: ImageCHW_f32, made: ImageCHW_f32) -> Difference | None:
        """The difference of two images of one shape, bit by bit; None when they are equal."""
        unequal = found.view(np.uint32) != made.view(np.uint32)
        count = int(np.count_nonzero(unequal))
        if not count:
            return None
        channel, y, x = (int(index) for index in np.unravel_index(int(unequal.argmax()), unequal.shape))
        largest = float(np.abs(found.astype(np.float64) - made).max())
        return cls(channel, y, x, float(found[channel, y, x]), float(made[channel, y, x]), count, largest)

    def __str__(self) -> str:
        return (
            f"channel {self.channel}, y {self.y}, x {self.x}: the file has {self.found:.9g}, the source makes "
            f"{self.made:.9g}; {self.count} values differ, by at most {self.largest:.3g}"
        )


def rebuilt_images(
    planned: Plan, samples: Iterable[Sample], workers: int | None = None
) -> Generator[Image | FailedSample]:
    """Samples → their images, in order; close it to end the work early."""
    with closing(map_on_threads(ImageWork.of(planned), samples, workers)) as results:
        yield from results


@dataclass
class InOrder:
    """Compares each image of a file, shown in order, with the image that the plan makes at that place.

    Args:
        planned: the run that should have made the file.
        file: the file; its batches are not read here.
        workers: threads; None: the processors that this process may use.
        made_from: image number → what it was made from, of the images that are equal.
    """

    planned: Plan
    file: TensorFile
    workers: int | None = None
    made_from: dict[int, MadeFrom] = field(default_factory=dict)
    _different: int = 0
    _first: str = ""
    _compared: int = 0
    _found: set[bytes] = field(default_factory=set)
    _made: set[bytes] = field(default_factory=set)

    def __post_init__(self) -> None:
        table, skipped = self.file.samples, (self.file.manifest or {}).get("skipped", 0)
        self._may_fail = skipped if table is None and isinstance(skipped, int) else 0  # which ones, only a table says
        left_out = _left_out(table) if table is not None else Counter()
        wanted = None if self._may_fail else len(self.file) * self.file.shape[0] + left_out.total()
        samples = _without(left_out, self.planned.candidates(wanted))
        self._results = rebuilt_images(self.planned, samples, self.workers)
        self._next = 0

    def add(self, first: int, batch: BatchNCHW_f32) -> None:
        """Compare images that follow each other in the file."""
        for number, image in enumerate(batch, first):
            result = self._result(number)
            if result is None:
                return
            self._compared += 1
            made = result.tensor
            difference = Difference.between(image, made)
            if difference is None:
                self.made_from[number] = _made_from(result)
                continue
            self._found.add(digest_of(image))
            self._made.add(digest_of(made))
            self._different += 1
            self._first = self._first or _described(number, self.file, result.sample, difference)

    def close(self) -> None:
        """End the work."""
        self._results.close()

    @property
    def findings(self) -> list[Finding]:
        """What the comparison says, once all images were shown."""
        if self._different:
            same = self._found == self._made
            return [
                Finding(
                    "error",
                    "differs",
                    f"{self._different} of {self._compared} images are not what their source makes. "
                    f"The first: {self._first}",
                    "The images are the same in another order: verify with --any_order, or give the right --seed."
                    if same
                    else "The file is of another spec, split, seed or data set, or an image was changed.",
                )
            ]
        if self._compared < len(self.file) * self.file.shape[0]:
            return [_incomplete(self._compared)]
        return [
            Finding(
                "note",
                "rebuilt",
                f"all {self._compared} images were made again from their source: equal in every bit, in order",
                "Nothing to do: the images are what their source makes.",
            )
        ]

    def _result(self, number: int) -> Image | None:
        """What the plan makes for an image of the file; images left out by the run are left out here."""
        while True:
            result = next(self._results, None)
            if isinstance(result, FailedSample):
                if not self._may_fail:
                    raise result.error
                self._may_fail -= 1
                continue
            self._next += 1
            if result is None or self._next > number:
                return result


def _left_out(table: npt.NDArray[np.void]) -> Counter[tuple[object, ...]]:
    """The samples that a sample table names as skipped, by `_identity`, and how often."""
    rows = table[table["batch"] == SKIPPED][["source", "frame_id", "record_file", "record_offset"]]
    return Counter(tuple(row) for row in rows.tolist())


def _without(left_out: Counter[tuple[object, ...]], samples: Iterable[Sample]) -> Iterator[Sample]:
    """Samples but for those that are left out, each as often as it is."""
    for sample in samples:
        identity = _identity(sample)
        if left_out[identity]:
            left_out[identity] -= 1
        else:
            yield sample


def _identity(sample: Sample) -> tuple[object, ...]:
    """Which sample it is, whatever became of its record since."""
    return names_of(sample)[:4]


def in_any_order(
    planned: Plan,
    file: TensorFile,
    images: Sequence[ImageStatistics],
    *,
    loudness: Sequence[Loudness] = (),
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[list[Finding], dict[int, MadeFrom]]:
    """Compare the images of a file with all images that the split can give, whatever the order.

    Args:
        planned: a run on the split; its epoch is made until all images are found, and at least so far that it is
            seen whether the file lacks loud images.
        file: the file.
        images: the statistics of its images.
        loudness: of its images.
        workers: threads; None: the processors that this process may use.
        progress: told of every image made.

    Returns:
        A finding (all are there; or how many are not, with the nearest image to the first of these), a warning when all
        are there and the split has far louder ones; and image number → what it was made from, of the images that are
        there.
    """
    numbers: dict[bytes, list[int]] = {}
    for image in images:
        numbers.setdefault(image.digest, []).append(image.number)
    missing = dict(numbers)
    made_from: dict[int, MadeFrom] = {}
    samples = [planned.dataset.samples[index] for index in dict.fromkeys(planned.order.tolist())]
    split: list[tuple[str, Loudness]] = []
    fields: list[tuple[Sample, npt.NDArray[np.float32]]] = []
    failed: list[FailedSample] = []
    with (
        watched(progress, len(samples), "comparing") as advance,
        closing(rebuilt_images(planned, samples, workers)) as results,
    ):
        for result in results:
            if isinstance(result, Image):
                made = result.tensor
                for number in missing.pop(digest_of(made), ()):
                    made_from[number] = _made_from(result)
                fields.append((result.sample, _fields(made)))
                split.append((result.sample.frame_id, Loudness.of(made)))
            else:
                failed.append(result)
            advance(1)
            if not missing and len(split) + len(failed) >= MAX_LOOKED_AT:
                break
    if len(images) < len(file) * file.shape[0]:
        return [_incomplete(len(images))], made_from
    if missing:
        number = min(places[0] for places in missing.values())
        finding = Finding(
            "error",
            "differs",
            f"{len(missing)} of {len(numbers)} different images are not what their source makes of any image of the "
            f"split. {_unusable(failed)}"
            f"The first, and the image that is nearest: {_nearest(planned, file, number, fields)}",
            "Mend the images of the split that cannot be used, and verify again: the file may have been made from them."
            if failed
            else "The file is of another spec, split or data set, or an image was changed.",
        )
    else:
        finding = Finding(
            "note",
            "rebuilt",
            f"all {len(images)} images are among those made from their source: equal in every bit, in any order",
            "Nothing to do: the images are what their source makes.",
        )
    return [finding, *([] if missing else without_loud(loudness, split))], made_from


def _unusable(failed: Sequence[FailedSample]) -> str:
    """A sentence on the images of the split that nothing could be compared with; nothing when there are none."""
    if not failed:
        return ""
    error = failed[0].error
    return f"{len(failed)} of its images cannot be used; the first: {error.where}: {error.message.rstrip('.')}. "


def _nearest(
    planned: Plan, file: TensorFile, number: int, fields: Sequence[tuple[Sample, npt.NDArray[np.float32]]]
) -> str:
    batch, position = divmod(number, file.shape[0])
    image = file[batch][position]
    wanted = _fields(image)
    ranked = sorted(fields, key=lambda entry: float(np.abs(entry[1] - wanted).sum()))
    for result in rebuilt_images(planned, [sample for sample, _ in ranked[:1]], 1):
        if isinstance(result, Image) and (difference := Difference.between(image, result.tensor)):
            return _described(number, file, result.sample, difference)
    return f"batch {batch} image {position}, none"


def _fields(image: ImageCHW_f32) -> npt.NDArray[np.float32]:
    """A coarse likeness of an image: means of a few fields of it."""
    rows = np.array_split(image, min(_GRID, image.shape[1]), axis=1)
    cells = [cell for row in rows for cell in np.array_split(row, min(_GRID, image.shape[2]), axis=2)]
    return np.array([cell.mean(axis=(1, 2)) for cell in cells], np.float32)


def _made_from(result: Image) -> MadeFrom:
    return MadeFrom(result.sample, Size(result.facts.height, result.facts.width))


def _incomplete(compared: int) -> Finding:
    return Finding(
        "error",
        "not-compared",
        f"only {compared} images of the file could be compared with what their source makes",
        "Mend what the other findings name first.",
    )


def _described(number: int, file: TensorFile, sample: Sample, difference: Difference) -> str:
    batch, position = divmod(number, file.shape[0])
    name = printable(sample.frame_id)
    return f"batch {batch} image {position} ({name}, {sample_place(sample)}), {difference}"
