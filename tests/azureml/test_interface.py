"""The YAML, the program and the original say the same of every input; generated files are up to date."""

from __future__ import annotations

import json
import re
from pathlib import Path

import generate_component_docs
import pytest
import yaml

from int8cal import __version__
from int8cal.cli.component import component as command
from int8cal.component.inputs import BY_NAME, INPUTS, OUTPUT_DIR
from int8cal.component.values import typed

COMPONENTS = Path(__file__).parents[2] / "azureml" / "components"
NAMES = ("int8cal_calibration_tensorfile", "tao_detectnet_v2_calibration_tensorfile")
ORIGINAL = json.loads((Path(__file__).parent / "original_interface.json").read_text(encoding="utf-8"))


def spec(name):
    return yaml.safe_load((COMPONENTS / name / "spec.yaml").read_text(encoding="utf-8"))


@pytest.fixture(params=NAMES)
def component(request):
    return spec(request.param)


def test_generated_files_are_up_to_date():
    stale = [path.name for path, text in generate_component_docs.generated().items() if path.read_text("utf-8") != text]
    assert not stale, "run: python tools/generate_component_docs.py"


def test_the_originals_inputs_come_first_in_their_order(component):
    assert list(component["inputs"])[:22] == ORIGINAL["inputs"]
    assert list(component["outputs"]) == ORIGINAL["outputs"]


def test_the_originals_types_and_defaults(component):
    for name in ORIGINAL["inputs"]:
        facts = component["inputs"][name]
        assert (facts["type"] == "uri_folder") == (name in ORIGINAL["folders"]), name
        assert (facts["type"] in ("integer", "number")) == (name in ORIGINAL["numbers"]), name
        assert facts.get("default") == ORIGINAL["defaults"].get(name), name


def test_the_replacement_has_the_originals_inputs_alone():
    replacement = spec(NAMES[1])
    assert list(replacement["inputs"]) == ORIGINAL["inputs"]
    assert replacement["inputs"]["max_batches"]["type"] == "number"
    assert replacement["name"] == "tao_detectnet_v2_calibration_tensorfile"
    assert replacement["version"].startswith("5.")
    assert replacement["tags"] == {"int8cal": __version__}


def test_versions_of_package_component_and_environment_are_one():
    ours = spec(NAMES[0])
    assert ours["version"] == __version__
    for name in NAMES:
        assert spec(name)["environment"] == f"azureml:int8cal:{__version__}"


def test_every_yaml_input_is_one_of_the_program(component):
    for name, facts in component["inputs"].items():
        item = BY_NAME[name]
        number = name == "max_batches" and component["name"] == NAMES[1]
        assert facts["type"] == ("number" if number else item.type)
        assert facts.get("optional", False) == item.optional
        assert ("default" in facts) == (item.default is not None)
        assert facts.get("default") == item.default
        assert facts.get("min") == item.minimum
        assert facts.get("max") == item.maximum
        assert tuple(facts.get("enum", ())) == item.choices


def test_every_input_of_the_program_is_in_the_yaml():
    assert list(spec(NAMES[0])["inputs"]) == [item.name for item in INPUTS]


def test_the_command_line_takes_every_input_and_the_output():
    options = {parameter.name: parameter for parameter in command.params}
    assert [name for name in options if name in BY_NAME] == [item.name for item in INPUTS]
    assert OUTPUT_DIR in options
    assert set(options) - set(BY_NAME) == {OUTPUT_DIR, "inputs_from", "original_inputs", "as_json"}
    for name in (*BY_NAME, OUTPUT_DIR):
        assert options[name].opts == [f"--{name}"]
        assert options[name].type.name == "text"


def test_required_means_the_same_in_both(component):
    required = {
        name for name, facts in component["inputs"].items() if not facts.get("optional") and "default" not in facts
    }
    assert required == {item.name for item in INPUTS if item.required}


def test_the_yamls_defaults_are_what_the_program_takes_for_nd(component):
    needed = {item.name: "x" for item in INPUTS if item.required}
    with_nd = typed({**needed, **{name: "ND" for name in component["inputs"] if name not in needed}})
    sent = {name: str(facts["default"]) for name, facts in component["inputs"].items() if "default" in facts}
    assert typed({**needed, **sent}) == with_nd


def test_the_here_document_names_every_input_once_and_the_output_last(component):
    lines = component["command"].splitlines()
    names = [
        re.fullmatch(r"(?:\$\[\[)?(\w+)=\$\{\{(?:inputs|outputs)\.(\w+)\}\}(?:\]\])?", line) for line in lines[1:-1]
    ]
    assert all(names)
    assert [match[1] for match in names] == [match[2] for match in names] == [*component["inputs"], OUTPUT_DIR]
    assert lines[0].endswith(f"<<'{lines[-1]}' || exit 5")


def test_the_replacement_takes_no_other_inputs():
    """Not by a line break in a value either."""
    assert spec(NAMES[1])["command"].startswith("exec int8cal component --original_inputs --inputs_from - <<")
    assert "--original_inputs" not in spec(NAMES[0])["command"]


def test_the_replacements_page_lists_its_own_inputs_alone():
    page = (COMPONENTS / NAMES[1] / "README.md").read_text(encoding="utf-8")
    assert not [item.name for item in INPUTS if not item.original and f"`{item.name}`" in page]
    assert "num_epochs" not in page


def test_every_input_is_described(component):
    for name, facts in component["inputs"].items():
        assert len(facts["description"]) > 10, name
