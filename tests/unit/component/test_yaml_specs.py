"""The component with specs of TAO 7: paths by role, epochs, and the tensorfile, for each PyTorch network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.pictures import encode, pixels
from tests.specs import YAML_SPECS

import int8cal
from int8cal.cli.app import run

HOME = "/home/somebody/data"
NAMED = ("coco.json", "gt.txt", "images", "train", "seg")
EXPECTED = {
    "ocrnet": 2,
    "rtdetr": 2,
    "dino": 2,
    "deformable_detr": 2,
    "classification_pyt": 1,
    "segformer": 1,
    "ml_recog": 1,
}
"""How many paths of the spec point into the training data."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for folder in ("images", "train/animals", "seg/images/train"):
        (root / folder).mkdir(parents=True)
        for number in range(3):
            (root / folder / f"{number}.png").write_bytes(encode(pixels(20, 30, seed=number)))
    images = [{"id": number, "file_name": f"{number}.png", "width": 30, "height": 20} for number in range(3)]
    (root / "coco.json").write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
    (root / "gt.txt").write_text("".join(f"{number}.png word\n" for number in range(3)))
    return root


@pytest.mark.parametrize("network", YAML_SPECS)
def test_a_run(network: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = YAML_SPECS[network]
    for name in NAMED:
        for before in (": ", "["):
            for after in (",", "}", "]"):
                text = text.replace(f"{before}{name}{after}", f"{before}{HOME}/{name}{after}")
    assert text.count(HOME) == EXPECTED[network]
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "spec.yaml").write_text(f"{text}train:  # how long\n  num_epochs: 10\n", newline="")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere" if network != "classification_pyt" else tmp_path)
    command = ["component", "--model_app_name", "app", "--network", network, "--max_batches", "3", "--num_epochs", "4"]
    command += ["--training_data_dir", str(data), "--specfile_reference_training_data_dir", HOME]
    command += ["--original_specs", str(tmp_path / "specs"), "--specs_file", "spec.yaml"]
    assert run([*command, "--output_dir", str(tmp_path / "out")]) == 0
    updated = (tmp_path / "out/app/specs/spec.yaml").read_text()
    assert updated == f"{text}train:  # how long\n  num_epochs: 4\n".replace(HOME, str(data))
    with int8cal.TensorFile(tmp_path / "out/app/experiment_dir_final/calibration.tensor") as file:
        assert len(file) == 3
        assert file.manifest["network"] == network


def test_a_second_job_with_other_paths_leads_on_without_the_first_ones_spec(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "specs").mkdir()
    sources = "[{image_dir: /old/images, json_file: /old/coco.json}]"
    (tmp_path / "specs" / "spec.yaml").write_text(
        f"dataset:\n  train_data_sources: {sources}\n  val_data_sources: {sources}\n"
        "export: {input_width: 32, input_height: 32}\n"
    )
    command = ["component", "--model_app_name", "app", "--network", "dino", "--max_batches", "2"]
    command += ["--original_specs", str(tmp_path / "specs"), "--specs_file", "spec.yaml"]
    command += ["--training_data_dir", str(data), "--specfile_reference_training_data_dir", "/old"]
    command += ["--output_dir", str(tmp_path / "out")]
    of_validation = ["--validation_data_dir", str(data), "--specfile_reference_validation_data_dir", "/old"]
    of_validation += ["--use_validation_set", "yes", "--output_subfolder", "validation"]
    for words in (command, [*command, *of_validation]):
        assert run(words) == 0
        said = capsys.readouterr().out
        assert ("belongs to an earlier job and stays as it is" in said) == (words is not command)
        (verify,) = [line.split() for line in said.splitlines() if line.startswith("  int8cal verify")]
        assert run(verify[1:]) == 0
        assert "equal in every bit" in capsys.readouterr().out
