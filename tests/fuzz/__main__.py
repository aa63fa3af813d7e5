"""Start the children, end those that hang, and say what came of it."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from tests.fuzz.driver import Driver, drivers
from tests.fuzz.loop import Current, Figures, keep, run

HANG_SECONDS = 20.0
"""Time without a new input after which a child is ended."""

ADDRESS_SPACE = 8 << 30


class Child:
    """A process that feeds one reader, and starts again behind an input that ended it."""

    def __init__(self, driver: Driver, options: argparse.Namespace, number: int) -> None:
        self.driver = driver
        self.figures = Figures()
        self._options = options
        self._current = Current()
        self._first = number << 32
        self._start(self._first)

    def _start(self, first: int) -> None:
        context = multiprocessing.get_context("fork")
        self._pipe, pipe = context.Pipe(duplex=False)
        arguments = (self.driver, self._options, first, self._current, pipe)
        self._process = context.Process(target=_child, args=arguments, daemon=True)
        self._process.start()
        pipe.close()
        self._at, self._since, self._begun, self._from = first, time.monotonic(), time.monotonic(), first

    def ended(self) -> bool:
        """Look after the process; whether the time is over and its figures are there."""
        if self._pipe.poll():
            try:
                self.figures.add(self._pipe.recv())
            except EOFError:
                return self._died(f"crash\nthe process ended with {self._exit_code()}")
            self._process.join()
            return True
        number, _ = self._current.get()
        if number != self._at:
            self._at, self._since = number, time.monotonic()
        elif time.monotonic() - self._since > HANG_SECONDS:
            self._process.kill()
            return self._died(f"hang\nno new input for {HANG_SECONDS} s")
        return False

    def _exit_code(self) -> int | None:
        self._process.join()
        return self._process.exitcode

    def _died(self, problem: str) -> bool:
        number, data = self._current.get()
        keep(self._options.found, self.driver.name, number, data, problem)
        kind = problem.partition("\n")[0]
        done = {"inputs": number - self._from + 1, "accepted": 0, "slowest": 0.0, "faults": {kind: 1}}
        self.figures.add({**done, "seconds": time.monotonic() - self._begun})
        if time.monotonic() > self._options.until:
            return True
        self._start(number + 1)
        return False


def _child(driver: Driver, options: argparse.Namespace, first: int, current: Current, pipe: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    memory = "/dev/shm"  # as a file system of many small files, faster than any disk
    with tempfile.TemporaryDirectory(dir=memory if os.path.isdir(memory) else None) as folder:
        os.chdir(folder)
        if not options.verbose:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        chosen = dict(each.partition("=")[::2] for each in options.reference)
        references = {name: make(chosen[name]) for name, make in (driver.references or {}).items() if name in chosen}
        pipe.send(run(driver, options.seed, first, options.until, current, options.found, references))


def main() -> int:
    """Entry point; 1 when something was found."""
    every = drivers()
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long, all readers together (default 1)")
    parser.add_argument("--readers", default=",".join(every), help="which, with commas between them (default: all)")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time (default 2)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed makes the same inputs (default 0)")
    parser.add_argument("--found", type=Path, default=Path("fuzz-found"), help="folder for what was found")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--verbose", action="store_true", help="show what libraries write to standard error")
    parser.add_argument(
        "--reference",
        action="append",
        default=[],
        metavar="NAME[=ARGUMENT]",
        help="differential mode: compare what is accepted with an independent reader; may be repeated. "
        + "; ".join(f"{name}: {', '.join(driver.references)}" for name, driver in every.items() if driver.references),
    )
    options = parser.parse_args()
    options.found = options.found.resolve()
    names = options.readers.split(",")
    if unknown := set(names) - set(every):
        parser.error(f"unknown reader {', '.join(sorted(unknown))}; there are {', '.join(every)}")
    figures = {name: Figures() for name in names}
    seconds = options.minutes * 60 * options.jobs / sum(every[name].share for name in names)
    waiting = list(enumerate(names))
    running: list[Child] = []
    while waiting or running:
        while waiting and len(running) < options.jobs:
            number, name = waiting.pop(0)
            options.until = time.monotonic() + seconds * every[name].share
            running.append(Child(every[name], argparse.Namespace(**vars(options)), number))
        time.sleep(0.1)
        for child in running[:]:
            if child.ended():
                running.remove(child)
                figures[child.driver.name] = child.figures
                print(_line(child.driver.name, child.figures), flush=True)
    if options.json:
        options.json.write_text(json.dumps({name: vars(each) for name, each in figures.items()}, indent=2) + "\n")
    faults = sum(count for each in figures.values() for count in each.faults.values())
    print(
        f"{sum(each.inputs for each in figures.values())} inputs, {faults} faults"
        + (f", see {options.found}" if faults else "")
    )
    return 1 if faults else 0


def _line(name: str, figures: Figures) -> str:
    faults = ", ".join(f"{count} {kind}" for kind, count in figures.faults.items()) or "no fault"
    return (
        f"{name:12} {figures.inputs:8} inputs, {figures.accepted:7} accepted, {figures.seconds:6.0f} s, "
        f"slowest {figures.slowest:.2f} s: {faults}"
    )


if __name__ == "__main__":
    sys.exit(main())
