"""azure-ai-ml takes the components and pipelines, offline; and the pipelines run, step by step, from their YAML."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import run_component as runner
import yaml
from component_lint import lint
from component_loader import load

from int8cal import __version__
from int8cal.tensorfile import TensorFile

REPOSITORY = Path(__file__).parents[2]
AZUREML = REPOSITORY / "azureml"
SHIPPED_COMPONENTS = sorted(AZUREML.glob("components/*/spec.yaml"))
SAMPLE_COMPONENTS = [AZUREML / "pipelines" / name for name in ("prepare.yml", "export.yml")]
DEMO = AZUREML / "pipelines" / "demo.yml"
PIPELINES = [DEMO, *(AZUREML / "pipelines" / name for name in ("calibrate.yml", "subsets.yml"))]
ORIGINAL_WIRING = Path(__file__).parent / "pipelines" / "original_wiring.yml"
PARENT = re.compile(r"\$\{\{parent\.(?:jobs\.(\w+)\.outputs|inputs|outputs)\.(\w+)\}\}")


@pytest.fixture(autouse=True)
def quiet_sdk():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the SDK's own, about its own dependencies
        yield


@pytest.mark.parametrize(
    "path", [*SHIPPED_COMPONENTS, *SAMPLE_COMPONENTS], ids=lambda path: path.parent.name + "/" + path.name
)
def test_components_are_valid(path):
    assert load(path).rest["name"]


@pytest.mark.parametrize("path", SHIPPED_COMPONENTS, ids=lambda path: path.parent.name)
def test_line_ends_of_windows_do_not_reach_the_command(path, tmp_path):
    """YAML reads them as line feeds: no value gets a carriage return at its end."""
    folder = tmp_path / path.parent.name
    shutil.copytree(path.parent, folder)
    written = (folder / path.name).read_bytes()
    (folder / path.name).write_bytes(written.replace(b"\n", b"\r\n"))
    loaded = load(folder / path.name)
    assert "\r" not in loaded.command
    assert loaded.command == load(path).command


class Credential:
    """Stands for an account: never asked when nothing is sent."""

    def get_token(self, *scopes, **options):
        raise AssertionError("validation went to the network")


@pytest.mark.parametrize("path", SHIPPED_COMPONENTS, ids=lambda path: path.parent.name)
def test_the_clients_own_validation_passes(path):
    from azure.ai.ml import MLClient, load_component

    client = MLClient(Credential(), "00000000-0000-0000-0000-000000000000", "group", "workspace")
    result = client.components.validate(load_component(path), skip_remote_validation=True)
    assert result.passed, result.error_messages


@pytest.mark.parametrize("path", SHIPPED_COMPONENTS, ids=lambda path: path.parent.name)
def test_rest_object(path):
    """What would be sent is what the YAML says, each default as text."""
    rest, text = load(path).rest, yaml.safe_load(path.read_text(encoding="utf-8"))
    assert rest["command"] == text["command"]
    assert rest["version"] == text["version"]
    assert rest["is_deterministic"] is True
    assert list(rest["inputs"]) == list(text["inputs"])
    for name, facts in text["inputs"].items():
        sent = rest["inputs"][name]
        assert sent["type"] == facts["type"]
        assert sent.get("optional", False) == facts.get("optional", False)
        if "default" in facts:
            assert isinstance(sent["default"], str)


@pytest.mark.parametrize("path", [*PIPELINES, ORIGINAL_WIRING], ids=lambda path: path.stem)
def test_pipelines_are_valid(path):
    from azure.ai.ml import load_job

    job = load_job(path)
    result = job._validate()
    assert result.passed, result.error_messages
    assert job._to_rest_object()


@pytest.mark.parametrize("path", [*PIPELINES, ORIGINAL_WIRING], ids=lambda path: path.stem)
def test_every_binding_exists(path):
    """The SDK does not look."""
    pipeline = yaml.safe_load(path.read_text(encoding="utf-8"))
    specs = {
        name: yaml.safe_load((path.parent / job["component"]).read_text(encoding="utf-8"))
        for name, job in pipeline["jobs"].items()
    }
    for name, job in pipeline["jobs"].items():
        for kind in ("inputs", "outputs"):
            for target, value in job.get(kind, {}).items():
                assert target in specs[name][kind]
                for step, source in PARENT.findall(str(value)):
                    assert source in (specs[step]["outputs"] if step else pipeline[kind])


def test_sdk_pipeline_is_the_yaml_pipeline():
    job = runpy.run_path(str(AZUREML / "pipelines" / "demo.py"))["demo"]()
    assert job._validate().passed
    sent = job._to_rest_object().properties.jobs
    node = yaml.safe_load(DEMO.read_text(encoding="utf-8"))["jobs"]["calibrate"]
    inputs = {name: facts.get("value") for name, facts in sent["calibration"]["inputs"].items()}
    assert inputs == {name: str(value) for name, value in node["inputs"].items()}
    assert sent["calibration"]["environment_variables"] == node["environment_variables"]
    assert list(sent) == ["prepare", "calibration", "export"]


def test_sample_components_have_no_fault_but_the_missing_here_document():
    """They take folders alone, which the service names: single quotes are enough."""
    for path in SAMPLE_COMPONENTS:
        faults = lint(yaml.safe_load(path.read_text(encoding="utf-8")))
        assert all("here-document" in fault or "begin with exec" in fault for fault in faults), faults


def run_pipeline(path, folder, inputs):
    """Run the steps of a pipeline one after the other, each by the local runner; returns step → its output folders."""
    pipeline = yaml.safe_load(path.read_text(encoding="utf-8"))
    made = {}
    for step, job in pipeline["jobs"].items():
        component = load(path.parent / job["component"])
        outputs = {name: str(folder / step / name) for name in component.outputs}

        def value(text):
            match = PARENT.fullmatch(str(text))
            if not match:
                return str(text)
            return made[match[1]][match[2]] if match[1] else str(inputs[match[2]])

        values = {name: value(text) for name, text in job.get("inputs", {}).items()}
        log = folder / f"{step}.txt"
        with log.open("wb") as file:
            done = runner.run_component(component, values, outputs, work_dir=folder / "work" / step, log=file)
        assert done.code == 0, f"{step}: {log.read_text()}"
        assert done.changed_inputs == ()
        made[step] = outputs
    return made


@pytest.mark.parametrize(
    ("path", "batches"), [(DEMO, 2), (ORIGINAL_WIRING, 3)], ids=lambda value: getattr(value, "stem", "")
)
def test_pipelines_run(path, batches, tmp_path, int8cal_on_path):
    (tmp_path / "dummy").mkdir()
    for _ in range(2):  # steps that are started again find what they have written before
        made = run_pipeline(path, tmp_path, {"model_app_name": "streets", "dummy": tmp_path / "dummy"})
    tensorfile = Path(made["calibrate"]["output_dir"]) / "streets" / "experiment_dir_final" / "calibration.tensor"
    with TensorFile(tensorfile) as file:
        assert (len(file), file.manifest["split"]) == (batches, "training")
    assert Path(made["export"]["exported"], "calibration.npz").is_file()


def own_data(path, site, subsets):
    """Values of a pipeline's inputs: data, records and specs of a site, where each subset is a folder of its own."""
    inputs = dict(yaml.safe_load(path.read_text(encoding="utf-8"))["inputs"])
    for name in subsets:
        site.pictures(f"training/{name}")
        site.records(f"tfrecords/{name}")
    inputs["training_data"] = site.root / "mnt" / "training" if subsets else site.dataset.root / "training"
    inputs["training_tf_records"] = site.root / "mnt" / "tfrecords" if subsets else site.dataset.root / "tfrecords"
    inputs["specs"] = site.specs
    site.write_spec(
        inputs["specs_file"],
        data=inputs["reference_training_data"],
        records=f"{inputs['reference_training_tf_records']}/*",
    )
    inputs["max_batches"] = 2
    return inputs


def test_own_data(site, tmp_path, int8cal_on_path):
    path = PIPELINES[1]
    made = run_pipeline(path, tmp_path, own_data(path, site, ()))
    with TensorFile(
        Path(made["calibrate"]["output_dir"]) / "streets" / "experiment_dir_final" / "calibration.tensor"
    ) as file:
        assert len(file) == 2


def test_subsets_side_by_side_in_one_output(site, tmp_path, int8cal_on_path):
    """All steps at once: they share the output path, as in the YAML, and have mounts of their own."""
    path = PIPELINES[2]
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    assert len(jobs) == 4
    assert len({job["outputs"]["output_dir"]["path"] for job in jobs.values()}) == 1
    inputs = own_data(path, site, jobs)
    component = load(path.parent / next(iter(jobs.values()))["component"])
    out = tmp_path / "shared"

    def run(name):
        texts = {
            key: PARENT.sub(lambda match: str(inputs[match[2]]), str(text))
            for key, text in jobs[name]["inputs"].items()
        }
        log = tmp_path / f"{name}.txt"
        with log.open("wb") as file:
            done = runner.run_component(
                component, texts, {"output_dir": str(out)}, work_dir=tmp_path / "work" / name, log=file
            )
        return done.code, log.read_text(errors="replace")

    with ThreadPoolExecutor(4) as threads:
        for name, (code, log) in zip(jobs, threads.map(run, jobs), strict=True):
            assert code == 0, f"{name}: {log}"
    for name in jobs:
        with TensorFile(out / "streets" / name / "calibration.tensor") as file:
            assert len(file) == 2
    assert (out / "streets" / "specs" / inputs["specs_file"]).is_file()


def test_microsofts_validator_finds_no_fault(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "azureml.assets.validate_assets",
            "-i",
            AZUREML,
            "-a",
            "asset.yaml",
            *["-n", "-e", "-b", "-t", "-C"],
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert "Found 0 error(s) in 3 asset(s)" in done.stdout, done.stdout + done.stderr


def test_environment_is_of_this_version():
    folder = AZUREML / "environments" / "int8cal"
    spec = yaml.safe_load((folder / "spec.yaml").read_text(encoding="utf-8"))
    assert (spec["name"], spec["version"]) == ("int8cal", __version__)
    (base,) = re.findall(r"^ARG BASE=(\S+)$", (folder / "context" / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", base)
    assert spec["build"] == {"path": "context"}
