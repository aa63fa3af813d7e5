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
) -> None:
    """Log one run; a failure is a warning.

    Args:
        params: what was asked for.
        metrics: counts and seconds.
        tags: versions and hashes.
        files: artifact name → path of a file to upload.
    """
    facts: dict[str, Any] = {
        "params": {name: str(value)[:_MAX_TEXT] for name, value in params.items()},
        "metrics": dict(metrics),
        "tags": {name: value[:_MAX_TEXT] for name, value in tags.items()},
        "files": dict(files),
    }
    # A file, not a pipe, takes what the child says: it may leave processes behind that keep a pipe open.
    with tempfile.TemporaryFile() as messages:
        try:
            code = subprocess.run(
                [sys.executable, "-P", "-m", "int8cal.component.mlflow_log"],
                input=json.dumps(facts).encode(),
                stdout=messages,
                stderr=messages,
                timeout=SECONDS,
                env={**os.environ, **_NO_TELEMETRY},
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            log.warning("MLflow did not answer within %d seconds: this run is not logged there", SECONDS)
            return
        except OSError as error:
            log.warning("MLflow cannot be used: %s", error)
            return
        if code:
            messages.seek(0)
            lines = messages.read(1 << 20).decode(errors="replace").strip().splitlines() or [f"exit code {code}"]
            log.warning("this run is not logged to MLflow: %s", lines[-1])
