"""The Kubeflow component: compiled by the newest SDK, arguments resolved as back ends do it, and the program run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import component_kubeflow
import pytest
import yaml

from int8cal.component.inputs import INPUTS, OUTPUT_DIR
from int8cal.component.values import typed
from int8cal.tensorfile import TensorFile

REPOSITORY = Path(__file__).parents[2]
IMAGE = "registry.example.com:5000/team/int8cal@sha256:0123456789abcdef"
FOLDERS = [item.name for item in INPUTS if item.type == "uri_folder"]
OPTIONAL = [item.name for item in INPUTS if item.optional]
REFERENCE = re.compile(r"\{\{\$\.(inputs|outputs)\.(parameters|artifacts)\['(\w+)'\](?:\.path)?\}\}")

RESOLVE = """
import json, sys
from kfp.local import placeholder_utils
asked = json.load(sys.stdin)
json.dump([
    placeholder_utils.replace_placeholders(
        full_command=asked["args"], executor_input_dict=one, pipeline_resource_name="p", task_resource_name="t",
        pipeline_root="/root", unique_pipeline_id="1",
    )
    for one in asked["executor_inputs"]
], sys.stdout)
"""


def test_the_image_is_a_parameter_of_the_generator(tmp_path):
    written = tmp_path / "component.py"
    assert component_kubeflow.main([IMAGE, "--output", str(written)]) == 0
    assert written.read_text().count(f'image="{IMAGE}"') == 1


@pytest.mark.parametrize("image", ["", "a b", 'x"', "x\n"])
def test_what_cannot_be_an_image_is_refused(tmp_path, image):
    with pytest.raises(SystemExit):
        component_kubeflow.main([image, "--output", str(tmp_path / "component.py")])
    assert not list(tmp_path.iterdir())


def test_a_component_for_back_ends_that_resolve_no_ifpresent(tmp_path):
    written = tmp_path / "component.py"
    folders = ["training_tf_records_dir", "base_model_dir"]
    assert component_kubeflow.main([IMAGE, "--output", str(written), "--folders", *folders]) == 0
    text = written.read_text()
    assert "IfPresent" not in text
    assert "Optional[" not in text
    for name in folders:
        assert f"    {name}: dsl.Input[dsl.Artifact],\n" in text
        assert f'"--{name}",\n            {name}.path,' in text
    assert '"--validation_data_dir"' not in text
    compile(text, "component.py", "exec")


def test_only_folders_depend_on_being_present():
    text = (REPOSITORY / "kfp" / "int8cal_calibration_tensorfile.py").read_text(encoding="utf-8")
    conditional = re.findall(r'input_name="(\w+)"', text)
    assert sorted(conditional) == sorted(set(FOLDERS) & set(OPTIONAL))
    for item in INPUTS:
        if item.type != "uri_folder":
            assert f'"--{item.name}",\n            {item.name},' in text


def test_a_text_for_every_parameter_that_can_be_left_out():
    """An empty text is parsed as nothing: of numbers, too, which are texts there."""
    values = {item.name: "" for item in INPUTS if not item.required}
    needed = {item.name: "x" for item in INPUTS if item.required}
    assert typed({**needed, **values}) == typed(needed)
    assert typed({**needed, **values, "num_epochs": "3", "seed": "7"})["num_epochs"] == 3


# --- with Kubeflow's SDK, in an environment of its own -------------------------------------------

extended = [pytest.mark.extended, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def kubeflow(tmp_path_factory):
    """The SDK's environment: its Python, and the component as it compiles and reloads it."""
    folder = tmp_path_factory.mktemp("kubeflow")
    subprocess.run([sys.executable, "-m", "venv", folder / "env"], check=True)
    programs = folder / "env" / "bin"
    lock = ["--require-hashes", "--no-deps", "-r", REPOSITORY / "requirements" / "kfp.txt"]
    subprocess.run([programs / "python", "-m", "pip", "install", "-q", *lock], check=True)
    source, compiled = folder / "component.py", folder / "component.yaml"
    component_kubeflow.main([IMAGE, "--output", str(source)])
    subprocess.run([programs / "kfp", "dsl", "compile", "--py", source, "--output", compiled], check=True, cwd=folder)
    reload = "import sys; from kfp import components; print(components.load_component_from_file(sys.argv[1]).name)"
    named = subprocess.run([programs / "python", "-c", reload, compiled], check=True, capture_output=True, text=True)
    assert named.stdout.strip().replace("-", "_") == "int8cal_calibration_tensorfile"
    return programs / "python", yaml.safe_load(compiled.read_text(encoding="utf-8"))


def definitions(compiled):
    (component,) = compiled["components"].values()
    return component["inputDefinitions"]["artifacts"], component["inputDefinitions"]["parameters"]


def container(compiled):
    (executor,) = compiled["deploymentSpec"]["executors"].values()
    return executor["container"]


class TestCompiled:
    pytestmark = extended

    def test_the_image(self, kubeflow):
        assert container(kubeflow[1])["image"] == IMAGE
        assert container(kubeflow[1])["command"] == ["int8cal", "component"]

    def test_the_same_inputs(self, kubeflow):
        artifacts, parameters = definitions(kubeflow[1])
        assert set(artifacts) == set(FOLDERS)
        assert set(parameters) == {item.name for item in INPUTS} - set(FOLDERS)
        for item in INPUTS:
            facts = {**artifacts, **parameters}[item.name]
            assert facts.get("isOptional", False) != item.required
            if item.name in parameters and not item.required:
                assert facts["defaultValue"] == ("" if item.optional else item.default)
        (component,) = kubeflow[1]["components"].values()
        assert set(component["outputDefinitions"]["artifacts"]) == {OUTPUT_DIR}


def on_the_back_end(compiled, given):
    """The container's arguments as the back end of Kubeflow Pipelines 2.17.1 resolves them, and those before it.

    =========  =====================================  =================================
    .          a parameter                            a folder in IfPresent
    =========  =====================================  =================================
    present    its text; a number as JSON             what "then" says
    absent     its default                            nothing (before: the JSON itself)
    empty      an empty text, an argument of its own  cannot be
    =========  =====================================  =================================
    """
    artifacts, parameters = definitions(compiled)
    values = {name: facts["defaultValue"] for name, facts in parameters.items() if "defaultValue" in facts}
    values |= given

    def filled(text):
        return REFERENCE.sub(lambda match: as_text(values[match[3]]), text)

    arguments = []
    for argument in container(compiled)["args"]:
        if not argument.startswith('{"IfPresent"'):
            arguments.append(filled(argument))
            continue
        block = json.loads(argument)["IfPresent"]
        assert block["InputName"] in artifacts
        if block["InputName"] in values:
            arguments += map(filled, block["Then"])
    return arguments


def as_text(value):
    return value if isinstance(value, str) else json.dumps(value)


def in_the_sdk(kubeflow, cases):
    """The same by the SDK's own resolver, for several cases at once."""
    python, compiled = kubeflow
    artifacts, parameters = definitions(compiled)
    defaults = {name: facts["defaultValue"] for name, facts in parameters.items() if "defaultValue" in facts}
    inputs = [
        {
            "inputs": {
                "parameterValues": {**defaults, **{name: text for name, text in case.items() if name in parameters}},
                "artifacts": {
                    name: {"artifacts": [{"name": name, "uri": text}]}
                    for name, text in case.items()
                    if name in artifacts
                },
            },
            "outputs": {
                "outputFile": "/tmp/outputs",
                "artifacts": {OUTPUT_DIR: {"artifacts": [{"name": OUTPUT_DIR, "uri": case[OUTPUT_DIR]}]}},
            },
        }
        for case in cases
    ]
    asked = json.dumps({"args": container(compiled)["args"], "executor_inputs": inputs})
    done = subprocess.run([python, "-c", RESOLVE], input=asked, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def run_program(arguments):
    return subprocess.run(
        [sys.executable, "-m", "int8cal", "component", *arguments], capture_output=True, text=True, check=False
    )


def everything(site):
    """Every input with a value."""
    models = site.root / "models"
    (models / "app").mkdir(parents=True)
    site.write_spec(validation_data="/v/data", validation_records="/v/tf/*", model="/home/jupyter/model/x.hdf5")
    return site.inputs(
        training_data_dir=site.dataset.root,
        training_data_subdir="training",
        training_tf_records_dir=site.dataset.root,
        training_tf_records_subdir="tfrecords",
        validation_data_dir=site.dataset.root,
        validation_data_subdir="training",
        specfile_reference_validation_data_dir="/v/data",
        validation_tf_records_dir=site.dataset.root,
        validation_tf_records_subdir="tfrecords",
        specfile_reference_validation_tf_records_dir="/v/tf",
        base_model_dir=models,
        base_model_subdir="ND",
        specfile_reference_model_dir="/home/jupyter/model",
        network="detectnet_v2",
        num_epochs="3",
        seed="7",
    )


class TestArguments:
    pytestmark = extended

    def test_present_absent_and_empty(self, kubeflow, site):
        """Of each optional input: both resolvers say the same, and the program takes it."""
        everywhere = everything(site)
        assert set(OPTIONAL) <= set(everywhere)
        least = {name: text for name, text in everywhere.items() if name not in OPTIONAL}
        least |= {"training_data_dir": str(site.dataset.root / "training")}
        records = ("training_tf_records_dir", "training_tf_records_subdir")
        least |= {name: everywhere[name] for name in (*records, "specfile_reference_training_tf_records_dir")}
        site.write_spec()
        empty = {name: "" for name in OPTIONAL if name not in FOLDERS and name not in least}
        cases = {
            "absent": least,
            "empty": {**least, **empty},
            "network": {**least, "network": "detectnet_v2"},
            "num_epochs": {**least, "num_epochs": "3"},
            "seed": {**least, "seed": "7"},
            "training_data_subdir": {
                **least,
                "training_data_dir": everywhere["training_data_dir"],
                "training_data_subdir": "training",
            },
            "validation_data_dir": {**least, "validation_data_dir": everywhere["validation_data_dir"]},
            "validation_tf_records_dir": {**least, "validation_tf_records_dir": str(site.dataset.root)},
            "base_model_dir": {**least, "base_model_dir": everywhere["base_model_dir"]},
            "max_batches": {**least, "max_batches": 2, "log_report": True, "max_skipped": 0},
        }
        for number, case in enumerate(cases.values()):
            case["output_subfolder"] = f"case{number}"
        by_sdk = in_the_sdk(kubeflow, list(cases.values()))
        for (name, case), resolved in zip(cases.items(), by_sdk, strict=True):
            assert resolved == on_the_back_end(kubeflow[1], case), name
            if name == "num_epochs":  # another updated spec
                resolved[resolved.index("--output_dir") + 1] += "-epochs"
            done = run_program(resolved)
            assert done.returncode == 0, f"{name}: {done.stderr}"
        folder = site.out / "app"
        facts = {}
        for number, name in enumerate(cases):
            where = site.root / "out-epochs" / "app" if name == "num_epochs" else folder
            with TensorFile(where / f"case{number}" / "calibration.tensor") as file:
                facts[name] = (file.manifest["seed"], len(file))
        assert facts["absent"] == facts["empty"]
        assert facts["seed"][0] == 7
        assert facts["max_batches"][1] == 2
        assert "num_epochs: 3" in (site.root / "out-epochs" / "app" / "specs" / "spec.txt").read_text()

    def test_everything_present(self, kubeflow, site):
        case = everything(site) | {"max_batches": 2}
        (resolved,) = in_the_sdk(kubeflow, [case])
        assert resolved == on_the_back_end(kubeflow[1], case)
        done = run_program(resolved)
        assert done.returncode == 0, done.stderr
        with TensorFile(site.tensorfile) as file:
            assert (file.manifest["seed"], len(file)) == (7, 2)

    def test_a_back_end_that_resolves_no_ifpresent_is_told_apart(self, kubeflow, site):
        """Older ones hand the JSON on: the program says so and does nothing."""
        case = site.inputs()
        arguments = on_the_back_end(kubeflow[1], case)
        unresolved = [argument for argument in container(kubeflow[1])["args"] if argument.startswith('{"IfPresent"')]
        done = run_program([*arguments, unresolved[0]])
        assert done.returncode == 2
        assert "IfPresent" in done.stderr
        assert not site.out.exists()
