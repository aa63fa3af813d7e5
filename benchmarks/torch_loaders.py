"""CPU time of the PyTorch networks' tensorfiles beside the same arithmetic by Pillow, NumPy and h5py in one thread.

    python benchmarks/torch_loaders.py [IMAGES]

The baseline writes gzip 4 with shuffle, as NVIDIA's tensorfile writer does. Pictures are JPEGs of 640 × 480, and of 12
megapixels for the last line. Both numbers are user and system time of whole processes, imports included.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

SPECS = {
    "rtdetr": "dataset:\n  train_data_sources: [{image_dir: small/a, json_file: small.json}]\n",
    "segformer": "dataset: {segment: {root_dir: seg, train_split: a, img_size: 512}}\n",
    "classification_pyt": "dataset: {root_dir: ., train_dataset: {images_dir: small}}\n",
    "rtdetr, 12 megapixels": "dataset:\n  train_data_sources: [{image_dir: large/a, json_file: large.json}]\n",
}
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def draw(folder: Path, count: int) -> None:
    """The pictures: coloured noise over gradients, so that JPEG has something to do."""
    dice = np.random.default_rng(0)
    for name, size, number in (("small", (640, 480), count), ("large", (4000, 3000), max(2, count // 20))):
        (folder / name / "a").mkdir(parents=True)
        images = []
        for index in range(number):
            coarse = Image.fromarray(dice.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(
                size, Image.Resampling.BICUBIC
            )
            noise = dice.integers(-10, 11, (size[1], size[0], 1))
            picture = Image.fromarray((np.asarray(coarse) + noise).clip(0, 255).astype(np.uint8))
            picture.save(folder / name / "a" / f"{index:05}.jpg", quality=90)
            images.append({"id": index, "file_name": f"{index:05}.jpg", "width": size[0], "height": size[1]})
        content = {"images": images, "annotations": [], "categories": []}
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "seg" / "images").mkdir(parents=True)
    (folder / "seg" / "images" / "a").symlink_to(folder / "small" / "a")


def baseline(name: str, folder: Path) -> None:
    """The same arrays without int8cal."""
    side, resample = {"s": (512, Image.Resampling.BICUBIC), "c": (224, Image.Resampling.BILINEAR)}.get(
        name[0], (640, Image.Resampling.BILINEAR)
    )
    mean, std = (np.array(one, np.float32)[:, None, None] for one in IMAGENET)
    files = sorted((folder / ("large" if "12" in name else "small") / "a").iterdir())
    with h5py.File(folder / "baseline.h5", "w") as out:
        for index, path in enumerate(files):
            picture = Image.open(path).convert("RGB")
            picture = picture.resize((side, picture.height), resample).resize((side, side), resample)
            planes = np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1)).astype(np.float32)
            if name.startswith("rtdetr"):
                planes *= np.float32(1) / np.float32(255)
            elif name == "segformer":
                planes = (planes / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
            else:
                planes = (planes / np.float32(255) - mean) / std
            chunk = planes[np.newaxis]
            out.create_dataset(f"{index}", data=chunk, chunks=chunk.shape, compression=4, shuffle=True)


def cpu_seconds(command: list[str], folder: Path) -> float:
    """User and system time of a process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(count: int) -> None:
    """Print a line for each network."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw(folder, count)
        for title, spec in SPECS.items():
            (folder / "spec.yaml").write_text(spec)
            theirs = cpu_seconds([sys.executable, __file__, "--baseline", title, name], folder)
            command = [sys.executable, "-m", "int8cal", title.split(",")[0], "calibration_tensorfile"]
            ours = cpu_seconds([*command, "-e", "spec.yaml", "-o", "ours.tensor", "-m", "-1", "--overwrite"], folder)
            print(f"{title:24} baseline {theirs:7.2f} s   int8cal {ours:7.2f} s   {theirs / ours:.2f} x less")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--baseline"]:
        baseline(sys.argv[2], Path(sys.argv[3]))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 400)
