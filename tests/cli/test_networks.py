"""Networks on the command line: their own options, images from a folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from tests.pictures import encode, pixels
from tests.specs import CLASSIFICATION, FASTER_RCNN, SSD, changed

from int8cal.tensorfile import TensorFile

JOB = "calibration_tensorfile"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.jpg", "c.png", "d.jpeg", "below/e.png"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(pixels(180, 190, seed=ord(path.stem)), "PNG" if name.endswith("png") else "JPEG"))
    for name, text in (("classification", CLASSIFICATION), ("ssd", SSD), ("faster_rcnn", FASTER_RCNN)):
        (tmp_path / f"{name}.txt").write_text(text)
    return tmp_path


def record(done, out: Path) -> dict:
    assert done.code == 0, done.stderr
    return json.loads(Path(f"{out}.json").read_text())


@pytest.mark.parametrize("network", ["classification", "ssd", "faster_rcnn", "detectnet_v2"])
def test_images_from_a_folder(network, folder, run_cli, tiny_dataset):
    spec = folder / f"{network}.txt"
    if network == "detectnet_v2":
        text = tiny_dataset.spec.read_text()
        spec.write_text(text.replace("preprocessing {", "preprocessing {\n    enable_auto_resize: true"))
    arguments = (network, JOB, "-e", spec, "--cal_image_dir", "images", "--batch_size", "2")
    written = record(run_cli(*arguments, "-m", "2", "-o", folder / "out"), folder / "out")
    facts = written["manifest"]
    assert facts["images"] == "folder"
    assert facts["batches"] == 2
    arithmetic = {"ssd": "ssd.exporter", "faster_rcnn": "faster_rcnn.exporter", "detectnet_v2": "detectnet_v2.mode0"}
    assert facts["arithmetic"]["name"] == arithmetic.get(network, "classification.caffe")
    evidence = {"ssd": "exporter-equal but for colour JPEGs", "faster_rcnn": "unverified"}
    assert facts["arithmetic"]["evidence"] == evidence.get(network, "not compared")
    with TensorFile(folder / "out") as file:
        names = [row["frame_id"].decode() for row in file.samples]
    listed = ["a.png", "b.jpg", "c.png", "d.jpeg"]
    assert names == [listed[index] for index in np.random.RandomState(facts["seed"]).permutation(4)]
    assert str(folder) not in json.dumps(facts)

    deeper = run_cli(*arguments, "--recursive", "-m", "2", "-o", folder / "deeper")
    assert record(deeper, folder / "deeper")["manifest"]["images"] == "folder, recursive"

    for out in ("out", "deeper"):
        done = run_cli("verify", out, "-e", spec, "--cal_image_dir", "images")
        assert done.code == 0, done.stdout
        assert "equal in every bit, in order" in done.stdout


def test_the_name_that_tao_5_has_is_one_of_the_network(folder, run_cli):
    arguments = ("-e", "classification.txt", "--cal_image_dir", "images", "--batch_size", "2", "-m", "2")
    done = run_cli("model", "classification_tf1", JOB, *arguments, "-o", "c.tensor")
    assert record(done, folder / "c.tensor")["manifest"]["network"] == "classification"


def test_verify_asks_for_the_folder(folder, run_cli):
    assert run_cli("ssd", JOB, "-e", "ssd.txt", "--cal_image_dir", "images", "-o", "out").code == 0
    done = run_cli("verify", "out", "-e", "ssd.txt")
    assert done.code == 2
    assert "out: this file's images are of a folder" in done.stderr
    assert "--cal_image_dir" in done.stderr
    assert "manifest" not in run_cli("verify", "out").stdout


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--cal_image_dir", "nowhere"], 4, "there is no such folder of calibration images"),
        (["--cal_image_dir", "."], 4, "no image is in the folder"),
        (["--cal_image_dir", ""], 2, "it is empty; is a variable of the shell not set?"),
        (
            ["--cal_image_dir", "images", "-m", "3"],
            4,
            "images: The folder contains 2 minibatches, while the requested amount is 3 (4 images, 2 per batch)",
        ),
        (["--cal_image_dir", "images", "--batch_size", "9"], 4, "images: 4 images do not fill one batch of 9"),
        (["--cal_image_dir", "images", "--use_validation_set"], 2, "--use_validation_set"),
        (["--recursive"], 2, "--cal_image_dir"),
    ],
)
def test_folders_that_cannot_be_used(options, code, said, folder, run_cli):
    done = run_cli("ssd", JOB, "-e", "ssd.txt", "-o", "out", *options)
    assert done.code == code
    assert said in done.stderr
    assert not (folder / "out").exists()


def test_resize_is_an_option_of_classification_alone(folder, run_cli):
    done = run_cli(
        "classification",
        JOB,
        "-e",
        "classification.txt",
        "-o",
        "out",
        "--cal_image_dir",
        "images",
        "--resize",
        "training",
    )
    facts = record(done, folder / "out")["manifest"]
    assert facts["options"] == {"resize": "training"}
    assert facts["arithmetic"]["evidence"] == "unverified"
    assert run_cli("ssd", JOB, "-e", "ssd.txt", "-o", "o", "--resize", "training").code == 2
    unnamed = run_cli(JOB, "-e", "classification.txt", "-o", "o", "--resize", "training")
    assert unnamed.code == 2
    assert "--resize is an option of classification: name the network: int8cal classification" in unnamed.stderr
    misplaced = run_cli(JOB, "-e", "ssd.txt", "-o", "o", "--resize", "training").stderr
    assert "--resize is an option of classification, and the spec is of ssd" in misplaced
    assert "No such option" in run_cli(JOB, "-e", "classification.txt", "-o", "o", "--size", "3").stderr
    other = run_cli("classification", JOB, "-e", "ssd.txt", "-o", "o", "--resize", "training")
    assert other.code == 2
    assert "ssd, the network of the spec, has no option 'resize'" in other.stderr
    assert "leave resize out" in other.stderr
    assert run_cli("classification", JOB, "-e", "classification.txt", "-o", "o", "--resize", "cubic").code == 2
    assert "--resize [nearest|training]" in run_cli("classification", "plan", "--help").stdout
    assert "--resize" not in run_cli("ssd", "plan", "--help").stdout


@pytest.mark.parametrize(
    ("network", "batches", "seed"),
    [
        ("classification", "1", "42"),
        ("ssd", "-1", "42"),
        ("faster_rcnn", "-1", "the spec's own"),
        ("rtdetr", "the spec's cal_batches, else -1", "42"),
        ("classification_pyt", "the spec's cal_batches, else -1", "42"),
    ],
)
def test_help_says_the_defaults_of_the_network(network, batches, seed, run_cli):
    text = " ".join(run_cli(network, "plan", "--help").stdout.split())
    assert f"-1: all full ones. [default: {batches}]" in text
    assert f"Seed of the sample order. [default: {seed}]" in text


def test_plans_of_names_that_are_no_utf_8_are_json_of_utf_8(folder, run_cli):
    (folder / "odd").mkdir()
    (folder / "odd" / os.fsdecode(b"\xff.png")).write_bytes(encode(pixels()))
    done = run_cli("ssd", "plan", "-e", "ssd.txt", "--cal_image_dir", "odd", "--batch_size", "1", "--json")
    (sample,) = json.loads(done.stdout)["plan"]["samples"]
    assert sample["frame_id"] == "\\xff.png"
    json.dumps(json.loads(done.stdout), ensure_ascii=False).encode()


def test_dssd_runs_either_spec_as_what_it_is(folder, run_cli):
    (folder / "dssd.txt").write_text(changed(SSD, ("ssd_config", "dssd_config")))
    for spec, network in (("ssd.txt", "ssd"), ("dssd.txt", "dssd")):
        done = run_cli("dssd", "plan", "-e", spec, "--cal_image_dir", "images", "--json")
        assert json.loads(done.stdout)["plan"]["network"] == network
        assert ("runs as ssd" in done.stderr) == (network == "ssd")
    assert run_cli("dssd", "plan", "-e", "ssd.txt", "--strict_network").code == 3


def test_bad_image_is_named(folder, run_cli):
    (folder / "images" / "a.png").write_bytes(b"no image")
    command = ("ssd", JOB, "-e", "ssd.txt", "-o", "out", "--cal_image_dir", "images")
    done = run_cli(*command)
    assert done.code == 4
    assert "images/a.png" in done.stderr
    done = run_cli(*command, "-m", "1", "--on_bad_image", "skip", "--max_skipped", "1")
    assert done.code == 0, done.stderr


def test_networks_are_listed(run_cli):
    names = [network["name"] for network in json.loads(run_cli("networks", "--json").stdout)["networks"]]
    assert names == sorted(names)
    assert {"classification", "detectnet_v2", "dssd", "faster_rcnn", "ssd", "rtdetr", "segformer"} <= set(names)


@pytest.mark.parametrize("network", ["rtdetr", "segformer"])
def test_an_option_of_many_networks_is_advised_for_that_of_the_spec(folder, run_cli, network):
    assert run_cli("spec", "new", network, "-o", "spec.yaml").code == 0
    for command in (JOB, "plan"):
        told = run_cli(command, "-e", "spec.yaml", "--order", "listing").stderr
        assert f"name the network: int8cal {network} {command} …" in told
    missing = run_cli("plan", "-e", "nowhere.yaml", "--order", "listing").stderr
    assert "name the network: int8cal NETWORK plan …" in missing
