"""A folder, a list or a COCO file of images, with the preprocessing stated: an origin that knows no TAO."""

from __future__ import annotations

import codecs
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Final

from int8cal.errors import DataError, UsageError
from int8cal.io.file_kinds import NPY, NPZ, ONNX_MODEL, TENSORFILE
from int8cal.io.safe_text import printable, shell_word
from int8cal.network_kit.labels import folder_class
from int8cal.network_kit.network import LabelledObject
from int8cal.origins.images.preprocessing import Preprocessing
from int8cal.origins.images.stated import PRESETS, stated
from int8cal.origins.origin import Choice, Decision
from int8cal.samples.coco import MAX_IMAGES, read_boxes, read_coco
from int8cal.samples.folders import (
    PICTURE_SUFFIXES,
    files_below,
    list_folder,
    listed_suffixes,
    no_image_but,
    refuse_single,
    suffixes_of,
)
from int8cal.samples.nearby import folders_below, near_by
from int8cal.samples.order import permutation
from int8cal.samples.paths import open_data_file, path_hint, path_text
from int8cal.samples.samples import FILES_LEFT_OUT, Dataset, Sample, Source
from int8cal.spec.reading import PREPROCESSING, read_bytes
from int8cal.spec.yaml.text import plain, read_document
from int8cal.tensorfile import TensorFile

if TYPE_CHECKING:
    from int8cal.types import SampleOrder

NAME: Final = "images"
EXTENSIONS: Final = (
    ".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
"""Of image files, in any case."""

_SEED = 42
_MAX_LIST_BYTES = 256 << 20
_WHAT = "folder of images"
_QUOTES = ('"', "'")
_CONVERT = "Convert such pictures first, as with heif-convert or ImageMagick."


@dataclass(frozen=True)
class ImagesOrigin:
    """Images and what is done to them.

    Attributes:
        path: a folder; a text file with one path per line, relative to its own folder; or a COCO file (``.json``),
            whose file names are relative to ``image_dir``, or to its own folder.
        preprocessing: the numbers.
        recursive: of a folder: from the folders below it, too.
        image_dir: where the file names of a COCO file or a list start from.
    """

    path: str
    preprocessing: Preprocessing
    recursive: bool = False
    image_dir: str | None = None

    def __repr__(self) -> str:
        return f"<Images of {printable(self.path)}: {self.preprocessing.preset or 'stated numbers'}>"

    @property
    def name(self) -> str:
        """What the manifest calls it."""
        return NAME

    @property
    def title(self) -> str:
        """Where the numbers come from, in one line."""
        preset = self.preprocessing.preset
        return f"the preset {preset}: {PRESETS[preset].source}" if preset else "preprocessing as stated"

    @property
    def overrides(self) -> tuple[str, ...]:
        """None: the numbers are stated, not read from a spec."""
        return ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """None: what is odd is refused."""
        return ()

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the numbers."""
        return self.preprocessing.sha256

    def advice(self, path: str) -> str | None:
        """Where the names of a list or a COCO file start from, when none of its images is there; see `Origin`."""
        if remote := path_hint(path):
            return remote
        root = self._root
        if os.path.isdir(self.path) or any(os.path.isfile(os.path.join(root, name)) for name in self._names):
            return None
        name = os.path.relpath(path, root or os.curdir)
        if name[:1] in _QUOTES and name[-1:] == name[:1]:
            return "Every line is a path as it is: take the quotation marks out."
        if "*" in name:
            return "Every line is one path, and no pattern: write the list with ls or find, or give the folder."
        beside = os.path.dirname(self.path)
        above = os.path.dirname(os.path.abspath(beside))
        for folder in (found for start in (beside or os.curdir, os.curdir, above) for found in folders_below(start)):
            if os.path.isfile(os.path.join(folder, name)):
                return f"The names start from another folder: add --image_dir {shell_word(folder)}"
        if name[:1] in ("~", "$"):
            return "A list is not read by a shell: write what stands for ~ or $NAME."
        near = near_by(path)
        start = f"The names start from {path_text(root or os.curdir)}: --image_dir DIR names another."
        return f"{near} {start}" if near else start

    def checked_options(self, options: Mapping[str, str]) -> Mapping[str, str]:
        """It has none, but says in the manifest whether a folder was read recursively.

        Raises:
            UsageError: an option is given.
        """
        others = [name for name in options if name != "recursive"]
        if others:
            raise UsageError(f"images have no option {others[0]!r}", hint=f"Leave {others[0]} out.")
        return {"recursive": "yes" if self._recursive(options) else "no"}

    def decide(self, choice: Choice) -> Decision:
        """All images, in an order that the seed decides; see `int8cal.origins.origin.Origin.decide`."""
        if choice.split is not None or choice.cal_image_dir is not None:
            raise UsageError("images have no splits and no other folder", hint="Leave split and cal_image_dir out.")
        options = self.checked_options(choice.options)
        dataset = self._dataset(recursive=options["recursive"] == "yes")
        seed = _SEED if choice.seed is None else choice.seed
        order: SampleOrder = permutation(len(dataset.samples), seed)
        return Decision(
            split=None,
            seed=seed,
            batch_size=choice.batch_size or 1,
            max_batches=-1 if choice.max_batches is None else choice.max_batches,
            dataset=dataset,
            order=order,
            arithmetic=self.preprocessing.arithmetic(),
            options=options,
        )

    def objects(self, sample: Sample) -> list[LabelledObject] | None:
        """The boxes of a COCO file, or the folder of the image as its class.

        Raises:
            DataError: the labels cannot be read.
        """
        if not self._is_coco:
            return folder_class(None, sample)
        boxes = self._boxes.get(sample.frame_id, [])
        return [LabelledObject(name, (x, y, x + width, y + height)) for name, x, y, width, height in boxes]

    def _recursive(self, options: Mapping[str, str]) -> bool:
        return self.recursive or options.get("recursive") == "yes"

    @property
    def _is_coco(self) -> bool:
        return self.path.lower().endswith(".json")

    @cached_property
    def _boxes(self) -> dict[str, list[tuple[str, float, float, float, float]]]:
        return read_boxes(self.path, self._names).of_file

    @property
    def _root(self) -> str:
        """Where the names start from."""
        return self.path if os.path.isdir(self.path) else self.image_dir or os.path.dirname(self.path)

    @property
    def _names(self) -> list[str]:
        """The names in a list or a COCO file."""
        if self._is_coco:
            return [image.file_name for image in read_coco(self.path, every=True).images]
        return _listed(self.path)

    def _dataset(self, *, recursive: bool) -> Dataset:
        if not (self._is_coco or os.path.isfile(self.path)):
            if self.image_dir is not None and os.path.isdir(self.path):
                raise UsageError(
                    "image_dir is where the names in a list or a COCO file start, and this is a folder",
                    where=path_text(self.path),
                    hint="Leave --image_dir out, or give the list.",
                )
            return _of_folder(self.path, recursive=recursive)
        if recursive:
            raise UsageError(
                "recursive is for a folder, and this is a file that names the images",
                where=path_text(self.path),
                hint="Leave --recursive out, or give the folder.",
            )
        return Dataset("", (Source(0, self.path, _samples(self._root, self._names)),))


def _samples(root: str, names: Sequence[str]) -> tuple[Sample, ...]:
    return tuple(Sample(0, name, os.path.join(root, name)) for name in names)


def _of_folder(folder: str, *, recursive: bool) -> Dataset:
    """The images in a folder, sorted by name, and what else is there.

    Raises:
        MissingDataError: it is not there.
        DataError: it cannot be read, or holds no image.
    """
    folders: list[str] = []
    if recursive:
        files = list(files_below(folder, _WHAT, not_entered=folders))
        folders.sort()
    else:
        folders, files = list_folder(folder, _WHAT, EXTENSIONS)
    names = [name for name in files if name.lower().endswith(EXTENSIONS)]
    if not names:
        hint = f"Images are files named {', '.join(EXTENSIONS)}, in any case."
        if folders:
            hint += (
                " Links to folders and hidden folders are not entered: give the folder itself, or a list of its images."
                if recursive
                else " For those in folders below it, add --recursive."
            )
        if any(name.lower().endswith(PICTURE_SUFFIXES) for name in files):
            hint += f" {_CONVERT}"
        message = no_image_but(files, folders, recursive=recursive)
        raise DataError(message, where=path_text(folder), hint=hint)
    suffixes = Counter(os.path.splitext(name)[1].lower() for name in names)
    counts = {f"files {suffix}": number for suffix, number in sorted(suffixes.items())}
    others = [name for name in files if not name.lower().endswith(EXTENSIONS)]
    counts |= {FILES_LEFT_OUT: len(others), "folders not entered": len(folders)}
    pictures = [name for name in others if name.lower().endswith(PICTURE_SUFFIXES)]
    warnings = []
    if len(pictures) > len(names):
        warnings.append(
            f"{path_text(folder)}: {len(names)} images are taken, and {len(pictures)} pictures of other kinds are left "
            f"out ({listed_suffixes(suffixes_of(pictures))}). {_CONVERT}"
        )
    source = Source(0, folder, _samples(folder, names))
    return Dataset("", (source,), counts=counts, suffixes=suffixes_of(others), warnings=tuple(warnings))


def _listed(path: str) -> list[str]:
    """The lines of a list file; blank ones do not count.

    Raises:
        DataError: it cannot be read, is too large, or names nothing.
    """
    with open_data_file(
        path, "list of images", DataError, hint="Give a text file with one path per line, in UTF-8."
    ) as file:
        refuse_single(path)
        data = file.read(_MAX_LIST_BYTES + 1)
    if len(data) > _MAX_LIST_BYTES or b"\0" in data:
        kind = next(
            (kind.name for kind in (TENSORFILE, ONNX_MODEL, NPZ, NPY) if kind.recognises(path)), "a binary file"
        )
        raise DataError(
            f"this is {kind}, not a list of images",
            where=path_text(path),
            hint="Give a folder, or a text file with one path per line, in UTF-8.",
        )
    lines = re.finditer(rb"[^\r\n]+", data.removeprefix(codecs.BOM_UTF8))
    texts = (line[0].decode("utf-8", "surrogateescape") for line in lines)
    names = list(islice((text for text in texts if text.strip()), MAX_IMAGES + 1))
    if len(names) > MAX_IMAGES:
        raise DataError(
            f"the list names more than {MAX_IMAGES:,} images", where=path_text(path), hint="Write several lists."
        )
    if not names:
        raise DataError("the list names no image", where=path_text(path), hint="Write one path per line.")
    return names


def read_preprocessing(path: str) -> Preprocessing:
    """The preprocessing of a ``preprocess.yaml``.

    Raises:
        SpecError: it cannot be read, or is not YAML.
        UsageError: a key is unknown or has another type, or the numbers do not suffice.
    """
    root = read_document(read_bytes(path, PREPROCESSING), path, PREPROCESSING).root
    numbers = plain(root)
    return stated(numbers.pop("preset", None), numbers, where=printable(path))


def preprocessing_of_file(path: str) -> Preprocessing:
    """The preprocessing that the manifest of a tensorfile states.

    Raises:
        TensorFileError: the file cannot be read.
        UsageError: its manifest states none, or one that cannot be.
    """
    with TensorFile(path) as file:
        manifest = file.manifest or {}
    where = printable(path)
    try:
        numbers = manifest["arithmetic"]["options"]["preprocessing"]
        return stated(None, dict(numbers), where=where)
    except (KeyError, TypeError, ValueError):
        raise UsageError(
            "this file's manifest states no preprocessing",
            where=where,
            hint="It is not of int8cal images: give -e SPEC, or --preprocess FILE with the numbers.",
        ) from None
