"""Runs that are killed at any moment, and what they leave behind: ``python -m tests.fuzz.kills --count 500``.

Each kind of command that writes is started in a folder of its own and ended by SIGKILL after a random time. What stands
under the final name then must be whole (what was there before, or the new result), and the same command, run to its
end, must succeed. Commands run in forks of this process, which has imported what they need: nobody learns anything from
the kill of an interpreter that starts.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime  # noqa: F401 - once, for all forks
from PIL import Image
from tests.fuzz.drivers.onnx_models import corpus as models
from tests.pictures import pixels
from tests.specs import CLASSIFICATION

import int8cal
import int8cal.component.run
import int8cal.models.quantize
import int8cal.report.build
from int8cal.cli import app
from int8cal.errors import Int8calError

IMAGES, SIZE = 60, 96


@dataclass(frozen=True)
class Kind:
    """A command that is killed.

    Attributes:
        name: of the kind.
        arguments: of `int8cal`; ``OUT`` stands for the result, ``PLACE`` for the folder that it is in.
        whole: raises or returns False when a result is not whole.
        result: name of the result in the folder.
        before: arguments of a command whose result is there already, or none.
        again: what is added when the command is run afterwards, and its result is there.
    """

    name: str
    arguments: tuple[str, ...]
    whole: Callable[[Path], object]
    result: str = "result"
    before: tuple[str, ...] = ()
    again: tuple[str, ...] = ("--overwrite",)


def sound_tensorfile(path: Path) -> bool:
    return not int8cal.verify(path).count("error")


def sound_output(path: Path) -> bool:
    """A tensorfile of the component, and whatever else has its final name by then."""
    place = path.parents[1]
    for spec in place.glob("specs/*.txt"):
        int8cal.read_spec(spec)
    return sound_tensorfile(path) and all(map(whole_page, place.rglob("*.html")))


def whole_page(path: Path) -> bool:
    return b"</html>" in path.read_bytes()[-200:]


def loads_as_model(path: Path) -> bool:
    onnx.checker.check_model(str(path))
    return True


def loads_as_npz(path: Path) -> bool:
    with np.load(path) as file:
        return all(file[name].size for name in file.files)


MAKE = ("classification", "calibration_tensorfile", "-e", "spec.txt", "-o", "OUT", "-m")
COMPONENT = (
    "component", "--network", "classification", "--model_app_name", "app", "--original_specs", "specs", "--specs_file",
    "spec.txt", "--training_data_dir", "train", "--specfile_reference_training_data_dir", "/data/train",
    "--validation_data_dir", "val", "--specfile_reference_validation_data_dir", "/data/val", "--max_batches", "14",
    "--output_dir", "PLACE",
)  # fmt: skip
KINDS = (
    Kind("make", (*MAKE, "14"), sound_tensorfile),
    Kind("overwrite", (*MAKE, "14", "--overwrite"), sound_tensorfile, before=(*MAKE, "3")),
    Kind("resume", (*MAKE, "14", "--resume"), sound_tensorfile),
    Kind("shards", (*MAKE, "14", "--shards", "3"), sound_tensorfile),
    Kind("quantize", ("quantize", "model.onnx", "ready", "-o", "OUT", "--force"), loads_as_model, "result.onnx"),
    Kind("export", ("export", "ready", "--to", "npz", "-o", "OUT"), loads_as_npz, "result.npz"),
    Kind("report", ("report", "ready", "-o", "OUT"), whole_page),
    Kind("component", COMPONENT, sound_output, "app/experiment_dir_final/calibration.tensor", again=()),
)


def prepare(folder: Path) -> None:
    """The data set, the spec, a model and a finished tensorfile."""
    for number in range(IMAGES):
        file = folder / "train" / f"class{number % 2}" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(SIZE, SIZE, seed=number)).save(file)
    shutil.copytree(folder / "train", folder / "val")
    text = CLASSIFICATION.replace('"3,24,32"', '"3,224,224"').replace("batch_size_per_gpu: 2", "batch_size_per_gpu: 4")
    text = text.replace('"train"', f'"{folder}/train"').replace('"val"', f'"{folder}/val"')
    (folder / "spec.txt").write_text(text)
    (folder / "specs").mkdir()
    (folder / "specs" / "spec.txt").write_text(text.replace(str(folder), "/data"))
    int8cal.make(int8cal.plan(folder / "spec.txt", max_batches=3), folder / "ready")
    model = onnx.load_model_from_string(models()["conv"])
    for side, place in ((224, 2), (224, 3)):
        model.graph.input[0].type.tensor_type.shape.dim[place].dim_value = side
    onnx.save(model, folder / "model.onnx")


def started(arguments: tuple[str, ...], out: Path, place: Path, folder: Path) -> int:
    """Start a command in a fork; its process. What it says goes to a file."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        os.chdir(folder)
        log = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        words = {"OUT": str(out), "PLACE": str(place)}
        code = app.run([words.get(word, word) for word in arguments])
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def run(arguments: tuple[str, ...], out: Path, place: Path, folder: Path) -> str:
    """Run a command to its end; what it said when it failed."""
    _, status = os.waitpid(started(arguments, out, place, folder), 0)
    code = os.waitstatus_to_exitcode(status)
    return "" if code == 0 else f"exit {code}: {(folder / 'said').read_text()[-500:]}"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def killed(kind: Kind, folder: Path, seconds: float) -> str:
    """Kill a run after some time; what is wrong about what it left, if anything."""
    place = folder / f"out-{kind.name}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    out = place / kind.result
    if kind.before and (said := run(kind.before, out, place, folder)):
        return f"the run before: {said}"
    earlier = digest(out) if kind.before else None
    process = started(kind.arguments, out, place, folder)
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    if out.exists() and digest(out) != earlier:
        try:
            if kind.whole(out) is False:
                return "what stands under the final name is not whole"
        except (Int8calError, ValueError, OSError) as error:
            return f"what stands under the final name cannot be read: {error}"
    elif earlier and not out.exists():
        return "what was there before is gone"
    again = kind.arguments if kind.before or not out.exists() else (*kind.arguments, *kind.again)
    if said := run(again, out, place, folder):
        return f"the next run: {said}"
    return "" if kind.whole(out) is not False else "the next run's result is not whole"


def main() -> int:
    """Entry point; 1 when something was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.kills", description=__doc__)
    parser.add_argument("--count", type=int, default=50, help="kills in all (default 50)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--kinds", default=",".join(kind.name for kind in KINDS), help="which, with commas between them"
    )
    options = parser.parse_args()
    chosen = [kind for kind in KINDS if kind.name in options.kinds.split(",")]
    moment = random.Random(options.seed)
    faults = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        took = {}
        for kind in chosen:
            begin = time.monotonic()
            place = folder / f"whole-{kind.name}"
            place.mkdir()
            if said := run(kind.arguments, place / kind.result, place, folder):
                print(f"{kind.name}: without a kill: {said}")
                return 1
            took[kind.name] = time.monotonic() - begin
        for number in range(options.count):
            kind = chosen[number % len(chosen)]
            seconds = moment.uniform(0, 1.1) * took[kind.name]
            if problem := killed(kind, folder, seconds):
                faults += 1
                print(f"{kind.name} after {seconds:.2f} s: {problem}", flush=True)
    print(f"seconds of a whole run: {', '.join(f'{name} {seconds:.2f}' for name, seconds in took.items())}")
    print(f"{options.count} kills, {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONHASHSEED", "0")
    sys.exit(main())
