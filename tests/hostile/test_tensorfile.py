"""Hostile HDF5 files: each is refused with a tensorfile error, before memory is taken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from int8cal.errors import TensorFileError
from int8cal.tensorfile import TensorFile

GROUP, DATASET = "_tensorfile_array_key__0", "_tensorfile_array_key_"


def make(path, *, count=1, shape=(1, 1, 4, 4), fill=None):
    with h5py.File(path, "w") as file:
        file.attrs["count"] = count
        file.attrs["shape"] = shape
        if fill:
            fill(file)
        else:
            file.create_group(GROUP).create_dataset(DATASET, data=np.zeros((1, 1, 4, 4), np.float32))
    return path


def soft_link(file):
    file.create_dataset("elsewhere", data=np.zeros((1, 1, 4, 4), np.float32))
    file.create_group(GROUP)[DATASET] = h5py.SoftLink("/elsewhere")


def soft_group(file):
    file[GROUP] = h5py.SoftLink("/")


def external_link(file):
    file.create_group(GROUP)[DATASET] = h5py.ExternalLink("/etc/passwd", "/x")


def external_storage(file):
    file.create_group(GROUP).create_dataset(DATASET, shape=(1, 1, 4, 4), dtype="<f4", external=[("/etc/passwd", 0, 64)])


def virtual(file):
    layout = h5py.VirtualLayout((1, 1, 4, 4), "<f4")
    layout[:] = h5py.VirtualSource("/other.h5", "x", (1, 1, 4, 4))
    file.create_group(GROUP).create_virtual_dataset(DATASET, layout)


def other_shape(file):
    file.create_group(GROUP).create_dataset(DATASET, data=np.zeros((1, 1, 8, 8), np.float32))


def text(file):
    file.create_group(GROUP).create_dataset(DATASET, data=np.full((1, 1, 4, 4), b"abc", "S3"))


def strange_filter(file):
    file.create_group(GROUP).create_dataset(DATASET, shape=(1, 1, 4, 4), dtype="<f4", chunks=True, scaleoffset=0)


def dataset_for_group(file):
    file.create_dataset(GROUP, data=np.zeros((1, 1, 4, 4), np.float32))


def no_batch(file):
    file.create_group("another")


@pytest.mark.parametrize(
    "fill",
    [
        soft_link,
        soft_group,
        external_link,
        external_storage,
        virtual,
        other_shape,
        text,
        strange_filter,
        dataset_for_group,
        no_batch,
    ],
)
def test_refused_when_read(tmp_path, fill):
    with TensorFile(make(tmp_path / "f", fill=fill)) as file, pytest.raises(TensorFileError) as caught:
        file[0]
    assert caught.value.where == str(tmp_path / "f")


@pytest.mark.parametrize("count", [0, -1, 7, 1 << 62, "one", [1, 2]])
def test_refused_count(tmp_path, count):
    with pytest.raises(TensorFileError):
        TensorFile(make(tmp_path / "f", count=count))


@pytest.mark.parametrize("shape", [(1,), (1, 1, 4, 0), (1, 1, -4, 4), (1, 3, 1 << 20, 1 << 20), "abcd", (0.5,) * 4])
def test_refused_shape(tmp_path, shape):
    with pytest.raises(TensorFileError):
        TensorFile(make(tmp_path / "f", shape=shape))


def bomb(file):
    """Half a gigabyte that no bytes back."""
    file.create_group(GROUP).create_dataset(DATASET, shape=(1, 1, 11000, 11000), dtype="<f4", chunks=True)


def test_declared_size_takes_no_memory(tmp_path):
    path = make(tmp_path / "f", shape=(1, 1, 11000, 11000), fill=bomb)
    program = (
        "import resource, sys\n"
        "from int8cal.errors import TensorFileError\n"
        "from int8cal.tensorfile import TensorFile\n"
        "try:\n"
        f"    TensorFile({os.fspath(path)!r})[0]\n"
        "except TensorFileError as error:\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    limit = 200_000  # kB
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) < limit


@pytest.mark.parametrize("manifest", [np.bytes_(b"{"), np.bytes_(b"[1]"), 7, "text", np.bytes_(b"[" * 50_000)])
def test_refused_manifest(tmp_path, manifest):
    path = make(tmp_path / "f")
    with h5py.File(path, "a") as file:
        file.attrs["int8cal"] = manifest
    with pytest.raises(TensorFileError, match="manifest"):
        TensorFile(path)


def test_truncated_anywhere(tmp_path):
    whole = Path(make(tmp_path / "f")).read_bytes()
    for length in range(0, len(whole), 97):
        path = tmp_path / "cut"
        path.write_bytes(whole[:length])
        with pytest.raises(TensorFileError), TensorFile(path) as file:
            file[0]


@pytest.mark.parametrize("content", [b"", b"not HDF5", b"\x89HDF\r\n\x1a\n" + bytes(500)])
def test_no_hdf5(tmp_path, content):
    path = tmp_path / "f"
    path.write_bytes(content)
    with pytest.raises(TensorFileError, match="cannot be opened as HDF5"):
        TensorFile(path)


def test_missing_file(tmp_path):
    with pytest.raises(TensorFileError, match="no such file") as caught:
        TensorFile(tmp_path / "f")
    assert caught.value.exit_code == 6


def test_disk_that_is_full(tmp_path):
    """A write beyond the file size limit is an error of ours, and the process ends in order."""
    path = str(tmp_path / "f")
    program = (
        "import resource, sys\n"
        "import numpy as np\n"
        "from int8cal.errors import OutputError\n"
        "from int8cal.tensorfile.chunks import Compression\n"
        "from int8cal.tensorfile.writer import TensorFileWriter\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "encoder = Compression.named('none')\n"
        "image = np.random.default_rng(0).random((3, 100, 100), np.float32)\n"
        "try:\n"
        f"    with TensorFileWriter({path!r}, (1, 3, 100, 100), encoder) as writer:\n"
        "        for _ in range(20):\n"
        "            writer.append(encoder.encode(image))\n"
        "        writer.finish({}, [])\n"
        "except OutputError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "cannot write the tensorfile" in done.stdout
    assert done.stderr == ""
