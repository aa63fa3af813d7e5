"""How far two models' outputs are apart on the same images, summed up image by image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from int8cal.io.summary import Summarised, counted
from int8cal.models.channels import ChannelSums, Group

_Array: TypeAlias = npt.NDArray[np.float32]
_Doubles: TypeAlias = npt.NDArray[np.float64]

_MOST_CLASSES = 64
"""Different values of 8 bits that may still be classes: usual maps show some 20, pictures most of the 256 levels."""

_LEAST_IMAGES = 4
"""Fewer say little about what varies from image to image."""
_CONSTANT = 1e-12
"""Of the signal: less varies by rounding alone."""
_MOSTLY_CONSTANT = 100.0
"""A signal that is so many times what varies of it is mostly a constant: noise as strong as what varies still leaves
20 dB."""


@dataclass
class TensorAgreement:
    """Sums over one tensor of two models, and the figures that follow from them.

    Attributes:
        name: the tensor.
        classes: number of classes when the tensor is a classifier's output, (N, K) or (N, K, 1, 1) with K ≥ 2; else 0.
        classifies: whether a tensor of that shape is a classifier's.
        lost_in: which of both models, ``float`` and ``INT8``, gave NaN or infinity where the other did not; the figures
            have no meaning then and are NaN. Where both give the same of them (masks), only the other values count.
        undefined: whether the float model gave NaN there: nothing can be told of the other one then.
    """

    name: str
    classes: int = 0
    classifies: bool = True
    lost_in: set[str] = field(default_factory=set)
    undefined: bool = False
    _is_float: bool = field(default=True, repr=False, compare=False)
    _levels: set[int] = field(default_factory=set, repr=False, compare=False)
    _channels: ChannelSums = field(default_factory=ChannelSums, repr=False, compare=False)
    _values: int = 0
    _equal: int = 0
    _signal: float = 0.0
    _other: float = 0.0
    _product: float = 0.0
    _noise: float = 0.0
    _max_error: float = 0.0
    _images: int = 0
    _same_class: int = 0

    def add(self, reference: _Array, other: _Array) -> None:
        """Take in the values of some images; ``reference`` is the float model's."""
        first, second = reference.astype(np.float64).ravel(), other.astype(np.float64).ravel()
        lost = ~np.isfinite(first)
        if lost.any() and not lost.all() and np.array_equal(first[lost], second[lost], equal_nan=True):
            first[lost] = second[lost] = 0.0
        both = {"float": first, "INT8": second}
        self.lost_in.update(model for model, values in both.items() if not np.isfinite(values).all())
        self.undefined |= bool(np.isnan(first).any())
        if not self.finite:
            return  # NaN would be lost in a maximum, and nothing that follows can be told
        self._is_float = bool(np.issubdtype(reference.dtype, np.floating))
        if reference.dtype in (np.uint8, np.int8):
            seen = np.bincount(reference.astype(np.uint8).ravel(), minlength=256)
            self._levels.update(np.flatnonzero(seen).tolist())
        self._values += first.size
        self._equal += int((first == second).sum())
        error = second - first
        if self._is_float or self._levels:
            self._channels.add(first.reshape(reference.shape), error.reshape(reference.shape))
        self._signal += _product(first, first)
        self._other += _product(second, second)
        self._product += _product(first, second)
        self._noise += _product(error, error)
        self._max_error = max(self._max_error, float(np.abs(error).max(initial=0.0)))
        self._images += reference.shape[0] if reference.ndim else 1
        if self.classifies and _is_class_scores(reference):
            self.classes = reference.shape[1]
            scores = [values.reshape(len(values), self.classes) for values in (reference, other)]
            self._same_class += int((scores[0].argmax(axis=1) == scores[1].argmax(axis=1)).sum())

    def merge(self, other: TensorAgreement) -> None:
        """Take in what another one has of other images."""
        self.lost_in |= other.lost_in
        self.undefined |= other.undefined
        self._is_float = self._is_float and other._is_float
        self._levels |= other._levels
        self.classes = self.classes or other.classes
        self._channels.merge(other._channels)
        self._values += other._values
        self._equal += other._equal
        self._signal += other._signal
        self._other += other._other
        self._product += other._product
        self._noise += other._noise
        self._max_error = max(self._max_error, other._max_error)
        self._images += other._images
        self._same_class += other._same_class

    @property
    def finite(self) -> bool:
        """Whether the figures have a meaning, see ``lost_in``."""
        return not self.lost_in

    @property
    def sqnr_db(self) -> float:
        """Signal to quantisation noise ratio in dB: 10 log10(Σ f² / Σ (f − q)²); infinite when nothing differs."""
        if not self.finite or self.empty:
            return math.nan
        if self._noise == 0.0:
            return math.inf
        return 10.0 * math.log10(self._signal / self._noise) if self._signal > 0.0 else -math.inf

    @property
    def varying_db(self) -> float | None:
        """SQNR in dB of what varies: 10 log10(Σ (f − mean of its channel)² / Σ (f − q)²).

        None when it cannot be told: of whole numbers, of fewer than 4 images, and where nothing varies.
        """
        varying = self._varying
        if varying is None:
            return None
        return 10.0 * math.log10(varying / self._noise) if self._noise else math.inf

    @property
    def mostly_constant(self) -> bool:
        """Whether nearly all of the signal is the same everywhere, so that `sqnr_db` says little about what varies.

        Not where nothing differs: then there is nothing to be hidden.
        """
        varying = self._varying
        return varying is not None and self._noise > 0.0 and self._signal > _MOSTLY_CONSTANT * varying

    @property
    def _varying(self) -> float | None:
        if not self.finite or self.empty or self.whole or self._images < _LEAST_IMAGES:
            return None
        varying = self._channels.varying
        return varying if varying is not None and varying > _CONSTANT * self._signal else None

    @property
    def empty(self) -> bool:
        """Whether it held no values on any image, such as boxes of which none was found."""
        return self.finite and not self._values

    @property
    def other_class(self) -> int:
        """Number of images on which the models choose different classes; 0 when this is not a classifier."""
        return self._images - self._same_class if self.classes else 0

    @property
    def whole(self) -> bool:
        """Whether the values are whole numbers or truth values that mean no magnitude: a class chosen, a count.

        Of 8-bit values, many different ones are the levels of a picture, and a difference of one level is small. No
        more than `_MOST_CLASSES` may be a map of classes, where any difference is another class.
        """
        return not self._is_float and len(self._levels) <= _MOST_CLASSES

    @property
    def groups(self) -> tuple[Group, ...]:
        """Channels whose values are of one magnitude, where a tensor holds several such (boxes and scores); else ()."""
        return self._channels.groups() if self.finite and not self.whole else ()

    @property
    def worst_db(self) -> float:
        """The SQNR in dB that it is judged by.

        That of the worst group of channels, or of the whole tensor where there are no groups; of one that is mostly
        constant `varying_db`, if that is less. Of `whole` numbers each other one is noise as strong as its signal: 90 %
        equal ones are 10 dB.
        """
        if self.whole and self.finite and not self.empty:
            other = self._values - self._equal
            return 10.0 * math.log10(self._values / other) if other else math.inf
        figures = [group.sqnr_db for group in self.groups] or [self.sqnr_db]
        if self.mostly_constant and self.varying_db is not None:
            figures.append(self.varying_db)
        return min(figures)

    @property
    def equal(self) -> float:
        """Share of values, 0..1, that are the same in both models."""
        return self._equal / self._values if self._values and self.finite else math.nan

    @property
    def sqnr_text(self) -> str:
        """`sqnr_db` in a few letters, for people."""
        if not self.finite:
            return "not finite"
        if self.empty:
            return "no values"
        return "identical" if self.identical else f"{self.sqnr_db:.1f}"

    @property
    def cosine(self) -> float:
        """Cosine of the angle between the two models' values, -1..1; 1 when both are zero."""
        if not self.finite or self.empty:
            return math.nan
        length = math.sqrt(self._signal) * math.sqrt(self._other)
        if length == 0.0:
            return 1.0 if self._signal == self._other else 0.0
        return max(-1.0, min(1.0, self._product / length))

    @property
    def max_error(self) -> float:
        """Largest absolute difference."""
        return self._max_error if self.finite and not self.empty else math.nan

    @property
    def identical(self) -> bool:
        """Whether the two models gave the same values throughout."""
        return self.finite and not self.empty and self._noise == 0.0

    @property
    def top1(self) -> float | None:
        """Share of images, 0..1, on which both models choose the same class; None when this is not a classifier."""
        return self._same_class / self._images if self.classes and self.finite else None


def _product(first: _Doubles, second: _Doubles) -> float:
    """Inner product, on one thread: those of BLAS and of ONNX Runtime are in each other's way."""
    return float(np.einsum("i,i", first, second))


def _is_class_scores(values: _Array) -> bool:
    return values.ndim >= 2 and values.shape[1] >= 2 and all(extent == 1 for extent in values.shape[2:])


@dataclass(frozen=True, repr=False)
class Agreement(Summarised):
    """How far two models are apart on some images.

    Attributes:
        images: on how many.
        outputs: one entry per model output.
        layers: one entry per weighted layer that exists in both models, in the order of the graph.
        skipped: output that could not be compared → why.
    """

    images: int
    outputs: tuple[TensorAgreement, ...]
    layers: tuple[TensorAgreement, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)

    def worst_db(self) -> float:
        """SQNR in dB of the worst output, by what each is judged by; NaN if one is not finite or none can be judged."""
        if not self.judged or not all(output.finite for output in self.judged):
            return math.nan
        return min(output.worst_db for output in self.judged)

    @property
    def judged(self) -> tuple[TensorAgreement, ...]:
        """The outputs by which a model is judged: those that hold values.

        Whole numbers count only where there is nothing else: their differences have no meaning as noise.
        """
        filled = [output for output in self.outputs if not output.empty]
        return tuple([output for output in filled if not output.whole] or filled)

    @staticmethod
    def joined(parts: Sequence[Agreement]) -> Agreement:
        """The agreement on the images of all parts; of the outputs alone, and not of those that one part skipped."""
        skipped = {name: reason for part in parts for name, reason in part.skipped.items()}
        outputs = {
            output.name: TensorAgreement(output.name) for output in parts[0].outputs if output.name not in skipped
        }
        for part in parts:
            for output in part.outputs:
                if output.name in outputs:
                    outputs[output.name].merge(output)
        return Agreement(sum(part.images for part in parts), tuple(outputs.values()), (), skipped)

    def summary(self) -> str:
        """All that matters of it, in one short line."""
        figures = ", ".join(f"{output.name} {output.sqnr_text}" for output in self.outputs[:4])
        return f"{counted(self.images, 'image')}: SQNR in dB {figures}{', …' if len(self.outputs) > 4 else ''}"

    def summary_rows(self) -> Iterator[tuple[str, object]]:
        """The figures of every output."""
        for output in self.outputs:
            top1 = "" if output.top1 is None else f", same class {output.top1:.1%}"
            yield output.name, f"SQNR {output.sqnr_text} dB, cosine {output.cosine:.6f}{top1}"
        for name, reason in self.skipped.items():
            yield name, f"not compared: {reason}"

    def worst_layers(self, count: int = 5) -> tuple[TensorAgreement, ...]:
        """The layers with the lowest SQNR, worst first; before all, those whose values are not finite."""
        return tuple(sorted(self.layers, key=lambda layer: (layer.finite, layer.sqnr_db))[:count])
