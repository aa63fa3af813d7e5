"""A bad image ends the run, or is left out by name; never anything in between."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from tests.pictures import encode, pixels

from int8cal.tensorfile import TensorFile

COMMAND = ("detectnet_v2", "calibration_tensorfile")


@pytest.fixture
def dataset(tiny_dataset, tmp_path):
    """A copy of the tiny data set that a test may damage: (root, spec, names of its images in order of use)."""
    root = tmp_path / "data"
    shutil.copytree(tiny_dataset.root, root)
    spec = root / tiny_dataset.spec.name
    spec.write_text(spec.read_text().replace(str(tiny_dataset.root), str(root)))
    return root, spec


@pytest.fixture
def run(run_cli, dataset, tmp_path):
    def make(out: str, *options: str):
        return run_cli(*COMMAND, "-e", dataset[1], "-o", tmp_path / out, *options), tmp_path / out

    return make


def order(path) -> list[str]:
    with TensorFile(path) as file:
        return [name.decode() for name in file.samples["frame_id"]]


DAMAGES = {
    "truncated": lambda content: content[: len(content) // 2],
    "wrong CRC": lambda content: content[:60] + bytes([content[60] ^ 1]) + content[61:],
    "no image": lambda content: b"this is a text, not an image\n" * 10,
    "empty": lambda content: b"",
    "huge header": lambda content: content[:16] + (30000).to_bytes(4, "big") * 2 + content[24:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_bad_image_ends_the_run(run, dataset, tmp_path, damage):
    _, whole = run("whole")
    name = order(whole)[1]
    image = dataset[0] / "training" / f"{name}.png"
    image.write_bytes(DAMAGES[damage](image.read_bytes()))
    done, out = run("out")
    assert done.code == 4
    assert str(image) in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert not out.exists()
    assert not os.path.exists(f"{out}.json")


def test_missing_image(run, dataset, run_cli):
    _, whole = run("whole")
    name = order(whole)[0]
    (dataset[0] / "training" / f"{name}.png").unlink()
    done, out = run("out")
    assert done.code == 4
    assert f"{name}.png: 1 of 8 images is missing: No such file or directory" in done.stderr
    assert not out.exists()
    planned = run_cli("detectnet_v2", "plan", "-e", dataset[1], "--json")
    assert planned.code == 4
    plan = json.loads(planned.stdout)["plan"]
    assert [os.path.basename(path) for path in plan["missing"]] == [f"{os.path.basename(name)}.png"]


def test_skipping_equals_the_same_order_without_the_bad_ones(run, dataset):
    _, whole = run("whole")
    names = order(whole)
    for name in (names[1], names[4]):
        (dataset[0] / "training" / f"{name}.png").write_bytes(b"broken")
    done, out = run("out", "-m", "1", "--on_bad_image", "skip", "--max_skipped", "2")
    assert done.code == 0, done.stderr
    assert names[1] in done.stdout
    with TensorFile(whole) as first, TensorFile(out) as second:
        images = np.concatenate(list(first))
        expected = [images[position] for position, name in enumerate(names) if name not in (names[1], names[4])][:4]
        np.testing.assert_array_equal(second[0], np.stack(expected))
        skipped = second.samples[second.samples["batch"] == -1]
        assert [name.decode() for name in skipped["frame_id"]] == [names[1], names[4]]
        assert second.manifest["skipped"] == 2
    record = json.loads((out.parent / "out.json").read_text())
    assert [image["frame_id"] for image in record["skipped"]] == [names[1], names[4]]


@pytest.fixture
def with_a_skipped_image(run, dataset):
    """(the file, its skipped image, a function that says where an image of the data set lies)."""
    _, whole = run("whole")
    name = order(whole)[1]

    def place(name):
        return dataset[0] / "training" / f"{name}.png"

    sound = place(name).read_bytes()
    place(name).write_bytes(b"broken")
    done, out = run("out", "-m", "1", "--on_bad_image", "skip", "--max_skipped", "2")
    assert done.code == 0, done.stderr
    with TensorFile(out) as file:
        assert file.samples["batch"].tolist()[:3] == [0, -1, 0]
    return out, name, sound, place


def test_verify_leaves_out_the_skipped_image_though_it_was_mended(with_a_skipped_image, dataset, run_cli):
    out, name, sound, place = with_a_skipped_image
    assert run_cli("verify", out, "-e", dataset[1]).code == 0
    place(name).write_bytes(sound)
    verified = run_cli("verify", out, "-e", dataset[1])
    assert verified.code == 0, verified.stdout + verified.stderr


def test_verify_names_the_used_image_that_broke(with_a_skipped_image, dataset, run_cli):
    out, name, _, place = with_a_skipped_image
    used = order(out)[0]
    place(used).write_bytes(b"broken, too")
    verified = run_cli("verify", out, "-e", dataset[1])
    assert verified.code == 4
    assert str(place(used)) in verified.stderr
    assert str(place(name)) not in verified.stderr


def test_verify_leaves_out_a_skipped_image_each_time_it_is_listed(run_cli, tmp_path):
    for number, name in enumerate("abcd"):
        (tmp_path / f"{name}.png").write_bytes(encode(pixels(30, 20, seed=number)))
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"{name}.png\n" for name in "abacbddbab"))
    sound = (tmp_path / "b.png").read_bytes()
    (tmp_path / "b.png").write_bytes(b"broken")
    skip = ("--on_bad_image", "skip", "--max_skipped", "9")
    assert run_cli("images", listed, "-o", tmp_path / "out", "--preset", "imagenet", *skip).code == 0
    assert order(tmp_path / "out").count("b.png") == 4
    (tmp_path / "b.png").write_bytes(sound)
    verified = run_cli("verify", tmp_path / "out", "--images", listed)
    assert verified.code == 0, verified.stdout


def test_all_full_batches_are_counted_again(run, dataset):
    _, whole = run("whole")
    for name in order(whole)[:3]:
        (dataset[0] / "training" / f"{name}.png").write_bytes(b"broken")
    done, out = run("out", "--on_bad_image", "skip", "--max_skipped", "9")
    assert done.code == 0, done.stderr
    with TensorFile(out) as file:
        assert len(file) == 1


def test_more_bad_images_than_allowed(run, dataset):
    _, whole = run("whole")
    for name in order(whole)[:3]:
        (dataset[0] / "training" / f"{name}.png").write_bytes(b"broken")
    done, out = run("out", "--on_bad_image", "skip", "--max_skipped", "2")
    assert done.code == 4
    assert "more than 2 images are bad" in done.stderr
    assert not out.exists()


def test_record_that_was_changed(run, dataset):
    for record in (dataset[0] / "tfrecords").iterdir():
        content = bytearray(record.read_bytes())
        if content:
            content[20] ^= 1
            record.write_bytes(content)
    done, out = run("out")
    assert done.code == 4
    assert ":+0" in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert not out.exists()


def test_too_little_memory_is_said_and_no_image_skipped_for_it(dataset, tmp_path):
    root, spec = dataset
    Image.new("RGBA", (8000, 8000)).save(tmp_path / "large.png", compress_level=1)
    for image in (root / "training").rglob("*.png"):
        shutil.copy(tmp_path / "large.png", image)
    out = tmp_path / "out"
    script = f"""
import resource, sys
from int8cal.cli.app import run
import imagecodecs, isal.isal_zlib, simplejpeg, int8cal.cli.make, int8cal.pipeline
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (220 << 20), -1))  # the pixels take 256 MB
sys.exit(run([*{COMMAND}, "-e", {str(spec)!r}, "-o", {str(out)!r}, "--workers", "1",
              "--on_bad_image", "skip", "--max_skipped", "99"]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 10, done.stderr
    assert "not enough memory" in done.stderr
    assert str(root / "training") in done.stderr
    assert "--workers" in done.stderr
    assert len(done.stderr.splitlines()) == 2
    assert not out.exists()
