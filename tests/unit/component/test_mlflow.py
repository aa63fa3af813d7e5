"""MLflow is told of a run when it is there, and never stands in the way of one."""

from __future__ import annotations

import json
import re
import sys
import time

import pytest

from int8cal.component import mlflow

FAKE = """
import json, os
LACKING = None
{behaviour}
class _Log:
    def __init__(self):
        self.told = {{"uri": os.environ["MLFLOW_TRACKING_URI"], "telemetry": os.environ["MLFLOW_DISABLE_TELEMETRY"]}}
LOG = _Log()
class _Run:
    class info:
        run_id = "r1"
    def __enter__(self):
        return self
    def __exit__(self, *error):
        json.dump(LOG.told, open({log!r}, "w"))
def start_run():
    return _Run()
class MlflowClient:
    def log_batch(self, run_id, **what):
        (kind, pairs), = what.items()
        if kind == LACKING:
            raise RuntimeError(f"there are no {{kind}} here\\nat all")
        LOG.told |= {{"run": run_id, kind: dict(pairs)}}
    def log_artifact(self, run_id, path):
        if LACKING == "files":
            raise RuntimeError("there are no files here")
        LOG.told.setdefault("files", {{}})[os.path.basename(path)] = open(path).read()
    def log_inputs(self, run_id, datasets):
        if LACKING == "dataset":
            raise RuntimeError("there are no data sets here")
        LOG.told["datasets"] = datasets
"""
ENTITIES = """
def Metric(name, value, timestamp, step): return name, value
def Param(name, value): return name, value
RunTag = InputTag = Param
def DatasetInput(dataset, tags): return dataset, tags
"""
META_DATASET = """
class MetaDataset:
    def __init__(self, source, name, digest): self.facts = {"source": source, "name": name, "digest": digest}
    def _to_mlflow_entity(self): return self.facts
"""


@pytest.fixture
def tracking(tmp_path, monkeypatch):
    """A stand-in for mlflow, installed with one line of its own behaviour; returns where it says what it was told."""
    told = tmp_path / "told.json"

    def install(behaviour=""):
        folder = tmp_path / "installed" / "mlflow"
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text(FAKE.format(behaviour=behaviour, log=str(told)))
        (folder / "entities.py").write_text(ENTITIES)
        (folder / "data").mkdir()
        (folder / "data" / "__init__.py").touch()
        (folder / "data" / "meta_dataset.py").write_text(META_DATASET)
        (folder / "data" / "sources.py").write_text("LocalArtifactDatasetSource = str")
        monkeypatch.syspath_prepend(str(folder.parent))
        monkeypatch.setenv("PYTHONPATH", ":".join([str(folder.parent), *filter(None, sys.path)]))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.example")
        return told

    return install


def log_something(tmp_path):
    (tmp_path / "spec").write_text("a spec")
    mlflow.log_run(
        params={"max_batches": 10, "long": "x" * 1000},
        metrics={"batches": 10, "seconds": 1.5},
        tags={"int8cal.version": "1"},
        files={"updated_spec.txt": str(tmp_path / "spec")},
        dataset={"name": "streets", "digest": "d", "source": "/mnt/streets"},
    )


def test_not_asked_for(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert not mlflow.wanted()


def test_not_installed(monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.example")
    monkeypatch.setattr(mlflow, "find_spec", lambda name: None)
    assert not mlflow.wanted()
    assert "not installed" in caplog.text


def test_what_is_told(tracking, tmp_path):
    told = tracking()
    assert mlflow.wanted()
    log_something(tmp_path)
    facts = json.loads(told.read_text())
    assert facts["params"] == {"max_batches": "10", "long": "x" * 250}
    assert facts["metrics"] == {"batches": 10, "seconds": 1.5}
    assert facts["tags"] == {"int8cal.version": "1"}
    assert facts["files"] == {"updated_spec.txt": "a spec"}
    dataset = {"source": "/mnt/streets", "name": "streets", "digest": "d"}
    assert facts["datasets"] == [[dataset, [["mlflow.data.context", "calibration"]]]]
    assert facts["telemetry"] == "true"


@pytest.mark.parametrize(
    ("lacking", "called"),
    [
        ("params", "parameters"),
        ("metrics", "metrics"),
        ("tags", "tags"),
        ("files", "updated_spec.txt"),
        ("dataset", "data set"),
    ],
)
def test_a_server_without_one_of_the_parts_loses_only_that(tracking, tmp_path, caplog, lacking, called):
    told = tracking(f"LACKING = {lacking!r}")
    log_something(tmp_path)
    missing = {"dataset": "datasets"}.get(lacking, lacking)
    assert {"params", "metrics", "tags", "files", "datasets"} - set(json.loads(told.read_text())) == {missing}
    (message,) = caplog.messages
    assert re.fullmatch(rf"MLflow: not logged: {called}: there are no [a-z ]+ here", message)


@pytest.mark.parametrize(
    "behaviour", ["raise RuntimeError('no such workspace')", "import sys; sys.exit(3)", "import nothing"]
)
def test_failure_is_a_warning(tracking, tmp_path, caplog, behaviour):
    tracking(behaviour)
    log_something(tmp_path)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("MLflow cannot be used: ")
    assert caplog.messages[0].endswith("not logged: parameters, metrics, tags, updated_spec.txt, data set")


def test_hanging_server_is_given_up(tracking, tmp_path, caplog, monkeypatch):
    tracking("import time; time.sleep(60)")
    monkeypatch.setattr(mlflow, "SECONDS", 1.0)
    started = time.monotonic()
    log_something(tmp_path)
    assert time.monotonic() - started < 40  # far less than the server's minute
    assert "did not answer within 1 seconds; not logged: parameters, metrics" in caplog.text


def test_the_bound_is_half_a_minute():
    assert mlflow.SECONDS == 30.0


def test_the_child_does_not_import_from_the_working_folder(tracking, tmp_path, monkeypatch):
    told = tracking()
    (tmp_path / "json.py").write_text("raise RuntimeError('taken from the working folder')")
    monkeypatch.chdir(tmp_path)
    log_something(tmp_path)
    assert told.exists()
