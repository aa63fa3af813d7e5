"""The child process of `int8cal.component.mlflow`: JSON on standard input → one MLflow run."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from typing import Any


def main() -> None:
    """Log to the run of the environment (``MLFLOW_RUN_ID``), or to a new one."""
    import mlflow
    from mlflow.entities import Metric, Param, RunTag

    facts: dict[str, Any] = json.load(sys.stdin)
    now = int(time.time() * 1000)
    with mlflow.start_run() as run:
        client = mlflow.MlflowClient()
        client.log_batch(
            run.info.run_id,
            metrics=[Metric(name, value, now, 0) for name, value in facts["metrics"].items()],
            params=[Param(name, value) for name, value in facts["params"].items()],
            tags=[RunTag(name, value) for name, value in facts["tags"].items()],
        )
        with tempfile.TemporaryDirectory() as folder:
            for name, path in facts["files"].items():
                client.log_artifact(run.info.run_id, shutil.copyfile(path, os.path.join(folder, name)))


if __name__ == "__main__":
    main()
