"""Sessions of ONNX Runtime: what they keep of earlier runs, and where they may."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from tests.memory import activations_of_as_many_mebibytes
from tests.unit.models.conftest import Images

from int8cal.models import runner
from int8cal.models.binding import bind_input
from int8cal.models.calibrate import calibrate
from int8cal.models.computable import computable
from int8cal.models.graph import prepare
from int8cal.models.probe import probe
from int8cal.models.runner import Runner
from int8cal.models.session import open_as_written
from int8cal.models.wiring import Wiring

MakeModel = Callable[..., Path]


def of_as_many_mebibytes() -> Any:
    """A model whose activations are of as many MiB as the one pixel of its image says."""
    nodes, constants = activations_of_as_many_mebibytes("image", "output")
    image = make_tensor_value_info("image", TensorProto.FLOAT, (1, 1, 1, 1))
    output = make_tensor_value_info("output", TensorProto.FLOAT, ())
    graph = make_graph(nodes, "growing", [image], [output], constants)
    return make_model_of(graph)


def make_model_of(graph: Any) -> Any:
    return make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8)


# What a process holds after each run, in MiB; in one that did other things before, there would be memory of theirs.
HELD = """
import resource
import sys
import numpy as np
import onnx
from int8cal.models.session import open_as_written

def held():
    with open("/proc/self/statm") as status:
        return int(status.read().split()[5]) * resource.getpagesize() >> 20

opened = open_as_written(onnx.load(sys.argv[1]), keep_memory=sys.argv[2] == "keep")
start = held()
for _ in range(4):
    outputs = opened.run(None, {"image": np.full((1, 1, 1, 1), 40, np.float32)})
    assert abs(outputs[0].item() ** 2 - 40) < 0.01, outputs
    print(held() - start)
"""


def held_mib(folder: Path, *, keep: bool) -> list[int]:
    onnx.save(of_as_many_mebibytes(), folder / "model.onnx")
    command = [sys.executable, "-c", HELD, folder / "model.onnx", "keep" if keep else "give back"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return [int(line) for line in run.stdout.split()]


def test_a_session_that_keeps_memory_has_what_a_run_takes(tmp_path: Path) -> None:
    found = held_mib(tmp_path, keep=True)

    assert min(found) >= 2 * 40
    assert max(found) == min(found)


def test_other_sessions_give_it_back(tmp_path: Path) -> None:
    assert max(held_mib(tmp_path, keep=False)) <= 16


class TestActivationBytes:
    def bytes_of(self, model: Any, shape: tuple[int, int, int] = (1, 1, 1)) -> int | None:
        prepared = prepare(model)
        return Wiring(prepared, bind_input(prepared, (1, *shape)), shape).activation_bytes

    def test_of_a_model_whose_sizes_follow_from_those_of_the_images(self, make_model: MakeModel) -> None:
        model = prepare(onnx.load(make_model()))
        binding = bind_input(model, (4, 3, 16, 24))
        every = [name for node in model.graph.node for name in node.output]
        values = next(Runner(model, every, binding).run(np.zeros((1, 3, 16, 24), np.float32)))

        found = Wiring(model, binding, (3, 16, 24)).activation_bytes

        assert found == sum(value.nbytes for value in values.values()) > 0

    def test_unknown_where_a_size_depends_on_the_image(self) -> None:
        assert self.bytes_of(of_as_many_mebibytes()) is None

    def test_unknown_where_a_branch_depends_on_the_image(self) -> None:
        branches = {
            name: make_graph([make_node(op, ["image"], [name])], name, [], [make_tensor_value_info(name, 1, None)])
            for name, op in (("then", "Abs"), ("else", "Neg"))
        }
        nodes = [
            make_node("ReduceMax", ["image"], ["most"], keepdims=0),
            make_node("Cast", ["most"], ["chosen"], to=TensorProto.BOOL),
            make_node("If", ["chosen"], ["output"], then_branch=branches["then"], else_branch=branches["else"]),
        ]
        image, output = (make_tensor_value_info(name, TensorProto.FLOAT, (1, 1, 1, 1)) for name in ("image", "output"))
        graph = make_graph(nodes, "branches", [image], [output])

        assert self.bytes_of(make_model_of(graph)) is None

    @pytest.mark.parametrize(("activation_bytes", "keeps"), [(1 << 20, True), (600 << 20, False), (None, False)])
    def test_calibration_keeps_memory_where_they_are_known_and_few(
        self, monkeypatch: pytest.MonkeyPatch, activation_bytes: int | None, keeps: bool
    ) -> None:
        told: list[bool] = []

        def opened(model: Any, *, keep_memory: bool) -> Any:
            told.append(keep_memory)
            return open_as_written(model)

        monkeypatch.setattr(runner, "open_as_written", opened)
        model = of_as_many_mebibytes()
        binding = bind_input(model, (1, 1, 1, 1))

        calibrate(model, ["output"], Images(1, (2, 1, 1, 1)), binding, activation_bytes=activation_bytes)

        assert told == [keeps]

    @pytest.mark.parametrize("sizes_depend_on_the_image", [False, True])
    def test_so_does_a_probe(
        self, monkeypatch: pytest.MonkeyPatch, make_model: MakeModel, sizes_depend_on_the_image: bool
    ) -> None:
        told: list[bool] = []

        def opened(model: Any, *, keep_memory: bool) -> Any:
            told.append(keep_memory)
            return open_as_written(model, keep_memory=keep_memory)

        monkeypatch.setattr(runner, "open_as_written", opened)
        model = of_as_many_mebibytes() if sizes_depend_on_the_image else onnx.load(make_model())
        images = np.ones((2, 1, 1, 1) if sizes_depend_on_the_image else (2, 3, 16, 24), np.float32)

        parts = computable(model)
        probe(parts, images, parts.bind(images.shape))

        assert told == [not sizes_depend_on_the_image]
