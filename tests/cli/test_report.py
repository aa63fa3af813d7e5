"""``int8cal report``: the page as a file. What a browser makes of it is in the extended tests."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import h5py
import numpy as np
import pytest
from PIL import Image
from tests.unit.check.files import replace_batches, write_like_tao

import int8cal


@pytest.fixture
def made(tiny_dataset, tmp_path):
    int8cal.make(int8cal.plan(tiny_dataset.spec), tmp_path / "made.tensor")
    return tmp_path / "made.tensor"


class Page(HTMLParser):
    """Elements and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def read(path):
    html = path.read_text(encoding="utf-8")
    return html, Page(html)


def test_with_spec(made, tiny_dataset, tmp_path, run_cli):
    done = run_cli("report", made, "-o", tmp_path / "r.html", "-e", tiny_dataset.spec)
    assert done.code == 0, done.stderr
    html, page = read(tmp_path / "r.html")
    pictures = [image for image in page.all("img") if image["src"]]
    assert len(pictures) == 8
    for said in (
        "Sound",
        "equal in every bit, in order",
        "--batches 2 --batch_size 4",
        f"int8cal quantize model.onnx {made.name}",
        "detectnet_v2.mode0",
        "Chosen images against the whole split",
        "pedestrian",
    ):
        assert said in page.text
    with int8cal.TensorFile(made) as file:
        assert {row["frame_id"].decode() for row in file.samples} == {image["alt"] for image in pictures}
    assert len([box for box in page.all("rect") if box.get("class") is None]) > 4
    assert str(tmp_path) not in html
    assert str(tiny_dataset.root) not in html


def test_images_of_the_split_that_cannot_be_used_are_counted(made, tiny_dataset, tmp_path, run_cli):
    with int8cal.TensorFile(made) as file:
        used = {row["frame_id"].decode() for row in file.samples}
    shutil.copytree(tiny_dataset.root, tmp_path / "data")
    spec = tmp_path / "spec.txt"
    spec.write_text(tiny_dataset.spec.read_text().replace(str(tiny_dataset.root), str(tmp_path / "data")))
    (name,) = {sample.frame_id for sample in int8cal.plan(spec).dataset.samples} - used
    (tmp_path / "data" / "training" / f"{name}.png").write_bytes(b"broken")
    done = run_cli("report", made, "-o", tmp_path / "r.html", "-e", spec)
    assert done.code == 0, done.stderr
    html, page = read(tmp_path / "r.html")
    assert f"Of those looked at here, 1 cannot be used; the first: {name}: " in page.text
    assert str(tmp_path) not in html


def test_pictures_are_those_of_the_data(made, tiny_dataset, tmp_path, run_cli):
    run_cli("report", made, "-o", tmp_path / "r.html")
    _, page = read(tmp_path / "r.html")
    for image in page.all("img"):
        shown = Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2])))
        name = image["alt"].rpartition("/")[2]
        source = Image.open(tiny_dataset.root / "training" / "image_2" / f"{name}.png").crop((0, 0, 160, 96))
        difference = np.abs(np.asarray(shown, float) - np.asarray(source.convert("RGB"), float))
        assert difference.mean() < 4, "no more than JPEG does"


def test_nothing_is_loaded_or_run(made, tmp_path, run_cli):
    run_cli("report", made, "-o", tmp_path / "r.html")
    html, page = read(tmp_path / "r.html")
    assert page.all("script") == []
    links = [value for _, attributes in page.elements for name in ("src", "href") if (value := attributes.get(name))]
    assert all(link.startswith(("data:", "#")) for link in links)
    assert "url(" not in html
    assert "@import" not in html
    assert not any(name.startswith("on") or name == "style" for _, attributes in page.elements for name in attributes)
    (policy,) = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; img-src data:; style-src 'sha256-{digest}';")
    assert "unsafe" not in policy


def test_same_bytes_again(made, tiny_dataset, tmp_path, run_cli):
    for name in ("a.html", "b.html"):
        run_cli("report", made, "-o", tmp_path / name, "-e", tiny_dataset.spec)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_never_overwrites(made, tmp_path, run_cli):
    precious = "<!doctype html>precious"
    (tmp_path / "r.html").write_text(precious)
    done = run_cli("report", made, "-o", tmp_path / "r.html")
    assert done.code == 5
    assert (tmp_path / "r.html").read_text() == precious
    assert run_cli("report", made, "-o", tmp_path / "r.html", "--overwrite").code == 0
    assert "precious" not in (tmp_path / "r.html").read_text()


def test_a_bad_file_has_a_page_that_says_so(made, tmp_path, run_cli):
    replace_batches(made, lambda x: x * 255)
    done = run_cli("report", made, "-o", tmp_path / "r.html", "--json")
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)["verification"]["sound"] is False
    _, page = read(tmp_path / "r.html")
    assert "Do not use it" in page.text
    assert "values are in" in page.text


@pytest.mark.parametrize(
    "batches",
    [
        np.zeros((1, 2, 3, 16, 16)),
        np.full((1, 1, 1, 16, 16), np.nan),
        np.random.default_rng(0).random((1, 3, 2, 16, 16)) * 40 - 3,
        np.random.default_rng(0).random((2, 1, 1, 1, 1)),
    ],
    ids=["black", "not finite", "two channels", "one pixel"],
)
def test_odd_files_of_other_tools(tmp_path, run_cli, batches):
    path = write_like_tao(tmp_path / "f", batches.astype(np.float32))
    done = run_cli("report", path, "-o", tmp_path / "r.html")
    assert done.code == 0, done.stderr
    _, page = read(tmp_path / "r.html")
    assert "there is no manifest" in page.text


def test_number_of_pictures(made, tmp_path, run_cli):
    run_cli("report", made, "-o", tmp_path / "r.html", "--pictures", "3")
    _, page = read(tmp_path / "r.html")
    assert len(page.all("img")) == 3
    assert "3 of 8 images" in " ".join(page.text.split())


def test_without_jinja2(made, tmp_path):
    program = (
        "import sys\n"
        "sys.modules['jinja2'] = None\n"
        "from int8cal.cli.app import run\n"
        f"sys.exit(run(['report', {str(made)!r}, '-o', {str(tmp_path / 'r.html')!r}]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 8
    assert "the extra [report] stands for" in done.stderr
    assert not (tmp_path / "r.html").exists()


def _renamed_network(path, network):
    with h5py.File(path, "a") as file:
        manifest = json.loads(bytes(file.attrs["int8cal"])) | {"network": network}
        file.attrs["int8cal"] = np.bytes_(json.dumps(manifest))


def test_no_command_of_the_page_holds_what_an_edited_manifest_names(made, tmp_path, run_cli):
    _renamed_network(made, "x; touch owned #")
    done = run_cli("report", made, "-o", tmp_path / "r.html")
    assert done.code == 0, done.stderr
    _, page = read(tmp_path / "r.html")
    assert "tao deploy NETWORK gen_trt_engine" in page.text
    assert "tao deploy x" not in page.text
    checked = run_cli("verify", made)
    assert "names the network 'x; touch owned #', which int8cal does not know [unknown-network]" in checked.stdout


@pytest.mark.parametrize("name", ["r.html", "-"])
def test_a_page_that_cannot_be_written_is_refused_before_the_work(made, tmp_path, run_cli, name):
    (tmp_path / "r.html").write_text("precious")
    with h5py.File(made, "a") as file:
        del file["_tensorfile_array_key__0"]  # reading it would be an error
        del file["int8cal_samples"]
    done = run_cli("report", made, "-o", name)
    assert done.code == 5
    assert (tmp_path / "r.html").read_text() == "precious"
    assert not (tmp_path / "-").exists()
