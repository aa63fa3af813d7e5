"""HDF5 files that would be walked without end: every command refuses them, within a second and 200 MB."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.hostile.command import SECONDS, assert_refused, measure
from tests.hostile.skeletons import GROUP, SKELETONS, VALUES, shared_chunk_nodes, shared_group_nodes, sound_bytes

from int8cal.demo.evaluate import CLASSIFIER
from int8cal.errors import TensorFileError
from int8cal.tensorfile import TensorFile

COMMANDS = {
    "inspect": ["inspect", "FILE"],
    "inspect quickly": ["inspect", "--quick", "FILE"],
    "quantize": ["quantize", str(CLASSIFIER), "FILE", "-o", "int8.onnx"],
    "compare": ["compare", str(CLASSIFIER), str(CLASSIFIER), "FILE"],
    "export": ["export", "FILE", "--to", "npz", "-o", "out.npz"],
}


@pytest.mark.parametrize("name", SKELETONS)
def test_verify_refuses(name: str, tmp_path: Path) -> None:
    SKELETONS[name](tmp_path / "f")

    assert_refused(6, "verify", "f", cwd=tmp_path)


@pytest.mark.parametrize("make", [shared_group_nodes, shared_chunk_nodes])
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses(command: str, make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "f")

    assert_refused(6, *["f" if word == "FILE" else word for word in COMMANDS[command]], cwd=tmp_path)


@pytest.mark.parametrize("options", [{"libver": "latest"}, {"track_order": True}], ids=str)
def test_a_newer_format_is_refused_with_the_way_back(options: dict[str, object], tmp_path: Path) -> None:
    sound_bytes(tmp_path / "f", **options)

    with pytest.raises(TensorFileError, match="newer HDF5 format") as caught:
        TensorFile(tmp_path / "f")

    assert "libver='earliest'" in str(caught.value)


@pytest.mark.parametrize("batches", [1, 8, 9, 500])
def test_sound_files_of_every_size_pass(batches: int, tmp_path: Path) -> None:
    """From one leaf to a tree of several levels."""
    sound_bytes(tmp_path / "f", chunked=True, batches=batches)

    with TensorFile(tmp_path / "f") as file:
        assert len(file) == batches
        assert set(file.objects()) == {f"{GROUP}{batch}" for batch in range(batches)}
        np.testing.assert_array_equal(file[batches - 1], VALUES)


def test_a_report_is_refused_or_says_it(tmp_path: Path) -> None:
    shared_group_nodes(tmp_path / "group")
    shared_chunk_nodes(tmp_path / "chunk")

    assert_refused(6, "report", "group", "-o", "group.html", cwd=tmp_path)
    measured = measure("report", "chunk", "-o", "chunk.html", cwd=tmp_path)

    assert measured.code == 0, measured.said
    assert measured.seconds < SECONDS
    assert "tree of objects or chunks is unsound" in (tmp_path / "chunk.html").read_text()
