"""The table of the original's page is true: every command in it is run, and shows what the table says."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image
from test_networks import STAND_IN
from tests.specs import CLASSIFICATION, SSD, changed

from int8cal.demo.dataset import make_dataset

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "component.md"
DATA = "/home/jupyter/data"
DEFAULT_SPEC = "detectnet_v2_retrain_resnet18_kitti.txt"


def statements():
    """(statement, command, what it shows) of each row."""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        match = re.fullmatch(r"\| (.+) \| `([^`]+)` \| `([^`]+)` \|", line)
        if match:
            yield match.groups()


def job_of_the_page():
    (job,) = re.findall(r"^```text\n(model_app_name=.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    return job


@pytest.fixture
def place(tmp_path, program_on_path, int8cal_on_path):
    """The folder that the page describes."""
    data = make_dataset(tmp_path / "data", images=16, size=(48, 64), network_size=(48, 64), batch_size=1)
    text = data.spec.read_text().replace(f"{data.root}/training", f"{DATA}/training")
    text = text.replace(f"{data.root}/tfrecords", f"{DATA}/tfrecords")
    data.spec.unlink()
    for name in ("a", "b"):
        (tmp_path / "data" / "classes" / "train" / name).mkdir(parents=True)
        for number in range(10):
            picture = Image.new("RGB", (40, 30), (number * 20, 90, 40))
            picture.save(tmp_path / "data" / "classes" / "train" / name / f"{number}.png")
    (tmp_path / "models" / "streets" / "final").mkdir(parents=True)
    (tmp_path / "models" / "streets" / "final" / "resnet18.hdf5").touch()
    ssd = changed(
        SSD,
        ('"labels"', f'"{DATA}/training/label_2"'),
        ('"images"', f'"{DATA}/training/image_2"'),
    )
    records = 'tfrecords_path: "/home/jupyter/vt/*" image_directory_path: "/home/jupyter/v"'
    model = 'model_config {\n  pretrained_model_file: "/home/jupyter/models/resnet18.hdf5"'
    specs = {
        DEFAULT_SPEC: text,
        "other/spec.txt": text,
        "epochs.txt": text,
        "model.txt": text.replace("model_config {", model, 1),
        "validation.txt": text.replace("validation_fold: 0", f"validation_data_source {{ {records} }}"),
        "classification_retrain_spec.cfg": CLASSIFICATION.replace('"train"', f'"{DATA}/classes/train"').replace(
            '"val"', f'"{DATA}/classes/train"'
        ),
        "ssd.txt": ssd,
        "dssd.txt": ssd.replace("ssd_config", "dssd_config"),
    }
    for name, content in specs.items():
        (tmp_path / "specs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "specs" / name).write_text(content)
        there = tmp_path / "updated" / name
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_text(content.replace(DATA, f"{tmp_path}/data"))
    (tmp_path / "job.txt").write_text(job_of_the_page())
    for name in ("detectnet_v2", "classification"):
        program_on_path(name, STAND_IN.format(python=shutil.which(sys.executable)))
    return tmp_path


def test_every_statement(place, run_cli, monkeypatch):
    monkeypatch.setenv("SPECS_DIR", "updated")
    monkeypatch.setenv("USER_EXPERIMENT_DIR", "experiment")
    rows = list(statements())
    assert len(rows) >= 20
    for statement, command, shows in rows:
        program, *arguments = shlex.split(os.path.expandvars(command))
        assert program in ("tao", "int8cal")
        done = run_cli(*arguments)
        said = done.stdout + done.stderr
        assert done.code == 0, f"{statement}: {said}"
        assert (place / shows).is_file() or shows in re.sub(r"\s+", " ", said), f"{statement}: {said}"
