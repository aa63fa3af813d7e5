from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from int8cal.samples import order

SEEDS = st.integers(0, 2**32 - 1)
COUNTS = st.lists(st.integers(0, 40), min_size=1, max_size=5)


@given(st.integers(0, 300), st.integers(1, 9), SEEDS)
def test_modes_1_and_2_use_every_record_once(count: int, sources: int, seed: int) -> None:
    assert sorted(order.concatenated_training(count, sources, seed)) == list(range(count))


@given(st.integers(0, 300), SEEDS)
def test_one_source_of_mode_0_is_used_once_each(count: int, seed: int) -> None:
    assert sorted(order.multisource_training([count], seed)) == list(range(count))


@given(COUNTS, SEEDS, st.booleans())
def test_mode_0_repeats_a_source_only_after_it_was_used_up(counts: list[int], seed: int, uniform: bool) -> None:
    for mixed in (order.multisource_training, order.multisource_validation):
        indexes = mixed(counts, seed, uniform=uniform).tolist()
        assert len(indexes) == sum(counts)
        first = 0
        for count in counts:
            own = [index - first for index in indexes if first <= index < first + count]
            first += count
            for begin in range(0, len(own), max(count, 1)):
                epoch = own[begin : begin + count]
                assert len(set(epoch)) == len(epoch)


@given(st.integers(1, 60), st.integers(1, 60), SEEDS)
def test_validation_keeps_the_record_order_of_each_source(first: int, second: int, seed: int) -> None:
    indexes = order.multisource_validation([first, second], seed).tolist()
    own = [index for index in indexes if index < first]
    assert own == [position % first for position in range(len(own))]


@given(st.integers(1, 200), SEEDS, st.integers(0, 600))
def test_more_draws_go_on_from_fewer(count: int, seed: int, draws: int) -> None:
    few = order._shuffle(count, seed, 8, buffer=count, draws=draws)
    many = order._shuffle(count, seed, 8, buffer=count, draws=draws + 50)
    assert many[:draws].tolist() == few.tolist()
