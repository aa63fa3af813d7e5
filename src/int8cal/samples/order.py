"""The orders in which the reference draws samples, replicated without TensorFlow. Nothing else.

The reference's pipelines are seeded, so that their order is a function of ``random_seed`` and of the number of records.
What is replicated are ``Dataset.shuffle`` and ``sample_from_datasets`` of TensorFlow 1.15's tf.data, with the operation
seeds that the reference's graphs have (counts of graph operations; they are facts about the reference's code, found by
running it). Evidence: every training case of the golden set.

Random numbers are Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) with

    key = seed (two words)    counter = (block number (two words), seed2 (two words))

and are consumed one 32-bit word at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from int8cal.types import SampleOrder

_Words = npt.NDArray[np.uint64]
"""32-bit words, kept in 64 bits so that products need no care."""

SEED_MODULUS = 2**31 - 1
"""A random_seed is taken modulo this before any use."""

SHUFFLE_BUFFER = 10_000
"""Capacity of the shuffle buffer of dataloader mode 0; modes 1 and 2 hold all records."""

_LOW = np.uint64(0xFFFFFFFF)
_HIGH_SHIFT = np.uint64(32)
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_STEPS = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))
_ROUNDS = 10

_PICK_KEY = (0x3EC8F720, 0x02461E29)
"""Key with which TensorFlow's stateless random operations scramble their seed."""


def permutation(count: int, seed: int) -> SampleOrder:
    """Every sample once in random order, for references that draw without replacement and without a seed of their own.

    Args:
        count: number of samples.
        seed: of NumPy's ``RandomState``, whose stream NumPy guarantees not to change.
    """
    return np.random.RandomState(seed).permutation(count).astype(np.int64)


def sequential(count: int) -> SampleOrder:
    """Records as they stand: the order of a validation split with one source, or in modes 1 and 2."""
    return np.arange(count, dtype=np.int64)


def concatenated_training(count: int, sources: int, seed: int) -> SampleOrder:
    """Training order of modes 1 and 2: all sources one after the other, shuffled as a whole.

    Args:
        count: number of records of the split.
        sources: number of ``data_sources`` in the spec, those without records included.
        seed: the spec's random_seed.

    Returns:
        A permutation of ``range(count)``.
    """
    low, high = _stream(seed % SEED_MODULUS, 7 * sources, 2)
    return _shuffle(count, int(low), int(high), buffer=count, draws=count)


def multisource_training(counts: Sequence[int], seed: int, *, uniform: bool = False) -> SampleOrder:
    """Training order of mode 0: every source shuffled on its own, then one source picked per sample.

    Args:
        counts: number of records of each source, in spec order.
        seed: the spec's random_seed.
        uniform: sources are equally likely; else in proportion to their records.

    Returns:
        Indexes into the concatenated sources, as many as there are records. With several sources some records may
        occur more than once and others not at all, as in the reference.
    """
    seed %= SEED_MODULUS
    operations = 0
    shuffle_seeds = []
    for count in counts:
        shuffle_seeds.append(8 + operations)
        operations += 23 if count else 17

    def shuffled(source: int, draws: int) -> SampleOrder:
        count = counts[source]
        return _shuffle(count, seed, shuffle_seeds[source], buffer=min(count, SHUFFLE_BUFFER), draws=draws)

    picks = _picks(counts, seed, 5 + operations, uniform=uniform)
    return _interleave(counts, picks, shuffled)


def multisource_validation(counts: Sequence[int], seed: int, *, uniform: bool = False) -> SampleOrder:
    """Validation order of mode 0: one source is picked per sample, each source runs in record order and repeats.

    Args:
        counts: number of records of each source, in spec order.
        seed: the spec's random_seed.
        uniform: sources are equally likely; else in proportion to their records.

    Returns:
        Indexes into the concatenated sources, as many as there are records.
    """
    operations = sum(11 if count else 5 for count in counts)
    picks = _picks(counts, seed % SEED_MODULUS, 5 + operations, uniform=uniform)
    return _interleave(counts, picks, lambda source, draws: sequential(draws) % counts[source])


def _interleave(
    counts: Sequence[int], picks: npt.NDArray[np.intp], samples_of: Callable[[int, int], SampleOrder]
) -> SampleOrder:
    """Replace each pick of a source by that source's next sample; ``samples_of(source, n)`` are its first n."""
    order = np.empty(len(picks), dtype=np.int64)
    first = 0
    for source, count in enumerate(counts):
        positions = np.flatnonzero(picks == source)
        if len(positions):
            order[positions] = first + samples_of(source, len(positions))
        first += count
    return order


def _picks(counts: Sequence[int], seed: int, seed2: int, *, uniform: bool) -> npt.NDArray[np.intp]:
    """Which source each sample comes from: ``tf.random.stateless_multinomial`` on the logarithms of the weights."""
    total = sum(counts)
    sources = [source for source, count in enumerate(counts) if count]
    if len(sources) < 2:
        return np.repeat(np.array(sources, dtype=np.intp), total)
    weights = [1.0 if uniform else counts[source] / total for source in sources]
    # The C library's log and exp rather than NumPy's: the same bits on every processor.
    logits = [float(np.float32(math.log(np.float32(weight)))) for weight in weights]
    thresholds = np.cumsum([math.exp(logit - max(logits)) for logit in logits])

    seeds = _stream(seed, seed2, 2 * total).reshape(total, 2).T
    zero = np.zeros(total, dtype=np.uint64)
    mixed = _philox((seeds[0], zero, seeds[1], zero), _PICK_KEY)
    low, high, *_ = _philox((zero, zero, mixed[2], mixed[3]), (mixed[0], mixed[1]))
    mantissa = (low & np.uint64(0xFFFFF)) << _HIGH_SHIFT | high
    uniforms = (np.uint64(1023) << np.uint64(52) | mantissa).view(np.float64) - 1.0
    picks: npt.NDArray[np.intp] = np.searchsorted(thresholds, uniforms * thresholds[-1], side="right")
    return np.array(sources, dtype=np.intp)[picks]


def _shuffle(count: int, seed: int, seed2: int, *, buffer: int, draws: int) -> SampleOrder:
    """The first ``draws`` of ``range(count)`` shuffled through a buffer, again and again on the same random stream.

    Each step exchanges the buffer's first slot with a random filled one, yields what came first, and refills the slot
    with the next record while there is one.
    """
    filled = np.minimum(buffer, np.arange(count, 0, -1, dtype=np.uint64))  # slots in use at each step of an epoch
    words = _stream(seed, seed2, draws)
    order: list[int] = []
    for begin in range(0, draws, max(count, 1)):
        epoch = words[begin : begin + count]
        slots = list(range(buffer))
        for step, offset in enumerate((epoch % filled[: len(epoch)]).tolist()):
            here, there = step % buffer, (step + offset) % buffer
            order.append(slots[there])
            slots[there] = slots[here]
            slots[here] = step + buffer  # beyond the last record this slot is never drawn again
    return np.array(order, dtype=np.int64)


def _stream(seed: int, seed2: int, count: int) -> _Words:
    """The first words of the generator (seed, seed2)."""
    blocks = np.arange(-(-count // 4), dtype=np.uint64)
    seed2_words = (np.uint64(seed2 & 0xFFFFFFFF), np.uint64(seed2 >> 32))
    counter = (
        blocks & _LOW,
        blocks >> _HIGH_SHIFT,
        np.full_like(blocks, seed2_words[0]),
        np.full_like(blocks, seed2_words[1]),
    )
    return np.stack(_philox(counter, (seed & 0xFFFFFFFF, seed >> 32)), axis=1).reshape(-1)[:count]


def _philox(
    counter: tuple[_Words, _Words, _Words, _Words], key: tuple[_Words | int, _Words | int]
) -> tuple[_Words, _Words, _Words, _Words]:
    """Philox4x32-10 of many counters at once; the key is one for all or one for each."""
    c0, c1, c2, c3 = counter
    k0, k1 = (np.asarray(word, dtype=np.uint64) for word in key)
    for round_ in range(_ROUNDS):
        if round_:
            k0, k1 = (k0 + _KEY_STEPS[0]) & _LOW, (k1 + _KEY_STEPS[1]) & _LOW
        product0, product1 = _MULTIPLIERS[0] * c0, _MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (
            (product1 >> _HIGH_SHIFT) ^ c1 ^ k0,
            product1 & _LOW,
            (product0 >> _HIGH_SHIFT) ^ c3 ^ k1,
            product0 & _LOW,
        )
    return c0, c1, c2, c3
