"""How many images are begun and not yet taken, with a consumer that is slower than the workers. Run as a program.

Arguments: address of the cluster, workers, tasks per worker, folder for marks. Prints the largest number seen, and the
largest number of images worked on at the same time.
"""

import sys
import time
from pathlib import Path

import int8cal.engine.ray as engine

IMAGES = 240


def main(address: str, workers: int, tasks_per_worker: int, folder: Path) -> None:
    engine.TASKS_PER_WORKER = tasks_per_worker

    begun, at_work = folder / "begun", folder / "at work"
    begun.mkdir()
    at_work.mkdir()

    def work(item: int) -> tuple[bytes, int]:
        mark = at_work / str(item)
        mark.touch()
        (begun / str(item)).touch()
        time.sleep(0.01)
        together = len(list(at_work.iterdir()))
        mark.unlink()
        return bytes(100_000), together

    most = most_at_work = 0
    for taken, (_, together) in enumerate(engine.map_on_ray(work, range(IMAGES), workers, address=address)):
        most = max(most, len(list(begun.iterdir())) - taken)
        most_at_work = max(most_at_work, together)
        time.sleep(0.05)
    print(most, most_at_work)


main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
