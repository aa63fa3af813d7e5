"""What all tests share."""

from __future__ import annotations

import gc
import io
import logging
import os
import signal
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xxhash

from int8cal import networks
from int8cal.cli import app, process
from int8cal.demo import dataset
from int8cal.demo.dataset import DemoDataset, make_dataset
from int8cal.demo.scene import Scene, draw_scene
from int8cal.io.signals import STOPPING
from int8cal.types import Size

REPOSITORY = Path(__file__).parents[1]

networks.load_schemas()  # tests that parse a text on their own find its message


def pytest_collection_finish() -> None:
    """What was collected stays: the garbage collection need not go through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Turn a skip into a failure: a test that does not run proves nothing, so what it needs is a requirement."""
    report = yield
    if report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: tests are not skipped here (what was missing: {report.longrepr})"
    return report


@dataclass(frozen=True)
class Finished:
    """A process that has ended."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture(scope="session", autouse=True)
def scenes_are_drawn_and_encoded_once() -> Iterator[None]:
    """Many tests begin with the first scenes of the demo."""

    @lru_cache(maxsize=32)  # of 1.5 MB each
    def drawn(state: int, size: Size) -> Scene:
        generator = np.random.default_rng()
        generator.bit_generator.state = states[state]
        scene = draw_scene(generator, size)
        scene.image.flags.writeable = False
        return scene

    def draw_scene_once(rng: np.random.Generator, size: Size) -> Scene:
        state = rng.bit_generator.state["state"]["state"]
        states[state] = rng.bit_generator.state
        return drawn(state, size)

    def encode_once(image: npt.NDArray[np.uint8], path: Path) -> None:
        key = path.suffix, xxhash.xxh3_128_digest(image)
        if key not in encoded:
            save(image, path)
            if len(encoded) == 64:  # of 1 MB each
                encoded.clear()
            encoded[key] = path.read_bytes()
        path.write_bytes(encoded[key])

    states: dict[int, Mapping[str, Any]] = {}
    encoded: dict[tuple[str, bytes], bytes] = {}
    save = dataset._save
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "draw_scene", draw_scene_once)
        patch.setattr(dataset, "_save", encode_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def nothing_waits_for_the_disk() -> Iterator[None]:
    """What a test of this process writes need not survive the machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture
def repository() -> Path:
    """Root of the source tree."""
    return REPOSITORY


@pytest.fixture
def run_cli(tmp_path: Path) -> Callable[..., Finished]:
    """Run ``int8cal ARGUMENTS`` within this process, in ``tmp_path`` unless ``cwd`` says otherwise.

    For signals, exit codes of the interpreter, streams, locale and limits of memory, see `run_process`.
    """

    def run(
        *arguments: str | os.PathLike[str],
        cwd: Path = tmp_path,
        env: dict[str, str] | None = None,
        once_there: Callable[[], object] = lambda: None,
    ) -> Finished:
        streams = {name: io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace") for name in ("stdout", "stderr")}
        with _state_kept(), pytest.MonkeyPatch.context() as patch:
            patch.chdir(cwd)
            once_there()
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            for name, stream in streams.items():
                patch.setattr(sys, name, stream)
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
            patch.setattr(process, "_mallopt", lambda *settings: None)
            code = app.run([os.fspath(argument) for argument in arguments])
        return Finished(code, *(_text(streams[name]) for name in ("stdout", "stderr")))

    return run


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    stream.seek(0)
    return stream.read()


@contextmanager
def _state_kept() -> Iterator[None]:
    """What the command line changes for its process is as it was when the block is left."""
    logger = logging.getLogger("int8cal")
    level, handlers = logger.level, list(logger.handlers)
    signals = {number: signal.getsignal(number) for number in STOPPING}
    try:
        with warnings.catch_warnings():
            yield
    finally:
        for number, handler in signals.items():
            signal.signal(number, handler)
        for handler in set(logger.handlers) - set(handlers):
            logger.removeHandler(handler)
            handler.close()
        logger.setLevel(level)


@pytest.fixture
def run_process(tmp_path: Path) -> Callable[..., Finished]:
    """Run ``python -m int8cal ARGUMENTS`` as a process of its own, in ``tmp_path`` unless ``cwd`` says otherwise."""

    def run(
        *arguments: str | os.PathLike[str],
        cwd: Path = tmp_path,
        env: dict[str, str] | None = None,
        timeout: float = 60,
    ) -> Finished:
        ended = subprocess.run(
            [sys.executable, "-m", "int8cal", *map(os.fspath, arguments)],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Finished(ended.returncode, ended.stdout, ended.stderr)

    return run


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> DemoDataset:
    """A DetectNet_v2 data set of 12 small pictures with spec. Shared by the session: do not write into its folder."""
    return make_dataset(tmp_path_factory.mktemp("tiny") / "data", images=12, size=(96, 160), network_size=(96, 160))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say of each module of golden tests how many cases were run, and how many came out as the reference's."""
    run: Counter[str] = Counter()
    passed: Counter[str] = Counter()
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.getreports(outcome):
            module, _, test = report.nodeid.partition("::")
            if module.startswith("tests/golden/") and "[" in test:
                run[module] += 1
                passed[module] += outcome == "passed"
    for module in sorted(run):
        terminalreporter.write_line(f"golden cases of {module}: {run[module]} run, {passed[module]} passed")
