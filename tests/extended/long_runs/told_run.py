"""Runs the main job, and says how far it is: one line of JSON per batch, then its peak memory. Run as a program."""

import json
import re
import sys
import time
from pathlib import Path

import int8cal
from int8cal.engine.work import Image, ImageWork
from int8cal.samples.samples import Sample

STDOUT = sys.stdout
sys.stdout = sys.stderr  # Ray prints, too


def tell(**facts: object) -> None:
    print(json.dumps(facts), file=STDOUT, flush=True)


class Told:
    """Progress as lines on stdout."""

    def __init__(self, pause: float) -> None:
        self.images = 0
        self.pause = pause

    def start(self, total_images: int) -> None:
        pass

    def advance(self, images: int) -> None:
        self.images += images
        tell(images=self.images)
        time.sleep(self.pause)

    def finish(self) -> None:
        pass


def peak_mb() -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024


def count_decoded(marks: str) -> None:
    """Let every image that is decoded add one byte to a file."""
    make = ImageWork.unchecked

    def counted(work: ImageWork, sample: Sample) -> Image:
        with open(marks, "ab") as file:
            file.write(b".")
        return make(work, sample)

    ImageWork.unchecked = counted


def main(request: dict) -> None:
    if "count_decoded" in request:
        count_decoded(request["count_decoded"])
    plan = int8cal.plan(request["spec"], **request.get("plan", {}))
    manifest = int8cal.make(plan, request["out"], progress=Told(request.get("pause", 0.0)), **request.get("make", {}))
    tell(peak_mb=peak_mb(), run=manifest.run)


main(json.loads(sys.argv[1]))
