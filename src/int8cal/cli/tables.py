"""A run and its dry run as rows of names and values."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from int8cal.io.paths import absolute
from int8cal.io.summary import counted
from int8cal.network_kit.framing import Framing, framing
from int8cal.samples.folders import listed_suffixes
from int8cal.samples.samples import FILES_LEFT_OUT, SUFFIXES_LEFT_OUT
from int8cal.types import Size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from int8cal.manifest import Manifest
    from int8cal.plans import Plan

_MISSING_SHOWN = 20


def run_table(manifest: Manifest) -> list[tuple[str, object]]:
    """What came out of a run."""
    facts = manifest.facts
    batch_size, channels, height, width = manifest.shape
    rows: list[tuple[str, object]] = [
        ("tensorfile", manifest.path),
        ("batches", f"{manifest.batches} of {counted(batch_size, 'image')}, {channels} x {height} x {width} float32"),
        ("images", _images(facts["images"], facts["split"], manifest.run.get("spec", ""))),
        *_left_over(
            sum(facts["dataset"]["sources"]) - manifest.batches * batch_size - len(manifest.skipped), batch_size
        ),
        ("order", _order(facts["options"], facts["seed"])),
        ("arithmetic", f"{facts['arithmetic']['name']} ({facts['arithmetic']['evidence']})"),
    ]
    sizes = (Size(row.height, row.width) for row in manifest.samples)
    options = facts["arithmetic"]["options"]
    rows += _framing_row(framing(options, (channels, height, width), sizes), options)
    rows += dataset_rows(facts["dataset"])
    if manifest.skipped:
        rows.append(("skipped", f"{counted(len(manifest.skipped), 'image')}:"))
        rows += [("", f"{image.where}: {image.reason}") for image in manifest.skipped]
    if manifest.run.get("images_reused"):
        rows.append(("resumed", f"{manifest.run['images_reused']} images of an interrupted run were used"))
    if "seconds" in manifest.run:
        rows.append(("time", f"{manifest.run['seconds']:.1f} s, {manifest.run['images_per_second']:.1f} images/s"))
    rows.append(("record", f"{manifest.path}.json"))
    return rows


def plan_table(plan: Plan) -> list[tuple[str, object]]:
    """What a run would do."""
    missing = plan.missing_images()
    rows: list[tuple[str, object]] = [
        ("network", f"{plan.origin.name}: {plan.origin.title}"),
        ("images", f"{len(plan.dataset.samples)} {_images(plan.images_from, plan.split, plan.origin.path)}"),
        ("sources", len(plan.dataset.sources)),
        ("batches", f"{plan.batch_count} of {counted(plan.batch_size, 'image')}"),
        *_left_over(len(plan.dataset.samples) - plan.image_count, plan.batch_size),
        ("shape", "{} x {} x {} x {} float32".format(*plan.shape)),
        ("size", f"{plan.nbytes / 1e6:,.1f} MB uncompressed"),
        ("order", _order(plan.options, plan.seed)),
        ("arithmetic", f"{plan.arithmetic.name} ({plan.arithmetic.evidence})"),
        ("plan", plan.sha256),
    ]
    rows += _framing_row(plan.framing(), plan.arithmetic.options)
    rows += dataset_rows(plan.dataset.facts())
    rows += [("first samples", ", ".join(sample.frame_id for sample in plan.candidates(min(5, plan.image_count))))]
    rows.append(("missing images", len(missing)))
    rows += [("", path) for path in missing[:_MISSING_SHOWN]]
    if len(missing) > _MISSING_SHOWN:
        rows.append(("", f"and {len(missing) - _MISSING_SHOWN} more"))
    return rows


def dataset_rows(facts: Mapping[str, Any]) -> list[tuple[str, object]]:
    """What there is beside the samples of a data set, by its facts; files of other kinds by their suffixes."""
    rows = {name: count for name, count in facts.items() if name not in ("sources", SUFFIXES_LEFT_OUT)}
    if suffixes := facts.get(SUFFIXES_LEFT_OUT):
        rows[FILES_LEFT_OUT] = listed_suffixes(suffixes)
    return list(rows.items())


def _left_over(count: int, batch_size: int) -> list[tuple[str, object]]:
    """How many images would be in a batch that is not made, since it is not full; fewer batches are a choice."""
    return [("left over", counted(count, "image") + ", too few for a batch")] if 0 < count < batch_size else []


def _framing_row(found: Framing | None, options: Mapping[str, Any]) -> list[tuple[str, object]]:
    """How much is padding and how much is cut off, where it is any."""
    if found is None or found.whole:
        return []
    if not found.doubtful(options):
        return [("framing", str(found))]
    return [
        ("framing", f"warning: {found}"),
        ("", "right if the network was trained so; enable_auto_resize: true in the spec scales images instead"),
    ]


def _order(options: Mapping[str, str], seed: int) -> str:
    return "as listed" if options.get("order") == "listing" else f"seed {seed}"


def _images(images_from: str, split: str | None, source: str) -> str:
    """Which ones: those of a split, or of the folder or list that an origin without splits is."""
    if images_from != "data set":
        return f"of a {images_from}"
    return f"of the {split} split" if split else f"of {os.path.basename(absolute(source)) or source}"
