"""FasterRCNN through the whole program against a reference written from the formulas: equal in every bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.build import record, write_records
from tests.golden.faster_rcnn_reference import network_input, shortest_side
from tests.specs import FASTER_RCNN, changed

import int8cal

SIZES = [(200, 230), (160, 176), (170, 300), (331, 161)]
"""Height and width of the pictures; one of them is the wanted size itself."""

FIXED = "size_height_width { height: 160 width: 176 }"
LARGE = "size_height_width { height: 203 width: 411 }"
MEANS = r"image_channel_mean.*123\.68 \}"


def picture(height: int, width: int, seed: int) -> np.ndarray:
    """Smooth colours with noise, so that both the resizing and JPEG have something to do."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (9, 11, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return np.clip(smooth + random.integers(-20, 21, smooth.shape), 0, 255).astype(np.uint8)


def data_set(root: Path, extension: str, sizes: list[tuple[int, int]]) -> None:
    """Four pictures, one of them grey, and their record."""
    for number, (height, width) in enumerate(sizes):
        image = Image.fromarray(picture(height, width, number))
        image = image.convert("L") if number == 3 else image
        image.save(root / f"{number}.{extension}", quality=90, subsampling=number % 3)
    frames = [record(str(number), *size) for number, size in enumerate(sizes)]
    write_records(root / "records" / "fold-000-of-001", frames)


def spec(extension: str, order: str, size: str, scale: str) -> str:
    text = changed(FASTER_RCNN, (FIXED, size), ("58.8", scale), ('"png"', f'"{extension}"'))
    if order == "l":
        text = changed(text, ("image_type: RGB", "image_type: GRAY_SCALE"))
        text = changed(text, (MEANS, 'image_channel_mean { key: "l" value: 117.3786 }'))
    return changed(text, ('"bgr"', f'"{order}"'))


@pytest.mark.parametrize("extension", ["png", "jpg"])
@pytest.mark.parametrize("order", ["rgb", "bgr", "l"])
@pytest.mark.parametrize(
    ("size", "scale"), [(FIXED, "1.0"), (FIXED, "58.8"), (LARGE, "127.5"), ("size_min { min: 187 }", "0.3")]
)
def test_equal_in_every_bit(tmp_path, monkeypatch, extension, order, size, scale):
    monkeypatch.setenv("DATA_BASE_PATH", str(tmp_path))
    fixed = "size_min" not in size
    data_set(tmp_path, extension, SIZES if fixed else [(230, 391)] * 4)
    (tmp_path / "spec.txt").write_text(spec(extension, order, size, scale))
    plan = int8cal.plan(tmp_path / "spec.txt")
    int8cal.make(plan, tmp_path / "out")
    with int8cal.TensorFile(tmp_path / "out") as file:
        batches = np.concatenate(list(file))
    wanted = {FIXED: (160, 176), LARGE: (203, 411)}.get(size) or shortest_side(230, 391, 187)
    mean = (117.3786,) if order == "l" else (123.68, 116.779, 103.939)
    expected = [
        network_input(Path(sample.path), wanted, mean, float(scale), reverse=order == "bgr")
        for sample in plan.samples()
    ]
    assert batches.tobytes() == np.stack(expected).tobytes()
    assert sorted(sample.frame_id for sample in plan.samples()) == ["0", "1", "2", "3"]
