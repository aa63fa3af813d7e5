"""The shipped components have none of the faults that the SDK does not see, and every such fault is reported."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml
from component_lint import lint

COMPONENTS = sorted((Path(__file__).parents[2] / "azureml" / "components").glob("*/spec.yaml"))


@pytest.fixture
def component():
    return yaml.safe_load(COMPONENTS[0].read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: path.parent.name)
def test_shipped_components_are_clean(path):
    assert lint(yaml.safe_load(path.read_text(encoding="utf-8"))) == []


def changed(*path_and_value):
    """A change of the component: keys, then the new value."""

    def change(component):
        *path, last, value = path_and_value
        for key in path:
            component = component[key]
        component[last] = value

    return change


def replaced(old, new):
    def change(component):
        assert old in component["command"]
        component["command"] = component["command"].replace(old, new)

    return change


SEED = "$[[seed=${{inputs.seed}}]]"
APP = "model_app_name=${{inputs.model_app_name}}"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (changed("limits", {"timeout": 60}), "field limits: unknown in a command component"),
        (changed("environment_variables", {}), "field environment_variables: unknown"),
        (changed("description", ""), "the component has no description"),
        (changed("version", "4"), "version 4: not MAJOR.MINOR.PATCH"),
        (changed("environment", "azureml:int8cal@latest"), "not pinned"),
        (changed("inputs", "seed", "description", ""), "input seed: no description"),
        (changed("inputs", "seed", "help", "x"), "input seed: unknown field help"),
        (changed("inputs", "seed", "default", 3), "input seed: optional with a default"),
        (changed("inputs", "specs_file", "default", ""), "input specs_file: an empty default"),
        (changed("inputs", "max_batches", "default", -2), "input max_batches: default -2 is out of range"),
        (changed("inputs", "max_batches", "default", 10.5), "input max_batches: default 10.5 is not an integer"),
        (changed("inputs", "max_batches", "max", -3), "input max_batches: min -1 is above max -3"),
        (changed("inputs", "specs_file", "max", 3), "input specs_file: min and max are for numbers"),
        (changed("inputs", "engine", "default", "cuda"), "input engine: default cuda is not in enum"),
        (changed("inputs", "original_specs", "mode", "rw_mount"), "input original_specs: mode rw_mount"),
        (changed("inputs", "new", {"type": "string", "description": "x"}), "input new: never used"),
        (changed("outputs", "output_dir", "mode", "download"), "output output_dir: mode download"),
        (changed("outputs", "output_dir", "description", ""), "output output_dir: no description"),
        (changed("outputs", "output_dir", "size", 1), "output output_dir: unknown field size"),
        (changed("outputs", "other", {"type": "uri_folder", "description": "x"}), "output other: never used"),
        (replaced(SEED, "seed=${{inputs.seed}}"), "input seed: optional, but outside $[[ ]]"),
        (replaced(SEED, "[seed=${{inputs.seed}}]"), "input seed: optional, but outside $[[ ]]"),
        (replaced(APP, f"$[[{APP}]]"), "input model_app_name: inside $[[ ]], but not optional"),
        (replaced(SEED, f"{SEED} $[[x]]"), "command: $[[ ]] without an input: x"),
        (replaced(SEED, "$[[a $[[seed=${{inputs.seed}}]]"), "command: $[[ ]] inside $[[ ]]"),
        (replaced(SEED, "seed=${{inputs.sed}}"), "command: inputs.sed does not exist"),
        (replaced("<<'INT8CAL_INPUTS_END'", "<<INT8CAL_INPUTS_END"), "is not inside a quoted here-document"),
        (replaced("component", "component '${{inputs.engine}}'"), "inputs.engine is not inside a quoted here-document"),
        (replaced("exec int8cal", "int8cal"), "does not begin with exec"),
    ],
)
def test_fault_is_reported(component, change, fault):
    before = copy.deepcopy(component)
    change(component)
    assert component != before
    assert any(fault in line for line in lint(component)), lint(component)
