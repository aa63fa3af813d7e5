"""Kubeflow's own compiler: it needs the package index and minutes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from int8cal.component.inputs import INPUTS, OUTPUT_DIR

KUBEFLOW = Path(__file__).parents[2] / "kfp" / "int8cal_calibration_tensorfile.py"

pytestmark = [pytest.mark.extended, pytest.mark.timeout(900)]


def environment(folder):
    """The programs of a fresh virtual environment."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder / "bin"


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
