"""The engine that makes nothing itself: it hands the spec to NVIDIA's own command, where that is installed.

Inside the TAO container the command is on PATH (``detectnet_v2``, ``classification`` or ``classification_tf1``);
elsewhere the launcher ``tao`` starts the container. The command gets a list of arguments and no shell; but since
NVIDIA's launcher puts its arguments together to an unquoted line, only paths of a temporary folder are in that list: a
copy of the spec, and the output. That gets its final name after it was read and found whole: a failing run leaves a
partial file behind.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from int8cal import networks
from int8cal.engine.job import Made
from int8cal.errors import TensorFileError, UnavailableError, UsageError
from int8cal.io.files import write_file
from int8cal.manifest import reference_facts
from int8cal.origins.experiment import Spec
from int8cal.samples.encoded import read_encoded
from int8cal.tensorfile import TensorFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from int8cal.engine.job import Job
    from int8cal.network_kit.network import ReferenceCommand
    from int8cal.plans import Plan
    from int8cal.tensorfile.shards import TensorFileOutput

log = logging.getLogger(__name__)

_SAFE_PATH = re.compile(r"[A-Za-z0-9_./-]+")
_SECONDS_TO_END = 10.0
_SECONDS_FOR_HELP = 60.0
_LINE_CHARACTERS = 1 << 16
_LAUNCHER = "tao"


class TaoEngine:
    """NVIDIA's own command."""

    name: ClassVar[str] = "tao"
    takes_address: ClassVar[bool] = False
    options: ClassVar[frozenset[str]] = frozenset()

    def check(self, plan: Plan) -> None:
        """See `invocation_of`."""
        invocation_of(plan)

    def scratch_folder(self, wanted: str | None) -> tempfile.TemporaryDirectory[str]:
        """See `safe_folder`."""
        return safe_folder(wanted)

    def make(self, job: Job, output: TensorFileOutput) -> Made:
        """Run the command. What it comes to is told, whatever that is: the record holds its exit code."""
        plan = job.plan
        result = run(invocation_of(plan), plan, output.scratch, os.path.dirname(output.scratch))
        told: dict[str, Any] = {"command": list(result.arguments), "exit_code": result.exit_code}
        if not result.problem:
            told |= {"tensorfile_sha256": file_sha256(output.scratch), "images_sha256": images_sha256(plan)}
        return Made(reference_facts(plan), images=plan.image_count, run=told, problem=result.problem)


@dataclass(frozen=True)
class Result:
    """What the command came to.

    Attributes:
        arguments: its command line.
        exit_code: its exit code; negative: the signal that ended it.
        problem: why its file cannot be used; None when it is what was asked for.
    """

    arguments: tuple[str, ...]
    exit_code: int
    problem: str | None


@dataclass(frozen=True)
class Invocation:
    """NVIDIA's command, and the spec that it gets."""

    command: ReferenceCommand
    spec: Spec


def invocation_of(plan: Plan) -> Invocation:
    """NVIDIA's command for a plan.

    Raises:
        UnavailableError: NVIDIA has no such command for the network.
        UsageError: the plan has what the command has no option for: a seed or batch size of its own, another source of
            images, or another choice than the network's default.
    """
    spec = plan.origin
    command = spec.network.reference_command if isinstance(spec, Spec) else None
    if command is None or not isinstance(spec, Spec):
        having = " and ".join(network.name for network in networks.all_networks() if network.reference_command)
        raise UnavailableError(
            f"NVIDIA has no calibration_tensorfile command for {spec.name}",
            hint=f"Use the engine native; NVIDIA's command exists for {having}.",
        )
    chosen = {
        "seed": plan.seed != spec.network.seed(spec.message),
        "batch_size": plan.batch_size != spec.network.batch_size(spec.message),
        "cal_image_dir": plan.folder is not None,
        **{option.name: plan.options.get(option.name) != option.default for option in spec.network.options},
    }
    if any(chosen.values()):
        named = ", ".join(name for name, is_chosen in chosen.items() if is_chosen)
        raise UsageError(
            f"NVIDIA's command has no option {named}",
            hint="Leave it out, set it in the spec, or use the engine native.",
        )
    return Invocation(command, spec)


def safe_folder(parent: str | None) -> tempfile.TemporaryDirectory[str]:
    """A temporary folder whose path survives an unquoted command line.

    Args:
        parent: where to make it; None: the system's place. Where its path does not survive: ``/tmp``.
    """
    parent = parent or tempfile.gettempdir()
    safe = parent if _SAFE_PATH.fullmatch(parent) else "/tmp"  # noqa: S108 - only the parent of a private folder
    return tempfile.TemporaryDirectory(prefix="int8cal-tao-", dir=safe)


def run(invocation: Invocation, plan: Plan, out: str, folder: str) -> Result:
    """Have NVIDIA's command make the tensorfile of a plan, and look at what it made.

    Args:
        invocation: see `invocation_of`.
        plan: what to make; its count and shape are what the result is held against.
        out: the file to make, in ``folder``.
        folder: see `safe_folder`; the launcher's container must see it.

    Raises:
        UnavailableError: the command is not installed, or cannot be started.
    """
    spec = os.path.join(folder, "spec.txt")
    write_file(spec, invocation.spec.document.to_bytes())
    command = invocation.command
    arguments = [*find_program(command), command.spec_option, spec, command.output_option, out]
    arguments += ["--max_batches", str(plan.max_batches)]
    if plan.split == "validation":
        arguments.append("--use_validation_set")
    code = _exit_code(arguments)
    return Result(tuple(arguments), code, _failure(code) or _unsoundness(out, plan))


def file_sha256(path: str) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def images_sha256(plan: Plan) -> str:
    """One SHA-256 over those of all image files of a plan, in order: what the ``.json`` of this engine knows of them.

    Raises:
        DataError: an image file cannot be read.
    """
    total = hashlib.sha256()
    for sample in plan.samples():
        total.update(hashlib.sha256(read_encoded(sample)).digest())
    return total.hexdigest()


def find_program(command: ReferenceCommand) -> list[str]:
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


def _exit_code(arguments: Sequence[str]) -> int:
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


def _failure(code: int) -> str | None:
    if code < 0:
        return f"NVIDIA's command was ended by signal {-code}"
    return f"NVIDIA's command failed with exit code {code}" if code else None


def _unsoundness(path: str, plan: Plan) -> str | None:
    """Why a file is not what was asked for. It is read whole: NVIDIA's launcher may hide a failure of its command."""
    ended = "NVIDIA's command ended with exit code 0, but"
    try:
        with TensorFile(path) as file:
            found = (len(file), *file.shape)
            finite = all(bool(np.isfinite(batch).all()) for batch in file)
    except TensorFileError as error:
        return f"{ended} made no sound tensorfile: {error.message}"
    wanted = (plan.batch_count, *plan.shape)
    if found != wanted:
        return f"{ended} its file is {found} (batches, B, C, H, W), not {wanted}"
    return None if finite else f"{ended} its file holds values that are not numbers"
