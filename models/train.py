"""Trains the demo's two models on scenes drawn by int8cal itself, and writes them as ONNX.

Needs PyTorch 2.13 (CPU) beside int8cal, and about 20 minutes on two cores:

    python models/train.py detector src/int8cal/demo/models/detector.onnx
    python models/train.py classifier src/int8cal/demo/models/classifier.onnx

Training, test and calibration pictures are drawn from different seeds (`int8cal.demo.evaluate`).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from nets import BOX_SCALE, STRIDE, Classifier, Detector
from torch import nn
from torch.nn import functional

from int8cal.demo.evaluate import (
    PICTURE_SIZE,
    SCENE_SIZE,
    TEST_SEED,
    TRAINING_SEED,
    as_classifier_input,
    as_detector_input,
    pictures,
    scenes,
    score_classifier,
    score_detector,
)
from int8cal.demo.scene import CLASSES, SceneObject, draw_object, draw_scene

DETECTOR_INPUT, DETECTOR_OUTPUTS = "input_1:0", ["output_cov/Sigmoid:0", "output_bbox/BiasAdd:0"]
CLASSIFIER_INPUT, CLASSIFIER_OUTPUT = "input_1", "predictions/Softmax"
SMALLEST = 9.0  # objects lower than this are neither shown nor denied to the detector
BAND, WHOLE = slice(48, 160), slice(0, SCENE_SIZE.height)  # rows of a picture; all objects lie in the band
FINISHING_EPOCHS = 4  # on whole pictures, after the cheaper epochs on the band
CENTRE = 0.35  # share of a box around its middle whose cells belong to the object


def draw_training_scene(index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(picture, coverage target, its weight, edge target) of one training scene."""
    scene = draw_scene(np.random.default_rng((TRAINING_SEED, index)), SCENE_SIZE)
    return (scene.image, *targets(scene.objects))


def targets(objects: tuple[SceneObject, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coverage (C, h, w), weight of its loss (h, w), edges (4, h, w); from far to near, so that the nearer wins."""
    height, width = SCENE_SIZE.height // STRIDE, SCENE_SIZE.width // STRIDE
    coverage = np.zeros((len(CLASSES), height, width), np.float32)
    weight = np.ones((height, width), np.float32)
    edges = np.zeros((4, height, width), np.float32)
    ys, xs = (np.mgrid[:height, :width] + 0.5) * STRIDE
    for item in objects:
        left, top, right, bottom = item.box
        inside = (xs > left) & (xs < right) & (ys > top) & (ys < bottom)
        x, y = (left + right) / 2, (top + bottom) / 2
        half_width, half_height = CENTRE * (right - left), CENTRE * (bottom - top)
        central = (abs(xs - x) <= max(half_width, STRIDE / 2)) & (abs(ys - y) <= max(half_height, STRIDE / 2))
        coverage[:, inside | central] = 0.0
        weight[inside | central] = 0.0
        if bottom - top >= SMALLEST and item.occluded < 2:
            weight[central] = 1.0
            coverage[CLASSES.index(item.name), central] = 1.0
            distances = np.stack([xs - left, ys - top, right - xs, bottom - ys]) / BOX_SCALE
            edges[:, central] = distances[:, central]
    return coverage, weight, edges


def draw_training_picture(index: int) -> tuple[np.ndarray, int]:
    """One training picture of the classifier with its class."""
    label = index % len(CLASSES)
    return draw_object(np.random.default_rng((TRAINING_SEED, index)), CLASSES[label], PICTURE_SIZE), label


def batches(count: int, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Indexes of one epoch, shuffled, in full batches."""
    order = rng.permutation(count)
    for start in range(0, count - size + 1, size):
        yield order[start : start + size]


def brightness(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pictures made brighter or darker, one factor each."""
    factors = rng.uniform(0.7, 1.3, (len(images), 1, 1, 1))
    return np.clip(images * factors, 0, 255).astype(np.float32)


def train_detector(count: int, epochs: int) -> nn.Module:
    """Most epochs on the band in which objects lie, the last ones on whole pictures."""
    with ProcessPoolExecutor(2) as pool:
        drawn = list(pool.map(draw_training_scene, range(count), chunksize=16))
    parts = [np.stack(part) for part in zip(*drawn, strict=True)]
    model, rng = Detector(len(CLASSES)), np.random.default_rng(0)
    fit_detector(model, parts, BAND, epochs, 4e-3, rng)
    fit_detector(model, parts, WHOLE, FINISHING_EPOCHS, 1.5e-3, rng)
    return model.eval()


def fit_detector(
    model: nn.Module, drawn: list[np.ndarray], rows: slice, epochs: int, rate: float, rng: np.random.Generator
) -> None:
    """Focal loss for coverage, L1 and IoU loss for edges; mirrored and re-lit pictures."""
    cells = slice(rows.start // STRIDE, rows.stop // STRIDE)
    images, (coverage, weight, edges) = drawn[0][:, rows], (part[..., cells, :] for part in drawn[1:])
    count, size = len(images), 16
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, epochs * (count // size))
    model.train()
    for epoch in range(epochs):
        started, total = time.time(), 0.0
        for index in batches(count, size, rng):
            inputs = brightness(images[index], rng).transpose(0, 3, 1, 2) / 255
            parts = [inputs, coverage[index], weight[index], edges[index]]
            if rng.random() < 0.5:
                parts = [part[..., ::-1] for part in parts]
                parts[3] = parts[3][:, [2, 1, 0, 3]]
            x, wanted, weights, distances = (torch.from_numpy(np.ascontiguousarray(part, np.float32)) for part in parts)
            found, offsets = model(x)
            loss = coverage_loss(found, wanted, weights) + edge_loss(offsets, distances, wanted.amax(dim=1))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch}: loss {total / (count // size):.4f}, {time.time() - started:.0f} s", flush=True)


def coverage_loss(found: torch.Tensor, wanted: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Focal loss per object cell."""
    found = found.clamp(1e-5, 1 - 1e-5)
    losses = functional.binary_cross_entropy(found, wanted, reduction="none") * (found - wanted).abs() ** 2
    return (losses * weight[:, None]).sum() / wanted.sum().clamp(min=1)


def edge_loss(found: torch.Tensor, wanted: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """1 - IoU of the boxes around object cells, and the distance of the edges."""
    overlap = torch.minimum(found, wanted).clamp(min=0)
    shared = (overlap[:, 0] + overlap[:, 2]) * (overlap[:, 1] + overlap[:, 3])
    positive = found.clamp(min=0)
    area = (positive[:, 0] + positive[:, 2]) * (positive[:, 1] + positive[:, 3])
    whole = area + (wanted[:, 0] + wanted[:, 2]) * (wanted[:, 1] + wanted[:, 3]) - shared
    losses = 1 - shared / whole.clamp(min=1e-6) + (found - wanted).abs().mean(dim=1)
    return (losses * inside).sum() / inside.sum().clamp(min=1)


def train_classifier(count: int, epochs: int) -> nn.Module:
    """Cross entropy; mirrored and re-lit pictures."""
    with ProcessPoolExecutor(2) as pool:
        drawn = list(pool.map(draw_training_picture, range(count), chunksize=32))
    images, labels = np.stack([image for image, _ in drawn]), np.array([label for _, label in drawn])
    model, rng, size = Classifier(len(CLASSES)), np.random.default_rng(0), 32
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, epochs * (count // size))
    for epoch in range(epochs):
        model.train()
        right = 0
        for index in batches(count, size, rng):
            lit = brightness(images[index], rng)
            if rng.random() < 0.5:
                lit = lit[:, :, ::-1]
            found = model(torch.from_numpy(np.stack([as_classifier_input(image) for image in lit])))
            wanted = torch.from_numpy(labels[index])
            loss = functional.nll_loss(torch.log(found + 1e-9), wanted)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            right += int((found.argmax(dim=1) == wanted).sum())
        print(f"epoch {epoch}: training accuracy {right / count:.4f}", flush=True)
    return model.eval()


def write_onnx(model: nn.Module, path: Path, example: torch.Tensor, names: list[str], axes: dict[int, str]) -> None:
    """Write the model with its batch normalisations still in it, as TAO exports them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        model,
        (example,),
        str(path),
        dynamo=False,
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
        opset_version=17,
        input_names=names[:1],
        output_names=names[1:],
        dynamic_axes={name: axes if name == names[0] else {0: "N"} for name in names},
    )


def main() -> None:
    """Train one model, write it, say how good it is on test pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=["detector", "classifier"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--pictures", type=int, default=2500)
    parser.add_argument("--epochs", type=int, default=12)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)  # the same numbers at every run
    if options.model == "detector":
        model = train_detector(options.pictures, options.epochs)
        axes = {0: "N", 2: "height", 3: "width"}
        write_onnx(model, options.out, torch.zeros(1, 3, *SCENE_SIZE), [DETECTOR_INPUT, *DETECTOR_OUTPUTS], axes)
    else:
        model = train_classifier(options.pictures, options.epochs)
        write_onnx(
            model, options.out, torch.zeros(1, 3, *PICTURE_SIZE), [CLASSIFIER_INPUT, CLASSIFIER_OUTPUT], {0: "N"}
        )

    def predict(batch: np.ndarray) -> tuple[np.ndarray, ...]:
        with torch.no_grad():
            outputs = model(torch.from_numpy(batch))
        return tuple(output.numpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,)))

    if options.model == "detector":
        score = score_detector(predict, as_detector_input, scenes(TEST_SEED, 640))
        print(f"F1 {score.f1:.4f} on {score.objects} objects ({score})")
    else:
        accuracy = score_classifier(predict, as_classifier_input, pictures(TEST_SEED, 1500))
        print(f"accuracy {accuracy:.4f} on 1500 pictures")


if __name__ == "__main__":
    main()
