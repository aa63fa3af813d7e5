"""The component on mounts where every file operation waits: seconds, and how often it asks.

    python benchmarks/slow_mount.py                       with this source
    python benchmarks/slow_mount.py --source ../old/src   with another one, to compare

Eight pictures are read out of 120, whose TFRecords are 40 files. Inputs and output lie below folders whose operations
take 0, 20 and 50 ms each: a small library that is compiled here (it needs ``cc``) and preloaded puts them off. Run it
on an idle machine; no test depends on it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from int8cal.demo.dataset import make_dataset

HERE = Path(__file__).parent
SHARDS = 40


def compiled(folder: Path) -> Path:
    """The library that makes file operations slow."""
    library = folder / "slow_mount.so"
    source = HERE / "slow_mount.c"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


def prepared(root: Path) -> None:
    """Data in ``data``, whose spec in ``specs`` says that they lie elsewhere."""
    data = make_dataset(root / "data", images=160, size=(375, 1242), network_size=(384, 1248), batch_size=4)
    folder = data.root / "tfrecords"
    records = []
    for path in sorted(folder.glob("*fold-001*")):
        content, start = path.read_bytes(), 0
        while start < len(content):
            end = start + 16 + struct.unpack_from("<Q", content, start)[0]
            records.append(content[start:end])
            start = end
        path.unlink()
    for number in range(SHARDS):
        name = f"kitti_trainval-fold-001-of-002-shard-{number:05d}-of-{SHARDS:05d}"
        (folder / name).write_bytes(b"".join(records[number::SHARDS]))
    text = data.spec.read_text(encoding="utf-8").replace(str(data.root), "/home/jupyter/data")
    (root / "specs").mkdir()
    (root / "specs" / "spec.txt").write_text(text, encoding="utf-8")


def run(root: Path, library: Path, milliseconds: int, source: Path | None) -> tuple[float, Counter[str]]:
    """One run: seconds, and operations by kind."""
    out, log = root / "out", root / "operations"
    shutil.rmtree(out, ignore_errors=True)
    log.unlink(missing_ok=True)
    out.mkdir()
    inputs = {
        "model_app_name": "app",
        "training_data_dir": root / "data",
        "specfile_reference_training_data_dir": "/home/jupyter/data",
        "training_tf_records_dir": root / "data",
        "specfile_reference_training_tf_records_dir": "/home/jupyter/data",
        "original_specs": root / "specs",
        "specs_file": "spec.txt",
        "max_batches": 2,
        "output_dir": out,
    }
    environment = {
        **os.environ,
        "LD_PRELOAD": str(library),
        "SLOW_BELOW": ":".join(str(root / name) for name in ("data", "specs", "out")),
        "SLOW_MS": str(milliseconds),
        "SLOW_LOG": str(log),
        **({"PYTHONPATH": str(source)} if source else {}),
    }
    options = [part for name, value in inputs.items() for part in (f"--{name}", str(value))]
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "int8cal", "component", *options], env=environment, capture_output=True, check=False
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(done.stderr.decode())
    return seconds, Counter(log.read_text(encoding="utf-8").split())


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--source", type=Path, help="folder that holds another int8cal package")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="slow-mount-") as name:
        root = Path(name)
        library = compiled(root)
        prepared(root)
        run(root, library, 0, arguments.source)  # warm
        print("ms an operation, seconds (median), operations")
        for milliseconds in (0, 20, 50):
            runs = [run(root, library, milliseconds, arguments.source) for _ in range(arguments.runs)]
            counts = ", ".join(f"{kind} {number}" for kind, number in sorted(runs[0][1].items()))
            print(f"{milliseconds:3d}  {statistics.median(seconds for seconds, _ in runs):5.1f}  {counts}")


if __name__ == "__main__":
    main()
