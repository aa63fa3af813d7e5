"""One step on a tensorfile: its peak memory and its time per batch, as JSON. Run as a program.

Arguments: write, read or verify; spec; tensorfile; batches; shards (0: one file).
"""

import json
import re
import sys
import time
from pathlib import Path

import int8cal
from int8cal.tensorfile.check import ValueCheck, check_structure


def write(spec: str, out: str, batches: int, shards: int) -> None:
    int8cal.make(int8cal.plan(spec, max_batches=batches), out, shards=shards or None)


def read(spec: str, out: str, batches: int, shards: int) -> None:
    with int8cal.TensorFile(out) as file:
        for _ in file:
            pass


def verify(spec: str, out: str, batches: int, shards: int) -> None:
    with int8cal.TensorFile(out) as file:
        values = ValueCheck(file)
        images = sum(len(piece) for _, piece, _ in values.images())
        problems = [*check_structure(file), *values.findings]
    if problems or images != batches * file.shape[0]:
        raise SystemExit(f"{images} images, {problems}")


def main(step: str, spec: str, out: str, batches: str, shards: str) -> None:
    started = time.perf_counter()
    {"write": write, "read": read, "verify": verify}[step](spec, out, int(batches), int(shards))
    seconds = time.perf_counter() - started
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    print(json.dumps({"peak_mb": int(peak[1]) / 1024, "ms": seconds / int(batches) * 1e3}))


main(*sys.argv[1:])
