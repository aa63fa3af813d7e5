"""The library for tests of the kernels, wherever the package was installed without a compiler."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from int8cal import native

REPOSITORY = Path(__file__).parents[3]


def build_hook() -> ModuleType:
    """What compiles the kernels when the package is installed."""
    spec = importlib.util.spec_from_file_location("hatch_build", REPOSITORY / "hatch_build.py")
    assert spec
    assert spec.loader
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    return hook


# On a machine without a compiler there are no kernels to test.
collect_ignore_glob = [] if native.library() or build_hook()._system_compiler() else ["test_*.py"]


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library of the sources as they are: by the installation, else compiled here."""
    if native.library():
        return Path(native.PATH)
    hook = build_hook()
    path = tmp_path_factory.mktemp("native") / "kernels.bin"
    assert hook._compile(hook._system_compiler(), REPOSITORY / "src" / "int8cal" / "native", path)
    return path


@pytest.fixture
def with_library(compiled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels are there."""
    monkeypatch.delenv(native.SWITCH, raising=False)
    monkeypatch.setattr(native, "PATH", str(compiled))
    native.library.cache_clear()
