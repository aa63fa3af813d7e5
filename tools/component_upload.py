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
import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from int8cal import __version__

ROOT = Path(__file__).parents[1]
ENVIRONMENT = "int8cal"
LOCK = ROOT / "requirements" / "image.txt"
_REGISTRY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{2,32}")
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
            ["az", "ml", "environment", "create", "--file", _from_here(environment), *place],
            *(["az", "ml", "component", "create", "--file", _from_here(path), *place] for path in components),
            ["az", "ml", "job", "create", "--file", _from_here(self.folder / "pipelines" / "demo.yml")],
        ]
        return [shlex.join(line) for line in lines]


def _from_here(path: Path) -> str:
    """A path as it is typed in the working folder."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def assemble(wheel: Path, folder: Path, *, registry: str | None = None) -> Upload:
    """Make ``folder`` anew.

    Args:
        wheel: the package.
        folder: what to write; an earlier one is replaced.
        registry: name of the registry that the environment will be in; None: the workspace of the job.

    Raises:
        ValueError: the folder is not one that an earlier call made, and is not empty.
        OSError: it cannot be written.
    """
    source = ROOT / "azureml"
    if folder.exists():
        wheels = (folder / "environments" / ENVIRONMENT / "context").glob("*.whl")
        if any(folder.iterdir()) and (folder.resolve() == source or not any(wheels)):
            raise ValueError(f"{folder}: holds other files. Name a folder of its own")
        shutil.rmtree(folder)
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__"))
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
    parser.add_argument(
        "--output", type=Path, default=ROOT / "dist" / "azureml", help="folder to make; an earlier one is replaced"
    )
    arguments = parser.parse_args(argv)
    if arguments.registry is not None and not _REGISTRY.fullmatch(arguments.registry):
        parser.error(f"{arguments.registry!r} is not the name of a registry: 3 to 33 letters, digits, - and _")
    if not arguments.wheel.is_file():
        print(f"component_upload: error: {arguments.wheel}: not there. Build it: make pure-wheel", file=sys.stderr)
        return 2
    try:
        made = assemble(arguments.wheel, arguments.output, registry=arguments.registry)
    except (OSError, ValueError) as error:
        print(f"component_upload: error: {error}", file=sys.stderr)
        return 5
    *register, job = made.commands()
    print(
        f"# environment {ENVIRONMENT}:{made.environment_version}, ready in {_from_here(made.folder)}; to register it:"
    )
    print("\n".join(register))
    print("# to try it, in a workspace:")
    print(job)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
