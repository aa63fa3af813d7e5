from __future__ import annotations

import zlib
from importlib.metadata import version

from PIL import features

from int8cal.manifest import deciding_packages, encoder_versions, machine


def test_versions_are_those_of_the_installed_distributions():
    found = deciding_packages()
    assert found.pop("libjpeg-turbo of pillow") == features.version("libjpeg_turbo")
    assert set(found) == {"h5py", "imagecodecs", "isal", "numpy", "pillow", "simplejpeg"}
    assert found == {name: version(name) for name in found}


def test_the_zlib_of_python_decides_bytes_and_stays_out_of_the_tensorfile():
    assert encoder_versions()["zlib"] == zlib.ZLIB_RUNTIME_VERSION
    assert "zlib" not in deciding_packages(), "files of the usual compression would differ where their images do not"
    assert machine()["zlib"] == zlib.ZLIB_RUNTIME_VERSION
