"""Who may import whom. The table is the drawing of the architecture, written out."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "int8cal"

GROUND = {"errors", "types", "io"}
NEIGHBOURS = {"samples", "images", "preprocess", "tensorfile", "spec"}
STAGES = GROUND | {"guard", "native"} | NEIGHBOURS
RUN = STAGES | {"network_kit", "networks", "origins", "plans", "engine", "manifest", "pipeline"}
FILE_USERS = {"models", "tensorrt", "exports"}
EVERYTHING = RUN | FILE_USERS | {"component", "report", "check", "demo", "cli"}

MAY_IMPORT = {
    "errors": {"io"},
    "types": set[str](),
    "io": {"errors", "types"},
    "native": {"types"},
    "guard": GROUND | {"native"},
    "spec": GROUND | {"guard"},
    "samples": GROUND | {"guard"},
    "images": GROUND | {"native"},
    "preprocess": GROUND | {"native"},
    "tensorfile": GROUND | {"guard", "native"},
    "network_kit": STAGES,
    "networks": STAGES | {"network_kit"},
    "origins": STAGES | {"network_kit", "networks"},
    "plans": STAGES | {"network_kit", "origins", "engine"},
    "engine": STAGES | {"network_kit", "networks", "origins", "plans", "manifest"},
    "manifest": RUN - {"pipeline"},
    "pipeline": RUN,
    "models": GROUND | {"guard", "native", "tensorfile", "tensorrt"},
    "tensorrt": GROUND | {"guard", "tensorfile"},
    "exports": GROUND | {"tensorfile"},
    "component": RUN | {"report"},
    "check": RUN | {"models"},
    "report": RUN | {"check", "models"},
    "demo": RUN | FILE_USERS | {"check"},
    "cli": EVERYTHING,
    "__init__": EVERYTHING - {"cli"},
    "__main__": {"cli"},
}

EXTRAS = {"cv2", "jinja2", "mlflow", "onnx", "onnxruntime", "ray"}
HEAVY = {"google.protobuf", "h5py", "imagecodecs", "isal", "numpy", "PIL", "simplejpeg", "tqdm"} | EXTRAS

MODULES = sorted(SOURCE.rglob("*.py"))


def part_of(module: Path) -> str:
    """The folder (or top-level module) of the package to which a file belongs."""
    return module.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[str]:
    """Full names of everything that a module imports, wherever the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def parts_imported(module: Path) -> set[str]:
    names = (name.split(".") for name in imports(ast.parse(module.read_text())))
    ours = {name[1] for name in names if name[0] == "int8cal" and len(name) > 1}
    return ours - {"__version__", part_of(module)}


def runs_at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements executed when a module is imported: not those of functions, nor those for the type checker alone."""
    for node in body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from runs_at_import(node.orelse)
        elif isinstance(node, ast.If | ast.Try | ast.With | ast.ClassDef):
            yield from runs_at_import(node.body)
        else:
            yield node


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_layers(module: Path) -> None:
    forbidden = parts_imported(module) - MAY_IMPORT[part_of(module)]
    assert not forbidden, f"{part_of(module)} must not import {sorted(forbidden)}"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_extras_are_imported_late(module: Path) -> None:
    statements = runs_at_import(ast.parse(module.read_text()).body)
    found = {
        name.split(".")[0]
        for statement in statements
        if isinstance(statement, ast.Import | ast.ImportFrom)
        for name in imports(statement)
    }
    assert not found & EXTRAS


def test_modules_are_short() -> None:
    lengths = {str(module.relative_to(SOURCE)): len(module.read_text().splitlines()) for module in MODULES}
    assert {name: length for name, length in lengths.items() if length > 500} == {}


@pytest.mark.parametrize("module", ["int8cal", "int8cal.cli"])
def test_start_up_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not HEAVY.intersection(loaded)
