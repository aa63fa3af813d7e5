"""The image's steps in a fresh environment, and MLflow in it as Azure ML has it: they need the package index."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import component_upload
import pytest
from tracking import RUN, TrackingService

from int8cal.tensorfile import TensorFile

REPOSITORY = Path(__file__).parents[2]
CONTEXT = REPOSITORY / "azureml" / "environments" / "int8cal" / "context"

pytestmark = [pytest.mark.extended, pytest.mark.timeout(900)]


def python_of(version):
    """The image's Python, or this one where the machine has not got it."""
    candidates = [shutil.which(f"python{version}"), *Path.home().glob(f".pyenv/versions/{version}.*/bin/python")]
    for candidate in filter(None, candidates):
        if subprocess.run([candidate, "-m", "venv", "-h"], capture_output=True, check=False).returncode == 0:
            return candidate
    return sys.executable


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """The steps of the Dockerfile on what registering uploads, done in a fresh environment in place of an image.

    Its Python is the image's if the machine has it. Returns the programs.
    """
    folder = tmp_path_factory.mktemp("image")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    context = component_upload.assemble(wheel, folder / "azureml").context
    dockerfile = (context / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    (version,) = re.findall(r"^ARG BASE=python:(3\.\d+)", dockerfile, re.MULTILINE)
    subprocess.run([python_of(version), "-m", "venv", folder / "env"], check=True)
    programs = folder / "env" / "bin"
    copied = folder / "tmp"
    copied.mkdir()
    for step, words in re.findall(r"^(COPY|RUN) (.*)$", dockerfile, re.MULTILINE):
        if step == "COPY":
            *names, _ = shlex.split(words)
            for path in (path for name in names for path in context.glob(name)):
                shutil.copyfile(path, copied / path.name)
            continue
        line = words.replace("/tmp/", f"{copied}/")
        path = f"{programs}:/usr/bin:/bin"
        subprocess.run(["bash", "-ec", line], check=True, cwd=folder, env={**os.environ, "PATH": path})
    assert not list(copied.iterdir())
    return programs


def test_hadolint_finds_nothing():
    program = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([program, CONTEXT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def run(image, site, environment, **inputs):
    """Run the component with the image's programs alone."""
    text = "".join(f"{name}={value}\n" for name, value in site.inputs(**inputs).items())
    return subprocess.run(
        [image / "int8cal", "component", "--inputs_from", "-"],
        input=text,
        text=True,
        capture_output=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", **environment},
    )


def test_the_image_runs_the_component_and_tells_azure_ml(image, site, tmp_path):
    with TrackingService(tmp_path) as service:
        done = run(image, site, service.environment, log_report="true", max_batches="2")
    assert done.returncode == 0, done.stderr
    assert "not logged" not in done.stderr
    with TensorFile(site.tensorfile) as file:
        assert len(file) == 2
        digest = file.manifest["plan_sha256"][:32]
    sent = [(end, content) for end, content in service.calls if end.startswith(("runs/log", "batch/"))]
    assert [end for end, _ in sent] == [*["runs/log-batch"] * 3, *["batch/metadata"] * 3, "runs/log-inputs"]
    assert all(content["run_id"] == RUN for end, content in sent if end.startswith("runs/"))
    params = {item["key"]: item["value"] for item in sent[0][1]["params"]}
    assert (params["model_app_name"], params["max_batches"], params["specs_file"]) == ("app", "2", "spec.txt")
    metrics = {item["key"]: item["value"] for item in sent[1][1]["metrics"]}
    assert (metrics["batches"], metrics["images"], metrics["skipped"]) == (2, 4, 0)
    assert {item["key"] for item in sent[2][1]["tags"]} >= {"int8cal.version", "int8cal.plan_sha256"}
    made = {
        "updated_spec.txt": site.out / "app" / "specs" / "spec.txt",
        "tensorfile.json": Path(f"{site.tensorfile}.json"),
        "report.html": Path(f"{site.tensorfile}.html"),
    }
    assert service.artifacts == {name: path.read_bytes() for name, path in made.items()}
    (dataset,) = sent[-1][1]["datasets"]
    assert dataset["tags"] == [{"key": "mlflow.data.context", "value": "calibration"}]
    assert (dataset["dataset"]["name"], dataset["dataset"]["digest"]) == ("app", digest)
    assert str(site.dataset.root / "training") in dataset["dataset"]["source"]


@pytest.mark.parametrize(
    ("refused", "lost"),
    [
        ({"runs/log-inputs": 404}, {"data set"}),
        ({"batch/metadata": 500}, {"updated_spec.txt", "tensorfile.json"}),
        ({"runs/log-batch": 503}, {"parameters", "metrics", "tags"}),
    ],
)
def test_a_service_without_one_part_gets_the_others(image, site, tmp_path, refused, lost):
    with TrackingService(tmp_path, refused=refused) as service:
        done = run(image, site, service.environment)
    assert done.returncode == 0, done.stderr
    assert set(re.findall(r"MLflow: not logged: ([\w. ]+):", done.stderr)) == lost
    ends = {end for end, _ in service.calls}
    assert {"runs/log-batch", "batch/metadata", "runs/log-inputs"} - ends == set(refused)
    assert set(service.artifacts) == {"updated_spec.txt", "tensorfile.json"} - lost


def test_a_service_that_hangs_costs_half_a_minute(image, site, tmp_path):
    """Measured against the same run with no service at all."""
    started = time.monotonic()
    assert run(image, site, {}).returncode == 0
    alone = time.monotonic() - started
    with TrackingService(tmp_path, hangs=True) as service:
        started = time.monotonic()
        done = run(image, site, service.environment, output_dir=site.root / "again")
        elapsed = time.monotonic() - started
    assert done.returncode == 0, done.stderr
    assert "MLflow" in done.stderr
    assert "not logged: parameters, metrics, tags, updated_spec.txt, tensorfile.json, data set" in done.stderr
    print(f"without a service {alone:.1f} s, with one that hangs {elapsed:.1f} s")
    assert elapsed - alone < 40


def test_without_azureml_mlflow_the_address_is_not_understood(image, site, tmp_path):
    """Why the image has that package: mlflow alone does not know the scheme, and says so in one line."""
    hidden = tmp_path / "sitecustomize.py"
    hidden.write_text(
        "import importlib.metadata as metadata\nreal = metadata.entry_points\n"
        "def none(**wanted):\n    return [] if 'mlflow' in wanted.get('group', '') else real(**wanted)\n"
        "metadata.entry_points = none\n"
    )
    with TrackingService(tmp_path) as service:
        done = run(image, site, {**service.environment, "PYTHONPATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert "MLflow cannot be used" in done.stderr
    assert not service.calls
