"""The readers for other tools, over batches of known numbers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnxruntime.quantization import CalibrationDataReader

from int8cal.errors import UnavailableError, UsageError
from int8cal.exports import readers


class Numbers:
    """Images that hold their own number."""

    def __init__(self, batches: int, size: int) -> None:
        self.all = np.broadcast_to(
            np.arange(batches * size, dtype=np.float32)[:, None, None, None], (batches * size, 1, 1, 2)
        )
        self._shape = (size, 1, 1, 2)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self._shape

    @property
    def image_count(self) -> int:
        return len(self.all)

    paths = ()

    def encoded_sha256(self) -> dict[int, bytes]:
        return {}

    def __len__(self) -> int:
        return len(self.all) // self._shape[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self.all.reshape(-1, *self._shape))


def numbers(batches: object) -> list[list[int]]:
    return [[int(image[0, 0, 0]) for image in batch] for batch in batches]  # type: ignore[attr-defined]


def test_onnx_runtime_s_reader_ends_with_none_and_can_begin_again() -> None:
    reader = readers.ort(Numbers(3, 2), "x")

    assert isinstance(reader, CalibrationDataReader)
    assert len(reader) == 3
    for _ in range(2):
        feeds = []
        while (feed := reader.get_next()) is not None:
            feeds.append(feed)
        assert numbers(feed["x"] for feed in feeds) == [[0, 1], [2, 3], [4, 5]]
        assert reader.get_next() is None
        reader.rewind()
    reader.set_range(1, 2)
    assert numbers([reader.get_next()["x"]]) == [[2, 3]]  # type: ignore[index]
    assert reader.get_next() is None


@pytest.mark.parametrize("tool", ["polygraphy", "nncf"])
def test_named_batches_can_be_gone_through_twice(tool: str) -> None:
    loader = getattr(readers, tool)(Numbers(2, 2), "x")

    assert len(loader) == 2
    for _ in range(2):
        assert numbers(feed["x"] for feed in loader) == [[0, 1], [2, 3]]


def test_torch_tensors_share_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(from_numpy=lambda array: ("tensor", array)))

    tensors = readers.torch(Numbers(2, 3))

    assert len(tensors) == 2
    assert [kind for kind, _ in tensors] == ["tensor", "tensor"]
    assert numbers(array for _, array in tensors) == [[0, 1, 2], [3, 4, 5]]


def test_torch_missing_is_said_with_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UnavailableError, match="pip install torch"):
        readers.torch(Numbers(1, 1))


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 40))
def test_rebatching_keeps_every_image_in_order_or_says_so(batches: int, size: int, wanted: int) -> None:
    source = Numbers(batches, size)
    total = batches * size
    if wanted > total or total % wanted:
        with pytest.raises(UsageError):
            readers.rebatch(source, wanted)
    if wanted > total:
        return

    rebatched = readers.rebatch(source, wanted, drop_remainder=True)

    for _ in range(2):
        assert sum(numbers(rebatched), []) == list(range(total - total % wanted))  # noqa: RUF017 - a few short lists
    assert rebatched.dropped == total % wanted
    assert rebatched.shape == (wanted, 1, 1, 2)
    assert len(rebatched) == total // wanted
    assert numbers(readers.rebatch(rebatched, 1)) == [[number] for number in range(rebatched.image_count)]


@pytest.mark.parametrize("size", [0, -1, "4", None, True, 2.0])
def test_batches_of_what_is_no_number_are_usage_errors(size: object) -> None:
    with pytest.raises(UsageError, match="size cannot be"):
        readers.rebatch(Numbers(2, 2), size)  # type: ignore[arg-type]  # the mistake


def test_rebatched_batches_do_not_share_memory() -> None:
    first, second = list(readers.rebatch(Numbers(2, 2), 1))[:2]
    assert not np.shares_memory(first, second)


def test_modelopts_interface_is_ort_readers_with_get_first() -> None:
    """ModelOpt 0.44 to 0.47 call ``get_first`` (which does not advance), ``get_next`` until None, and ``rewind``."""
    reader = readers.ort(Numbers(3, 2), "x")
    assert numbers([reader.get_first()["x"]]) == [[0, 1]]
    assert numbers([reader.get_next()["x"]]) == [[0, 1]]  # type: ignore[index]
    assert numbers([reader.get_first()["x"]]) == [[0, 1]]
    assert numbers([reader.get_next()["x"], reader.get_next()["x"]]) == [[2, 3], [4, 5]]  # type: ignore[index]
    assert reader.get_next() is None
    reader.rewind()
    assert numbers([reader.get_next()["x"]]) == [[0, 1]]  # type: ignore[index]
