"""How many images are begun and not yet taken, with a consumer that is slower than the workers. Run as a program.

Arguments: address of the cluster, workers, tasks per worker, folder for marks. Prints the largest number seen.
"""

import sys
import time
from pathlib import Path

import int8cal.engine.ray as engine

IMAGES = 240


def main(address: str, workers: int, tasks_per_worker: int, folder: Path) -> None:
    engine.TASKS_PER_WORKER = tasks_per_worker

    def work(item: int) -> bytes:
        (folder / str(item)).touch()
        return bytes(100_000)

    most = 0
    for taken, _ in enumerate(engine.map_on_ray(work, range(IMAGES), workers, address=address)):
        most = max(most, len(list(folder.iterdir())) - taken)
        time.sleep(0.05)
    print(most)


main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
