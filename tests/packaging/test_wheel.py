"""What is in the wheel, and that it works where nothing but its dependencies is."""

from __future__ import annotations

import email
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    repository = Path(__file__).parents[2]
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    env = {**os.environ, "INT8CAL_KERNELS": "none"}
    subprocess.run(command, cwd=repository, check=True, capture_output=True, env=env)
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_is_pure(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")


def test_wheel_holds_the_package_whole_and_nothing_else(wheel: Path, repository: Path) -> None:
    source = repository / "src"
    listing = subprocess.run(
        ["git", "ls-files", "src"], cwd=repository, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    committed = {name.removeprefix("src/") for name in listing if (repository / name).exists()}
    on_disk = {
        str(path.relative_to(source))
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name != "kernels.bin"
    }
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == on_disk
    assert committed <= names
    assert "int8cal/py.typed" in names


@pytest.mark.parametrize(
    "needed",
    ["networks/detectnet_v2/spec.proto", "networks/detectnet_v2/descriptors.binpb", "networks/rtdetr/schema.tsv"],
)
def test_wheel_holds_the_data_that_the_code_reads(wheel: Path, needed: str) -> None:
    assert f"int8cal/{needed}" in zipfile.ZipFile(wheel).namelist()


def test_metadata(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith("METADATA"))
    metadata = email.message_from_bytes(archive.read(name))
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    required = [value.lower() for value in metadata.get_all("Requires-Dist", [])]
    assert not any("tensorflow" in value for value in required)


@pytest.mark.extended
def test_wheel_works_with_runtime_dependencies_only(wheel: Path, repository: Path, tmp_path: Path) -> None:
    """A fresh environment with the wheel and its dependencies: no extra, no development tool."""
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    pins = tmp_path / "pins.txt"  # the lock without its hashes, which a wheel built just now cannot have
    lock = (repository / "requirements" / "dev.txt").read_text().splitlines()
    pins.write_text("\n".join(line.removesuffix(" \\") for line in lock if "==" in line and line[0] not in " #"))
    install = [python, "-m", "pip", "install", "-q", "--only-binary", ":all:", "-c", pins, wheel]
    subprocess.run(install, check=True)
    subprocess.run([python, "-m", "int8cal", "demo", "-o", "demo", "--images", "8"], cwd=tmp_path, check=True)
    assert (tmp_path / "demo" / "calibration.tensorfile").exists()
    installed = subprocess.run([python, "-m", "pip", "list"], capture_output=True, text=True, check=True).stdout
    assert not {"onnx", "onnxruntime", "jinja2", "pytest"} & set(installed.lower().split())
