"""PP-OCR's text detector and its classifier of lines, with pictures to calibrate and to test them with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import ocr_pictures
from ocr_pictures import folder_of
from scipy import ndimage

from int8cal.demo.evaluate import MATCH_IOU, DetectorScore, Values, iou
from int8cal.demo.int8 import predictor
from int8cal.demo.scene import Box
from int8cal.models.agreement import TensorAgreement
from int8cal.preprocess import imagenet
from int8cal.types import ImageCHW_f32, ImageHWC_u8

# How the OCR program makes boxes of the map.
_THRESHOLD, _MIN_MEAN, _MIN_SIDE = 0.3, 0.5, 3
_GROWTH = 1.6  # the map shows lines narrower than they are; in units of area / perimeter


def normalise(picture: ImageHWC_u8) -> ImageCHW_f32:
    """RGB 0..255 → BGR -1..1, as both networks were trained."""
    return (imagenet.channels_first(picture[..., ::-1]) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)


@dataclass(frozen=True)
class Figures:
    """What a model reaches on the test pictures; None: not known, or there is no such thing.

    Attributes:
        score: points, 0..100: F1 of the lines found, or accuracy.
        boxes: points, 0..100: F1 of lines whose edges are right, too.
        sqnr_db: of the output, against the float model's.
    """

    score: float
    boxes: float | None = None
    sqnr_db: float | None = None


@dataclass(frozen=True)
class Network:
    """One of the two models with its test.

    Attributes:
        name: in tables.
        file: of the model in its wheel.
        calibration: the pictures to calibrate with.
        textless: the same without the text; empty: there is no such thing.
        tests: the pictures to test with.
        score: outputs, one for each test picture → figures.
    """

    name: str
    file: str
    calibration: Sequence[ImageHWC_u8]
    textless: Sequence[ImageHWC_u8]
    tests: Sequence[ImageHWC_u8]
    score: Callable[[Sequence[Values]], Figures]

    @property
    def model(self) -> Path:
        """The float model."""
        return folder_of("rapidocr_onnxruntime") / "models" / self.file

    def outputs(self, model: Path) -> list[Values]:
        """What a model says of each test picture."""
        predict = predictor(model)
        return [predict(normalise(picture)[None])[0] for picture in self.tests]

    @cached_property
    def float_outputs(self) -> list[Values]:
        """What the float model says of them."""
        return self.outputs(self.model)

    @property
    def float_figures(self) -> Figures:
        """What the float model reaches."""
        return self.score(self.float_outputs)

    def figures(self, model: Path) -> Figures:
        """What an INT8 model reaches."""
        outputs, agreement = self.outputs(model), TensorAgreement("output")
        for expected, got in zip(self.float_outputs, outputs, strict=True):
            agreement.add(expected, got)
        return replace(self.score(outputs), sqnr_db=agreement.sqnr_db)


def detector(calibration: int, test: int, seed: int) -> Network:
    """PP-OCRv4's detector: 62 convolutions, and a map of where text is as its output.

    Args:
        calibration: number of calibration pictures.
        test: number of test pictures.
        seed: of the pictures.
    """
    pages = list(ocr_pictures.pages("test", test, seed))
    return Network(
        "detector",
        "ch_PP-OCRv4_det_infer.onnx",
        [page.image for page in ocr_pictures.pages("calibration", calibration, seed)],
        [page.image for page in ocr_pictures.pages("calibration", calibration, seed, text=False)],
        [page.image for page in pages],
        lambda outputs: score_detector(outputs, pages),
    )


def classifier(calibration: int, test: int, seed: int) -> Network:
    """PP-OCR's classifier of lines, upright or upside down: 53 convolutions. Arguments as of `detector`."""
    lines = list(ocr_pictures.lines("test", test, seed))
    return Network(
        "classifier",
        "ch_ppocr_mobile_v2.0_cls_infer.onnx",
        [image for image, _ in ocr_pictures.lines("calibration", calibration, seed)],
        [],
        [image for image, _ in lines],
        lambda outputs: score_classifier(outputs, [label for _, label in lines]),
    )


def score_detector(outputs: Sequence[Values], pages: Sequence[ocr_pictures.Page]) -> Figures:
    """Match the lines found with those drawn: by the centre of what was found, and by its box."""
    counts = np.zeros((2, 3), int)
    for output, page in zip(outputs, pages, strict=True):
        boxes = found_lines(output[0, 0])
        counts += [_by_centre(boxes, page.lines), _by_overlap(boxes, page.lines)]
    found, boxed = (100 * DetectorScore(*map(int, of)).f1 for of in counts)
    return Figures(found, boxed)


def _by_centre(boxes: Sequence[Box], lines: Sequence[Box]) -> tuple[int, int, int]:
    """(found, missed, wrong); a line may be found in several pieces, each of its words for instance."""
    on = [[line for line in lines if _is_inside(_centre(box), line)] for box in boxes]
    found = len({line for of_box in on for line in of_box})
    return found, len(lines) - found, on.count([])


def _by_overlap(boxes: Sequence[Box], lines: Sequence[Box]) -> tuple[int, int, int]:
    """(found, missed, wrong); each box stands for one line at most, with an IoU of at least 0.5."""
    free = list(lines)
    for box in boxes:
        partner = max(free, key=partial(iou, box), default=None)
        if partner is not None and iou(box, partner) >= MATCH_IOU:
            free.remove(partner)
    found = len(lines) - len(free)
    return found, len(free), len(boxes) - found


def _centre(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _is_inside(point: tuple[float, float], box: Box) -> bool:
    return box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3]


def found_lines(text: Values) -> list[Box]:
    """Boxes of the lines on a map of text, (height, width), 0..1."""
    regions, _ = ndimage.label(text > _THRESHOLD, np.ones((3, 3)))
    boxes = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(regions), start=1):
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if min(height, width) >= _MIN_SIDE and text[regions == number].mean() >= _MIN_MEAN:
            growth = _GROWTH * height * width / (2 * (height + width))
            boxes.append((columns.start - growth, rows.start - growth, columns.stop + growth, rows.stop + growth))
    return boxes


def score_classifier(outputs: Sequence[Values], labels: Sequence[int]) -> Figures:
    """Share of lines whose more probable class is the right one."""
    return Figures(
        100 * float(np.mean([output.argmax() == label for output, label in zip(outputs, labels, strict=True)]))
    )
