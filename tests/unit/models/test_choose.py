"""The method that is chosen, on which images, and what is said of the result."""

from __future__ import annotations

import json
import math
import threading
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.unit.models.conftest import SHAPE, Images
from tests.unit.models.test_equalize import mobile

from int8cal.errors import UseError
from int8cal.models import choose as choose_module
from int8cal.models.agreement import Agreement, TensorAgreement
from int8cal.models.binding import InputBinding
from int8cal.models.calibrate import Calibration, calibrate
from int8cal.models.channels import ChannelSums
from int8cal.models.choose import Candidate, Candidates, Trial, held_out_parts
from int8cal.models.computable import computable
from int8cal.models.graph import prepare
from int8cal.models.onnx_file import load_model
from int8cal.models.overlap import Digested
from int8cal.models.passes import for_each_image
from int8cal.models.placement import place
from int8cal.models.qdq import Range, insert_qdq
from int8cal.models.quantize import quantize
from int8cal.models.runner import Runner
from int8cal.models.session import open_as_written
from int8cal.models.side_by_side import KeptSession, KnownValues
from int8cal.models.verdict import judge
from int8cal.models.wiring import Wiring
from int8cal.tensorfile import TensorFile
from int8cal.tensorfile.chunks import Compression
from int8cal.tensorfile.writer import TensorFileWriter
from int8cal.types import METHODS, Batches, Target

MakeModel = Callable[..., Path]


def spiky(tmp_path: Path) -> Path:
    """A model that needs its rare largest values: they alone decide its output."""
    random = np.random.default_rng(2)
    kernel = random.standard_normal((16, 3, 3, 3)).astype(np.float32) / 5
    nodes = [
        helper.make_node("Conv", ["image", "k"], ["c"], "a"),
        helper.make_node("Pow", ["c", "eight"], ["spikes"]),
        helper.make_node("Conv", ["spikes", "w"], ["y"], "b"),
    ]
    weights = {
        "k": kernel,
        "eight": np.float32(8),
        "w": random.standard_normal((16, 16, 1, 1)).astype(np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", *SHAPE[1:]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    path = tmp_path / "spiky.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


class TestAuto:
    def test_the_best_method_on_held_out_images_is_taken_and_its_scales_come_from_all(self, tmp_path: Path) -> None:
        report = quantize(spiky(tmp_path), Images(), tmp_path / "o", agreement=False)

        assert report.choice is not None
        assert (report.choice.held_out, report.images) == (True, 16)
        assert report.choice.images in (4, 8, 12, 16)
        scores = report.choice.scores
        assert tuple(scores) == METHODS
        best = max(scores.values())
        assert scores[report.method] >= best - 0.2
        assert report.method == next(method for method in METHODS if scores[method] >= best - 0.2)
        assert scores["entropy"] < best - 3  # clipping hurts here
        alone = quantize(
            spiky(tmp_path),
            Images(),
            tmp_path / "p",
            method=report.method,
            bias_correction=report.bias_correction,
            agreement=False,
        )
        assert alone.amax == report.amax
        assert alone.choice is None
        assert onnx.load(tmp_path / "o").graph == onnx.load(tmp_path / "p").graph

    def test_with_an_evaluation_file_that_file_chooses(self, make_model: MakeModel, tmp_path: Path) -> None:
        report = quantize(make_model(), Images(), tmp_path / "o", evaluation=Images(batches=2, seed=9), agreement=False)

        assert report.choice is not None
        assert (report.choice.images, report.choice.held_out) == (8, True)

    def test_few_images_serve_for_both_and_the_report_says_so(self, make_model: MakeModel, tmp_path: Path) -> None:
        report = quantize(make_model(), Images(batches=1), tmp_path / "o", agreement=False)

        assert report.choice is not None
        assert (report.choice.images, report.choice.held_out) == (4, False)

    @pytest.mark.parametrize(
        ("images", "sizes"),
        [
            (7, []),
            (8, [2, 2, 2, 2]),
            (11, [3, 3, 3, 2]),
            (32, [8, 8, 8]),
            (64, [16, 16]),
            (80, [20, 20]),
            (128, [32]),
            (256, [64]),
            (1000, [64]),
        ],
    )
    def test_every_fourth_image_is_held_out_and_of_few_other_fourths_in_turn(
        self, images: int, sizes: list[int]
    ) -> None:
        parts = held_out_parts(images)
        assert list(map(len, parts)) == sizes
        assert len(frozenset().union(*parts)) == sum(sizes)
        for part in parts:
            assert len({number // 4 for number in part}) == len(part)  # one of each four
            assert max(part) < images
            if len(part) >= 16:  # cameras that take turns are all among them
                assert {number % 4 for number in part} == {0, 1, 2, 3}

    def test_one_image_that_outweighs_all_others_does_not_decide(self) -> None:
        """Beside it, mse is better on every image; without it, that would be seen."""

        def tried(*noise: float) -> list[Agreement]:
            found = []
            for loud, level in zip((100.0, 1, 1, 1), noise, strict=True):
                tensor = TensorAgreement("y")
                tensor.add(np.full((1, 4), loud, np.float32), np.full((1, 4), loud + level, np.float32))
                found.append(Agreement(1, (tensor,)))
            return found

        ruined = {"mse": tried(20, 0.01, 0.01, 0.01), "entropy": tried(1, 0.1, 0.1, 0.1)}
        assert choose_module._undecided(ruined) == ["mse", "entropy"]
        clear = {"mse": tried(20, 0.1, 0.1, 0.1), "entropy": tried(1, 0.01, 0.01, 0.01)}
        assert choose_module._undecided(clear) == ["entropy"]
        near = {"mse": tried(1.2, 0.12, 0.12, 0.12), "entropy": tried(1, 0.1, 0.1, 0.1)}  # 1.6 dB
        assert choose_module._undecided(near) == ["mse", "entropy"]
        same = {"mse": tried(1, 0.1, 0.1, 0.1), "entropy": tried(1, 0.1, 0.1, 0.1)}
        assert choose_module._undecided(same) == ["mse"]
        assert choose_module._undecided({m: found[:3] for m, found in clear.items()}) == ["mse", "entropy"]  # too few

    def test_from_twelve_images_on_the_best_of_methods_that_are_near_each_other_is_taken(self) -> None:
        def tried(level: float, images: int) -> list[Agreement]:
            tensor = TensorAgreement("y")
            tensor.add(np.ones((1, 4), np.float32), np.full((1, 4), 1 + level, np.float32))
            return [Agreement(1, (tensor,))] * images

        for images, left in ((8, ["mse", "entropy"]), (12, ["entropy"])):
            near = {"mse": tried(0.12, images), "entropy": tried(0.1, images)}  # 1.6 dB
            assert choose_module._undecided(near) == left

    def test_outputs_of_the_float_model_are_those_of_the_pass_that_calibrates(
        self, make_model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept: dict[int, Any] = {}

        class Watched(KnownValues):
            def keep(self, numbers: list[int], values: Any) -> None:
                assert numbers[0] not in kept  # else the float model ran twice
                kept[numbers[0]] = values
                super().keep(numbers, values)

        monkeypatch.setattr("int8cal.models.quantize.KnownValues", Watched)
        quantize(make_model(), Images(), tmp_path / "o", agreement=False)

        assert set(kept) == set(range(16))
        model = open_as_written(onnx.load(tmp_path / "float.onnx"))
        every = np.concatenate(list(Images()))
        for number, values in kept.items():
            for name, value in values.items():
                np.testing.assert_allclose(
                    value, model.run([name], {"image": every[number][None]})[0], rtol=1e-4, atol=1e-5
                )

    def test_outputs_are_kept_without_the_memory_that_they_were_given_in(self) -> None:
        given = np.ones((2, 1000), np.float32)
        known = KnownValues()

        known.keep([3], {"output": given[:1]})

        kept = known.get([3])
        assert kept is not None
        assert np.array_equal(kept["output"], given[:1])
        assert kept["output"].base is None

    @pytest.mark.parametrize("target", ["tensorrt", "onnxruntime"])
    def test_models_that_are_fed_their_scales_are_judged_like_models_of_their_own(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: Target
    ) -> None:
        opened: list[KeptSession] = []

        class Apart(Candidates):
            """Every candidate is a model with a session of its own."""

            def of(self, amax: dict[str, float], trial: Trial) -> Candidate:
                opened.append(session := KeptSession())
                return Candidate(self._made(amax, trial), self._binding, session)

        def choice() -> Any:
            images = Images(seed=3)
            return quantize(mobile(tmp_path), images, tmp_path / "o", target=target, agreement=False, overwrite=True)

        together = choice()
        monkeypatch.setattr("int8cal.models.decide.Candidates", Apart)
        apart = choice()
        assert together.choice == apart.choice
        assert together.amax == apart.amax
        assert len(opened) >= len(METHODS)

    @pytest.mark.parametrize(
        ("options", "judged"), [({}, True), ({"bias_correction": True}, False), ({"precision": "fp16"}, False)]
    )
    def test_the_verdict_is_never_on_another_model_than_the_one_written(
        self, make_model: MakeModel, tmp_path: Path, options: dict[str, Any], judged: bool
    ) -> None:
        report = quantize(make_model(), Images(), tmp_path / "o", agreement=False, **options)
        assert (report.verdict is not None) == judged

    def test_models_of_one_trial_share_a_session(self, tmp_path: Path) -> None:
        model = load_model(mobile(tmp_path))
        parts = computable(model)
        binding = parts.bind(SHAPE)
        prepared = prepare(parts.model)
        placement = place(Wiring(prepared, binding, SHAPE[1:]), [], "tensorrt")
        (calibration,) = calibrate(prepared, placement.tensors(prepared), Images(), binding)

        def made(amax: dict[str, float], _: Trial) -> Any:
            shared = placement.with_shared_scales(amax)
            return insert_qdq(prepared, placement, {name: Range(value) for name, value in shared.items()})

        trial, other = Trial(calibration, None), Trial(calibration, frozenset({0}))
        candidates, image = Candidates(made, placement, binding), next(iter(Images()))[:1]
        found, sessions = [], set()
        for method in METHODS:
            amax = calibration.amax(method)
            candidate, alone = candidates.of(amax, trial), made(amax, trial)
            sessions.add(id(candidate.session))
            fed = Runner(candidate.model, ["dense.y"], candidate.binding, optimized=True).values(image)
            whole = Runner(alone, ["dense.y"], binding, optimized=True).values(image)
            np.testing.assert_array_equal(fed["dense.y"], whole["dense.y"])
            found.append(fed["dense.y"].tobytes())
        assert len(set(found)) == len(METHODS)  # the methods differ, or nothing was tested
        assert len(sessions) == 1
        assert id(candidates.of(amax, other).session) in sessions
        scaling = Trial(replace(calibration, peaks={"x": np.ones(3, np.float32)}), frozenset({0}))
        assert id(candidates.of(amax, scaling).session) not in sessions

    def test_a_method_that_falls_behind_is_tried_on_fewer_images(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def undecided(found: dict[Any, Any]) -> list[Any]:
            return [method for method in found if method != "entropy"]

        monkeypatch.setattr(choose_module, "_undecided", undecided)
        report = quantize(spiky(tmp_path), Images(), tmp_path / "o", agreement=False, bias_correction=False)
        assert report.choice is not None
        assert report.choice.tried == {"mse": 16, "percentile": 16, "entropy": 4, "minmax": 16}
        assert report.choice.agreement.images == 16
        assert set(report.choice.scores) == set(METHODS)

    def test_a_result_is_the_same_for_any_number_of_threads(
        self, make_model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def report_with(processors: int) -> Any:
            monkeypatch.setattr("int8cal.models.passes.usable_cores", lambda: processors)
            return quantize(make_model(), Images(), tmp_path / "o", overwrite=True)

        one, five = report_with(1), report_with(5)
        assert one.amax == five.amax
        assert one.choice == five.choice
        assert one.in_sample == five.in_sample


class TestVerdict:
    @staticmethod
    def of(*noise: float, classes: int = 0, shape: tuple[int, ...] = (1000,)) -> TensorAgreement:
        tensor = TensorAgreement("y")
        values = np.random.default_rng(0).standard_normal((4, *shape)).astype(np.float32)
        error = np.random.default_rng(1).standard_normal((4, *shape)).astype(np.float32)
        tensor.add(values, values + np.float32(noise[0]) * error)
        return tensor

    @pytest.mark.parametrize(("noise", "level"), [(0.1, "good"), (0.25, "look"), (0.5, "poor"), (np.nan, "poor")])
    def test_levels(self, noise: float, level: str) -> None:
        assert judge(Agreement(4, (self.of(0.01, shape=(1000, 2)), self.of(noise, shape=(1000, 2))))).level == level

    def test_the_worst_of_several_sets_of_images_decides(self) -> None:
        right, wrong = Agreement(4, (self.of(0.01),)), Agreement(9, (self.of(0.5),))
        assert judge(right).level == "good"
        assert judge(right, wrong) == judge(wrong, right) == judge(wrong)
        assert judge(wrong).level == "poor"

    def test_a_classifier_that_chooses_other_classes_is_not_good(self) -> None:
        tensor = TensorAgreement("p")
        first = np.tile(np.float32([[10, 9.9, 0, 0]]), (10, 1))
        second = first.copy()
        second[:3, 1] = 10.1
        tensor.add(first, second)
        assert tensor.sqnr_db > 30
        found = judge(Agreement(10, (tensor,)))
        assert (found.level, found.reason) == ("poor", "the same class on 70.0% of the images")
        assert found.worst_db == tensor.sqnr_db

    @pytest.mark.parametrize("offset", [50.0, -3e4])
    @pytest.mark.parametrize("shape", [(20, 4, 8, 8), (20, 6), (20, 1), (20, 300, 4), (20,)])
    def test_a_constant_hides_no_noise(self, offset: float, shape: tuple[int, ...]) -> None:
        random = np.random.default_rng(0)
        varying = random.standard_normal(shape)
        values, noise = varying + offset, random.standard_normal(shape)
        left = varying if len(shape) == 1 else varying - varying.mean(axis=(0, *range(2, len(shape))), keepdims=True)
        whole, parts = (
            TensorAgreement("y", classifies=False),
            [TensorAgreement("y", classifies=False) for _ in range(4)],
        )
        pairs = zip(np.split(values, 10), np.split(noise, 10), strict=True)
        for number, (some, other) in enumerate(pairs):
            whole.add(some, some + other)
            parts[number % 4].add(some, some + other)
        for other_part in parts[1:]:
            parts[0].merge(other_part)
        for tensor in (whole, parts[0]):
            assert tensor.sqnr_db > 30
            assert tensor.varying_db == pytest.approx(10 * np.log10((left**2).sum() / (noise**2).sum()), abs=0.6)
            found = judge(Agreement(20, (tensor,)))
            assert found.level == "poor"
            assert (
                found.reason
                == f"{tensor.varying_db:.1f} dB in what varies, and nearly all of it is the same everywhere"
            )
            assert found.worst_db == tensor.worst_db == tensor.varying_db

    @pytest.mark.parametrize(
        ("shape", "runs"), [((1, 100_000, 8), 20), ((500, 6), 200), ((1, 2000), 500), ((3001,), 9)]
    )
    def test_rounding_is_nothing_that_varies(self, shape: tuple[int, ...], runs: int) -> None:
        tensor, values = TensorAgreement("y", classifies=False), np.full(shape, 0.1, np.float32)
        for _ in range(runs):
            tensor.add(values, values * np.float32(1.001))
        assert (tensor.varying_db, tensor.mostly_constant) == (None, False)
        assert judge(Agreement(runs, (tensor,))).level == "good"

    def test_what_varies_by_a_millionth_is_told_to_a_hundredth(self) -> None:
        parts = [TensorAgreement("y", classifies=False) for _ in range(40)]
        random = np.random.default_rng(0)
        values, noise = 1e6 + random.standard_normal((40, 3, 50, 50)) * 2, random.standard_normal((40, 3, 50, 50))
        for part, some, other in zip(parts, values, values + noise, strict=True):
            part.add(some[None], other[None])
        found = Agreement.joined([Agreement(1, (part,)) for part in parts]).outputs[0]
        left = values - values.mean(axis=(0, 2, 3), keepdims=True)
        assert found.varying_db == pytest.approx(10 * np.log10((left**2).sum() / (noise**2).sum()), abs=0.01)

    def test_every_channel_of_a_long_vector_has_its_own_constant(self) -> None:
        random = np.random.default_rng(0)
        tensor = TensorAgreement("embedding", classifies=False)
        values = np.linspace(-60, 60, 2048) + random.normal(0, 0.01, (50, 2048))
        tensor.add(values, values + random.normal(0, 0.01, values.shape))
        assert abs(tensor.varying_db or 99) < 0.2 < 60 < tensor.sqnr_db
        assert tensor.groups == ()
        assert judge(Agreement(50, (tensor,))).level == "poor"

    def test_rows_of_another_length_are_no_channels(self) -> None:
        random = np.random.default_rng(0)
        tensor = TensorAgreement("y", classifies=False)
        runs = [random.standard_normal((length, length + 2)) + 50 for length in (3, 0, 5, 5, 9)]
        for values in runs:
            tensor.add(values, values + random.standard_normal(values.shape))
        everything = np.concatenate([values.ravel() for values in runs])
        varying = 10 ** ((tensor.varying_db or 0) / 10) * tensor._noise
        assert varying == pytest.approx(((everything - everything.mean()) ** 2).sum())

    def test_what_varies_decides_nothing_without_a_large_constant(self) -> None:
        tensor = TensorAgreement("y")
        random = np.random.default_rng(0)
        values = random.standard_normal((20, 4, 8, 8)) + 3
        tensor.add(values, values + random.normal(0, 0.5, values.shape))
        assert (tensor.varying_db or 0) < 10 < 15 < tensor.sqnr_db
        assert not tensor.mostly_constant
        assert judge(Agreement(20, (tensor,))).level == "good"

    @pytest.mark.parametrize("values", [np.full((20, 4), 7.0), np.random.default_rng(0).standard_normal((3, 4)) + 1e3])
    def test_of_few_images_or_nothing_that_varies_nothing_is_told(self, values: Any) -> None:
        tensor = TensorAgreement("y")
        tensor.add(values, values + 0.1)
        assert (tensor.varying_db, tensor.mostly_constant) == (None, False)
        assert judge(Agreement(len(values), (tensor,))).level == "good"

    def test_of_an_output_that_is_identical_nothing_is_hidden(self) -> None:
        tensor = TensorAgreement("y")
        values = np.random.default_rng(0).standard_normal((20, 4)) + 1e3
        tensor.add(values, values)
        assert (tensor.varying_db, tensor.mostly_constant) == (np.inf, False)
        assert judge(Agreement(20, (tensor,))).level == "good"

    def test_scores_of_one_class_on_all_images_are_poor_only_by_another_class(self) -> None:
        tensor = TensorAgreement("p")
        scores = np.abs(np.random.default_rng(0).normal(0, 1e-3, 20))
        other = np.abs(np.random.default_rng(1).normal(0, 1e-3, 20))
        tensor.add(np.stack([1 - scores, scores], axis=1), np.stack([1 - other, other], axis=1))
        assert (tensor.varying_db or 0) == tensor.worst_db < 10 < 50 < tensor.sqnr_db
        assert judge(Agreement(20, (tensor,))).level == "look"

    @pytest.mark.parametrize(("different", "db"), [(0, np.inf), (1, 20.0), (10, 10.0), (100, 0.0)])
    def test_of_whole_numbers_it_counts_how_many_differ(self, different: int, db: float) -> None:
        tensor = TensorAgreement("class", classifies=False)
        values = np.arange(100)
        tensor.add(values, values + (values < different) * np.arange(1, 101))
        assert tensor.worst_db == pytest.approx(db)
        assert Agreement(100, (tensor,)).worst_db() == tensor.worst_db

    def test_whole_numbers_count_only_alone(self) -> None:
        classes = TensorAgreement("argmax")
        classes.add(np.arange(100), np.where(np.arange(100) < 5, 0, np.arange(100)))
        assert judge(Agreement(1, (classes,))).level == "look"
        assert judge(Agreement(1, (classes, self.of(0.01)))).level == "good"

    @pytest.mark.parametrize("dtype", [np.uint8, np.int8])
    def test_a_picture_of_8_bits_is_judged_by_its_noise(self, dtype: Any) -> None:
        levels = np.random.default_rng(0).integers(0, 127, (2, 3, 40, 40)).astype(dtype)
        others = levels + np.random.default_rng(1).integers(0, 2, levels.shape).astype(dtype)
        parts = [TensorAgreement("picture"), TensorAgreement("picture")]
        for part, one, two in zip(parts, levels, others, strict=True):
            part.add(one[None], two[None])
        found = judge(Agreement.joined([Agreement(1, (part,)) for part in parts]))
        assert found.level == "good"
        assert found.reason.endswith(" dB")

    @pytest.mark.parametrize(("dtype", "classes"), [(np.uint8, 21), (np.int64, 200), (np.int32, 200)])
    def test_a_map_of_classes_is_judged_by_equal_values(self, dtype: Any, classes: int) -> None:
        chosen = np.random.default_rng(0).integers(0, classes, (2, 40, 40)).astype(dtype)
        others = chosen + np.random.default_rng(1).integers(0, 2, chosen.shape).astype(dtype)
        tensor = TensorAgreement("map", classifies=False)
        tensor.add(chosen, others)
        found = judge(Agreement(2, (tensor,)))
        assert found.level == "poor"
        assert found.reason.endswith("of its values are equal")

    def test_boxes_do_not_hide_ruined_scores(self) -> None:
        random = np.random.default_rng(0)
        values = np.concatenate([random.uniform(50, 320, (1, 4, 500)), random.uniform(0, 1, (1, 3, 500))], axis=1)
        tensor = TensorAgreement("all")
        tensor.add(values.astype(np.float32), (values + random.normal(0, 0.3, values.shape)).astype(np.float32))
        assert tensor.sqnr_db > 40
        assert [group.text for group in tensor.groups] == ["channels 0–3", "channels 4–6"]
        assert tensor.worst_db == tensor.groups[1].sqnr_db < 8
        assert judge(Agreement(1, (tensor,))).level == "poor"

    @pytest.mark.parametrize(
        ("peaks", "groups"),
        [
            ([300, 200, 40, 60, 1, 0.9, 0.001], [(0, 3), (4, 6)]),  # a rare class is not a group of its own
            ([0.9, 0.9, 0.002], []),
            ([1, 0.5, 300, 200], [(0, 1), (2, 3)]),
            ([3, 5, 9, 12], []),
            ([4000, 3000, 90, 80, 0.5, 0.6], [(0, 1), (2, 3), (4, 5)]),
        ],
    )
    def test_groups_are_neighbours_of_one_magnitude(self, peaks: Any, groups: Any) -> None:
        sums = ChannelSums()
        values = np.array(peaks, np.float64)[None, :, None] * np.ones((1, 1, 2000))
        sums.add(values, np.ones_like(values))
        assert [(group.first, group.last) for group in sums.groups()] == groups

    def test_the_last_axis_may_number_the_channels(self) -> None:
        sums = ChannelSums()
        sums.add(np.array([300.0, 200, 100, 1, 0.5]) * np.ones((1, 2000, 1)), np.ones((1, 2000, 5)))
        assert [(group.axis, group.first, group.last) for group in sums.groups()] == [(2, 0, 2), (2, 3, 4)]


@dataclass
class Scaled(Images):
    """Images of another scale, with a manifest."""

    manifest: dict[str, Any] = field(default_factory=dict)


def with_norm(model: onnx.ModelProto, scale: float) -> None:
    """Let the model's first batch normalisation remember uniform noise from 0 to ``scale``."""
    weights = {item.name: item for item in model.graph.initializer}
    kernel = numpy_helper.to_array(weights["first.w"])
    mean, variance = scale * kernel.sum(axis=(1, 2, 3)) / 2, scale**2 * (kernel**2).sum(axis=(1, 2, 3)) / 12
    for name, values in (("first.mean", mean), ("first.var", variance)):
        weights[name].CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))


class TestProbe:
    @pytest.mark.parametrize(("trained", "given"), [(1.0, 255.0), (255.0, 1.0)])
    def test_values_of_another_scale_than_the_model_was_trained_with_are_refused(
        self, make_model: MakeModel, tmp_path: Path, trained: float, given: float
    ) -> None:
        source = make_model(change=lambda model: with_norm(model, trained))
        right, wrong = Images(scale=trained), Images(scale=given)

        assert not [f for f in quantize(source, right, tmp_path / "o", agreement=False).findings if f.level == "error"]
        with pytest.raises(UseError, match=r"not scaled as it was trained\n.*--force"):
            quantize(source, wrong, tmp_path / "p")
        assert not (tmp_path / "p").exists()
        forced = quantize(source, wrong, tmp_path / "p", force=True, agreement=False)
        assert [f.level for f in forced.findings if f.code == "model-scale"] == ["warning"]
        assert "error" not in [f.level for f in forced.findings]

    @pytest.mark.parametrize(
        ("output", "right", "wrong"),
        [
            ("predictions/Softmax:0", "classification", "detectnet_v2"),
            ("output_cov/Sigmoid:0", "detectnet_v2", "segformer"),
            ("pred_boxes", "rtdetr", "ssd"),
            ("NMS", "dssd", "dino"),
        ],
    )
    def test_a_file_for_another_network_is_refused(
        self, make_model: MakeModel, tmp_path: Path, output: str, right: str, wrong: str
    ) -> None:
        def rename(model: onnx.ModelProto) -> None:
            model.graph.node[-1].output[0] = model.graph.output[1].name = output

        source = make_model(change=rename)
        with pytest.raises(UseError, match=rf"was made for {wrong}, and the model's output .* of .*{right}"):
            quantize(source, Scaled(manifest={"network": wrong}), tmp_path / "o")
        for fitting in (right, "a network of somebody else"):
            findings = quantize(
                source,
                Scaled(manifest={"network": fitting}),
                tmp_path / "p",
                method="minmax",
                agreement=False,
                overwrite=True,
            ).findings
            assert "model-network" not in [finding.code for finding in findings]


def test_infinite_values_of_a_mask_are_left_out_of_the_cache_and_named(tmp_path: Path, make_model: MakeModel) -> None:
    def mask(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(numpy_helper.from_array(np.float32(-np.inf), "minus infinity"))
        model.graph.initializer.append(numpy_helper.from_array(np.float32(0.5), "half"))
        model.graph.node.extend(
            [
                helper.make_node("Greater", ["image", "half"], ["is bright"]),
                helper.make_node("Where", ["is bright", "image", "minus infinity"], ["masked"]),
                helper.make_node("Softmax", ["masked"], ["attention"], axis=-1),
            ]
        )
        model.graph.output.append(helper.make_tensor_value_info("attention", TensorProto.FLOAT, None))

    report = quantize(
        make_model(change=mask),
        Images(),
        tmp_path / "o",
        trt_cache=tmp_path / "c",
        trt_version="10.3.0",
        method="minmax",
        force=True,
    )
    assert report.not_finite == ("masked",)
    assert "\nmasked:" not in (tmp_path / "c").read_text()
    assert "\nup:" in (tmp_path / "c").read_text()


def test_figures_of_parts_join_to_the_figures_of_all() -> None:
    random = np.random.default_rng(2)
    values = random.standard_normal((6, 5, 40)).astype(np.float32) * np.float32([[400], [300], [1], [1], [1]])
    others = values + random.standard_normal(values.shape).astype(np.float32) / 10
    whole, parts = TensorAgreement("y"), []
    whole.add(values, others)
    for cut in (slice(0, 1), slice(1, 4), slice(4, 6)):
        parts.append(TensorAgreement("y"))
        parts[-1].add(values[cut], others[cut])
    joined = Agreement.joined([Agreement(len(part.groups), (part,)) for part in parts]).outputs[0]
    assert [(group.axis, group.first, group.last) for group in joined.groups] == [(1, 0, 1), (1, 2, 4)]
    assert [group.sqnr_db for group in joined.groups] == pytest.approx([group.sqnr_db for group in whole.groups])
    assert joined.sqnr_db == pytest.approx(whole.sqnr_db)
    assert (joined.max_error, joined.cosine) == (whole.max_error, pytest.approx(whole.cosine))


class TestPasses:
    def test_results_come_in_the_order_of_the_images_and_only_of_those_wanted(self) -> None:
        images = Images()
        flat = np.concatenate(list(images))

        def work(numbers: list[int], given: np.ndarray) -> tuple[Any, int]:
            assert np.array_equal(given, flat[numbers])
            return numbers, 1

        assert list(for_each_image(images, 1, work, wanted=lambda number: number % 3 == 0)) == [
            [number] for number in range(0, 16, 3)
        ]
        assert list(for_each_image(images, 3, work, most=8)) == [[0, 1, 2], [3, 4, 5], [6, 7]]
        assert list(for_each_image(images, 1, work, wanted=lambda number: False)) == []

    @pytest.mark.parametrize(("every", "size", "most"), [(1, 1, None), (3, 1, None), (3, 2, 3), (5, 1, 2)])
    def test_a_file_gives_the_same_as_its_arrays(self, tmp_path: Path, every: int, size: int, most: int | None) -> None:
        compression = Compression.named("fast")
        with TensorFileWriter(str(tmp_path / "c.tensor"), SHAPE, compression) as writer:
            for image in np.concatenate(list(Images())):
                writer.append(compression.encode(image))
            writer.finish(None, [])

        def seen(batches: Batches) -> list[tuple[list[int], bytes]]:
            return list(
                for_each_image(
                    batches,
                    size,
                    lambda numbers, given: ((numbers, given.tobytes()), 1),
                    wanted=lambda number: number % every == 0,
                    most=most,
                )
            )

        with TensorFile(tmp_path / "c.tensor") as file:
            assert seen(file) == seen(Images())
            in_file, in_memory = Digested(file), Digested(Images())
            assert seen(in_file) == seen(in_memory) == seen(Images())
            if most is None:
                assert in_file.digests == in_memory.digests
                assert len(in_file.digests) == 16  # wanted or not

    def test_a_file_with_large_batches_takes_the_memory_of_some_images(self, tmp_path: Path) -> None:
        compression, image, count = Compression.named("fast"), np.zeros((3, 96, 96), np.float32), 250
        with TensorFileWriter(str(tmp_path / "c.tensor"), (count, *image.shape), compression) as writer:
            for _ in range(count):
                writer.append(compression.encode(image))
            writer.finish(None, [])
        with TensorFile(tmp_path / "c.tensor") as file:
            for batches in (file, Digested(file)):
                tracemalloc.start()
                seen = sum(for_each_image(batches, 1, lambda numbers, images: (len(numbers), 1)))
                _, peak = tracemalloc.get_traced_memory()
                tracemalloc.stop()
                assert seen == count
                assert peak < count * image.nbytes / 2

    @pytest.mark.parametrize("usable", [1, 3])
    def test_runs_are_as_many_as_processors_are_usable_not_as_the_machine_has(
        self, monkeypatch: pytest.MonkeyPatch, usable: int
    ) -> None:
        monkeypatch.setattr("os.cpu_count", lambda: 64)
        monkeypatch.setattr("os.sched_getaffinity", lambda process: range(usable))
        monkeypatch.setattr("int8cal.io.threads._cgroup_folders", lambda *roots: [])
        together = threading.Barrier(usable)
        threads: set[int] = set()

        def work(numbers: list[int], given: np.ndarray) -> tuple[None, int]:
            if 1 <= numbers[0] <= usable:  # the first image runs alone
                together.wait(10)
            threads.add(threading.get_ident())
            return None, 1

        assert len(list(for_each_image(Images(), 1, work))) == 16
        assert len(threads - {threading.get_ident()}) == usable

    def test_an_error_in_one_run_is_raised(self) -> None:
        def work(numbers: list[int], given: np.ndarray) -> tuple[Any, int]:
            if numbers == [9]:
                raise UseError("bad image")
            return numbers, 1

        with pytest.raises(UseError, match="bad image"):
            list(for_each_image(Images(), 1, work))

    def test_phases_are_told(self, make_model: MakeModel, tmp_path: Path) -> None:
        told: list[str] = []

        class Shown:
            def phase(self, what: str) -> None:
                told.append(what)

            def start(self, total_images: int) -> None:
                told.append(f"start {total_images}")

            def advance(self, images: int) -> None:
                pass

            def finish(self) -> None:
                told.append("finish")

        quantize(make_model(), Images(), tmp_path / "o", method="minmax", progress=Shown())
        assert told == ["calibrating", "start 16", "finish", "measuring agreement", "start 16", "finish"]


def test_counts_of_parts_join_to_the_counts_of_all(make_model: MakeModel) -> None:
    model = onnx.load(make_model())
    binding = InputBinding("image", "nchw", None)
    (whole,) = calibrate(model, ["first", "up", "image"], Images(), binding)
    held_out = [{number for number in range(16) if number % 5 % 3 == part} for part in (1, 2)]
    parts = calibrate(model, ["first", "up", "image"], Images(), binding, held_out=held_out)
    joined = Calibration.joined(parts)
    assert ([part.images for part in parts], joined.images) == ([7, 6, 3], 16)
    for name, histogram in whole.histograms.items():
        other = joined.histograms[name]
        assert (other.counts == histogram.counts).all()
        assert (other.top, other.amax, other.low) == (histogram.top, histogram.amax, histogram.low)


def test_json_of_nothing_but_plain_values(make_model: MakeModel, tmp_path: Path) -> None:
    report = quantize(make_model(), Images(batches=2), tmp_path / "o")
    assert report.choice is not None
    assert not any(math.isnan(score) for score in report.choice.scores.values())
    json.dumps({"scores": report.choice.scores, "verdict": report.verdict and report.verdict.level})
