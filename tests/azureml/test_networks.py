"""Every network, and NVIDIA's own command, through the shipped YAML: equal to the golden arrays."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import run_component as runner
from component_loader import load
from tests.golden.cases import DATA, load_cases

from int8cal.tensorfile import TensorFile

COMPONENT = Path(__file__).parents[2] / "azureml" / "components" / "int8cal_calibration_tensorfile" / "spec.yaml"
HOME = "/workspace/tao-experiments"

# NVIDIA's command as far as the component sees it: the spec that it is given, a file in NVIDIA's layout, no manifest.
STAND_IN = """\
#!{python}
import argparse, sys
import h5py
import numpy as np
import int8cal
parser = argparse.ArgumentParser()
parser.add_argument("task")
parser.add_argument("--experiment_spec_file")
parser.add_argument("--output_path", "--output", dest="output")
parser.add_argument("--max_batches", type=int)
parser.add_argument("--use_validation_set", action="store_true")
given = parser.parse_args()
split = "validation" if given.use_validation_set else "training"
plan = int8cal.plan(given.experiment_spec_file, max_batches=given.max_batches, split=split)
batches = [np.asarray(batch) for batch in plan.batches()]
with h5py.File(given.output, "w", libver="earliest") as file:
    file.attrs["count"] = np.int64(len(batches))
    file.attrs["shape"] = np.array(batches[0].shape, np.int64)
    for number, batch in enumerate(batches):
        group = file.create_group(f"_tensorfile_array_key__{{number}}")
        group.create_dataset("_tensorfile_array_key_", data=batch, compression="gzip", chunks=(1, *batch.shape[1:]))
print("made by the stand-in")
"""


@pytest.fixture(scope="session")
def component():
    return load(COMPONENT)


def golden(network, name):
    (case,) = (case for case in load_cases(network, "ok") if case.name == name)
    return case


def is_golden(made, case):
    images = made.reshape(-1, *made.shape[2:])
    hashes = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
    return made.shape == case.shape and hashes == [sample["sha256"] for sample in case.samples]


def run(component, tmp_path, case, **inputs):
    """Run a golden case: its spec says that the data lie below `HOME`; in the job they lie at random paths."""
    folder = {"classification": "cls", "ssd": "ssd", "dssd": "ssd"}[case.network]
    specs = tmp_path / "specs"
    specs.mkdir()
    (specs / "spec.txt").write_text(case.spec.read_text().replace(f'"{folder}/', f'"{HOME}/{folder}/'))
    values = {
        "model_app_name": "app",
        "training_data_dir": str(DATA / folder / "train"),
        "specfile_reference_training_data_dir": f"{HOME}/{folder}/train",
        "validation_data_dir": str(DATA / folder / "val"),
        "specfile_reference_validation_data_dir": f"{HOME}/{folder}/val",
        "original_specs": str(specs),
        "specs_file": "spec.txt",
        "max_batches": str(case.max_batches),
        "use_validation_set": str(case.split == "validation"),
        **inputs,
    }
    log = tmp_path / "std_log.txt"
    out = tmp_path / "out"
    with log.open("wb") as file:
        done = runner.run_component(component, values, {"output_dir": str(out)}, work_dir=tmp_path / "work", log=file)
    text = log.read_text(errors="replace")
    assert done.code == 0, text
    assert done.changed_inputs == ()
    with TensorFile(out / "app" / "experiment_dir_final" / "calibration.tensor") as file:
        return np.stack(list(file)), file.manifest, text


@pytest.mark.parametrize(
    ("network", "name"),
    [
        ("classification", "caffe3_mean"),
        ("classification", "caffe3_val"),
        ("ssd", "ssd3_mean"),
        ("ssd", "ssd3_val"),
        ("dssd", "dssd1_mean"),
    ],
)
def test_golden_arrays(component, tmp_path, int8cal_on_path, network, name):
    case = golden(network, name)
    seed = {} if case.facts["seed"] is None else {"seed": str(case.facts["seed"])}
    made, manifest, _ = run(component, tmp_path, case, **seed)
    assert manifest["network"] == network
    assert is_golden(made, case)


@pytest.fixture
def nvidias_command(program_on_path, int8cal_on_path):
    """A stand-in under the name that a network's command has."""
    return lambda name: program_on_path(name, STAND_IN.format(python=shutil.which(sys.executable)))


def test_classification_by_nvidias_command(component, tmp_path, nvidias_command):
    case = golden("classification", "caffe3_mean")
    nvidias_command("classification")
    made, manifest, log = run(component, tmp_path, case, engine="tao")
    assert manifest is None
    assert "made by the stand-in" in log
    assert is_golden(made, case)


@pytest.mark.parametrize("validation", ["false", "true"])
def test_detectnet_v2_by_nvidias_command(component, site, tmp_path, nvidias_command, validation):
    nvidias_command("detectnet_v2")
    inputs = site.inputs(engine="tao", use_validation_set=validation)
    out = inputs.pop("output_dir")
    log = tmp_path / "std_log.txt"
    with log.open("wb") as file:
        done = runner.run_component(component, inputs, {"output_dir": out}, work_dir=tmp_path / "work", log=file)
    assert done.code == 0, log.read_text()
    site.run(output_dir=site.root / "native", use_validation_set=validation)
    native = site.root / "native" / "app" / "experiment_dir_final" / "calibration.tensor"
    with TensorFile(site.tensorfile) as ours, TensorFile(native) as theirs:
        assert ours.manifest is None
        assert np.array_equal(np.stack(list(ours)), np.stack(list(theirs)))


def test_dssd_has_no_command_of_nvidias(component, tmp_path, int8cal_on_path):
    case = golden("dssd", "dssd1_mean")
    with pytest.raises(AssertionError, match="NVIDIA has no calibration_tensorfile command for dssd"):
        run(component, tmp_path, case, engine="tao")
    assert not (tmp_path / "out" / "app" / "experiment_dir_final").exists()
