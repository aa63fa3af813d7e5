"""The public names of the package, as a Python user meets them."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import int8cal

FUNCTIONS = ["compare", "export", "inspect", "make", "plan", "quantize", "quantize_from_scales"]
FUNCTIONS += ["read_spec", "verify", "write_report"]


def test_all_is_sorted_and_complete() -> None:
    assert list(int8cal.__all__) == sorted(int8cal.__all__)
    for name in int8cal.__all__:
        assert hasattr(int8cal, name)


def test_every_public_name_is_documented() -> None:
    for name in int8cal.__all__:
        member = getattr(int8cal, name)
        if not isinstance(member, str):
            assert inspect.getdoc(member), name


def test_dir_lists_the_public_names() -> None:
    assert set(int8cal.__all__) <= set(dir(int8cal))


def test_public_functions_are_the_ones_tested_here() -> None:
    assert [name for name in int8cal.__all__ if inspect.isfunction(getattr(int8cal, name))] == FUNCTIONS


def test_no_module_takes_the_name_of_a_function() -> None:
    """Importing a module makes it an attribute of its package, in place of what had that name."""
    code = (
        "import importlib, inspect, pkgutil, int8cal\n"
        "for module in pkgutil.walk_packages(int8cal.__path__, 'int8cal.'):\n"
        "    if not module.name.endswith('__main__'):\n"
        "        importlib.import_module(module.name)\n"
        f"for name in {FUNCTIONS}:\n"
        "    function = getattr(int8cal, name)\n"
        "    parameters = inspect.signature(function).parameters.values()\n"
        "    try:\n"
        "        function(*[None for parameter in parameters if parameter.default is parameter.empty])\n"
        "    except int8cal.UsageError:\n"
        "        print(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == FUNCTIONS, done.stderr
    assert not {module.name for module in pkgutil.iter_modules(int8cal.__path__)} & set(int8cal.__all__)


@pytest.fixture(scope="module")
def made(tiny_dataset, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Everything that the functions give, of one small data set: name → result."""
    folder = tmp_path_factory.mktemp("made")
    spec = int8cal.read_spec(tiny_dataset.spec)
    plan = int8cal.plan(spec, max_batches=2, batch_size=2)
    manifest = int8cal.make(plan, folder / "c.tensor")
    with int8cal.TensorFile(folder / "c.tensor") as file:
        yield {
            "spec": spec,
            "plan": plan,
            "manifest": manifest,
            "file": file,
            "slice": file[:1],
            "batches": plan.batches(),
            "inspection": int8cal.inspect(file),
            "verification": int8cal.verify(file),
        }


class TestTakesPathsAndOpenThings:
    def test_make_takes_the_path_of_a_spec(self, tiny_dataset, tmp_path: Path) -> None:
        by_path = int8cal.make(str(tiny_dataset.spec), tmp_path / "a.tensor")
        by_plan = int8cal.make(int8cal.plan(tiny_dataset.spec), str(tmp_path / "b.tensor"))
        assert by_path.facts == by_plan.facts
        assert (tmp_path / "a.tensor").read_bytes() == (tmp_path / "b.tensor").read_bytes()

    @pytest.mark.parametrize("kind", ["path", "spec"])
    def test_verify_takes_a_spec_or_its_path(self, made, tiny_dataset, kind: str) -> None:
        spec = tiny_dataset.spec if kind == "path" else made["spec"]
        for file in (made["file"], made["file"].path, Path(made["file"].path)):
            found = int8cal.verify(file, spec=spec)
            assert [finding.code for finding in found.findings if finding.code == "rebuilt"]
        assert made["file"][0].shape == made["file"].shape  # it was not closed

    def test_verify_takes_spec_or_claim(self, made) -> None:
        with pytest.raises(int8cal.UsageError, match="say the same"):
            int8cal.verify(made["file"], spec=made["spec"], claim=int8cal.Claim(made["spec"]))

    def test_the_report_takes_them_too(self, made, tiny_dataset, tmp_path: Path) -> None:
        found = int8cal.write_report(made["file"], tmp_path / "report.html", spec=tiny_dataset.spec)
        assert found.sound
        assert (tmp_path / "report.html").stat().st_size > 10_000

    def test_inspect(self, made) -> None:
        found = int8cal.inspect(made["file"].path)
        assert found == made["inspection"]
        assert (found.batches, found.shape, found.image_count) == (2, made["plan"].shape, 4)
        assert found.manifest["network"] == "detectnet_v2"
        assert len(found.channels) == 3
        assert int8cal.inspect(made["file"], quick=True).channels == ()


@pytest.mark.parametrize("wrong", [None, 3, object(), b"bytes", ["list"]])
def test_a_wrong_type_is_a_usage_error(wrong: object, made, tmp_path: Path) -> None:
    plan, file, out = made["plan"], made["file"], tmp_path / "out"
    calls: list[Any] = [
        lambda: int8cal.read_spec(wrong),  # type: ignore[arg-type]
        lambda: int8cal.plan(wrong),  # type: ignore[arg-type]
        lambda: int8cal.make(wrong, out),  # type: ignore[arg-type]
        lambda: int8cal.make(plan, wrong),  # type: ignore[arg-type]
        lambda: int8cal.make(plan, out, engine=wrong),  # type: ignore[arg-type]
        lambda: int8cal.TensorFile(wrong),  # type: ignore[arg-type]
        lambda: int8cal.inspect(wrong),  # type: ignore[arg-type]
        lambda: int8cal.verify(wrong),  # type: ignore[arg-type]
        lambda: int8cal.verify(file, spec=wrong or 0),  # type: ignore[arg-type]
        lambda: int8cal.verify(file, claim=wrong or 0),  # type: ignore[arg-type]
        lambda: int8cal.verify(file, model=wrong or 0),  # type: ignore[arg-type]
        lambda: int8cal.write_report(wrong, out),  # type: ignore[arg-type]
        lambda: int8cal.write_report(file, wrong),  # type: ignore[arg-type]
        lambda: int8cal.export(wrong, out, "npz"),  # type: ignore[arg-type]
        lambda: int8cal.export(file, wrong, "npz"),  # type: ignore[arg-type]
        lambda: int8cal.quantize(wrong, file, out),  # type: ignore[arg-type]
        lambda: int8cal.quantize(file.path, wrong, out),  # type: ignore[arg-type]
        lambda: int8cal.quantize(file.path, file, wrong),  # type: ignore[arg-type]
        lambda: int8cal.compare(wrong, file.path, file),  # type: ignore[arg-type]
        lambda: int8cal.readers.ort(wrong, "input"),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises(int8cal.UsageError) as caught:
            call()
        assert caught.value.hint
    assert not out.exists()


@pytest.mark.parametrize("wrong", ["3", 2.5, True, [1]])
def test_what_is_no_whole_number_is_a_usage_error(wrong: object, made, tiny_dataset, tmp_path: Path) -> None:
    for name in ("max_batches", "batch_size"):
        with pytest.raises(int8cal.UsageError, match=f"{name} cannot be"):
            int8cal.plan(tiny_dataset.spec, **{name: wrong})
    for name in ("workers", "shards", "max_skipped"):
        with pytest.raises(int8cal.UsageError, match=f"{name} cannot be"):
            int8cal.make(made["plan"], tmp_path / "out", **{name: wrong})


class TestReprs:
    def test_they_are_one_short_line(self, made) -> None:
        for name, result in made.items():
            text = repr(result)
            assert len(text) < 300, name
            assert "\n" not in text
            assert text.startswith(f"<{type(result).__name__} ")

    def test_notebooks_get_a_small_table(self, made) -> None:
        for name, result in made.items():
            page = result._repr_html_()
            assert len(page) < 10_000, name
            assert page.startswith("<table>")
            assert page.count("<tr>") == page.count("</tr>")

    def test_what_they_say(self, made) -> None:
        assert repr(made["plan"]) == "<Plan detectnet_v2: 2 batches of 2 × 3 × 96 × 160 float32, training>"
        assert repr(made["slice"]).startswith("<BatchSlice 1 batch of 2 × 3 × 96 × 160 float32, of ")
        assert "0 errors" in repr(made["verification"])

    def test_names_from_data_are_harmless(self, tiny_dataset, tmp_path: Path) -> None:
        path = tmp_path / "<b>\x1b[31m.tensor"
        int8cal.make(int8cal.plan(tiny_dataset.spec, max_batches=1), path)
        with int8cal.TensorFile(path) as file:
            assert "\x1b" not in repr(file)
            assert "<b>" not in file._repr_html_()
            assert "\x1b" not in file._repr_html_()


def test_start_of_the_package_imports_no_module_of_it() -> None:
    importlib.import_module("int8cal")
    code = "import sys, int8cal; print(*(name for name in sys.modules if name.startswith('int8cal.')))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() == []
