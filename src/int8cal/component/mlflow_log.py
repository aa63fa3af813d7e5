"""The child process of `int8cal.component.mlflow`: JSON on standard input → one MLflow run."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def main() -> None:
    """Log to the run of the environment (``MLFLOW_RUN_ID``), or to a new one.

    Each part is tried on its own, so that a server without one of them loses only that. What came of it is appended to
    the file ``report``, one line of JSON for each part.
    """
    import mlflow

    facts: dict[str, Any] = json.load(sys.stdin)
    with (
        open(facts["report"], "a", encoding="utf-8") as report,
        tempfile.TemporaryDirectory() as folder,
        mlflow.start_run() as run,
    ):
        for name, log in _parts(mlflow.MlflowClient(), run.info.run_id, facts, folder):
            print(json.dumps({"part": name, "error": _tried(log)}), file=report, flush=True)


def _tried(log: Callable[[], object]) -> str | None:
    try:
        log()
    except Exception as error:  # noqa: BLE001  # clients and their plug-ins raise whatever they like
        return (str(error).strip() or type(error).__name__).splitlines()[0]
    return None


def _parts(client: Any, run: str, facts: dict[str, Any], folder: str) -> Iterator[tuple[str, Callable[[], object]]]:
    """Name and call of each part, by the names and in the order of `int8cal.component.mlflow.log_run`."""
    from mlflow.entities import Metric, Param, RunTag

    now = int(time.time() * 1000)
    params = [Param(name, value) for name, value in facts["params"].items()]
    metrics = [Metric(name, value, now, 0) for name, value in facts["metrics"].items()]
    tags = [RunTag(name, value) for name, value in facts["tags"].items()]
    yield "parameters", partial(client.log_batch, run, params=params)
    yield "metrics", partial(client.log_batch, run, metrics=metrics)
    yield "tags", partial(client.log_batch, run, tags=tags)
    for name, path in facts["files"].items():
        yield name, partial(_log_file, client, run, path, os.path.join(folder, name))
    if facts["dataset"]:
        yield "data set", partial(_log_dataset, client, run, **facts["dataset"])


def _log_file(client: Any, run: str, path: str, named: str) -> None:
    client.log_artifact(run, shutil.copyfile(path, named))


def _log_dataset(client: Any, run: str, name: str, digest: str, source: str) -> None:
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.data.sources import LocalArtifactDatasetSource
    from mlflow.entities import DatasetInput, InputTag

    dataset = MetaDataset(LocalArtifactDatasetSource(source), name=name, digest=digest)
    tags = [InputTag("mlflow.data.context", "calibration")]
    client.log_inputs(run, [DatasetInput(dataset._to_mlflow_entity(), tags)])


if __name__ == "__main__":
    main()
