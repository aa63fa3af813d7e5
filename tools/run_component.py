r"""Run an Azure ML command component here, with no account: the shipped YAML, its own command line, real files.

    python tools/run_component.py azureml/components/int8cal_calibration_tensorfile/spec.yaml \
        -i model_app_name=streets -i training_data_dir=data -i specfile_reference_training_data_dir=/workspace/data \
        -i original_specs=specs -i specs_file=spec.txt -o output_dir=out

As the service does: azure-ai-ml reads and validates the YAML; defaults are the texts that it would send; values are put
into the command as they are, and bash runs it in a folder that holds what would be uploaded; inputs and outputs lie at
random paths. Not modelled: the environment (the programs of PATH are used), identities, the cache of mounts.

Exit code: the component's; 2 for a wrong command line or component; 6 when it wrote into an input folder.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

sys.path.insert(0, str(Path(__file__).parent))

from component_command import Place, resolve
from component_loader import LoadedComponent, load

_DATA_TYPES = frozenset({"uri_folder", "uri_file"})
_EXIT_USAGE = 2
_EXIT_INPUT_CHANGED = 6


@dataclass(frozen=True)
class LocalRun:
    """A run that has ended.

    Attributes:
        code: exit code of the command; negative: the signal that ended it.
        command: the line that bash was given.
        seconds: how long it took.
        changed_inputs: inputs whose folders are not as they were.
    """

    code: int
    command: str
    seconds: float
    changed_inputs: tuple[str, ...]


def run_component(
    component: LoadedComponent,
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
    *,
    work_dir: Path,
    terminate_after: float | None = None,
    grace: float = 30.0,
    environment: Mapping[str, str] | None = None,
    log: IO[bytes] | None = None,
) -> LocalRun:
    """Run a component once.

    Args:
        component: what `component_loader.load` gave.
        inputs: input name → value; for data, a local path.
        outputs: output name → local folder.
        work_dir: folder for the mounts and the working folder of the run.
        terminate_after: seconds until SIGTERM, as at a pre-emption; None: never.
        grace: seconds from SIGTERM to SIGKILL.
        environment: what the command's environment has besides this process's.
        log: where the command's output goes; None: this process's.

    Raises:
        ValueError: a value is unknown, missing or wrong.
    """
    run_folder = work_dir / "mnt" / "azureml" / "cr" / "j" / secrets.token_hex(16)
    mounts = run_folder / "cap" / "data-capability" / "wd"
    working = run_folder / "exe" / "wd"
    mounts.mkdir(parents=True)
    working.mkdir(parents=True)
    component.copy_uploaded_files(working)
    folders = {name: Path(value).resolve() for name, value in inputs.items() if _is_data(component, name)}
    values = _input_values(component, inputs, mounts) | _output_values(component, outputs, mounts)
    command = resolve(component.command, values)
    before = {name: _state(folder) for name, folder in folders.items()}
    started = time.monotonic()
    code = _bash(
        command,
        working,
        {"AZUREML_RUN_ID": run_folder.name, "AZUREML_CR_NODE_RANK": "0", **(environment or {})},
        terminate_after,
        grace,
        log,
    )
    seconds = time.monotonic() - started
    _upload(component, outputs, mounts)
    changed = tuple(name for name, folder in folders.items() if _state(folder) != before[name])
    return LocalRun(code, command, seconds, changed)


def _is_data(component: LoadedComponent, name: str) -> bool:
    return component.inputs.get(name, {}).get("type") in _DATA_TYPES


def _input_values(component: LoadedComponent, inputs: Mapping[str, str], mounts: Path) -> dict[Place, str | None]:
    if unknown := inputs.keys() - component.inputs.keys():
        raise ValueError(f"the component has no input {min(unknown)!r}; it has {', '.join(component.inputs)}")
    values: dict[Place, str | None] = {}
    for name, facts in component.inputs.items():
        text = inputs.get(name, facts.get("default"))
        if text is None and not facts.get("optional"):
            raise ValueError(f"input {name} is required")
        if text is not None:
            text = component.value(name, text)
            if _is_data(component, name):
                text = str(_mounted(Path(text), mounts / f"INPUT_{name}", facts.get("mode", "ro_mount")))
        values["inputs", name] = text
    return values


def _mounted(source: Path, mount: Path, mode: str) -> Path:
    if not source.exists():
        raise ValueError(f"{source} is not there")
    if mode != "download":
        mount.symlink_to(source.resolve())
    elif source.is_dir():
        shutil.copytree(source, mount)
    else:
        shutil.copyfile(source, mount)
    return mount


def _output_values(component: LoadedComponent, outputs: Mapping[str, str], mounts: Path) -> dict[Place, str | None]:
    if outputs.keys() != component.outputs.keys():
        raise ValueError(f"the component has the outputs {', '.join(component.outputs)}: give each of them a folder")
    values: dict[Place, str | None] = {}
    for name, folder in outputs.items():
        mount = mounts / name
        if component.outputs[name].get("mode") == "upload":
            mount.mkdir()
        else:
            Path(folder).mkdir(parents=True, exist_ok=True)
            mount.symlink_to(Path(folder).resolve())
        values["outputs", name] = str(mount)
    return values


def _upload(component: LoadedComponent, outputs: Mapping[str, str], mounts: Path) -> None:
    for name, folder in outputs.items():
        if component.outputs[name].get("mode") == "upload":
            shutil.copytree(mounts / name, folder, dirs_exist_ok=True)


def _state(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Every path below a folder with size, time of change and mode: enough to see that something was written."""
    found = {}
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(root, name)
            status = os.lstat(path)
            found[path] = (status.st_size, status.st_mtime_ns, status.st_mode)
    return found


def _bash(
    command: str,
    working: Path,
    environment: Mapping[str, str],
    terminate_after: float | None,
    grace: float,
    log: IO[bytes] | None,
) -> int:
    process = subprocess.Popen(
        ["bash", "-c", command],
        cwd=working,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT if log else None,
        start_new_session=True,
    )
    try:
        return process.wait(terminate_after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    try:
        return process.wait(grace)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


def _named(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], epilog="Values are taken as they are: -i name= is an empty text."
    )
    parser.add_argument("component", type=Path, help="the component's YAML")
    parser.add_argument("-i", "--input", type=_named, action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("-o", "--output", type=_named, action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--dry-run", action="store_true", help="print the command line and run nothing")
    parser.add_argument("--terminate-after", type=float, metavar="S", help="send SIGTERM after so many seconds")
    parser.add_argument("--grace", type=float, default=30.0, metavar="S", help="seconds from SIGTERM to SIGKILL")
    parser.add_argument("--work-dir", type=Path, help="keep the run's folders here (default: a temporary folder)")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """The command line."""
    arguments = _arguments(argv)
    try:
        component = load(arguments.component)
        with tempfile.TemporaryDirectory(prefix="run-component-") as temporary:
            work_dir = arguments.work_dir or Path(temporary)
            inputs, outputs = dict(arguments.input), dict(arguments.output)
            if arguments.dry_run:
                mounts = work_dir / "mounts"
                mounts.mkdir(parents=True)
                values = _input_values(component, inputs, mounts) | _output_values(component, outputs, mounts)
                print(resolve(component.command, values))
                return 0
            finished = run_component(
                component,
                inputs,
                outputs,
                work_dir=work_dir,
                terminate_after=arguments.terminate_after,
                grace=arguments.grace,
            )
    except (OSError, ValueError) as error:
        print(f"run_component: error: {error}", file=sys.stderr)
        return _EXIT_USAGE
    print(f"run_component: exit code {finished.code} after {finished.seconds:.1f} s", file=sys.stderr)
    for name in finished.changed_inputs:
        print(f"run_component: error: the component wrote into its input {name}", file=sys.stderr)
    return _EXIT_INPUT_CHANGED if finished.changed_inputs else finished.code % 256


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
