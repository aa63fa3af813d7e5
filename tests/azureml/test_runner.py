"""The shipped YAML is run: through azure-ai-ml's loader, as the line that the service makes of it, by bash."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import run_component as runner
from component_loader import LoadedComponent, load

from int8cal.component.inputs import INPUTS
from int8cal.component.values import read_lines
from int8cal.pipeline import make, plan
from int8cal.tensorfile import TensorFile

COMPONENTS = Path(__file__).parents[2] / "azureml" / "components"
OURS = "int8cal_calibration_tensorfile"
REPLACEMENT = "tao_detectnet_v2_calibration_tensorfile"
DATA = "/home/jupyter/data/training"
RECORDS = "/home/jupyter/data/tfrecords/kitti_trainval"

HOSTILE = [
    "a b",
    " leading and trailing ",
    "c:d",
    "a,b",
    "100%",
    "R&D",
    'say "hi"',
    r"\1",
    "back\\slash\\",
    "$(touch PWNED)",
    "`touch PWNED`",
    "a;touch PWNED;b",
    "*",
    "[ab]?",
    "naïve 映像 ✓",
    "-rf",
    "--overwrite",
    "a'; touch PWNED; '",
    "${HOME}",
    "$[[x]]",
    "seed=5",
    "|touch PWNED",
    ">PWNED",
    "#x",
    "~",
    "!!",
    "ends in a carriage return\r",
]
TEXTS = [item.name for item in INPUTS if item.type == "string" and not item.choices]


@pytest.fixture(scope="session")
def component():
    return load(COMPONENTS / OURS / "spec.yaml")


@pytest.fixture(scope="session")
def replacement():
    return load(COMPONENTS / REPLACEMENT / "spec.yaml")


def run(component, site, tmp_path, **options):
    """Run the component on a site; returns the run and its log."""
    inputs = site.inputs(**options.pop("inputs", {}))
    output = inputs.pop("output_dir")
    log = tmp_path / "std_log.txt"
    work = options.pop("work_dir", tmp_path / "work")
    with log.open("ab") as file:
        done = runner.run_component(component, inputs, {"output_dir": output}, work_dir=work, log=file, **options)
    return done, log.read_text(encoding="utf-8", errors="replace")


def pwned(*folders):
    return [path for folder in folders for path in folder.rglob("PWNED")]


# --- what the service would do -------------------------------------------------------------------


def test_minimal_inputs(component, site, tmp_path, int8cal_on_path):
    done, log = run(component, site, tmp_path)
    assert done.code == 0, log
    assert done.changed_inputs == ()
    with TensorFile(site.tensorfile) as file:
        assert len(file) == 1


def test_the_result_is_that_of_the_function(component, site, tmp_path, int8cal_on_path):
    run(component, site, tmp_path, inputs={"max_batches": "3"})
    site.run(max_batches="3", output_dir=site.root / "direct")
    direct = site.root / "direct" / "app" / "experiment_dir_final" / "calibration.tensor"
    assert site.tensorfile.read_bytes() == direct.read_bytes()


def test_all_inputs(component, site, tmp_path, int8cal_on_path):
    site.write_spec(
        validation_data="/v/data", validation_records="/v/tf/*", model="/home/jupyter/data/model/resnet18.hdf5"
    )
    models = site.root / "models"
    (models / "app" / "final").mkdir(parents=True)
    inputs = {
        "training_data_dir": site.dataset.root,
        "training_data_subdir": "training",
        "validation_data_dir": site.dataset.root,
        "validation_data_subdir": "training",
        "specfile_reference_validation_data_dir": "/v/data",
        "training_tf_records_dir": site.dataset.root,
        "training_tf_records_subdir": "tfrecords",
        "validation_tf_records_dir": site.dataset.root,
        "validation_tf_records_subdir": "tfrecords",
        "specfile_reference_validation_tf_records_dir": "/v/tf",
        "base_model_dir": models,
        "base_model_subdir": "final",
        "specfile_reference_model_dir": "/home/jupyter/data/model",
        "max_batches": "10.0",
        "use_validation_set": "True",
        "output_subfolder": "other",
        "output_filename": "x.tensor",
        "network": "detectnet_v2",
        "num_epochs": "3",
        "engine": "native",
        "seed": "7",
        "on_bad_image": "skip",
        "max_skipped": "1",
        "log_report": "False",
        "overwrite": "False",
        "allow_unknown_fields": "False",
    }
    assert set(site.inputs(**inputs)) == {*component.inputs, "output_dir"}
    inputs["max_batches"] = "3.0"
    done, log = run(component, site, tmp_path, inputs=inputs)
    assert done.code == 0, log
    with TensorFile(site.out / "app" / "other" / "x.tensor") as file:
        assert (file.manifest["split"], file.manifest["seed"], len(file)) == ("validation", 7, 3)


def test_nd_everywhere_it_may_stand(component, site, tmp_path, int8cal_on_path):
    (site.specs / "detectnet_v2_retrain_resnet18_kitti.txt").write_text((site.specs / "spec.txt").read_text())
    needed = {"model_app_name", "specfile_reference_training_data_dir", "specfile_reference_training_tf_records_dir"}
    inputs = {name: "ND" for name in TEXTS if name not in needed}
    done, log = run(component, site, tmp_path, inputs=inputs)
    assert done.code == 0, log
    assert site.tensorfile.is_file()


@pytest.mark.parametrize("value", ["true", "True", "1"])
def test_use_validation_set(site, value):
    site.run(use_validation_set=value)
    with TensorFile(site.tensorfile) as file:
        assert file.manifest["split"] == "validation"


def test_the_replacement_takes_the_originals_wiring(replacement, site, tmp_path, int8cal_on_path):
    """Dummy folders with ND references, as pipelines of version 4 have them."""
    dummy = site.root / "dummy"
    dummy.mkdir()
    inputs = {
        "training_data_subdir": "ND",
        "validation_data_dir": dummy,
        "validation_data_subdir": "ND",
        "specfile_reference_validation_data_dir": "ND",
        "training_tf_records_subdir": "ND",
        "validation_tf_records_dir": dummy,
        "validation_tf_records_subdir": "ND",
        "specfile_reference_validation_tf_records_dir": "ND",
        "base_model_dir": dummy,
        "base_model_subdir": "ND",
        "specfile_reference_model_dir": "ND",
        "max_batches": "2.0",
        "use_validation_set": "ND",
    }
    done, log = run(replacement, site, tmp_path, inputs=inputs)
    assert done.code == 0, log
    assert done.changed_inputs == ()
    for name in ("validation_data_dir", "validation_tf_records_dir", "base_model_dir"):
        assert sum(f"{name} is not used" in line for line in log.splitlines()) == 1
    with TensorFile(site.tensorfile) as file:
        assert (file.manifest["split"], len(file)) == ("training", 2)


def test_numbers_arrive_as_the_service_sends_them(component, replacement):
    assert component.inputs["max_batches"]["default"] == "10"
    assert replacement.inputs["max_batches"]["default"] == "10.0"
    assert component.inputs["log_report"]["default"] == "False"


# --- hostile values ------------------------------------------------------------------------------


@pytest.mark.parametrize("value", HOSTILE)
def test_values_arrive_literally_in_every_input(component, site, tmp_path, program_on_path, value):
    received = tmp_path / "received"
    program_on_path("int8cal", f"#!/bin/sh\necho \"$*\" > '{received}.arguments'\nexec cat > '{received}'\n")
    done, log = run(component, site, tmp_path, inputs=dict.fromkeys(TEXTS, value))
    assert done.code == 0, log
    assert Path(f"{received}.arguments").read_text() == "component --inputs_from -\n"
    arrived = read_lines(received.read_bytes().decode(), "received")
    assert {name: arrived[name] for name in TEXTS} == dict.fromkeys(TEXTS, value)
    assert not pwned(tmp_path)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, streets):
    """The tensorfile of one batch, made by the direct command's function."""
    out = tmp_path_factory.mktemp("undisturbed") / "c.tensor"
    make(plan(streets.spec, max_batches=1), out)
    return out.read_bytes()


def hostile_names(site, value):
    """Inputs of a run in which folders, files, outputs and references all have a hostile name."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    site.write_spec(f"{value}/{value}.txt", data=f"/ref/{escaped}/x", records=f"/rec/{escaped}/x/*")
    return {
        "model_app_name": value,
        "training_data_dir": site.pictures(f"{value}/d/{value}").parent,
        "training_data_subdir": value,
        "specfile_reference_training_data_dir": f"/ref/{value}/x",
        "training_tf_records_dir": site.records(f"{value}/r/{value}").parent,
        "training_tf_records_subdir": value,
        "specfile_reference_training_tf_records_dir": f"/rec/{value}/x",
        "specs_file": f"{value}/{value}.txt",
        "output_subfolder": value,
        "output_filename": value,
        "output_dir": site.root / f"out {value}",
    }


@pytest.mark.parametrize("value", [value for value in HOSTILE if value.strip() == value])
def test_hostile_names_everywhere_at_once(site, value, undisturbed, monkeypatch):
    """Each is taken literally, and the run succeeds."""
    monkeypatch.chdir(site.root)
    site.run(**hostile_names(site, value))
    assert (site.root / f"out {value}" / value / value / value).read_bytes() == undisturbed
    assert not pwned(site.root)


@pytest.mark.parametrize(
    "value", ["a'; touch PWNED; '", "$(touch PWNED)", '"`touch PWNED`"', "* ? -rf", "映像 100%,:&"]
)
def test_hostile_names_in_the_shipped_yaml(component, site, tmp_path, int8cal_on_path, value, undisturbed):
    done, log = run(component, site, tmp_path, inputs=hostile_names(site, value), work_dir=tmp_path / value)
    assert done.code == 0, log
    assert done.changed_inputs == ()
    assert (site.root / f"out {value}" / value / value / value).read_bytes() == undisturbed
    assert not pwned(tmp_path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("x\nINT8CAL_INPUTS_END\ntouch PWNED\n", "output_dir is required"),
        ("x\nINT8CAL_INPUTS_END\n$(touch PWNED)", "output_dir is required"),
        ("x\ntouch PWNED", "is not name=value"),
        ("x\noutput_dir=/elsewhere", "given twice"),
    ],
)
def test_line_break_in_a_value_runs_nothing(component, site, tmp_path, int8cal_on_path, value, message):
    done, log = run(component, site, tmp_path, inputs={"model_app_name": value})
    assert done.code == 2
    assert message in log
    assert not pwned(tmp_path)
    assert not site.tensorfile.exists()


def test_line_break_can_set_an_input_that_the_job_leaves_out(component, site, tmp_path, int8cal_on_path):
    """What remains open, and is documented: whoever sets one input of the job can set the others."""
    done, _ = run(component, site, tmp_path, inputs={"output_filename": "x.tensor\nseed=5"})
    assert done.code == 0
    with TensorFile(site.tensorfile.with_name("x.tensor")) as file:
        assert file.manifest["seed"] == 5


@pytest.mark.parametrize(("name", "value"), [("max_batches", "-2"), ("engine", "gpu"), ("seed", "x"), ("nope", "1")])
def test_values_that_the_service_refuses(component, site, tmp_path, name, value):
    with pytest.raises(ValueError, match=name):
        run(component, site, tmp_path, inputs={name: value})


def test_missing_input_is_refused(component, site, tmp_path):
    with pytest.raises(ValueError, match="original_specs is required"):
        run(component, site, tmp_path, inputs={"original_specs": None})


# --- the runner itself ---------------------------------------------------------------------------


def with_command(component, command):
    return LoadedComponent({**component.rest, "command": command}, component.entity)


def test_write_into_an_input_is_noticed(component, site, tmp_path):
    (site.root / "mine").mkdir()
    writer = with_command(component, "touch '${{inputs.original_specs}}/written'")
    done, _ = run(writer, site, tmp_path, inputs={"original_specs": site.specs})
    assert done.changed_inputs == ("original_specs",)


def test_values_are_put_in_without_quoting(component, site, tmp_path):
    """The runner is as unsafe as the service, or it would prove nothing."""
    echo = with_command(component, "echo ${{inputs.model_app_name}}")
    run(echo, site, tmp_path, inputs={"model_app_name": "$(touch PWNED)"})
    assert pwned(tmp_path)


def test_termination(component, site, tmp_path):
    sleeper = with_command(component, "trap 'echo ended; exit 143' TERM; echo started; while :; do sleep 0.1; done")
    done, log = run(sleeper, site, tmp_path, terminate_after=1.0, grace=20.0)
    assert done.code == 143
    assert "ended" in log


def test_termination_is_insisted_on(component, site, tmp_path):
    deaf = with_command(component, "trap '' TERM; while :; do sleep 0.1; done")
    done, _ = run(deaf, site, tmp_path, terminate_after=0.5, grace=0.5)
    assert done.code == -signal.SIGKILL


def test_preemption_and_restart(component, site, tmp_path, program_on_path, int8cal_on_path):
    """SIGTERM reaches the program itself, since the command is exec; the next run gives the undisturbed bytes."""
    slow = "import sys, time\nfrom int8cal.engine import work\nreal = work.read_encoded\n"
    slow += "work.read_encoded = lambda sample: (time.sleep(2), real(sample))[1]\n"
    slow += f"open({str(tmp_path / 'pid')!r}, 'w').write(str(__import__('os').getpid()))\n"
    slow += "from int8cal.cli.app import run\nsys.exit(run(sys.argv[1:]))\n"
    (tmp_path / "slow.py").write_text(slow)
    script = int8cal_on_path.read_text()
    int8cal_on_path.write_text(script.replace("-m int8cal", str(tmp_path / "slow.py")))
    done, log = run(component, site, tmp_path, inputs={"max_batches": "-1"}, terminate_after=4.0, grace=20.0)
    assert done.code == 143, log
    assert not site.tensorfile.exists()
    int8cal_on_path.write_text(script)
    done, log = run(component, site, tmp_path, inputs={"max_batches": "-1"}, work_dir=tmp_path / "again")
    assert done.code == 0, log
    site.run(max_batches="-1", output_dir=site.root / "direct")
    direct = site.root / "direct" / "app" / "experiment_dir_final" / "calibration.tensor"
    assert site.tensorfile.read_bytes() == direct.read_bytes()


def test_command_line(site, tmp_path, int8cal_on_path, capfd):
    options = [
        part for name, value in site.inputs().items() if name != "output_dir" for part in ("-i", f"{name}={value}")
    ]
    spec = str(COMPONENTS / OURS / "spec.yaml")
    assert runner.main([spec, *options, "-o", f"output_dir={site.out}"]) == 0
    assert "exit code 0" in capfd.readouterr().err
    assert runner.main([spec, *options, "-o", f"output_dir={site.out}", "--dry-run"]) == 0
    assert "model_app_name=app\n" in capfd.readouterr().out
    assert runner.main([spec, "-i", "nope=1", "-o", f"output_dir={site.out}"]) == 2
    assert "nope" in capfd.readouterr().err
