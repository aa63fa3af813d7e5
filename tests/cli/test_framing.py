"""What a network pads and cuts is told by plan, run, verify and report; what it stretches is not spoken of."""

from __future__ import annotations

import json
import re

import pytest
from tests.pictures import encode, pixels

SPECS = {
    "rtdetr": """
dataset:
  train_data_sources: [{image_dir: images, json_file: train.json}]
  num_classes: 2
  augmentation: {eval_spatial_size: [64, 64], preserve_aspect_ratio: true}
""",
    "dino": """
dataset:
  train_data_sources: [{image_dir: images, json_file: train.json}]
  num_classes: 2
  augmentation: {test_random_resize: 64, random_resize_max_size: 128, fixed_padding: true}
export: {input_height: 64, input_width: 64}
""",
    "ocrnet": """
dataset:
  train_dataset_dir: [images]
  train_gt_file: words.txt
  character_list_file: words.txt
  augmentation: {keep_aspect_ratio: true}
model: {input_height: 20, input_width: 64, input_channel: 1}
""",
    "ml_recog": """
dataset:
  train_dataset: classes
  pixel_mean: [0.5, 0.5, 0.5]
  pixel_std: [0.5, 0.5, 0.5]
model: {input_height: 50, input_width: 50}
""",
}
PADDED = {  # of images of 40 x 64 pixels
    "rtdetr": ("64 x 64", "38% of the pixels are padding"),  # 40 of 64 rows
    "dino": ("64 x 128", "20% of the pixels are padding"),  # 102 of 128 columns
    "ocrnet": ("20 x 64", "50% of the pixels are padding"),  # 32 of 64 columns
    "ml_recog": ("50 x 50", "20% of the image is cut off"),  # 50 of 56 rows and columns
}
FORM = {"dino": ("--form", "spec")}


@pytest.fixture
def data(tmp_path):
    """Four pictures, in every form that these networks read."""
    for folder in ("images", "classes/a"):
        (tmp_path / folder).mkdir(parents=True)
    listed = []
    for number in range(4):
        for folder in ("images", "classes/a"):
            (tmp_path / folder / f"{number}.png").write_bytes(encode(pixels(40, 64), "PNG"))
        listed.append({"id": number, "file_name": f"{number}.png", "height": 40, "width": 64})
    (tmp_path / "train.json").write_text(json.dumps({"images": listed, "annotations": [], "categories": []}))
    (tmp_path / "words.txt").write_text("".join(f"{number}.png word\n" for number in range(4)))
    for network, text in SPECS.items():
        (tmp_path / f"{network}.yaml").write_text(text)
    return tmp_path


@pytest.mark.parametrize("network", SPECS)
def test_padding_and_cutting_that_the_spec_asks_for_are_told_without_a_warning(data, run_cli, network):
    size, told = PADDED[network]
    command = (network, "calibration_tensorfile", "-e", f"{network}.yaml", "-o", "c.tensor", *FORM.get(network, ()))
    made = run_cli(*command)
    assert made.code == 0, made.stderr
    assert size in made.stdout
    assert re.search(f"^framing +{told}$", made.stdout, re.MULTILINE)
    checked = run_cli("verify", "c.tensor", "-e", f"{network}.yaml")
    assert checked.code == 0, checked.stderr
    assert f"note     {told} [framing]\n         The spec, or the preprocessing that was stated" in checked.stdout
    assert run_cli("report", "c.tensor", "-o", "r.html").code == 0
    assert told in (data / "r.html").read_text()


@pytest.mark.parametrize("network", ["rtdetr", "dino"])
def test_a_plan_tells_it_by_the_sizes_in_the_annotations(data, run_cli, network):
    planned = run_cli(network, "plan", "-e", f"{network}.yaml", *FORM.get(network, ()))
    assert planned.code == 0, planned.stderr
    assert PADDED[network][1] in planned.stdout


@pytest.mark.parametrize(
    ("network", "edit"),
    [
        ("rtdetr", ("preserve_aspect_ratio: true", "preserve_aspect_ratio: false")),
        ("ocrnet", ("keep_aspect_ratio: true", "keep_aspect_ratio: false")),
        ("dino", ("", "")),
    ],
)
def test_stretched_images_are_whole(data, run_cli, network, edit):
    spec = data / f"{network}.yaml"
    spec.write_text(spec.read_text().replace(*edit))
    made = run_cli(network, "calibration_tensorfile", "-e", f"{network}.yaml", "-o", "c.tensor")
    assert made.code == 0, made.stderr
    assert "framing" not in made.stdout + run_cli("verify", "c.tensor", "-e", f"{network}.yaml").stdout


def test_letterboxes_of_stated_preprocessing_are_told(data, run_cli):
    made = run_cli("images", "images", "-o", "c.tensor", "--preset", "imagenet", "--size", "32x32", "--resize",
                   "letterbox", "--pad", "114")  # fmt: skip
    assert made.code == 0, made.stderr
    assert "38% of the pixels are padding" in made.stdout
