"""The batches of a plan without a file: the same bits, wherever a tensorfile goes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.memory import PEAK_MIB

import int8cal
from int8cal.types import Batches


@pytest.fixture
def plan(tiny_dataset):
    return int8cal.plan(tiny_dataset.spec, max_batches=3, batch_size=2)


@pytest.fixture
def file(plan, tmp_path: Path):
    int8cal.make(plan, tmp_path / "calibration.tensor")
    with int8cal.TensorFile(tmp_path / "calibration.tensor") as file:
        yield file


@pytest.fixture
def model(plan, tmp_path: Path) -> Path:
    """A convolution that takes images of the plan."""
    kernel = np.random.default_rng(1).standard_normal((4, 3, 3, 3)).astype(np.float32)
    node = helper.make_node("Conv", ["image", "w"], ["y"], kernel_shape=[3, 3])
    _, channels, height, width = plan.shape
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", channels, height, width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4, height - 2, width - 2])],
        [numpy_helper.from_array(kernel, "w")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_they_are_those_of_the_file_in_every_pass(plan, file) -> None:
    batches = plan.batches()

    assert isinstance(batches, Batches)
    assert isinstance(file, Batches)
    assert (len(batches), batches.shape, batches.image_count) == (len(file), file.shape, file.image_count)
    for _ in range(2):
        made = list(batches)
        assert [batch.tobytes() for batch in made] == [batch.tobytes() for batch in file]
        assert all(batch.dtype == np.float32 and batch.flags.c_contiguous for batch in made)
    assert batches.encoded_sha256() == file.encoded_sha256()


def test_their_samples_are_named_in_order(plan, file) -> None:
    named = [sample.frame_id.encode() for sample in plan.batches().samples]
    assert named == file.samples["frame_id"].tolist()


def test_the_number_of_threads_changes_nothing(plan) -> None:
    one, four = plan.batches(workers=1), plan.batches(workers=4)
    assert [batch.tobytes() for batch in one] == [batch.tobytes() for batch in four]


def test_a_pass_may_end_early(plan) -> None:
    batches = plan.batches()
    first = next(iter(batches))
    assert np.array_equal(first, next(iter(batches)))


def test_the_first_bad_image_ends_the_pass_and_is_named(tiny_dataset, tmp_path: Path) -> None:
    data = shutil.copytree(tiny_dataset.spec.parent, tmp_path / "data")
    spec = data / tiny_dataset.spec.name
    spec.write_text(spec.read_text().replace(str(tiny_dataset.spec.parent), str(data)))
    batches = int8cal.plan(spec, batch_size=1, max_batches=3).batches()
    bad = Path(batches.samples[1].path)
    bad.write_bytes(b"no image")

    taken = []
    with pytest.raises(int8cal.ImageError) as caught:
        taken.extend(batches)
    assert caught.value.where == str(bad)
    assert len(batches) == 3


@pytest.mark.parametrize("workers", [0, -1])
def test_impossible_workers_are_usage_errors(plan, workers: int) -> None:
    with pytest.raises(int8cal.UsageError, match="workers cannot be"):
        plan.batches(workers=workers)


def computed_part(path: Path) -> bytes:
    """A model without the record of what it was made from."""
    made = onnx.load(path)
    del made.metadata_props[:]
    return made.SerializeToString()


def test_quantize_makes_the_same_model_as_from_the_file(plan, file, model: Path, tmp_path: Path) -> None:
    sources = {
        "file": file,
        "path": file.path,
        "plan": plan.batches(),
        "list": list(file),
        "function": lambda: iter(file),
    }
    for name, source in sources.items():
        report = int8cal.quantize(model, source, tmp_path / f"{name}.onnx")
        assert report.images == 6
    assert len({computed_part(tmp_path / f"{name}.onnx") for name in sources}) == 1


def test_a_generator_serves_calibration_alone(file, model: Path, tmp_path: Path) -> None:
    with pytest.raises(int8cal.UsageError, match="only once"):
        int8cal.quantize(model, (batch for batch in file), tmp_path / "a.onnx")

    int8cal.quantize(model, (batch for batch in file), tmp_path / "a.onnx", agreement=False, method="entropy")
    int8cal.quantize(model, file, tmp_path / "b.onnx", agreement=False, method="entropy")

    assert computed_part(tmp_path / "a.onnx") == computed_part(tmp_path / "b.onnx")


def test_images_of_a_plan_that_are_in_the_calibration_file_are_counted(plan, file, model: Path, tmp_path: Path) -> None:
    report = int8cal.quantize(model, file, tmp_path / "a.onnx", evaluation=plan.batches())
    assert report.shared_images == 6


def test_compare_takes_them(plan, file, model: Path) -> None:
    of_file, of_plan = (int8cal.compare(model, model, batches).agreement for batches in (file.path, plan.batches()))
    assert of_plan.images == of_file.images == 6
    assert of_plan.outputs[0].identical


@pytest.mark.parametrize("to", ["npz", "npy", "raw"])
def test_export_writes_the_same_bytes(plan, file, tmp_path: Path, to: str) -> None:
    for name, source in {"file": file, "plan": plan.batches(), "list": list(file)}.items():
        int8cal.export(source, tmp_path / name, to)
    contents = [
        b"".join(path.read_bytes() for path in sorted(where.iterdir())) if to == "raw" else where.read_bytes()
        for where in (tmp_path / "file", tmp_path / "plan", tmp_path / "list")
    ]
    assert len(set(contents)) == 1


def test_export_makes_a_tensorfile_of_arrays(file, tmp_path: Path) -> None:
    int8cal.export(list(file), tmp_path / "of_arrays.tensor", "tensorfile")
    with int8cal.TensorFile(tmp_path / "of_arrays.tensor") as made:
        assert made.manifest is None
        assert [batch.tobytes() for batch in made] == [batch.tobytes() for batch in file]
    last = next(iter(file))[:1]
    with pytest.raises(int8cal.UsageError, match="the last batch has fewer images than 2"):
        int8cal.export([*file, last], tmp_path / "uneven.tensor", "tensorfile")


def test_polygraphy_s_script_needs_a_file(plan, tmp_path: Path) -> None:
    with pytest.raises(int8cal.UsageError, match="reads a tensorfile"):
        int8cal.export(plan.batches(), tmp_path / "loader.py", "polygraphy")


def test_readers_take_them(plan, file) -> None:
    reader = int8cal.readers.ort(plan.batches(), "image")
    for batch in file:
        assert np.array_equal(reader.get_next()["image"], batch)
    assert reader.get_next() is None
    assert len(int8cal.readers.rebatch(plan.batches(), 3)) == 2


def test_memory_is_flat_over_200_batches(tiny_dataset, tmp_path: Path) -> None:
    """200 batches of 3 MiB; the images of a folder, each linked many times."""
    folder = tmp_path / "images"
    folder.mkdir()
    pictures = sorted(tiny_dataset.images)
    for number in range(400):
        (folder / f"{number:04d}{pictures[0].suffix}").hardlink_to(pictures[number % len(pictures)])
    text = tiny_dataset.spec.read_text()
    spec = tmp_path / "spec.txt"
    spec.write_text(
        re.sub(
            r"(output_image_width:\s*)\d+",
            r"\g<1>512",
            re.sub(r"(output_image_height:\s*)\d+", r"\g<1>256 enable_auto_resize: true", text),
        )
    )
    code = PEAK_MIB + (
        "import sys, int8cal\n"
        "batches = int8cal.plan(sys.argv[1], cal_image_dir=sys.argv[2], batch_size=2).batches(workers=2)\n"
        "peaks = []\n"
        "for batch in batches:\n"
        "    peaks.append(peak_mib())\n"
        "    del batch\n"
        "print(len(peaks), batch_mib := batches.plan.nbytes / len(batches) / 2**20, peaks[-1] - peaks[20])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, spec, folder], capture_output=True, text=True, check=True)
    count, batch_mib, growth = map(float, done.stdout.split())
    assert count == 200
    assert batch_mib == 3
    assert growth < 24
