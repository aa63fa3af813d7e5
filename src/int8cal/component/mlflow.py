"""What a run was, told to MLflow: when ``MLFLOW_TRACKING_URI`` is set and mlflow is installed. Never fails the run.

Tracking servers hang, and a client library may retry for minutes: everything is done by a child process
(`int8cal.component.mlflow_log`) that is ended after `SECONDS`.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)

SECONDS = 30.0
"""Time that logging may take, imports included."""

_MAX_TEXT = 250  # the least that any tracking store accepts as a parameter's value
_NO_TELEMETRY = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
# The clients' own patience is minutes for one call; a part that a server cannot take must leave time for the others.
_IMPATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "AZUREML_HTTP_REQUEST_TIMEOUT": "10",
}


def wanted() -> bool:
    """Whether there is something to log to, and the means."""
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        return False
    if find_spec("mlflow") is None:
        log.warning("MLFLOW_TRACKING_URI is set, but mlflow is not installed: nothing is logged")
        return False
    return True


def log_run(
    *,
    params: Mapping[str, object],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    files: Mapping[str, str],
    dataset: Mapping[str, str] | None = None,
) -> None:
    """Log one run; a failure is a warning.

    Args:
        params: what was asked for.
        metrics: counts and seconds.
        tags: versions and hashes.
        files: artifact name → path of a file to upload.
        dataset: ``name``, ``digest`` and ``source`` of the data that the samples were taken from.
    """
    facts: dict[str, Any] = {
        "params": {name: str(value)[:_MAX_TEXT] for name, value in params.items()},
        "metrics": dict(metrics),
        "tags": {name: value[:_MAX_TEXT] for name, value in tags.items()},
        "files": dict(files),
        "dataset": dict(dataset) if dataset else None,
    }
    parts = ["parameters", "metrics", "tags", *files, *(["data set"] if dataset else [])]
    try:
        with tempfile.TemporaryDirectory(prefix="int8cal-") as folder:
            facts["report"] = os.path.join(folder, "report")
            ended = _ended(facts)
            done = _read_report(facts["report"])
    except (OSError, ValueError, LookupError) as problem:  # no room for temporary files; what a full disk cut off
        log.warning("MLflow: not logged: %s", problem)
        return
    for part, error in done.items():
        if error:
            log.warning("MLflow: not logged: %s: %s", part, error)
    if ended and (left := [part for part in parts if part not in done]):
        log.warning("%s; not logged: %s", ended, ", ".join(left))


def _ended(facts: Mapping[str, Any]) -> str | None:
    """Run the child; how it ended, if not well."""
    # A file, not a pipe, takes what the child says: it may leave processes behind that keep a pipe open.
    with tempfile.TemporaryFile() as messages:
        try:
            code = subprocess.run(
                [sys.executable, "-P", "-m", "int8cal.component.mlflow_log"],
                input=json.dumps(facts).encode(),
                stdout=messages,
                stderr=messages,
                timeout=SECONDS,
                env={**_IMPATIENCE, **os.environ, **_NO_TELEMETRY},
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            return f"MLflow did not answer within {SECONDS:g} seconds"
        except OSError as error:
            return f"MLflow cannot be used: {error}"
        if not code:
            return None
        messages.seek(0)
        lines = messages.read(1 << 20).decode(errors="replace").strip().splitlines() or [f"exit code {code}"]
        return f"MLflow cannot be used: {lines[-1]}"


def _read_report(path: str) -> dict[str, str | None]:
    """Part → what went wrong, or None, of every part that was tried to its end."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = [json.loads(line) for line in file if line.endswith("\n")]
    except FileNotFoundError:
        return {}
    return {line["part"]: line["error"] for line in lines}
