"""The engine that makes nothing itself: it hands the spec to NVIDIA's own command, where that is installed.

Inside the TAO container the command is on PATH (``detectnet_v2``, ``classification`` or ``classification_tf1``); elsewhere the
launcher ``tao`` starts the container. The command gets a list of arguments and no shell; but since NVIDIA's launcher puts
its arguments together to an unquoted line, only paths of a temporary folder are in that list: a copy of the spec, and the
output, which is given its final name after it was read and found whole, since a failing run leaves a partial file behind.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from int8cal import __version__
from int8cal import manifest as manifests
from int8cal.errors import EngineFailedError, OutputError, TensorFileError, UnavailableError, UsageError
from int8cal.files import OutputFile, write_file
from int8cal.manifest import Manifest
from int8cal.tensorfile import TensorFile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from int8cal.plans import Plan

log = logging.getLogger(__name__)

_SAFE_PATH = re.compile(r"[A-Za-z0-9_./-]+")
_SECONDS_TO_END = 10.0
_SECONDS_FOR_HELP = 60.0
_LINE_CHARACTERS = 1 << 16
_LAUNCHER = "tao"


@dataclass(frozen=True)
class Command:
    """How NVIDIA spells the command of one network.

    Attributes:
        task: the program inside the container, and the launcher's word, up to TAO 4.
        task_tao5: the same from TAO 5 on.
        spec_option, output_option: the options for the spec and the output.
    """

    task: str
    task_tao5: str
    spec_option: str
    output_option: str


COMMANDS = {
    "detectnet_v2": Command("detectnet_v2", "detectnet_v2", "--experiment_spec_file", "--output_path"),
    "classification": Command("classification", "classification_tf1", "--experiment_spec", "--output"),
}
"""The networks for which NVIDIA has the command."""


def make(
    plan: Plan,
    out: str,
    *,
    overwrite: bool = False,
    scratch_dir: str | None = None,
    record: Mapping[str, Any] | None = None,
) -> Manifest:
    """Have NVIDIA's command make the tensorfile of a plan.

    Args:
        plan: what to make; its count and shape are what the result is checked against.
        out: path of the tensorfile; ``<out>.json`` is written beside it, with the command's exit code if it fails.
        overwrite: replace existing output.
        scratch_dir: where the temporary folder is made; None: the system's. The launcher's container must see it.
        record: what else ``<out>.json`` should say.

    Raises:
        UsageError: the plan has a seed or batch size of its own, for which NVIDIA's command has no option.
        UnavailableError: NVIDIA has no such command for the network, or it is not installed.
        EngineFailedError: it failed, or what it made is not what was asked for.
        OutputError: the file exists, another run is writing it, or it cannot be written.
    """
    command = _command(plan)
    program = find_program(command)
    started = datetime.now(UTC)
    clock = time.perf_counter()
    with (
        tempfile.TemporaryDirectory(prefix="int8cal-tao-", dir=_safe_parent(scratch_dir)) as folder,
        OutputFile(out, overwrite=overwrite, scratch_dir=folder) as output,
    ):
        spec = os.path.join(folder, "spec.txt")
        write_file(spec, plan.spec.text.to_bytes())
        arguments = [*program, *_arguments(command, plan, spec, output.scratch)]
        code = _run(arguments)
        seconds = time.perf_counter() - clock
        manifest = Manifest(
            path=out,
            facts=_facts(plan),
            samples=(),
            warnings=(*plan.spec.warnings, *plan.dataset.warnings),
            run={
                "spec": os.path.abspath(plan.spec.path),
                "engine": "tao",
                "command": arguments,
                "exit_code": code,
                "started": started.isoformat(timespec="seconds"),
                "seconds": round(seconds, 3),
                "images_per_second": round(plan.images / seconds, 2),
                **manifests.machine(),
            },
            record=dict(record or {}),
        )
        try:
            _require_success(code)
            _require_whole(output.scratch, plan)
        except EngineFailedError as error:
            _write_failure(manifest, error, overwrite=overwrite)
            raise
        manifests.write_run_facts(manifest, overwrite=overwrite)
        output.commit()
    return manifest


def find_program(command: Command) -> list[str]:
    """The first words of the command line.

    Raises:
        UnavailableError: neither the program nor the launcher is on PATH.
    """
    tasks = dict.fromkeys((command.task, command.task_tao5))
    for task in tasks:
        if path := shutil.which(task):
            return [path, "calibration_tensorfile"]
    if launcher := shutil.which(_LAUNCHER):
        words = ["model", command.task_tao5] if _groups_tasks(launcher) else [command.task]
        return [launcher, *words, "calibration_tensorfile"]
    raise UnavailableError(
        f"NVIDIA's command is not installed: none of {', '.join(tasks)}, {_LAUNCHER} is on PATH",
        hint="Run inside NVIDIA's TAO container or with its launcher installed, or use the engine native.",
    )


def _command(plan: Plan) -> Command:
    if plan.network.name not in COMMANDS:
        raise UnavailableError(
            f"NVIDIA has no calibration_tensorfile command for {plan.network.name}",
            hint=f"Use the engine native; NVIDIA's command exists for {' and '.join(COMMANDS)}.",
        )
    message = plan.spec.message
    if plan.seed != plan.network.seed(message) or plan.batch_size != plan.network.batch_size(message):
        raise UsageError(
            "NVIDIA's command has no option for the seed or the batch size",
            hint="Leave them out, set them in the spec, or use the engine native.",
        )
    return COMMANDS[plan.network.name]


def _arguments(command: Command, plan: Plan, spec: str, out: str) -> list[str]:
    arguments = [command.spec_option, spec, command.output_option, out, "--max_batches", str(plan.max_batches)]
    return [*arguments, "--use_validation_set"] if plan.split == "validation" else arguments


def _groups_tasks(launcher: str) -> bool:
    """Whether this launcher wants ``tao model NETWORK`` (TAO 5) rather than ``tao NETWORK``."""
    try:
        answer = subprocess.run(  # noqa: S603 - a program of the user's PATH, a list of arguments, no shell
            [launcher, "--help"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_SECONDS_FOR_HELP,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(
            f"NVIDIA's launcher does not answer: {error}", where=launcher, hint="Does it start by hand?"
        ) from error
    return re.search(rb"\bmodel\b", answer.stdout) is not None


def _safe_parent(folder: str | None) -> str:
    """A folder for temporary folders whose path survives an unquoted command line."""
    folder = folder or tempfile.gettempdir()
    return folder if _SAFE_PATH.fullmatch(folder) else "/tmp"  # noqa: S108 - only the parent of a private folder


def _run(arguments: Sequence[str]) -> int:
    """Run the command, with its output in the log, and give its exit code; what ends us ends it."""
    log.info("running: %s", " ".join(arguments))
    try:
        process = subprocess.Popen(  # noqa: S603 - a list of arguments, no shell
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise UnavailableError(f"cannot be started: {error.strerror or error}", where=arguments[0]) from error
    with process:
        try:
            if process.stdout:
                for line in iter(partial(process.stdout.readline, _LINE_CHARACTERS), ""):
                    log.info("%s", line.rstrip())
            return process.wait()
        except BaseException:
            _end(process)
            raise


def _end(process: subprocess.Popen[str]) -> None:
    """Pass the termination on to the command and all that it started; insist after a while."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_SECONDS_TO_END)
            return


def _require_success(code: int) -> None:
    if code:
        raise EngineFailedError(
            f"NVIDIA's command was ended by signal {-code}" if code < 0 else f"NVIDIA's command failed with exit code {code}",
            hint="Its own messages are above.",
        )


def _require_whole(path: str, plan: Plan) -> None:
    """Read the whole file: NVIDIA's command leaves partial ones behind, and its launcher may hide a failure."""
    try:
        with TensorFile(path) as file:
            found = (len(file), *file.shape)
            finite = all(bool(np.isfinite(batch).all()) for batch in file)
    except TensorFileError as error:
        raise EngineFailedError(
            f"NVIDIA's command ended with exit code 0, but made no sound tensorfile: {error.message}",
            hint="Its own messages are above.",
        ) from error
    wanted = (plan.batches, *plan.shape)
    if found != wanted or not finite:
        raise EngineFailedError(
            "NVIDIA's command ended with exit code 0, but its file "
            + (f"is {found} (batches, B, C, H, W), not {wanted}" if found != wanted else "holds values that are no numbers"),
            hint="Its own messages are above.",
        )


def _facts(plan: Plan) -> dict[str, Any]:
    """The manifest of a file that NVIDIA's command made; it lies in ``<out>.json`` alone."""
    return {
        "schema": manifests.SCHEMA,
        "int8cal": __version__,
        **plan.facts(),
        "arithmetic": {"name": f"nvidia.{plan.network.name}", "evidence": "reference", "options": {}},
        "batches": plan.batches,
        "skipped": 0,
        "dataset": {"sources": [len(source.samples) for source in plan.dataset.sources], **plan.dataset.counts},
        "plan_sha256": plan.sha256,
    }


def _write_failure(manifest: Manifest, error: EngineFailedError, *, overwrite: bool) -> None:
    """Leave the command's exit code in ``<out>.json``; a problem with that must not hide the failure itself."""
    failed = replace(manifest, record={**manifest.record, "error": {"message": error.message, "exit_code": error.exit_code}})
    try:
        manifests.write_run_facts(failed, overwrite=overwrite)
    except OutputError as problem:
        log.warning("the record of the failure could not be written: %s", problem)
