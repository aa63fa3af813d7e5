r"""Write the component for Kubeflow Pipelines, with an image of yours.

    python tools/component_kubeflow.py registry.example.com/int8cal:0.1.0 --output int8cal_calibration_tensorfile.py
    kfp dsl compile --py int8cal_calibration_tensorfile.py --output int8cal_calibration_tensorfile.yaml

With ``--folders``, the optional folders named are required and the others left out: for back ends before Kubeflow
Pipelines 2.17.1 and for Vertex AI, which do not resolve optional inputs.

The image is what ``docker build dist/azureml/environments/int8cal/context`` makes after ``make azureml``.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from component_assets import OPTIONAL_FOLDERS, kubeflow_component


def main(argv: list[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("image", help="name of the image with its registry, and a tag or digest")
    parser.add_argument("--output", type=Path, default=Path("int8cal_calibration_tensorfile.py"))
    parser.add_argument(
        "--folders",
        nargs="*",
        choices=OPTIONAL_FOLDERS,
        metavar="INPUT",
        help="have these optional folders, and no other",
    )
    arguments = parser.parse_args(argv)
    if not re.fullmatch(r"[\w.:/@-]+", arguments.image):
        parser.error(f"{arguments.image!r} is not the name of an image")
    source = kubeflow_component(arguments.image, arguments.folders, made_by="tools/component_kubeflow.py")
    try:
        arguments.output.write_text(source, encoding="utf-8")
    except OSError as error:
        print(f"component_kubeflow: error: {error}", file=sys.stderr)
        return 5
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
