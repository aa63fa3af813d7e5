"""Build hook: compiles the kernels of ``src/int8cal/native``. Whatever fails comes to a package without them.

The environment variable INT8CAL_KERNELS says by what:

    (unset)                by the system's C compiler, when there is one
    none                   not at all: a wheel for every platform
    x86_64, aarch64        by the package ziglang for that architecture and glibc 2.17 on: ``make wheel``; here, what
                           fails is an error
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FLAGS = (
    "-std=c11",
    "-O3",
    "-ffp-contract=off",
    "-fno-strict-aliasing",
    "-fvisibility=hidden",
    "-fPIC",
    "-shared",
    "-s",
)
LIBRARY = Path("src", "int8cal", "native", "kernels.bin")  # as int8cal.native.PATH has it
ZIG_ARCHITECTURES = ("x86_64", "aarch64")


class KernelsHook(BuildHookInterface):
    """What hatchling calls before it builds a wheel or an editable installation."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; an editable installation gets the library into the source tree, a wheel into itself."""
        wanted = os.environ.get("INT8CAL_KERNELS", "")
        if self.target_name != "wheel" or wanted == "none" or sys.platform != "linux":
            return
        folder = Path(self.root, LIBRARY.parent)
        if version == "editable":
            _compile(_system_compiler(), folder, folder / LIBRARY.name)
            return
        self._made = Path(tempfile.mkdtemp(prefix="int8cal-kernels-"))
        library = self._made / LIBRARY.name
        if wanted in ZIG_ARCHITECTURES:
            zig = [sys.executable, "-m", "ziglang", "cc", "-target", f"{wanted}-linux-gnu.2.17", "-g0"]
            if not _compile(zig, folder, library):
                raise SystemExit(f"hatch_build: the kernels cannot be compiled for {wanted}")
            platform = f"manylinux_2_17_{wanted}"
        elif wanted:
            raise SystemExit(f"hatch_build: INT8CAL_KERNELS is {wanted}: use none, {' or '.join(ZIG_ARCHITECTURES)}")
        else:
            if not _compile(_system_compiler(), folder, library):
                return
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["force_include"][str(library)] = LIBRARY.relative_to("src").as_posix()
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was only needed on the way."""
        if made := getattr(self, "_made", None):
            shutil.rmtree(made, ignore_errors=True)


def _system_compiler() -> list[str]:
    named = shlex.split(os.environ.get("CC", ""))
    return named or [name for name in ("cc", "gcc", "clang") if shutil.which(name)][:1]


def _compile(compiler: list[str], folder: Path, library: Path) -> bool:
    """Whether it went well. The library appears under its name when it is complete; one of earlier sources goes."""
    library.unlink(missing_ok=True)
    if not compiler:
        return False
    beside = library.with_name(f".{library.name}.{os.getpid()}")
    try:
        with tempfile.TemporaryDirectory(prefix="int8cal-zig-") as cache:
            env = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}
            # Names relative to the folder: the path of the sources is nothing that the library should depend on.
            sources = sorted(path.name for path in folder.glob("*.c"))
            command = [*compiler, *FLAGS, "-o", str(beside), *sources]
            finished = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
        if finished.returncode:
            print(f"int8cal: built without its kernels: {finished.stderr.strip()[-500:]}", file=sys.stderr)
            return False
        beside.replace(library)
    except OSError as error:
        print(f"int8cal: built without its kernels: {error}", file=sys.stderr)
        return False
    finally:
        beside.unlink(missing_ok=True)
    return True
