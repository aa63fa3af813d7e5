"""Every form of export holds the same images; nothing is lost without a word, nothing is loaded whole."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from int8cal.errors import OutputError, OutputExistsError, UsageError
from int8cal.exports.formats import export
from int8cal.tensorfile import TensorFile
from int8cal.tensorfile.checksums import image_checksum
from int8cal.tensorfile.chunks import Compression
from int8cal.tensorfile.layout import SampleRow
from int8cal.tensorfile.writer import TensorFileWriter
from int8cal.types import FORMATS

IMAGES = np.random.default_rng(0).random((12, 3, 5, 7), dtype=np.float32)


@pytest.fixture
def tensor(tmp_path: Path) -> Path:
    """Three batches of four, with a sample table."""
    path = tmp_path / "cal.tensor"
    compression = Compression.named("fast")
    rows = [
        SampleRow(i // 4, i % 4, 0, b"frame/%d" % i, b"", -1, 0, 5, 7, 9, bytes([i]) * 32, image_checksum(IMAGES[i]))
        for i in range(12)
    ]
    with TensorFileWriter(str(path), (4, 3, 5, 7), compression) as writer:
        for image in IMAGES:
            writer.append(compression.encode(image))
        writer.finish({"network": "detectnet_v2", "batches": 3, "batch_size": 4, "image_shape": [3, 5, 7]}, rows)
    return path


@pytest.fixture
def exported(tensor: Path, tmp_path: Path) -> Callable[..., Any]:
    def run(to: Any, **options: Any) -> Any:
        with TensorFile(tensor) as file:
            return export(file, tmp_path / "out", to, **options)

    return run


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_arrays_hold_all_images_in_order(exported: Any, tmp_path: Path, layout: str) -> None:
    expected = IMAGES if layout == "nchw" else IMAGES.transpose(0, 2, 3, 1)

    done = exported("npz", name="images", layout=layout)
    with np.load(tmp_path / "out") as archive:
        assert archive.files == ["images"]
        np.testing.assert_array_equal(archive["images"], expected)
    assert done.shape == expected.shape

    (tmp_path / "out").unlink()
    for overwrite in (False, True):
        exported("npy", layout=layout, overwrite=overwrite)
        np.testing.assert_array_equal(np.load(tmp_path / "out", mmap_mode="r"), expected)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_raw_files_and_their_list(exported: Any, tmp_path: Path, layout: str) -> None:
    exported("raw", layout=layout)

    names = (tmp_path / "out" / "input_list.txt").read_text().splitlines()
    assert len(names) == 12
    images = IMAGES if layout == "nchw" else IMAGES.transpose(0, 2, 3, 1)
    for name, image in zip(names, images, strict=True):
        np.testing.assert_array_equal(np.fromfile(tmp_path / "out" / name, "<f4"), image.ravel())


def test_raw_folder_of_the_next_run_is_not_taken_away(exported: Any, tmp_path: Path, monkeypatch: Any) -> None:
    real = os.rename

    def next_run_comes(source: str, target: Path) -> None:
        real(source, target)
        if source.endswith(".part"):
            Path(source).mkdir()

    monkeypatch.setattr(os, "rename", next_run_comes)
    exported("raw")
    assert (tmp_path / ".out.part").is_dir()
    assert len(os.listdir(tmp_path / "out")) == 13


@pytest.mark.parametrize("size", [1, 2, 3, 6, 12])
def test_rebatched_tensorfile_holds_the_same_images_and_knows_where_each_went(
    exported: Any, tmp_path: Path, size: int
) -> None:
    done = exported("tensorfile", rebatch=size)

    with TensorFile(tmp_path / "out") as file:
        assert file.shape == done.shape == (size, 3, 5, 7)
        np.testing.assert_array_equal(np.concatenate(list(file)), IMAGES)
        assert file.manifest is not None
        assert file.manifest["network"] == "detectnet_v2"
        assert (file.manifest["batches"], file.manifest["batch_size"]) == (12 // size, size)
        assert file.manifest["rebatched"] == {"batches": 3, "batch_size": 4, "dropped": 0}
        assert file.samples is not None
        for index, row in enumerate(file.samples):
            assert (row["batch"], row["position"]) == divmod(index, size)
            assert row["frame_id"] == b"frame/%d" % index
            assert bytes(row["sha256"]) == bytes([index]) * 32


def test_remainder_is_dropped_only_on_purpose_and_counted(exported: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="12 images are not a whole number of batches of 5: 2 are left over"):
        exported("tensorfile", rebatch=5)
    assert not (tmp_path / "out").exists()

    done = exported("tensorfile", rebatch=5, drop_remainder=True)

    assert (done.images, done.dropped) == (10, 2)
    with TensorFile(tmp_path / "out") as file:
        np.testing.assert_array_equal(np.concatenate(list(file)), IMAGES[:10])
        assert file.samples is not None
        assert len(file.samples) == 10


def test_polygraphy_script_loads_the_batches_again_and_again(exported: Any, tmp_path: Path) -> None:
    exported("polygraphy", name="it's", rebatch=6)

    (tmp_path / "loader.py").write_bytes((tmp_path / "out").read_bytes())
    check = (
        "import loader\n"
        "data = loader.load_data()\n"
        "for _ in range(2): print([(name, batch.shape) for feed in data for name, batch in feed.items()])\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines() == [str([("it's", (6, 3, 5, 7))] * 2)] * 2


@pytest.mark.parametrize("to", FORMATS)
def test_existing_outputs_are_kept_and_failures_leave_nothing(tensor: Path, tmp_path: Path, to: Any) -> None:
    class Full:
        def start(self, total_images: int) -> None: ...
        def advance(self, images: int) -> None:
            raise OSError(28, "No space left on device")

        def finish(self) -> None: ...

    with TensorFile(tensor) as file:
        if to != "polygraphy":
            with pytest.raises((OutputError, OSError), match="No space left"):
                export(file, tmp_path / "new", to, progress=Full())
            assert sorted(path.name for path in tmp_path.iterdir()) == ["cal.tensor"]

        (tmp_path / "out").write_text("precious")
        with pytest.raises(OutputExistsError):
            export(file, tmp_path / "out", to)
    assert (tmp_path / "out").read_text() == "precious"


@pytest.mark.parametrize(
    ("to", "options"),
    [
        ("csv", {}),
        ("npz", {"rebatch": 2}),
        ("tensorfile", {"layout": "nhwc"}),
        ("polygraphy", {"layout": "nhwc"}),
        ("raw", {"overwrite": True}),
        ("tensorfile", {"rebatch": 13}),
        ("tensorfile", {"rebatch": 0}),
    ],
)
def test_options_that_do_not_fit_together(exported: Any, to: str, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        exported(to, **options)


def test_memory_is_that_of_one_batch(tmp_path: Path) -> None:
    path, compression = tmp_path / "large.tensor", Compression.named("fast")
    image = np.zeros((3, 128, 128), np.float32)
    with TensorFileWriter(str(path), (4, 3, 128, 128), compression) as writer:
        for _ in range(160):
            writer.append(compression.encode(image))
        writer.finish({}, [])

    export([image[np.newaxis]], tmp_path / "first.npz", "npz")  # what is imported late does not count
    tracemalloc.start()
    with TensorFile(path) as file:
        export(file, tmp_path / "out.npz", "npz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (tmp_path / "out.npz").stat().st_size > 160 * image.nbytes
    assert peak < 20 * image.nbytes
