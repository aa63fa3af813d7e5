"""What registering uploads: azure-ai-ml's own client code runs up to the wire, and a stand-in takes what it sends."""

from __future__ import annotations

import re
import shlex
import shutil
import zipfile
from pathlib import Path

import component_upload
import pytest
import yaml
from azure_wire import REGISTRY, Credential, Wire
from component_loader import load
from requests.adapters import HTTPAdapter

from int8cal import __version__

REPOSITORY = Path(__file__).parents[2]
AZUREML = REPOSITORY / "azureml"
COMPONENTS = ("int8cal_calibration_tensorfile", "tao_detectnet_v2_calibration_tensorfile")
WHEEL = f"int8cal-{__version__}-py3-none-any.whl"

pytestmark = pytest.mark.filterwarnings("ignore")  # the SDK's own, about its own dependencies


@pytest.fixture
def wheel(tmp_path):
    """Stands for the package: what is in it does not matter here."""
    path = tmp_path / WHEEL
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("int8cal/__init__.py", "")
    return path


@pytest.fixture
def wire(monkeypatch):
    stand_in = Wire()
    monkeypatch.setattr(HTTPAdapter, "send", lambda self, request, **options: stand_in.send(self, request, **options))
    return stand_in


def client(registry=None):
    from azure.ai.ml import MLClient

    if registry:
        return MLClient(Credential(), registry_name=registry)
    return MLClient(Credential(), "00000000-0000-0000-0000-000000000000", "group", "workspace")


def register(made, registry=None):
    from azure.ai.ml import load_component, load_environment

    ml = client(registry)
    ml.environments.create_or_update(load_environment(made.folder / "environments" / "int8cal" / "spec.yaml"))
    for name in COMPONENTS:
        ml.components.create_or_update(load_component(made.folder / "components" / name / "spec.yaml"))


def uploaded(wire):
    """Hash → the names of the files that lie under it."""
    found = {}
    for name in wire.blobs:
        match = re.fullmatch(r"LocalUpload/([0-9a-f]{64})/context/(.+)", name)
        assert match, name
        found.setdefault(match[1], set()).add(match[2])
    return found


def test_the_image_gets_its_wheel_its_lock_and_its_dockerfile(wheel, tmp_path, wire):
    made = component_upload.assemble(wheel, tmp_path / "azureml")
    register(made)
    (files,) = uploaded(wire).values()
    assert files == {"Dockerfile", "requirements.txt", WHEEL}
    sent = {name.rpartition("/")[2]: content for name, content in wire.blobs.items()}
    assert sent[WHEEL] == wheel.read_bytes()
    assert sent["requirements.txt"] == (REPOSITORY / "requirements" / "image.txt").read_bytes()
    assert sent["Dockerfile"] == (AZUREML / "environments" / "int8cal" / "context" / "Dockerfile").read_bytes()


def test_components_name_the_environment_that_was_registered(wheel, tmp_path, wire):
    made = component_upload.assemble(wheel, tmp_path / "azureml")
    register(made)
    assert re.fullmatch(rf"{re.escape(__version__)}-[0-9a-f]{{8}}", made.environment_version)
    assert f"environments/int8cal/versions/{made.environment_version}" in wire.resources
    for name in COMPONENTS:
        (sent,) = (facts for path, facts in wire.resources.items() if path.startswith(f"components/{name}/"))
        assert sent["componentSpec"]["environment"].endswith(
            f"/environments/int8cal/versions/{made.environment_version}"
        )
        assert "code" not in sent["componentSpec"]  # the program is in the image: nothing else is uploaded


def copied_sources(tmp_path, monkeypatch):
    """The files that go into the context, where a test may change them."""
    root = tmp_path / "root"
    shutil.copytree(AZUREML, root / "azureml")
    lock = root / "image.txt"
    shutil.copyfile(component_upload.LOCK, lock)
    monkeypatch.setattr(component_upload, "ROOT", root)
    monkeypatch.setattr(component_upload, "LOCK", lock)
    return {"Dockerfile": root / "azureml" / "environments" / "int8cal" / "context" / "Dockerfile", "lock": lock}


@pytest.mark.parametrize("changed", ["wheel", "lock", "Dockerfile"])
def test_a_change_of_any_file_is_another_version_and_another_upload(wheel, tmp_path, wire, monkeypatch, changed):
    sources = {"wheel": wheel, **copied_sources(tmp_path, monkeypatch)}
    first = component_upload.assemble(wheel, tmp_path / "azureml")
    again = component_upload.assemble(wheel, tmp_path / "azureml")
    assert first == again
    register(again)
    register(again)
    assert len(uploaded(wire)) == 1  # what is there is not sent again
    with sources[changed].open("ab") as file:
        file.write(b"\n# changed")
    second = component_upload.assemble(wheel, tmp_path / "azureml")
    assert second.environment_version != first.environment_version
    register(second)
    assert len(uploaded(wire)) == 2


def test_a_registry_takes_environment_and_components(wheel, tmp_path, wire):
    """The client refuses a component whose environment is named as a workspace's."""
    made = component_upload.assemble(wheel, tmp_path / "azureml", registry=REGISTRY)
    register(made, REGISTRY)
    assert {name.rpartition("/")[2] for name in wire.blobs} == {"Dockerfile", "requirements.txt", WHEEL}
    named = f"azureml://registries/{REGISTRY}/environments/int8cal/versions/{made.environment_version}"
    assert f"environments/int8cal/versions/{made.environment_version}" in wire.resources
    for name in COMPONENTS:
        (sent,) = (facts for path, facts in wire.resources.items() if path.startswith(f"components/{name}/"))
        assert sent["componentSpec"]["environment"] == named


def test_the_workspaces_name_would_be_refused_by_a_registry(wheel, tmp_path, wire):
    from azure.ai.ml.exceptions import ValidationException

    with pytest.raises(ValidationException, match="fully qualified name"):
        register(component_upload.assemble(wheel, tmp_path / "azureml"), REGISTRY)


@pytest.mark.parametrize("name", ["demo", "calibrate", "subsets"])
def test_pipelines_are_sent_with_the_environment_of_the_context(wheel, tmp_path, wire, name):
    from azure.ai.ml import load_job

    made = component_upload.assemble(wheel, tmp_path / "azureml")
    client().jobs.create_or_update(load_job(made.folder / "pipelines" / f"{name}.yml"))
    (job,) = (facts for path, facts in wire.resources.items() if path.startswith("jobs/"))
    written = yaml.safe_load((AZUREML / "pipelines" / f"{name}.yml").read_text(encoding="utf-8"))
    assert set(job["jobs"]) == set(written["jobs"])
    sent = [facts["componentSpec"] for path, facts in wire.resources.items() if path.startswith("components/")]
    assert sent
    for component in sent:
        assert component["environment"].endswith(f"/int8cal/versions/{made.environment_version}")
    assert not wire.blobs


def test_the_batch_endpoint_runs_the_pipeline_component(wheel, tmp_path, wire):
    from azure.ai.ml import load_batch_endpoint, load_component
    from azure.ai.ml.entities._load_functions import load_pipeline_component_batch_deployment

    pipelines = component_upload.assemble(wheel, tmp_path / "azureml").folder / "pipelines"
    component = load_component(pipelines / "calibration_component.yml")
    assert component._validate().passed
    assert (component.name, component.version) == ("int8cal_calibration", __version__)
    ml = client()
    ml.batch_endpoints.begin_create_or_update(load_batch_endpoint(pipelines / "batch_endpoint.yml")).result()
    deployment = load_pipeline_component_batch_deployment(pipelines / "batch_deployment.yml")
    ml.batch_deployments.begin_create_or_update(deployment).result()
    sent = wire.resources["batchEndpoints/int8-calibration/deployments/int8cal"]["deploymentConfiguration"]
    assert sent["settings"] == {"default_compute": "azureml:cpu-cluster"}
    registered = "/".join(sent["componentId"]["assetId"].rsplit("/", 4)[1:])
    assert list(wire.resources[registered]["componentSpec"]["jobs"]) == ["calibrate"]


def test_the_tree_stays_as_it_is(wheel, tmp_path):
    def tree():
        return {path: path.read_bytes() for path in AZUREML.rglob("*") if path.is_file()}

    before = tree()
    component_upload.assemble(wheel, tmp_path / "azureml", registry=REGISTRY)
    assert tree() == before


@pytest.mark.parametrize("place", [[], ["--registry-name", REGISTRY]], ids=["workspace", "registry"])
def test_the_commands_are_printed(wheel, tmp_path, capsys, place):
    out = tmp_path / "with blank" / "azureml"
    registry = ["--registry", place[1]] if place else []
    assert component_upload.main(["--wheel", str(wheel), "--output", str(out), *registry]) == 0
    lines = [shlex.split(line) for line in capsys.readouterr().out.splitlines() if line.startswith("az ")]
    for line in lines[:-1]:
        assert line[line.index("create") + 3 :] == place
    files = [Path(line[line.index("--file") + 1]) for line in lines]
    assert all(path.is_file() for path in files)
    assert [line[2] for line in lines] == ["environment", "component", "component", "job"]
    assert [load(path).rest["name"] for path in files[1:-1]] == list(COMPONENTS)


def test_a_folder_of_other_files_is_kept(wheel, tmp_path, capsys):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "important").write_text("keep")
    for folder in (tmp_path / "home", component_upload.ROOT / "azureml"):
        before = sorted(folder.rglob("*"))
        assert component_upload.main(["--wheel", str(wheel), "--output", str(folder)]) == 5
        assert "holds other files" in capsys.readouterr().err
        assert sorted(folder.rglob("*")) == before


def test_an_earlier_upload_is_replaced(wheel, tmp_path):
    (tmp_path / "out").mkdir()
    for _ in range(2):
        assert component_upload.main(["--wheel", str(wheel), "--output", str(tmp_path / "out")]) == 0
        (tmp_path / "out" / "left over").touch()
    assert component_upload.assemble(wheel, tmp_path / "out").folder == tmp_path / "out"
    assert not (tmp_path / "out" / "left over").exists()


@pytest.mark.parametrize("name", ["", "con toso", "../x", "a&b", "x#y", "ab", "é" * 5, "a" * 34])
def test_what_cannot_be_a_registry_is_refused(wheel, tmp_path, capsys, name):
    with pytest.raises(SystemExit, match="2"):
        component_upload.main(["--wheel", str(wheel), "--output", str(tmp_path / "out"), f"--registry={name}"])
    assert "not the name of a registry" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_wheel_that_was_not_built_is_said(tmp_path, capsys):
    assert component_upload.main(["--wheel", str(tmp_path / "none.whl"), "--output", str(tmp_path / "out")]) == 2
    assert "make pure-wheel" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
