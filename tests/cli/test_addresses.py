"""Addresses of remote files where local ones are wanted, and pipes without a writer: refused with the cause."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest

from int8cal.cli import component
from int8cal.demo.evaluate import CLASSIFIER

MAKE = ("detectnet_v2", "calibration_tensorfile", "-m", "1")
ADDRESSES = ["azureml://datastores/x/paths/y", "s3://bucket/key"]


@pytest.fixture
def made(run_cli, tiny_dataset, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("made") / "c.tensor"
    assert run_cli(*MAKE, "-e", tiny_dataset.spec, "-o", path).code == 0
    return path


@pytest.mark.parametrize("address", ADDRESSES)
def test_outputs(run_cli, tiny_dataset, tmp_path, made, address):
    spec = tiny_dataset.spec
    for command in (
        (*MAKE, "-e", spec, "-o", address),
        (*MAKE, "-e", spec, "-o", address, "--resume"),
        (*MAKE, "-e", spec, "-o", address, "--shards", "1"),
        (*MAKE, "-e", spec, "-o", "out", "--scratch_dir", address),
        (*MAKE, "-e", spec, "-o", "out", "--log_file", address),
        ("demo", "-o", address, "--data_only"),
        ("report", made, "-o", address),
        ("export", made, "--to", "npz", "-o", address),
        ("export", made, "--to", "raw", "-o", address),
        ("spec", "update", spec, "--num_epochs", "3", "-o", address),
        ("quantize", CLASSIFIER, made, "-o", address),
    ):
        done = run_cli(*command)
        assert (done.code, done.stdout) == (2, ""), command
        scheme = address.partition(":")[0]
        assert f"{address}: is a remote address ({scheme}:), and int8cal writes local files only" in done.stderr
        assert len(done.stderr.splitlines()) == 2
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("address", ADDRESSES)
def test_inputs(run_cli, tiny_dataset, tmp_path, made, address):
    for command in (
        (*MAKE, "-e", address, "-o", "out"),
        (*MAKE, "-e", tiny_dataset.spec, "--cal_image_dir", address, "-o", "out"),
        ("inspect", address),
        ("verify", address),
        ("verify", made, "-e", address),
        ("quantize", address, made, "-o", "out"),
        ("quantize", CLASSIFIER, address, "-o", "out"),
        ("compare", address, CLASSIFIER, made),
        ("cache", "show", address),
        ("spec", "check", address),
        ("component", "--inputs_from", address),
    ):
        done = run_cli(*command)
        assert (done.code, done.stdout) == (2, ""), (command, done.stderr)
        scheme = address.partition(":")[0]
        assert f"{address}: is a remote address ({scheme}:), and int8cal reads local files only" in done.stderr
    assert os.listdir(tmp_path) == []


def test_component(run_cli, tiny_dataset, tmp_path):
    inputs = ("--model_app_name", "a", "--original_specs", tiny_dataset.root, "--specs_file", tiny_dataset.spec.name)
    data = ("--training_data_dir", "s3://data", "--specfile_reference_training_data_dir", tiny_dataset.root)
    done = run_cli("component", *inputs, *data, "--output_dir", "out")
    assert done.code == 2
    assert "s3://data: is a remote address (s3:), and int8cal reads local files only" in done.stderr
    done = run_cli("component", *inputs, "--output_dir", "azureml://out")
    assert done.code == 2
    assert "azureml://out: is a remote address (azureml:), and int8cal writes local files only" in done.stderr
    assert os.listdir(tmp_path) == []


def test_address_in_a_spec(run_cli, tiny_dataset, tmp_path):
    text = tiny_dataset.spec.read_text()
    for path in (tiny_dataset.root / "tfrecords", tiny_dataset.root / "training"):
        (tmp_path / "spec.txt").write_text(text.replace(str(path), f"gs://bucket/{path.name}"))
        done = run_cli(*MAKE, "-e", "spec.txt", "-o", "out")
        assert done.code == 4, done.stderr
        assert "It is a remote address (gs:), and int8cal reads local files only" in done.stderr


def test_pipe_that_nobody_writes_to(run_cli, tmp_path, monkeypatch):
    monkeypatch.setattr(component, "_WRITER_SECONDS", 0.2)
    os.mkfifo(tmp_path / "pipe")
    done = run_cli("component", "--inputs_from", "pipe")
    assert done.code == 2
    assert "pipe: cannot be read: a pipe to which no program has written" in done.stderr


def test_pipe_of_a_slow_writer(run_cli, tmp_path, monkeypatch):
    monkeypatch.setattr(component, "_WRITER_SECONDS", 0.05)
    os.mkfifo(tmp_path / "pipe")
    keeper = os.open(tmp_path / "pipe", os.O_RDWR)

    def write_late() -> None:
        os.write(keeper, b"no_such_input=1\n")
        os.close(keeper)

    writer = threading.Timer(0.4, write_late)
    writer.start()
    done = run_cli("component", "--inputs_from", "pipe")
    writer.join()
    assert done.code == 2
    assert "unknown input 'no_such_input'" in done.stderr


@pytest.mark.parametrize("options", [(), ("--resume",)])
@pytest.mark.parametrize("kind", ["dangling", "vanished", "circle"])
def test_images_that_are_gone_are_skipped_like_any_other(run_cli, tiny_dataset, tmp_path, kind, options):
    shutil.copytree(tiny_dataset.root, tmp_path / "data")
    spec = tmp_path / "data" / tiny_dataset.spec.name
    spec.write_text(spec.read_text().replace(str(tiny_dataset.root), str(tmp_path / "data")))
    image = sorted((tmp_path / "data").glob("training/image_2/*.png"))
    for path in image[:4]:
        path.unlink()
        if kind != "vanished":
            path.symlink_to("nowhere" if kind == "dangling" else path.name)
    command = ("detectnet_v2", "calibration_tensorfile", "-m", "-1", "--batch_size", "2", "-e", spec, *options)
    done = run_cli(*command, "-o", "out", "--on_bad_image", "skip", "--max_skipped", "4", "--json")
    assert done.code == 0, done.stderr
    assert run_cli(*command, "-o", "stopped").code == 4


def test_dangling_link_where_sizes_are_read_from_headers(run_cli, tiny_dataset, tmp_path):
    folder = tmp_path / "images"
    shutil.copytree(tiny_dataset.root / "training" / "image_2", folder)
    (folder / "000000.png").unlink()
    (folder / "000000.png").symlink_to("nowhere")
    command = (*MAKE, "-e", tiny_dataset.spec, "--cal_image_dir", folder, "-o", "out")
    done = run_cli(*command, "-m", "-1", "--batch_size", "2", "--on_bad_image", "skip", "--max_skipped", "1")
    assert done.code == 0, done.stderr
    assert "000000.png" in done.stderr
