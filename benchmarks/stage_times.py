"""CPU milliseconds that each step takes of an image, and what writing the ready chunks takes; as JSON.

    python benchmarks/stage_times.py SPEC OUT

The steps are those of a run, one after the other on one thread. OUT is written and removed.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from int8cal.cli.process import keep_blas_to_one_thread, keep_freed_memory

keep_blas_to_one_thread()  # as the command line does, before NumPy is there
keep_freed_memory()

from int8cal import plan as plan_of  # noqa: E402
from int8cal.tensorfile.chunks import Compression  # noqa: E402

try:
    from int8cal.tensorfile.checksums import image_checksum
except ImportError:  # an earlier commit, which had none

    def image_checksum(image: Any) -> bytes:
        """None."""
        return b""


WARM_UP = 4


def main(spec: str, out: str) -> None:
    """Measure and print."""
    plan, compression = plan_of(spec, max_batches=-1), Compression.named("fast")
    arithmetic, samples = plan.arithmetic, list(plan.samples())
    spent: Counter[str] = Counter()

    def step(name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        begin = time.thread_time()
        result = work(*arguments)
        spent[name] += time.thread_time() - begin
        return result

    with open(out, "wb", buffering=0) as file:
        for number, sample in enumerate(samples[:WARM_UP] + samples):
            if number == WARM_UP:
                spent.clear()
                file.seek(0)
            encoded = step("read", _content, sample.path)
            decoded = step("decode", arithmetic.decode, encoded, sample)
            tensor = step("to tensor", arithmetic.to_tensor, decoded, sample)
            chunk = step("encode", compression.encode, tensor)
            step("checksums", _checksums, encoded, tensor)
            step("write only", file.write, chunk)
        step("write only", os.fsync, file.fileno())
    os.unlink(out)
    print(json.dumps({name: round(1000 * seconds / len(samples), 3) for name, seconds in spent.items()}))


def _checksums(encoded: bytes, tensor: Any) -> None:
    hashlib.sha256(encoded).digest()
    image_checksum(tensor)


def _content(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
