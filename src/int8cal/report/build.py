"""`report`: read the file once, look at it, and put the page together."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any, TypedDict

from int8cal import origins
from int8cal.check.rebuild import claim_of
from int8cal.check.sense import is_noise, without_loud
from int8cal.check.statistics import LoudnessCounts
from int8cal.check.verify import Verification, verify
from int8cal.errors import TensorFileError, UsageError
from int8cal.io.arguments import checked_arguments
from int8cal.io.paths import given_path
from int8cal.report import charts
from int8cal.report.objects import PixelMaps
from int8cal.report.page import LabelledBox, Page, Picture, SampleLine, commands, manifest_groups
from int8cal.report.survey import survey
from int8cal.report.viewing import ContactSheet, LevelCounts, Thumbnail, View, view_of
from int8cal.report.web_page import page_output
from int8cal.tensorfile import TensorFile
from int8cal.tensorfile.batches import opened_file
from int8cal.tensorfile.findings import Finding
from int8cal.tensorfile.layout import SKIPPED, is_of_folder, split_text
from int8cal.tensorfile.selection import evenly

if TYPE_CHECKING:
    from collections.abc import Mapping

    from int8cal.check.rebuild import Claim
    from int8cal.models.binding import Constants
    from int8cal.origins.origin import Origin
    from int8cal.report.comparison import ModelPart
    from int8cal.types import Layout, Progress


class _Inputs(TypedDict):
    """How images get into models."""

    input_name: str | None
    layout: Layout | None
    constants: Constants | None


PICTURES = 48
"""Pictures on the contact sheet unless asked otherwise."""
MODEL_IMAGES = 64
"""Images of the file on which models are compared."""
_MAX_SAMPLES = 2000
"""Rows of the sample table on the page."""


@checked_arguments(pictures=0)
def write_report(
    path: str | os.PathLike[str] | TensorFile,
    out: str | os.PathLike[str],
    *,
    spec: Origin | str | os.PathLike[str] | None = None,
    claim: Claim | None = None,
    model: str | os.PathLike[str] | None = None,
    int8: str | os.PathLike[str] | None = None,
    input_name: str | None = None,
    layout: Layout | None = None,
    constants: Constants | None = None,
    pictures: int = PICTURES,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Verification:
    """Write the HTML report of a tensorfile.

    Args:
        path: a tensorfile, or its path.
        out: the page to write.
        spec: the spec or another origin to make the images from again, or its path; adds the proof, labelled boxes and
            the comparison with the split.
        claim: the same with more to say about it, in place of ``spec``; see `build_page`.
        model: the float model; see `build_page` for this and what follows.
        int8: the INT8 model made of it.
        input_name: the models' input.
        layout: layout of that input.
        constants: values of the models' other inputs.
        pictures: see `build_page`.
        overwrite: replace an existing page.
        progress: told how far each pass is.

    Returns:
        What `verify` found, which is also on the page.

    Raises:
        UnavailableError: Jinja2 is not installed.
        TensorFileError: the file cannot be opened as a tensorfile.
        SpecError, DataError: its images cannot be made again.
        UsageError: an INT8 model without its float model.
        UseError: a model cannot be read or run, or the two do not belong together.
        OutputError: the page exists or cannot be written.
    """
    claim = claim_of(spec, claim)
    inputs = (
        path.path if isinstance(path, TensorFile) else given_path(path, "a tensorfile"),
        *((claim.origin.path,) if claim else ()),
        *(given_path(path, "a model") for path in (model, int8) if path is not None),
    )
    with page_output(given_path(out, "the page"), overwrite=overwrite, inputs=inputs) as output:
        page = build_page(
            path,
            claim=claim,
            model=model,
            int8=int8,
            input_name=input_name,
            layout=layout,
            constants=constants,
            pictures=pictures,
            progress=progress,
        )
        output.write(page.render())
        output.commit()
    return page.found


def build_page(
    path: str | os.PathLike[str] | TensorFile,
    *,
    claim: Claim | None = None,
    model: str | os.PathLike[str] | None = None,
    int8: str | os.PathLike[str] | None = None,
    input_name: str | None = None,
    layout: Layout | None = None,
    constants: Constants | None = None,
    pictures: int = PICTURES,
    progress: Progress | None = None,
) -> Page:
    """Everything that the report of a tensorfile says.

    Args:
        path: the file.
        claim: the spec to make its images from again; adds the proof, labelled boxes and the comparison with the split.
        model: the float model, ONNX: a few of the images are shown to it, as `verify` does.
        int8: the INT8 model made of it: adds how far the two are apart on images of the file. Not without ``model``.
        input_name: the models' input, to be sure of it.
        layout: layout of that input, where it cannot be told.
        constants: values of the models' other inputs, which take no images.
        pictures: how many to show, spread evenly over the file.
        progress: told how far each pass is.

    Raises:
        TensorFileError: the file cannot be opened as a tensorfile.
        SpecError, DataError: its images cannot be made again.
        UsageError: an INT8 model without its float model.
        UseError: a model cannot be read or run, or the two do not belong together.
    """
    if int8 is not None and model is None:
        raise UsageError("an INT8 model is compared with its float model", hint="Give the float model, too: --model.")
    inputs: _Inputs = {"input_name": input_name, "layout": layout, "constants": constants}
    with opened_file(path) as file:
        view = view_of(file)
        sheet = ContactSheet(view, frozenset(evenly(file.image_count, pictures)))
        counts = LevelCounts(view, file.shape[1])
        loudness = LoudnessCounts()
        watchers = (sheet, counts, loudness) if claim else (sheet, counts)
        found = verify(file, claim=claim, model=model, watchers=watchers, progress=progress, **inputs)
        compared = (
            _compared(model, int8, file, found, inputs, progress) if model is not None and int8 is not None else None
        )
        if compared and not compared.is_quantised:
            found = found.with_findings([_NOT_INT8])
        rows = _sample_rows(file)
        manifest = file.manifest
        size = _size(file)
    names = {number: _text(row["frame_id"]) for number, row in rows.items()}
    names |= {number: made_from.sample.frame_id for number, made_from in found.made_from.items()}
    surveyed = survey(found, found.plan, view, progress) if found.plan and found.made_from else None
    if surveyed and not any(finding.code == "loud-images-missing" for finding in found.findings):
        found = found.with_findings(without_loud(loudness.images, surveyed.split_loudness))
    return Page(
        name=os.path.basename(found.path),
        found=found,
        view=view,
        facts=(
            *_facts(found, size, manifest or {}),
            *((("INT8 model", "not compared: the file has errors"),) if int8 is not None and not compared else ()),
        ),
        pictures=tuple(_pictures(sheet.thumbnails, found, view, names)),
        histograms=tuple(charts.histograms(counts, found.statistics.channel_facts()))
        if found.statistics.images
        else (),
        model=compared,
        survey=surveyed,
        brightness=charts.brightness(surveyed) if surveyed else None,
        classes=tuple(charts.classes(surveyed)) if surveyed else (),
        manifest=tuple(manifest_groups(manifest)) if manifest else (),
        samples=tuple(_sample(number, rows[number], found) for number in list(rows)[:_MAX_SAMPLES]),
        commands=commands(
            found,
            _network(found, manifest or {}),
            claim.origin.path if claim else None,
            _folder(manifest or {}, claim),
            _shapes_option(model, found, inputs),
        ),
    )


_NOT_INT8 = Finding(
    "warning",
    "int8-not-quantised",
    "the model of --int8 is not quantised: how far it is from the float model says nothing of INT8",
    "Give the INT8 model that int8cal quantize makes of the float model.",
)


def _compared(
    model: str | os.PathLike[str],
    int8: str | os.PathLike[str],
    file: TensorFile,
    found: Verification,
    inputs: _Inputs,
    progress: Progress | None,
) -> ModelPart | None:
    """How far the models are apart on images of the file; None when the file is not sound, which is said anyway."""
    from int8cal.models.compare import compare  # late: it wants the extra ``quantize``
    from int8cal.report.comparison import ModelPart

    if not found.sound:
        return None
    comparison = compare(model, int8, file, max_images=MODEL_IMAGES, progress=progress, **inputs)
    some = f"the first {comparison.agreement.images} images" if file.image_count > MODEL_IMAGES else "all images"
    note = f"Both models were run on {some} of this file. On images that calibration has not seen, INT8 may do worse."
    return ModelPart.of(comparison, note)


def _shapes_option(model: str | os.PathLike[str] | None, found: Verification, inputs: _Inputs) -> str:
    """What trtexec is to be told of the model's input; nothing where the model is unknown or does not fit."""
    if model is None or not found.sound:
        return ""
    from int8cal.models.wants import input_for  # late: it wants the extra ``quantize``

    return input_for(model, found.shape, **inputs).shapes_option


def _folder(manifest: Mapping[str, Any], claim: Claim | None) -> str | None:
    """The folder that the images are from in place of the spec's data; ``DIR``: it is not known which."""
    if not is_of_folder(manifest):
        return None
    return os.fspath((claim.cal_image_dir if claim else None) or "DIR")


def _facts(found: Verification, size: str, manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The few things to know first."""
    batch, channels, height, width = found.shape
    arithmetic = manifest.get("arithmetic")
    rows = [
        ("Images", f"{found.batches * batch:,}"),
        ("Batches", f"{found.batches} × {batch}"),
        ("Network input", f"{channels} × {height} × {width}"),
        ("File size", size),
    ]
    if network := _network(found, manifest):
        rows.append(("Network", network))
    if "split" in manifest:
        rows.append(("Split", f"{split_text(manifest)}, seed {manifest.get('seed')}"))
    if isinstance(arithmetic, dict):
        rows += [("Arithmetic", str(arithmetic.get("name"))), ("Evidence", str(arithmetic.get("evidence")))]
    if manifest.get("skipped"):
        rows.append(("Left out", f"{manifest['skipped']} bad images"))
    return rows


def _size(file: TensorFile) -> str:
    try:
        return f"{file.file_bytes / 1e6:,.1f} MB"
    except TensorFileError:  # what is missing is among the findings
        return "unknown: a part file is missing"


def _network(found: Verification, manifest: Mapping[str, Any]) -> str | None:
    """The network, if int8cal knows it: what an edited manifest names must not stand in a command to be copied."""
    if found.plan:
        return found.plan.origin.name
    network = manifest.get("network")
    return network if isinstance(network, str) and network in origins.names() else None


def _pictures(thumbnails: list[Thumbnail], found: Verification, view: View, names: Mapping[int, str]) -> list[Picture]:
    labelled = _LabelledBoxes(found, view)
    images = {image.number: image for image in found.statistics.images}
    seen = Counter(image.digest for image in found.statistics.images)
    pictures = []
    for thumbnail in thumbnails:
        image = images[thumbnail.number]
        odd = {
            "one colour": image.is_constant,
            "noise": is_noise(image),
            "repeated": seen[image.digest] > 1 and not image.is_constant,
        }
        pictures.append(
            Picture(
                thumbnail=thumbnail,
                name=names.get(thumbnail.number, ""),
                place=_place(thumbnail.number, found),
                marks=tuple(mark for mark, applies in odd.items() if applies),
                boxes=tuple(labelled.of(thumbnail.number)),
            )
        )
    return pictures


class _LabelledBoxes:
    """The labelled boxes of images whose origin is proved."""

    def __init__(self, found: Verification, view: View) -> None:
        self._found = found
        self._placements = PixelMaps(found.plan, view.normalisation) if found.plan else None

    def of(self, number: int) -> list[LabelledBox]:
        """Boxes of an image that can be seen in it, in pixels of the network input."""
        made_from = self._found.made_from.get(number)
        if made_from is None or self._found.plan is None or self._placements is None:
            return []
        things = self._found.plan.origin.objects(made_from.sample) or ()
        boxes = [(thing.name, thing.box) for thing in things if thing.box]
        placement = self._placements.of(made_from) if boxes else None
        if placement is None:
            return []
        _, _, height, width = self._found.shape
        visible = []
        for name, box in boxes:
            left, top, right, bottom = placement.place(box)
            left, right = max(left, 0.0), min(right, float(width))
            top, bottom = max(top, 0.0), min(bottom, float(height))
            if right > left and bottom > top:
                edges = (round(edge, 1) for edge in (left, top, right - left, bottom - top))
                visible.append(LabelledBox(name, *edges))
        return visible


def _sample_rows(file: TensorFile) -> dict[int, Any]:
    """Image number → row of the sample table; empty when there is none that can be read."""
    try:
        table = file.samples
    except TensorFileError:
        return {}
    used = table[table["batch"] != SKIPPED] if table is not None else []
    return dict(enumerate(used))


def _sample(number: int, row: Any, found: Verification) -> SampleLine:
    return SampleLine(
        place=_place(number, found),
        name=_text(row["frame_id"]),
        size=f"{row['width']} × {row['height']}",
        sha256=row["sha256"].tobytes().hex(),
    )


def _place(number: int, found: Verification) -> str:
    batch, position = divmod(number, found.shape[0])
    return f"batch {batch}, image {position}"


def _text(name: bytes) -> str:
    return name.decode(errors="surrogateescape")
