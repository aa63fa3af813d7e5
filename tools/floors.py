"""Print the oldest version of each dependency that pyproject.toml allows, as requirements for pip.

    python tools/floors.py > floors.txt

``make test-floors`` installs them and runs the tests with them.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

_EXTRAS = ("quantize", "report", "opencv")
"""Extras whose tests run without a cluster or a service."""
_BOUND = re.compile(r"([\w-]+)>=([\d.]+)(,<\d+)?")


def floors(pyproject: Path) -> list[str]:
    """``name==version`` of each lower bound.

    Raises:
        ValueError: a dependency has none.
    """
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    found = []
    for dependency in (
        *project["dependencies"],
        *(each for extra in _EXTRAS for each in project["optional-dependencies"][extra]),
    ):
        bound = _BOUND.fullmatch(dependency)
        if not bound:
            raise ValueError(f"{dependency}: no lower bound")
        found.append(f"{bound[1]}=={bound[2]}")
    return found


if __name__ == "__main__":
    sys.stdout.write("".join(f"{line}\n" for line in floors(Path(__file__).parents[1] / "pyproject.toml")))
