"""What all benchmarks share: workloads drawn on the spot, and processes whose cost is measured from outside.

This module imports nothing large: a child's peak memory is counted from that of the process that started it.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent
PYTHON = sys.executable
INT8CAL = (PYTHON, "-m", "int8cal")


@dataclass(frozen=True)
class Workload:
    """A data set to draw.

    Attributes:
        name: in tables.
        image_format: ``jpg`` (quality 90) or ``png``.
        size: height and width of the pictures.
        network_size: height and width of the network's input.
        auto_resize: resize instead of padding and cropping.
        network: which network's data is made of the pictures.
        uses: how often each picture is used: calibration takes many pictures where they are small.
    """

    name: str
    image_format: str
    size: tuple[int, int]
    network_size: tuple[int, int] = (544, 960)
    auto_resize: bool = False
    network: str = "detectnet_v2"
    uses: int = 1


WORKLOADS = (
    Workload("JPEG 960x544", "jpg", (544, 960)),
    Workload("PNG 1242x375", "png", (375, 1242)),
    Workload("JPEG 1920x1080 resized", "jpg", (1080, 1920), auto_resize=True),
    Workload("classification 224x224", "jpg", (375, 500), (224, 224), network="classification", uses=4),
    Workload("SSD 300x300", "jpg", (375, 500), (300, 300), network="ssd", uses=4),
)

QUICK_WORKLOADS = (
    Workload("JPEG", "jpg", (96, 160), network_size=(96, 160)),
    Workload("PNG", "png", (80, 192), network_size=(96, 160)),
    Workload("JPEG resized", "jpg", (180, 320), network_size=(96, 160), auto_resize=True),
    Workload("classification", "jpg", (90, 120), (64, 64), network="classification"),
    Workload("SSD", "jpg", (90, 120), (64, 64), network="ssd"),
)

_SPECS = {
    "classification": """
model_config {{ arch: "resnet" n_layers: 18 input_image_size: "3,{height},{width}" }}
train_config {{
  train_dataset_path: "{classes}" val_dataset_path: "{classes}"
  optimizer {{ sgd {{ lr: 0.01 }} }} reg_config {{ type: "L2" scope: "Conv2D" weight_decay: 0.0005 }}
  lr_config {{ step {{ learning_rate: 0.006 step_size: 10 gamma: 0.1 }} }}
  batch_size_per_gpu: {batch_size} n_epochs: 8 n_workers: 1 preprocess_mode: "caffe"
}}
""",
    "ssd": """
ssd_config {{ aspect_ratios_global: "[1.0]" scales: "[0.1]" variances: "[0.1, 0.1, 0.2, 0.2]" arch: "resnet" }}
training_config {{
  batch_size_per_gpu: {batch_size} num_epochs: 2 regularizer {{ type: L1 weight: 3e-9 }}
  learning_rate {{ soft_start_annealing_schedule {{
    min_learning_rate: 5e-5 max_learning_rate: 4e-2 soft_start: 0.1 annealing: 0.3
  }} }}
}}
eval_config {{ validation_period_during_training: 1 batch_size: 1 matching_iou_threshold: 0.5 }}
nms_config {{ confidence_threshold: 0.01 clustering_iou_threshold: 0.8 top_k: 200 }}
augmentation_config {{ output_width: {width} output_height: {height} output_channel: 3 }}
dataset_config {{
  {sources}
  target_class_mapping {{ key: "car" value: "car" }}
}}
""",
}
"""Specs of the networks that the demo data set has none for."""


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        workloads: the data sets.
        images: pictures of each.
        batch_size: images per batch.
        repetitions: of each measurement; medians are reported.
        startup_rounds: starts of the command in the start-up benchmark.
        batches: file lengths for the memory benchmark, in batches.
        quantize_batches: the same for the quantise benchmark.
        folder: for data and output.
        earlier: folder ``src`` of an earlier commit to compare with; None: no such comparison.
    """

    workloads: tuple[Workload, ...]
    images: int
    batch_size: int
    repetitions: int
    startup_rounds: int
    batches: tuple[int, ...]
    quantize_batches: tuple[int, ...]
    folder: Path
    earlier: Path | None = None

    @property
    def detection(self) -> list[Workload]:
        """The workloads of DetectNet_v2, the network with the most data."""
        return [workload for workload in self.workloads if workload.network == "detectnet_v2"]


@dataclass(frozen=True)
class Cost:
    """What a process took: user + system CPU seconds of it and its children, wall seconds, peak resident MB."""

    cpu: float
    wall: float
    rss: float


def variables(source: Path | None, environment: Mapping[str, str] | None) -> dict[str, str]:
    """The environment of a program; see `run`."""
    return os.environ | ({"PYTHONPATH": os.fspath(source)} if source else {}) | dict(environment or {})


def run(
    *command: str | os.PathLike[str], source: Path | None = None, environment: Mapping[str, str] | None = None
) -> Cost:
    """Run a program to its end and measure it; its output is shown only when it fails.

    What earlier programs left to be written is on the disk before: nobody pays for another's file.

    Args:
        command: the program and its arguments.
        source: folder to import int8cal from; None: the one that is installed.
        environment: further variables.
    """
    os.sync()
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=HERE.parent,
            env=variables(source, environment),
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            text = output.read().decode(errors="replace")
            raise SystemExit(f"{' '.join(map(str, command))}\nended with {process.returncode}:\n{text}")
    return Cost(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024)


def median_cost(costs: list[Cost]) -> Cost:
    """Median of each part; of memory, the largest."""
    return Cost(median(c.cpu for c in costs), median(c.wall for c in costs), max(c.rss for c in costs))


def plain_read(*arguments: str | os.PathLike[str]) -> float:
    """The number that ``plain_read.py`` prints."""
    command = [PYTHON, HERE / "plain_read.py", *arguments]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def spec_of(workload: Workload, settings: Settings) -> Path:
    """Experiment spec of a workload, whose data set is drawn when it is not there yet. No validation split."""
    folder = settings.folder / re.sub(r"\W+", "-", workload.name)
    if not folder.exists():
        arguments = {
            "folder": str(folder),
            "images": settings.images,
            "image_format": workload.image_format,
            "size": workload.size,
            "network_size": workload.network_size if workload.network == "detectnet_v2" else (96, 160),
            "batch_size": settings.batch_size,
            "validation_split": False,
            "auto_resize": workload.auto_resize,
        }
        code = (
            "import json, sys; from int8cal.demo.dataset import make_dataset; make_dataset(**json.loads(sys.argv[1]))"
        )
        run(PYTHON, "-c", code, json.dumps(arguments))
    if workload.network == "detectnet_v2":
        return folder / "experiment_spec.txt"
    return _other_spec(workload, settings, folder)


def _other_spec(workload: Workload, settings: Settings, folder: Path) -> Path:
    """A spec of another network for a data set of DetectNet_v2."""
    spec = folder / f"{workload.network}_spec.txt"
    if spec.exists():
        return spec
    images = next(folder.rglob("*.jpg")).parent
    labels = next(path.parent for path in folder.rglob("*.txt") if path.stem.isdigit())
    classes = folder / "classes"
    classes.mkdir()
    for number in range(workload.uses):
        (classes / str(number)).symlink_to(images)
    source = f'data_sources {{ label_directory_path: "{labels}" image_directory_path: "{images}" }}'
    height, width = workload.network_size
    text = _SPECS[workload.network].format(
        classes=classes,
        sources=" ".join([source] * workload.uses),
        height=height,
        width=width,
        batch_size=settings.batch_size,
    )
    spec.write_text(text, encoding="utf-8")
    return spec


def plan_of(workload: Workload, spec: Path) -> Path:
    """The plan of a spec as JSON, for programs that must make the same file."""
    path = spec.with_name("plan.json")
    if not path.exists():
        command = [*INT8CAL, workload.network, "plan", "-e", spec, "-m", "-1", "--json"]
        path.write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
    return path


def make(
    spec: Path,
    out: Path,
    *options: str,
    network: str = "detectnet_v2",
    source: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Cost:
    """Run int8cal's main job on a spec; an earlier file of that name goes."""
    remove(out)
    command = (*INT8CAL, network, "calibration_tensorfile", "-e", spec, "-o", out, *options)
    return run(*command, source=source, environment=environment)


def remove(out: Path) -> None:
    """Remove a tensorfile and its record."""
    out.unlink(missing_ok=True)
    out.with_name(f"{out.name}.json").unlink(missing_ok=True)


@cache
def machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "processor": _processor(),
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": {
            name: version(name) for name in ("h5py", "imagecodecs", "int8cal", "isal", "numpy", "pillow", "simplejpeg")
        },
    }


def _processor() -> str:
    """Its name, and by family and model which one it is: in virtual machines the name says next to nothing."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # another operating system
        text = ""
    said = dict(re.findall(r"^(model name|cpu family|model)\s*: (.*)$", text, re.MULTILINE))
    if len(said) < 3:
        return platform.processor() or platform.machine()
    return f"{said['model name']} (family {said['cpu family']}, model {said['model']})"


def rounded(cost: Cost) -> dict[str, float]:
    """For JSON."""
    return {name: round(value, 3) for name, value in asdict(cost).items()}


def print_table(rows: Sequence[Sequence[object]]) -> None:
    """Print rows of cells, the first of them as headings."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*texts, strict=True)]
    for number, row in enumerate(texts):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))
