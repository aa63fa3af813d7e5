"""The report in headless Chromium: it renders, nothing is logged, hostile names do nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import int8cal
from int8cal.check.rebuild import Claim
from int8cal.demo.dataset import make_dataset
from int8cal.pipeline import read_spec
from int8cal.report.build import write_report
from int8cal.samples.tfrecord import Example, frame_record, iterate_records

pytestmark = pytest.mark.extended

HOSTILE = [
    b"image_2/<script>document.title=1<\xe2\x80\xaescript>",
    b"image_2/\x1b[31mred\x1b[0m",
    b'image_2/"onerror=x',
]
CLASS = b"<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report on a data set with hostile names of frames and of a class."""
    root = tmp_path_factory.mktemp("hostile")
    dataset = make_dataset(root / "data", images=12, size=(96, 320), network_size=(96, 160), batch_size=1)
    names = iter(HOSTILE)
    for file in dataset.tfrecords:
        if "fold-001" in file.name:
            file.write_bytes(
                b"".join(renamed(record.payload, names, dataset.root) for record in iterate_records(str(file)))
            )
    spec = read_spec(dataset.spec)
    int8cal.make(int8cal.plan(spec), root / "calibration.tensor")
    write_report(root / "calibration.tensor", root / "report.html", claim=Claim(spec))
    return root / "report.html"


def renamed(payload, names, root):
    example = Example.FromString(payload)
    features = example.features.feature
    name = next(names, None)
    if name is not None:
        old = root / "training" / f"{features['frame/id'].bytes_list.value[0].decode()}.png"
        new = Path(os.fsdecode(os.fsencode(root / "training") + b"/" + name + b".png"))
        new.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(old, new)
        features["frame/id"].bytes_list.value[0] = name
        if features["target/object_class"].bytes_list.value:
            features["target/object_class"].bytes_list.value[0] = CLASS
    return frame_record(example.SerializeToString())


def chromium(page, *options):
    command = [
        shutil.which("chromium") or "chromium",
        *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr"),
        f"--user-data-dir={page.parent / 'profile'}",
        *options,
        page.as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 500])
def test_looks_right_and_logs_nothing(page, tmp_path, scheme, width):
    shot = tmp_path / "shot.png"
    dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    said = chromium(page, f"--screenshot={shot}", f"--window-size={width},2400", *dark).stderr
    assert "CONSOLE" not in said, said
    pixels = np.asarray(Image.open(shot).convert("L"), float)
    background = np.median(pixels)
    assert background < 60 if scheme == "dark" else background > 230
    assert (np.abs(pixels - background) > 40).mean() > 0.05, "there is something on the page"
    assert (np.abs(pixels[:, -2:] - background) < 40).mean() > 0.98, "nothing runs out of the page on the right"


def test_hostile_names_do_nothing(page):
    dom = chromium(page, "--dump-dom").stdout
    assert re.search(r"<title>calibration\.tensor · calibration data</title>", dom)
    assert "<script" not in dom
    assert "onerror=alert(1)&gt;" in dom
    assert "\x1b" not in dom
    assert "\\x1b[31mred" in dom
    assert "\\u202e" in dom


def test_prints(page, tmp_path):
    chromium(page, f"--print-to-pdf={tmp_path / 'page.pdf'}", "--no-pdf-header-footer")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
