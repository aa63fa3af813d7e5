"""Runs that are killed at any moment, and what they leave behind: ``python -m tests.fuzz.kills --count 500``.

Each kind of command that writes is started in a folder of its own and ended by SIGKILL after a random time. What stands
under the final name then must be whole (what was there before, or the new result), and the same command, run to its
end, must succeed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tests.fuzz.drivers.onnx_models import corpus as models
from tests.pictures import pixels
from tests.specs import CLASSIFICATION

import int8cal
from int8cal.errors import Int8calError

IMAGES, SIZE = 60, 96


@dataclass(frozen=True)
class Kind:
    """A command that is killed.

    Attributes:
        name: of the kind.
        arguments: of `int8cal`; ``OUT`` stands for the result.
        before: arguments of a command whose result is there already, or none.
        again: what is added when the command is run to its end afterwards.
        whole: raises or returns False when a result is not whole.
    """

    name: str
    arguments: tuple[str, ...]
    whole: Callable[[Path], object]
    before: tuple[str, ...] = ()
    again: tuple[str, ...] = ()


def sound_tensorfile(path: Path) -> bool:
    return not int8cal.verify(path).count("error")


def loads_as_model(path: Path) -> bool:
    import onnx

    onnx.checker.check_model(str(path))
    return True


def loads_as_npz(path: Path) -> bool:
    with np.load(path) as file:
        return all(file[name].size for name in file.files)


MAKE = ("classification", "calibration_tensorfile", "-e", "spec.txt", "-o", "OUT", "-m")
KINDS = (
    Kind("make", (*MAKE, "14"), sound_tensorfile),
    Kind("overwrite", (*MAKE, "14", "--overwrite"), sound_tensorfile, before=(*MAKE, "3")),
    Kind("resume", (*MAKE, "14", "--resume"), sound_tensorfile),
    Kind("shards", (*MAKE, "14", "--shards", "3"), sound_tensorfile),
    Kind("quantize", ("quantize", "model.onnx", "ready", "-o", "OUT", "--force"), loads_as_model),
    Kind("export", ("export", "ready", "--to", "npz", "-o", "OUT"), loads_as_npz),
    Kind("report", ("report", "ready", "-o", "OUT"), lambda path: b"</html>" in path.read_bytes()[-200:]),
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
    int8cal.make(int8cal.plan(folder / "spec.txt", max_batches=3), folder / "ready")
    import onnx

    model = onnx.load_model_from_string(models()["conv"])
    for side, place in ((224, 2), (224, 3)):
        model.graph.input[0].type.tensor_type.shape.dim[place].dim_value = side
    onnx.save(model, folder / "model.onnx")


def command(arguments: tuple[str, ...], out: Path) -> list[str]:
    return [sys.executable, "-m", "int8cal", *(str(out) if word == "OUT" else word for word in arguments)]


def run(arguments: tuple[str, ...], out: Path, folder: Path) -> str:
    """Run a command to its end; what it said when it failed."""
    done = subprocess.run(command(arguments, out), cwd=folder, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"exit {done.returncode}: {done.stderr[-500:]}"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def killed(kind: Kind, folder: Path, seconds: float) -> str:
    """Kill a run after some time; what is wrong about what it left, if anything."""
    place = folder / f"out-{kind.name}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    out = place / ("result.onnx" if kind.name == "quantize" else "result.npz" if kind.name == "export" else "result")
    if kind.before and (said := run(kind.before, out, folder)):
        return f"the run before: {said}"
    earlier = digest(out) if kind.before else None
    with subprocess.Popen(
        command(kind.arguments, out), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        time.sleep(seconds)
        process.kill()
    if out.exists() and digest(out) != earlier:
        try:
            if kind.whole(out) is False:
                return "what stands under the final name is not whole"
        except (Int8calError, ValueError, OSError) as error:
            return f"what stands under the final name cannot be read: {error}"
    elif earlier and not out.exists():
        return "what was there before is gone"
    again = kind.arguments if kind.before or not out.exists() else (*kind.arguments, "--overwrite")
    if said := run(again, out, folder):
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
            out = folder / f"whole-{kind.name}{'.onnx' if kind.name == 'quantize' else '.npz'}"
            if said := run(kind.arguments, out, folder):
                print(f"{kind.name}: without a kill: {said}")
                return 1
            took[kind.name] = time.monotonic() - begin
        for number in range(options.count):
            kind = chosen[number % len(chosen)]
            seconds = moment.uniform(0.3, 1.1) * took[kind.name]
            if problem := killed(kind, folder, seconds):
                faults += 1
                print(f"{kind.name} after {seconds:.2f} s: {problem}", flush=True)
    print(f"{options.count} kills, {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONHASHSEED", "0")
    sys.exit(main())
