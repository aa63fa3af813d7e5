"""Orders against vectors of an independent scalar implementation, which agreed with the reference's output."""

from __future__ import annotations

import hashlib

import numpy as np

from int8cal.samples import order
from int8cal.types import SampleOrder


def digest(indexes: SampleOrder) -> str:
    return hashlib.sha256(indexes.astype("<i8").tobytes()).hexdigest()[:16]


def test_generator_gives_the_published_known_answers() -> None:
    """Vectors of philox4x32-10 in the Random123 distribution (kat_vectors)."""
    zeros, ones = (np.array([word], dtype=np.uint64) for word in (0, 0xFFFFFFFF))
    words = [hex(int(word[0])) for word in order._philox((zeros,) * 4, (0, 0))]
    assert words == ["0x6627e8d5", "0xe169c58d", "0xbc57ac4c", "0x9b00dbd8"]
    words = [hex(int(word[0])) for word in order._philox((ones,) * 4, (0xFFFFFFFF, 0xFFFFFFFF))]
    assert words == ["0x408f276d", "0x41c83b0e", "0xa20bc7c6", "0x6d5451fd"]


def test_training_of_modes_1_and_2() -> None:
    assert order.concatenated_training(12, 2, 42).tolist() == [8, 2, 10, 11, 9, 3, 5, 4, 0, 7, 6, 1]
    large = order.concatenated_training(30_000, 2, 42)
    assert large[:6].tolist() == [5504, 17246, 21694, 218, 8437, 27829]
    assert digest(large) == "646bd0f6823c4069"


def test_training_of_mode_0_with_one_source() -> None:
    assert order.multisource_training([9], 0).tolist() == [2, 5, 8, 3, 4, 6, 1, 0, 7]


def test_mode_0_shuffles_through_a_buffer_of_ten_thousand() -> None:
    large = order.multisource_training([25_000], 123)
    assert large[:6].tolist() == [7323, 410, 2958, 3790, 4850, 8344]
    assert digest(large) == "cdc1c8cd75eb63ca"


def test_training_of_mode_0_picks_sources_and_passes_over_empty_ones() -> None:
    assert order.multisource_training([4, 0, 6], 42).tolist() == [0, 6, 7, 5, 4, 2, 3, 1, 1, 2]
    assert order.multisource_training([4, 0, 6], 42, uniform=True).tolist() == [0, 6, 7, 2, 3, 1, 1, 2, 0, 3]
    assert digest(order.multisource_training([700, 200, 100], 7)) == "e399ff503453a872"


def test_validation_of_mode_0_runs_each_source_in_record_order() -> None:
    assert order.multisource_validation([4, 0, 6], 42).tolist() == [4, 0, 5, 1, 2, 6, 3, 7, 8, 9]
    assert order.multisource_validation([0, 5], 42).tolist() == [0, 1, 2, 3, 4]


def test_seed_is_taken_modulo_a_mersenne_prime() -> None:
    for large, small in ((4294967295, 1), (2147483649, 2), (2147483647, 0)):
        assert (
            order.multisource_training([50, 20], large).tolist() == order.multisource_training([50, 20], small).tolist()
        )
        assert order.concatenated_training(50, 1, large).tolist() == order.concatenated_training(50, 1, small).tolist()


def test_no_records_have_an_empty_order() -> None:
    assert order.multisource_training([0, 0], 1).tolist() == []
    assert order.multisource_validation([], 1).tolist() == []
    assert order.concatenated_training(0, 1, 1).tolist() == []
