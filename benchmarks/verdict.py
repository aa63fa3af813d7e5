"""What a verdict is worth: figures of `int8cal.models.verdict` beside the task's own accuracy, on four networks.

A development-only check, run by hand: the demo's detector and classifier, PP-OCRv4's text detector and its classifier
of lines (what they need and how they are scored: ``real_models.py``). INT8 models of every quality are made of each:
by all methods from many images and from few, from wrong data, and with all ranges multiplied by a factor. Agreement is
measured on pictures that calibration has not seen, as with ``--eval``; the loss is that of the task's score against the
float model, in points.

    PYTHONPATH=/tmp/real_models .venv/bin/python benchmarks/verdict.py [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from helper import print_table
from ocr_models import classifier, detector, normalise
from PIL import Image

from int8cal import TensorFile
from int8cal.demo.evaluate import CALIBRATION_SEED, TEST_SEED, pictures, scenes
from int8cal.demo.int8 import predictor
from int8cal.demo.mistakes import MISTAKES, Mistake, Normalise, write_mistaken
from int8cal.demo.subjects import SUBJECTS
from int8cal.models.agreement import Agreement
from int8cal.models.quantize import quantize
from int8cal.models.scales import quantize_from_scales
from int8cal.models.verdict import judge
from int8cal.types import METHODS, ImageCHW_f32, ImageHWC_u8

BATCH_SIZE = 8
HELD_OUT = 32
FACTORS = (0.35, 0.5, 0.7, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)


@dataclass(frozen=True)
class Case:
    """A network with its task.

    Attributes:
        name: in tables.
        model: float ONNX file.
        normalise: picture → network input.
        calibration, held_out: pictures, a whole number of batches each.
        score: a model → points, 0..100.
    """

    name: str
    model: Path
    normalise: Normalise
    calibration: Sequence[ImageHWC_u8]
    held_out: Sequence[ImageHWC_u8]
    score: Callable[[Path], float]


@dataclass(frozen=True)
class Row:
    """One INT8 model.

    Attributes:
        network: which.
        made: how.
        worst_db: SQNR of the worst output, or group of its channels.
        top1: share of images on which a classifier chooses the same class.
        verdict: in a word.
        loss: points lost on the task.
    """

    network: str
    made: str
    worst_db: float
    top1: float | None
    verdict: str
    loss: float


def cases(*, quick: bool) -> Iterator[Case]:
    """The networks."""
    for make, counts in ((classifier, (256, 800)), (detector, (64, 56))):
        network = make(*((16, 16) if quick else counts), 0)
        yield Case(
            f"PP-OCR's {network.name}",
            network.model,
            normalise,
            network.calibration,
            network.tests[: min(HELD_OUT, len(network.tests))],
            lambda model, network=network: network.figures(model).score,
        )
    many = 16 if quick else 64
    for subject in SUBJECTS:
        if subject.name == "detector":
            drawn = [[scene.image for scene in scenes(seed, many)] for seed in (CALIBRATION_SEED, TEST_SEED)]
        else:
            drawn = [[image for image, _ in pictures(seed, many)] for seed in (CALIBRATION_SEED, TEST_SEED)]
        test = subject.test_set(60 if quick else 500, None)
        yield Case(
            f"demo's {subject.name}",
            subject.model,
            subject.normalise,
            drawn[0],
            drawn[1][:HELD_OUT],
            lambda model, test=test: 100 * test.score(predictor(model)),
        )


def rows(case: Case, folder: Path) -> Iterator[Row]:
    """INT8 models of a network, good and bad."""
    out, held_out = folder / "int8.onnx", _tensorfile(case, case.held_out, _right, folder / "held_out.tensorfile")
    floating = case.score(case.model)

    def row(made: str, agreement: Agreement) -> Row:
        top1 = min((output.top1 for output in agreement.outputs if output.top1 is not None), default=None)
        loss = floating - case.score(out)
        return Row(case.name, made, agreement.worst_db(), top1, judge(agreement).level, loss)

    kinds: list[tuple[str, Sequence[ImageHWC_u8], Mistake]] = [
        (f"{len(case.calibration)} images", case.calibration, _right),
        ("8 images", case.calibration[:8], _right),
        *((name, case.calibration, mistake) for name, mistake in MISTAKES.items()),
    ]
    amax = {}
    for data, images, mistake in kinds:
        tensor = _tensorfile(case, images, mistake, folder / "calibration.tensorfile")
        for method in METHODS if mistake is _right else ("mse",):
            with TensorFile(tensor) as batches, TensorFile(held_out) as others:
                report = quantize(
                    case.model, batches, out, method=method, evaluation=others, force=True, overwrite=True
                )
            amax.setdefault(method, report.amax)
            if report.held_out is not None:
                yield row(f"{data}, {method}", report.held_out)
    for factor in FACTORS:
        scales = folder / "scales.json"
        scales.write_text(json.dumps({"tensor_scales": {k: v * factor for k, v in amax["minmax"].items()}}))
        with TensorFile(held_out) as others:
            scaled = quantize_from_scales(case.model, scales, out, evaluation=others, overwrite=True)
        if scaled.held_out is not None:
            yield row(f"minmax × {factor:g}", scaled.held_out)


def _right(images: Sequence[ImageHWC_u8], normalise: Normalise) -> Iterator[ImageCHW_f32]:
    return map(normalise, images)


def _tensorfile(case: Case, images: Sequence[ImageHWC_u8], mistake: Mistake, out: Path) -> Path:
    with tempfile.TemporaryDirectory(prefix="int8cal-verdict-") as folder:
        paths = [Path(folder, f"{number:04}.png") for number in range(len(images))]
        for path, image in zip(paths, images, strict=True):
            Image.fromarray(image).save(path)
        write_mistaken(mistake, paths, case.normalise, out, batch_size=BATCH_SIZE)
    return out


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few pictures: to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here, too")
    arguments = parser.parse_args()
    found: list[Row] = []
    for case in cases(quick=arguments.quick):
        with tempfile.TemporaryDirectory(prefix="int8cal-verdict-") as folder:
            of = sorted(rows(case, Path(folder)), key=lambda row: (np.isfinite(row.worst_db), -row.worst_db))
        print(f"\n{case.name}", flush=True)
        cells = [["made of", "worst dB", "same class", "verdict", "points lost"]]
        for row in of:
            same = "" if row.top1 is None else f"{row.top1:.1%}"
            cells.append([row.made, f"{row.worst_db:.1f}", same, row.verdict, f"{row.loss:.1f}"])
        print_table(cells)
        found += of
        if arguments.json:
            arguments.json.write_text(json.dumps([asdict(row) for row in found], indent=1) + "\n", encoding="utf-8")
    print()
    losses = {level: [row.loss for row in found if row.verdict == level] for level in ("good", "look", "poor")}
    print_table(
        [
            ["verdict", "models", "lost at most", "on average", "share that lost over 1 point"],
            *(
                [
                    level,
                    str(len(of)),
                    f"{max(of):.1f}",
                    f"{np.mean(of):.1f}",
                    f"{np.mean(np.array(of) > 1.0):.0%}",
                ]
                for level, of in losses.items()
                if of
            ),
        ]
    )


if __name__ == "__main__":
    main()
