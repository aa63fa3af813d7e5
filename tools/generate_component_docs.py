"""Write, or check, everything that is made from the component's table of inputs.

python tools/generate_component_docs.py           write
python tools/generate_component_docs.py --check   exit 1 and name the files that are out of date
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import component_assets as assets

ROOT = Path(__file__).parents[1]


def generated() -> dict[Path, str]:
    """Path → the text that it should hold."""
    texts = {ROOT / "kfp" / "int8cal_calibration_tensorfile.py": assets.kubeflow_component()}
    for component in assets.COMPONENTS:
        folder = ROOT / "azureml" / "components" / component.name
        texts[folder / "spec.yaml"] = assets.spec_yaml(component)
        texts[folder / "README.md"] = _with_tables(
            folder / "README.md",
            {
                "command": assets.command_table(),
                "substitution": assets.substitution_table(component),
                "inputs": assets.inputs_table(component),
                "outputs": assets.outputs_table(),
            },
        )
    return texts


def _with_tables(page: Path, tables: dict[str, str]) -> str:
    """The page with every ``<!-- generated: NAME -->`` … ``<!-- end -->`` filled anew."""

    def fill(match: re.Match[str]) -> str:
        return f"{match[1]}\n{tables[match[2]]}\n{match[3]}"

    pattern = r"(<!-- generated: (\w+) -->)\n.*?(<!-- end -->)"
    return re.sub(pattern, fill, page.read_text(encoding="utf-8"), flags=re.DOTALL)


def main(arguments: list[str]) -> int:
    """Write the files, or with ``--check`` compare them."""
    stale = [
        path for path, text in generated().items() if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        print(f"{path.relative_to(ROOT)} {'is out of date' if '--check' in arguments else 'written'}")
        if "--check" not in arguments:
            path.write_text(generated()[path], encoding="utf-8")
    return int(bool(stale) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
