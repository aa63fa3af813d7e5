"""The image's steps in a fresh environment, and Kubeflow's own compiler: both need the package index and minutes."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import yaml

from int8cal.component.inputs import INPUTS, OUTPUT_DIR
from int8cal.tensorfile import TensorFile

REPOSITORY = Path(__file__).parents[2]
CONTEXT = REPOSITORY / "azureml" / "environments" / "int8cal" / "context"
KUBEFLOW = REPOSITORY / "kfp" / "int8cal_calibration_tensorfile.py"

pytestmark = [pytest.mark.extended, pytest.mark.timeout(900)]


def environment(folder):
    """The programs of a fresh virtual environment."""
    venv.create(folder, with_pip=True)
    return folder / "bin"


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """The Dockerfile's steps, done in a fresh environment in place of an image; returns its programs."""
    folder = tmp_path_factory.mktemp("image")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    programs = environment(folder / "env")
    text = (CONTEXT / "Dockerfile").read_text(encoding="utf-8")
    for step, words in re.findall(r"^(COPY|RUN) (.*)$", text, re.MULTILINE):
        if step == "COPY":
            *names, _ = shlex.split(words)
            assert [(folder / name).is_file() for name in names] == [True]
            continue
        line = words.replace("/tmp/", f"{folder}/")
        line = re.sub(r"^(python|int8cal) ", lambda match: f"{programs / match[1]} ", line)
        subprocess.run(["bash", "-ec", line], check=True, cwd=folder)
    return programs


def test_the_image_runs_the_component_and_tells_mlflow(image, site, tmp_path):
    inputs = "".join(f"{name}={value}\n" for name, value in site.inputs().items())
    done = subprocess.run(
        [image / "int8cal", "component", "--inputs_from", "-"],
        input=inputs,
        text=True,
        capture_output=True,
        check=False,
        env={
            "PATH": "/usr/bin:/bin",
            "MLFLOW_TRACKING_URI": f"file:{tmp_path / 'mlruns'}",
            "MLFLOW_ALLOW_FILE_STORE": "true",
        },
    )
    assert done.returncode == 0, done.stderr
    assert "not logged" not in done.stderr
    with TensorFile(site.tensorfile) as file:
        assert len(file) == 1
    (batches,) = (tmp_path / "mlruns").rglob("metrics/batches")
    assert batches.read_text().split()[1] in ("1", "1.0")
    (spec,) = (tmp_path / "mlruns").rglob("updated_spec.txt")
    assert spec.read_bytes() == (site.out / "app" / "specs" / "spec.txt").read_bytes()


@pytest.fixture(scope="module")
def kubeflow(tmp_path_factory):
    """The component as Kubeflow compiles and reloads it."""
    folder = tmp_path_factory.mktemp("kubeflow")
    programs = environment(folder / "env")
    subprocess.run([programs / "pip", "install", "-q", "kfp==2.17.0"], check=True)
    compiled = folder / "component.yaml"
    subprocess.run([programs / "kfp", "dsl", "compile", "--py", KUBEFLOW, "--output", compiled], check=True, cwd=folder)
    reload = "import sys; from kfp import components; print(components.load_component_from_file(sys.argv[1]).name)"
    named = subprocess.run([programs / "python", "-c", reload, compiled], check=True, capture_output=True, text=True)
    assert named.stdout.strip().replace("-", "_") == "int8cal_calibration_tensorfile"
    return yaml.safe_load(compiled.read_text(encoding="utf-8"))


def test_kubeflow_has_the_same_inputs(kubeflow):
    (component,) = kubeflow["components"].values()
    artifacts, parameters = (component["inputDefinitions"][kind] for kind in ("artifacts", "parameters"))
    assert set(artifacts) == {item.name for item in INPUTS if item.type == "uri_folder"}
    assert set(parameters) == {item.name for item in INPUTS if item.type != "uri_folder"}
    for item in INPUTS:
        facts = {**artifacts, **parameters}[item.name]
        assert facts.get("isOptional", False) != item.required
        if item.default is not None:
            assert facts["defaultValue"] == item.default
    assert set(component["outputDefinitions"]["artifacts"]) == {OUTPUT_DIR}


def test_kubeflows_arguments_run_the_program(kubeflow, site, run_cli):
    """The argument list as its launcher makes it, for the least inputs."""
    (executor,) = kubeflow["deploymentSpec"]["executors"].values()
    (component,) = kubeflow["components"].values()
    given = site.inputs()
    defaults = {name: facts.get("defaultValue") for name, facts in component["inputDefinitions"]["parameters"].items()}
    values = {**{name: json.dumps(value).strip('"') for name, value in defaults.items() if value is not None}, **given}

    def filled(text):
        return re.sub(r"\{\{\$\.(?:in|out)puts\.\w+\['(\w+)'\](?:\.path)?\}\}", lambda match: values[match[1]], text)

    arguments = []
    for argument in executor["container"]["args"]:
        if not argument.startswith('{"IfPresent"'):
            arguments.append(filled(argument))
            continue
        block = json.loads(argument)["IfPresent"]
        if block["InputName"] in values:
            arguments += map(filled, block["Then"])
    assert executor["container"]["command"] == ["int8cal", "component"]
    done = run_cli("component", *arguments)
    assert done.code == 0, done.stderr
    assert site.tensorfile.is_file()
