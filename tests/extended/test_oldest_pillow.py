"""The golden set of the PyTorch networks on the oldest Pillow that is allowed; the other tests run on the newest."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
GOLDEN = (
    "tests/golden/test_yaml_networks.py",
    "tests/unit/preprocess/test_torchvision.py",
    "tests/unit/images/test_pillow.py",
)


@pytest.mark.extended
@pytest.mark.timeout(1200)
def test_the_same_bits(tmp_path: Path) -> None:
    (oldest,) = re.findall(r'"Pillow>=([\d.]+)"', (REPOSITORY / "pyproject.toml").read_text())
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    version = f"{oldest}.0" if oldest.count(".") == 1 else oldest
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", f"Pillow=={version}"], check=True)
    (site,) = (tmp_path / "venv" / "lib").glob("python3*/site-packages")
    here = {sysconfig.get_path("purelib"), *(path for path in sys.path if path.endswith(("site-packages", "src")))}
    (site / "rest.pth").write_text("".join(f"{path}\n" for path in sorted(here)))
    shown = [python, "-c", "import PIL; print(PIL.__version__)"]
    assert subprocess.run(shown, capture_output=True, text=True, check=True).stdout.strip() == version
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *GOLDEN],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
