r"""Put together in dist/azureml what Azure Machine Learning gets, and print the commands that register it.

    python tools/component_upload.py                       for a workspace
    python tools/component_upload.py --registry contoso    for a registry

``make azureml`` builds the wheel and runs this. A copy of ``azureml/`` is made; the environment's build context gets
the wheel and the hash lock of the image. A registered version can never change, so the environment's is the package's
and 8 hexadecimal digits of the context's hash, and every component and pipeline of the copy names that one. Nothing is
sent.
"""

from __future__ import annotations

import argparse
import hashlib
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from int8cal import __version__

ROOT = Path(__file__).parents[1]
ENVIRONMENT = "int8cal"
LOCK = ROOT / "requirements" / "image.txt"
_IN_TREE = f"azureml:{ENVIRONMENT}:{__version__}"


@dataclass(frozen=True)
class Upload:
    """What was put together.

    Attributes:
        folder: the copy of ``azureml/``.
        environment_version: version of the environment.
        registry: name of the registry that it is meant for; None: a workspace.
    """

    folder: Path
    environment_version: str
    registry: str | None

    @property
    def context(self) -> Path:
        """The environment's build context."""
        return self.folder / "environments" / ENVIRONMENT / "context"

    def commands(self) -> list[str]:
        """The ``az`` commands that register the environment and the components, then run the example."""
        place = ["--registry-name", self.registry] if self.registry else []
        environment = self.folder / "environments" / ENVIRONMENT / "spec.yaml"
        components = sorted(self.folder.glob("components/*/spec.yaml"))
        lines = [
            ["az", "ml", "environment", "create", "--file", str(environment), *place],
            *(["az", "ml", "component", "create", "--file", str(path), *place] for path in components),
            ["az", "ml", "job", "create", "--file", str(self.folder / "pipelines" / "demo.yml")],
        ]
        return [shlex.join(line) for line in lines]


def assemble(wheel: Path, folder: Path, *, registry: str | None = None) -> Upload:
    """Make ``folder`` anew.

    Args:
        wheel: the package.
        folder: what to write; an earlier one is replaced.
        registry: name of the registry that the environment will be in; None: the workspace of the job.
    """
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "azureml", folder, ignore=shutil.ignore_patterns("__pycache__"))
    context = folder / "environments" / ENVIRONMENT / "context"
    shutil.copyfile(LOCK, context / "requirements.txt")
    shutil.copyfile(wheel, context / wheel.name)
    version = f"{__version__}-{_content_hash(context)[:8]}"
    name = f"azureml://registries/{registry}/environments/{ENVIRONMENT}/versions/{version}" if registry else None
    for path in folder.rglob("*.y*ml"):
        text = path.read_text(encoding="utf-8")
        text = text.replace(_IN_TREE, name or f"azureml:{ENVIRONMENT}:{version}")
        if path.parent == context.parent:
            text = text.replace(f"\nversion: {__version__}\n", f"\nversion: {version}\n")
        path.write_text(text, encoding="utf-8")
    return Upload(folder, version, registry)


def _content_hash(folder: Path) -> str:
    """A hash of the names and bytes of all files."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def main(argv: list[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--registry", metavar="NAME", help="name the environment as one of this registry")
    parser.add_argument("--wheel", type=Path, default=ROOT / "dist" / f"int8cal-{__version__}-py3-none-any.whl")
    parser.add_argument("--output", type=Path, default=ROOT / "dist" / "azureml", help="folder to make")
    arguments = parser.parse_args(argv)
    if not arguments.wheel.is_file():
        print(f"component_upload: error: {arguments.wheel}: not there. Build it: make wheel", file=sys.stderr)
        return 2
    made = assemble(arguments.wheel, arguments.output, registry=arguments.registry)
    print(f"# environment {ENVIRONMENT}:{made.environment_version}, ready in {made.folder}; to register it:")
    print("\n".join(made.commands()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
