"""What stands on the page, as plain data, and the page made of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from int8cal import __version__
from int8cal.io.safe_text import shell_word
from int8cal.report.charts import HEIGHT, WIDTH, BrightnessChart, ClassShare, LevelChart
from int8cal.report.web_page import rendered

if TYPE_CHECKING:
    from int8cal.check.verify import Verification
    from int8cal.report.comparison import ModelPart
    from int8cal.report.survey import Survey
    from int8cal.report.viewing import Thumbnail, View


@dataclass(frozen=True)
class LabelledBox:
    """A labelled box in a picture, in pixels of the network input."""

    name: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Picture:
    """One picture of the contact sheet.

    Attributes:
        thumbnail: the picture.
        name: of the sample.
        place: ``batch 0, image 3``.
        marks: what is odd about it, in a word each.
        boxes: of labelled objects.
    """

    thumbnail: Thumbnail
    name: str
    place: str
    marks: tuple[str, ...] = ()
    boxes: tuple[LabelledBox, ...] = ()


@dataclass(frozen=True)
class SampleLine:
    """One row of the sample table."""

    place: str
    name: str
    size: str
    sha256: str


@dataclass(frozen=True)
class FactGroup:
    """A part of the manifest: its name, and name–value rows."""

    name: str
    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Command:
    """Something to type, and what it is for."""

    title: str
    lines: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True)
class Page:
    """Everything on the page. Names from data are made printable by the template.

    Attributes:
        name: of the file.
        found: what `verify` says of it.
        view: how its values are shown as pixels.
        facts: name–value rows at the top.
        pictures: the contact sheet.
        histograms: one per channel.
        model: the INT8 model made with the file, against the float model; None without them.
        survey: the chosen images against the split; None without spec.
        brightness: chart of it.
        classes: chart of it.
        manifest: its parts; empty without one.
        samples: rows of the sample table.
        commands: to use the file next.
    """

    name: str
    found: Verification
    view: View
    facts: tuple[tuple[str, str], ...]
    pictures: tuple[Picture, ...]
    histograms: tuple[LevelChart, ...]
    model: ModelPart | None = None
    survey: Survey | None = None
    brightness: BrightnessChart | None = None
    classes: tuple[ClassShare, ...] = ()
    manifest: tuple[FactGroup, ...] = ()
    samples: tuple[SampleLine, ...] = ()
    commands: tuple[Command, ...] = field(default=())

    def render(self) -> bytes:
        """The page as HTML. The same page gives the same bytes.

        Raises:
            UnavailableError: Jinja2 is not installed.
        """
        return rendered(
            "int8cal.report",
            "page.html.j2",
            "page.css",
            page=self,
            chart_width=WIDTH,
            chart_height=HEIGHT,
            version=__version__,
        )


def manifest_groups(manifest: Mapping[str, Any]) -> Iterator[FactGroup]:
    """A nested manifest as groups of flat rows: first what stands at its top, then one group per part."""
    parts = {name: value for name, value in sorted(manifest.items()) if isinstance(value, Mapping) and value}
    yield FactGroup("run", tuple((name, _shown(manifest[name])) for name in sorted(manifest) if name not in parts))
    for name, part in parts.items():
        yield FactGroup(name, tuple(_rows(part)))


def _rows(part: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in sorted(part.items()):
        if isinstance(value, Mapping) and value:
            yield from _rows(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _shown(value)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def commands(
    found: Verification, network: str | None, spec: str | None, folder: str | None = None, shapes_option: str = ""
) -> tuple[Command, ...]:
    """What to type next, with the numbers of this very file.

    Args:
        found: what ``verify`` says of it.
        network: which network it is for, by its manifest.
        spec: the spec, or the source of the images, if it was named.
        folder: the folder that the images are from in place of the spec's data, or ``DIR`` where it is not known.
        shapes_option: of the model's input, see `int8cal.models.binding.InputBinding`.
    """
    file = shell_word(os.path.basename(found.path))
    tao = shell_word(network) if network else "NETWORK"
    counts = f"--batches {found.batches} --batch_size {found.shape[0]}"
    of_images = network == "images"
    source = shell_word(os.path.basename(spec.rstrip("/"))) if spec else "DIR" if of_images else "SPEC"
    source += f" --cal_image_dir {shell_word(folder)}" if folder else ""
    shapes = f" {shell_word(shapes_option)}" if shapes_option else ""
    return (
        Command(
            "Prove it",
            (f"int8cal verify {file} {'--images' if of_images else '-e'} {source}",),
            f"Makes every image again from the {'images' if of_images else 'spec'} and compares each bit.",
        ),
        Command(
            "INT8 model for TensorRT 11, ONNX Runtime, OpenVINO",
            (
                f"int8cal quantize model.onnx {file} -o model.int8.onnx",
                f"trtexec --onnx=model.int8.onnx{shapes} --saveEngine=model.engine",
            ),
            "TensorRT 11 has no calibrators any more: it takes Q/DQ models.",
        ),
        Command(
            "Calibration cache for TensorRT 8 to 10 and DeepStream",
            (
                f"int8cal quantize model.onnx {file} -o model.int8.onnx \\",
                "    --trt_cache cal.bin --trt_version 10.3.0",
                f"trtexec --onnx=model.onnx --int8 --calib=cal.bin{shapes} --saveEngine=model.engine",
            ),
            "The cache goes with the float model; give the version that will read it.",
        ),
        Command(
            "TAO Deploy",
            (
                f"tao deploy {tao} gen_trt_engine -m model.onnx --data_type int8 \\",
                f"    --cal_data_file {file} --cal_cache_file cal.bin \\",
                f"    {counts} --engine_file model.engine",
            ),
            f"Give exactly {counts}: a larger batch is refused, a smaller one drops the rest of each batch, more "
            "batches than the file has end in an error. An old cal.bin is used without a look at this file: remove it.",
        ),
    )
