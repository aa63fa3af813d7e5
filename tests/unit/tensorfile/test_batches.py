"""What may be given for batches, and what is made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import int8cal
from int8cal.errors import UseError
from int8cal.tensorfile.batches import as_batches, opened
from int8cal.types import Batches

GOOD = [np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2) + number for number in range(3)]


class Loader:
    """What PyTorch's loaders are: something that can be iterated again, and nothing else."""

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(GOOD)


@pytest.mark.parametrize("given_batches", [GOOD, tuple(GOOD), Loader(), lambda: iter(GOOD), lambda: GOOD])
def test_lists_functions_and_loaders_can_be_gone_through_again(given_batches: object) -> None:
    batches = as_batches(given_batches)

    assert isinstance(batches, Batches)
    assert (len(batches), batches.shape, batches.image_count, batches.paths) == (3, (2, 3, 2, 2), 6, ())
    for _ in range(2):
        assert all(map(np.array_equal, batches, GOOD))


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 3))
def test_the_last_batch_may_be_smaller(batches: int, size: int, last: int) -> None:
    arrays = [np.zeros((size, 1, 2, 2), np.float32) for _ in range(batches)]
    if 0 < last < size:
        arrays.append(np.zeros((last, 1, 2, 2), np.float32))

    found = as_batches(arrays)

    assert len(found) == len(arrays)
    assert found.image_count == sum(map(len, arrays))
    assert found.shape == (size, 1, 2, 2)


def test_arrays_in_another_order_of_memory_are_copied() -> None:
    given_array = np.asfortranarray(GOOD[0])

    (batch,) = as_batches([given_array])

    assert batch.flags.c_contiguous
    assert np.array_equal(batch, given_array)


@pytest.mark.parametrize("name", ["c.npy", "C.NPZ"])
def test_a_file_of_numpy_is_taken_image_by_image(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    images = np.concatenate(GOOD)
    with path.open("wb") as file:
        np.save(file, images) if path.suffix == ".npy" else np.savez(file, images=images)
    with opened(path) as batches:
        assert (batches.shape, batches.image_count, batches.paths) == ((1, 3, 2, 2), 6, ())
        np.testing.assert_array_equal(np.concatenate(list(batches)), images)


def test_a_file_of_several_arrays_is_none_of_images(tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", a=GOOD[0], b=GOOD[1])
    with pytest.raises(UseError, match=r"there are 2 arrays \(a, b\)"), opened(tmp_path / "two.npz"):
        pass


def test_a_path_is_opened_and_closed(tiny_dataset, tmp_path: Path) -> None:
    int8cal.make(int8cal.plan(tiny_dataset.spec, max_batches=2), tmp_path / "c.tensor")
    with opened(tmp_path / "c.tensor") as batches:
        assert len(list(batches)) == 2
    with pytest.raises(int8cal.UsageError, match="was closed"):
        next(iter(batches))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([GOOD[0], GOOD[1].astype(np.float64)], r"batch 1 holds float64, not float32"),
        ([GOOD[0], GOOD[1].astype(">f4")], r"batch 1 holds >f4"),
        ([GOOD[0][0]], r"batch 0 has the shape \(3, 2, 2\)"),
        ([GOOD[0], GOOD[1][:0]], r"batch 1 has the shape \(0, 3, 2, 2\)"),
        ([GOOD[0], GOOD[1][:, :2]], r"batch 1 has the shape \(2, 2, 2, 2\), the first batch \(2, 3, 2, 2\)"),
        ([GOOD[0][:1], GOOD[1]], r"batch 1 has the shape \(2, 3, 2, 2\), the first batch \(1, 3, 2, 2\)"),
        ([GOOD[0], GOOD[1][:1], GOOD[2]], r"batch 1 has fewer images than the first one, and is not the last"),
        ([GOOD[0], "calibration.tensor"], r"batch 1 is of the type str, not an array"),
        ({"input_1": GOOD[0]}, r"batch 0 is of the type str"),
        ([], r"there are no batches"),
        (GOOD[0], r"given as one array"),
        (3, r"cannot be of the type int"),
        (lambda: None, r"the function returned a NoneType"),
    ],
)
def test_anything_else_is_a_usage_error_that_names_the_batch(wrong: object, message: str) -> None:
    with pytest.raises(int8cal.UsageError, match=message) as caught:
        as_batches(wrong)
    assert caught.value.hint


def test_a_plan_stands_for_its_batches(tiny_dataset) -> None:
    plan = int8cal.plan(tiny_dataset.spec, max_batches=1)
    with opened(plan) as batches:
        (one,) = batches
    (other,) = plan.batches()
    np.testing.assert_array_equal(one, other)


def test_batches_that_were_taken_are_not_kept() -> None:
    """A function's arrays can be let go of one by one: memory stays that of one batch."""
    alive = 0

    class Counted(np.ndarray):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def make() -> Iterator[np.ndarray]:
        nonlocal alive
        for _ in range(20):
            alive += 1
            assert alive <= 2
            yield np.zeros((2, 1, 1, 1), np.float32).view(Counted)

    count: Callable[[object], int] = lambda batches: sum(1 for _ in as_batches(batches))  # noqa: E731
    assert count(make) == 20
