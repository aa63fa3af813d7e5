"""What ``quantize`` calibrates with: a tensorfile, arrays, or images with their preprocessing, made on the spot."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from int8cal.cli import progress
from int8cal.cli.endings import quoted
from int8cal.cli.options import given_words
from int8cal.errors import UsageError, UseError
from int8cal.io.paths import open_regular
from int8cal.io.safe_text import printable

if TYPE_CHECKING:
    from int8cal.models.wants import Wanted
    from int8cal.origins.images.preprocessing import Preprocessing
    from int8cal.types import Layout

_MAX_BEGINNING = 1 << 16
_BY_HAND = ("size", "resize", "order", "scale", "mean", "std")
_PLACES = ("recursive", "image_dir")


class Images:
    """Opens what stands for calibration images on the command line of a model.

    Args:
        files: closes what is opened.
        model: the model.
        stated: the options of `int8cal.cli.images.preprocessing_options`.
        input_name, layout: the model's input, as far as the user names it.
        recursive, image_dir: the options of `int8cal.cli.images.places_of_images`.
    """

    def __init__(
        self,
        files: ExitStack,
        model: str,
        stated: dict[str, Any],
        input_name: str | None,
        layout: Layout | None,
        *,
        recursive: bool,
        image_dir: str | None,
    ) -> None:
        self._recursive, self._image_dir = recursive, image_dir
        self._files, self._model, self._stated = files, model, stated
        self._input_name, self._layout = input_name, layout
        self.datasets: dict[str, dict[str, Any]] = {}  # by path, the facts of images that were opened
        self._is_warned = False
        self._of_model: list[str] = []  # options that the model's input stands for

    def opened(self, path: str, *, keep: str | None = None, overwrite: bool = False) -> Any:
        """Batches of a tensorfile, of arrays, or of a folder, a list or a COCO file of images.

        Args:
            path: which.
            keep: also write the batches of images to this tensorfile.
            overwrite: replace that, if it is one.

        Raises:
            UsageError: images without their preprocessing, or a preprocessing without images.
            UseError: arrays are not what a model could be fed.
        """
        given = [name for name, value in self._stated.items() if value is not None]
        if not of_images(path):
            places = {"keep": keep, "recursive": self._recursive, "image_dir": self._image_dir}
            wrong = given + [name for name, value in places.items() if value]
            if os.path.isfile(path):
                from int8cal.samples.folders import refuse_single

                refuse_single(path)
            if wrong and not os.path.lexists(path):
                raise click.UsageError(f"{printable(path)}: there is no such file or folder")
            if wrong and path.lower().endswith(".onnx"):
                right = quoted("int8cal", "quantize", path, self._model)
                raise click.UsageError(f"{printable(path)} is a model, and the model comes first: {right} …")
            if wrong:
                raise click.UsageError(f"--{wrong[0]} is for images from a folder, a list or a COCO file")
            from int8cal.tensorfile import TensorFile
            from int8cal.tensorfile.arrays import array_batches, is_of_arrays

            if is_of_arrays(path):
                return array_batches(path, self._name_of_input)
            return self._files.enter_context(TensorFile(path))
        refuse_spec(path)
        if not given:
            raise UsageError(
                "images need the preprocessing that the model was trained with; nothing is guessed",
                where=printable(path),
                hint="Add --preset imagenet (or clip, ultralytics, yolox, tf, caffe), --preprocess FILE.yaml, or the "
                "numbers: --resize stretch --scale 1/255 --mean 0 --std 1.",
            )
        from int8cal.cli.make import warn_of_data
        from int8cal.origins.images.origin import ImagesOrigin
        from int8cal.pipeline import make, plan
        from int8cal.tensorfile import TensorFile

        planned = plan(ImagesOrigin(path, self._preprocessing(), self._recursive, self._image_dir))
        warn_of_data(planned)
        self.datasets[path] = planned.dataset.facts()
        if keep is None:
            return planned.batches()
        make(planned, keep, overwrite=overwrite, progress=progress.on_stderr())
        return self._files.enter_context(TensorFile(keep))

    def words(self) -> list[str]:
        """The preprocessing of the images that were opened, as options of ``int8cal images``."""
        return given_words(only=self._stated.keys()) + self._of_model

    def command(self, path: str) -> str:
        """The command that makes a tensorfile of the images of ``path``."""
        return quoted("int8cal", "images", path, "-o", "FILE", *self.words(), *given_words(only=_PLACES))

    def _name_of_input(self) -> str:
        from int8cal.models.wants import wanted

        return wanted(self._model, input_name=self._input_name, layout=self._layout).input

    def _preprocessing(self) -> Preprocessing:
        """What is stated, with the size of the model where none is."""
        from int8cal.cli.images import preprocessing_of, warn_of_unit
        from int8cal.models.wants import wanted
        from int8cal.types import Size

        found = wanted(self._model, input_name=self._input_name, layout=self._layout)
        self._of_model = []
        stated = dict(self._stated)
        if stated.get("size") is None and stated.get("preprocess") is None and found.height and found.width:
            stated["size"] = f"{found.height}x{found.width}"
            self._of_model += ["--size", stated["size"]]
        if stated.get("order") is None and stated.get("preprocess") is None and found.channels == 1:
            stated["order"] = "gray"
            self._of_model += ["--order", "gray"]
        preprocessing = preprocessing_of(**stated)
        if not self._is_warned:  # once, though --eval names a folder, too
            warn_of_unit(preprocessing)
            self._is_warned = True
        if found.height and found.width and preprocessing.size != (found.height, found.width):
            wanted_size = Size(found.height, found.width)
            raise UseError(
                f"the model takes {wanted_size.height}x{wanted_size.width} pixels, and the preprocessing makes "
                f"{preprocessing.size.height}x{preprocessing.size.width} (height x width)",
                where=printable(self._model),
                hint=f"Leave --size out, or give --size {wanted_size.height}x{wanted_size.width}.",
            )
        by_hand = stated.get("preprocess") is not None or any(
            self._stated.get(name) is not None for name in _BY_HAND[2:]
        )
        if not by_hand:
            refuse_contradiction(found, preprocessing, self._model)
        size_is_stated = self._stated.get("size") is not None or self._stated.get("preprocess") is not None
        if not (found.height and found.width) and not size_is_stated:
            refuse_other_size(found, preprocessing, self._model)
        return preprocessing


def of_images(path: str) -> bool:
    """Whether a path is that of images, not of batches: a folder, a list or a COCO file."""
    return os.path.isdir(path) or path.lower().endswith((".txt", ".json"))


def refuse_spec(path: str) -> None:
    """Refuse an experiment spec in place of a list of images: what it asks for is made by another command.

    Raises:
        UsageError: the file reads as protobuf text.
    """
    if not path.lower().endswith(".txt"):
        return
    try:
        with open_regular(path) as file:
            lines = [line.strip() for line in file.read(_MAX_BEGINNING).decode(errors="replace").splitlines()]
    except (OSError, ValueError):
        return  # of which the reader of lists tells
    first = next((line for line in lines if line and not line.startswith("#")), "")
    if re.match(r"[a-z_0-9]+\s*(\{|:\s)", first):
        raise UsageError(
            "this is a spec, not a list of images",
            where=printable(path),
            hint=f"Make the tensorfile first: {quoted('int8cal', 'calibration_tensorfile', '-e', path, '-o', 'FILE')}",
        )


def refuse_other_size(found: Wanted, preprocessing: Preprocessing, model: str) -> None:
    """Refuse the size of a preset that is not the one which the model's metadata name.

    Raises:
        UsageError: they name another.
    """
    if found.said and found.said != preprocessing.size:
        said, made = (f"{size.height}x{size.width}" for size in (found.said, preprocessing.size))
        raise UsageError(
            f"the model's metadata say {said} pixels, and the preset {preprocessing.preset} makes {made}",
            where=printable(model),
            hint=f"Add --size {said}, or --size {made} if that is meant.",
        )


def refuse_contradiction(found: Wanted, preprocessing: Preprocessing, model: str) -> None:
    """Refuse a preset that is not what the model says of itself.

    Raises:
        UsageError: it says something against it.
    """
    from int8cal.models.wants import contradiction

    values = preprocessing.values()
    said = contradiction(found, str(preprocessing.preset), (float(values.min()), float(values.max())))
    if said:
        right = "Use --preset ultralytics." if found.exporter == "Ultralytics" else "One of them is too much."
        raise UsageError(
            said,
            where=printable(model),
            hint=f"{right} If the numbers are right all the same, give them by hand: --scale, --mean, --std.",
        )
